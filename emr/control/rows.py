"""A provider's row: its fields, what each may hold and who may set it, and the rules between them.

Rules of this file
- A key goes only to the host it was given for. The name of a key's variable and the endpoint come
  in one statement: a row of the file, one POST, or one PATCH that names both. The default variable
  of a type is taken only with the type's own endpoint.
- The admin API may name only variables that end in _API_KEY or that the configuration lists, and
  never EMR_*: an admin client must not be able to send any secret of the environment to a host of
  its choice. For the same reason it cannot loosen the rules for endpoints.
- Rows of the configuration file are the operator's own and are not restricted so.

What a type is, and which endpoints are safe, are handed in (`RowRules`), so that rows know no
provider.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum, Flag, auto
from typing import Any

from emr.control.values import VARIABLE, Distinct, Form, Many, Pattern, Real, Switch, Text, Whole
from emr.control.values import Choice as OneOf
from emr.upstream.kinds import Kind

NAME = Pattern(
    re.compile(r"[A-Za-z0-9._-]{1,64}"), "1 to 64 of the letters, digits and . _ - of ASCII"
)
VERSION = Pattern(  # it becomes a part of the URL
    re.compile(r"[A-Za-z0-9._-]{1,64}"),
    "a version: 1 to 64 of the letters, digits and . _ - of ASCII",
)
RATE_LOW, RATE_HIGH = 0.001, 1e9  # a trial of 1,000 calls a month is 0.023 a minute
LOCAL = "local"


class Source(Enum):
    """Where a row comes from."""

    FILE = "file"
    DATABASE = "database"
    BUILT_IN = "built-in"


class Leeway(Flag):
    """What a row may do beyond the rules for endpoints of its type."""

    NONE = 0
    HTTP = auto()  # allow_http: http to anywhere
    PRIVATE = auto()  # allow_private: a private address for a hosted type
    ADOPTED = auto()  # of the reference router: http to private addresses


CheckEndpoint = Callable[[str, Kind, Leeway], str]
"""The full URL that an endpoint means (a bare base gets the type's path); ValueError if unsafe."""


@dataclass(frozen=True, slots=True)
class Row:
    """A provider as registered. Limits are None where the type's own hold.

    `endpoint` is the full URL. Of `api_key_env_var` and `api_key_env_vars` at most one is set;
    `key_variables` is both. `models` are further model ids that a request may ask for. `note` says
    why a row is not in use although it is there.
    """

    name: str
    provider_type: str
    api_key_env_var: str = ""
    endpoint: str = ""
    model: str = ""
    enabled: bool = True
    created_at: str = ""
    source: Source = Source.DATABASE
    adopted: bool = False
    note: str = ""
    max_texts_per_request: int | None = None
    max_tokens_per_text: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: int | None = None
    items_per_minute: float | None = None
    max_concurrency: int | None = None
    price_per_million_tokens: float | None = None
    models: tuple[str, ...] = ()
    dimensions: tuple[int, ...] = ()
    family: str = ""
    weight: tuple[float, ...] = ()
    api_key_env_vars: tuple[str, ...] = ()
    api_version: str = ""
    allow_http: bool = False
    allow_private: bool = False
    on_drift: str = "warn"

    @property
    def key_variables(self) -> tuple[str, ...]:
        """The environment variables of its keys; none for a provider without a key."""
        if self.api_key_env_vars:
            return self.api_key_env_vars
        return (self.api_key_env_var,) if self.api_key_env_var else ()

    @property
    def leeway(self) -> Leeway:
        """What it may do beyond the rules for endpoints."""
        given = Leeway.HTTP if self.allow_http else Leeway.NONE
        given |= Leeway.PRIVATE if self.allow_private else Leeway.NONE
        return given | (Leeway.ADOPTED if self.adopted else Leeway.NONE)


class Setter(Enum):
    """Who may set a field of a row."""

    FILE = "the configuration file only"
    NEW = "the configuration file, and when it is added"
    ANYONE = "anyone, at any time"


@dataclass(frozen=True, slots=True)
class RowField:
    """A field of a row that somebody may set."""

    name: str
    form: Form
    setter: Setter
    help: str


FIELDS: tuple[RowField, ...] = tuple(
    RowField(*told)
    for told in (
        ("name", NAME, Setter.NEW, "how requests and commands call it"),
        ("provider_type", Text(), Setter.NEW, "voyage, cohere, openai, …"),
        ("api_key_env_var", VARIABLE, Setter.ANYONE, "the environment variable of its key"),
        ("api_key_env_vars", Distinct(VARIABLE, least=1, most=32), Setter.ANYONE,
         "several keys, used as several accounts"),
        ("endpoint", Text("a URL"), Setter.ANYONE, "the full URL; without one the type's own"),
        ("model", Text("a model id", 256), Setter.ANYONE, "without one the type's default"),
        ("models", Distinct(Text("a model id", 256)), Setter.ANYONE,
         "further model ids that a request may ask for"),
        ("enabled", Switch(), Setter.ANYONE, "whether it is used"),
        ("dimensions", Distinct(Whole(1, 65_536), most=64), Setter.ANYONE,
         "lengths of vector that the model gives, its default first"),
        ("family", Pattern(NAME.pattern, NAME.word), Setter.ANYONE,
         "rows of an equal family give equal vectors for the same model id"),
        ("weight", Many(Real(0.001, 1000.0), most=32), Setter.ANYONE,
         "decides among members of a family of equal wait; a list beside several keys"),
        ("max_texts_per_request", Whole(1, 100_000), Setter.ANYONE, "texts in one call"),
        ("max_tokens_per_text", Whole(1, 10_000_000), Setter.ANYONE,
         "the longest text that the model takes"),
        ("requests_per_minute", Real(RATE_LOW, RATE_HIGH), Setter.ANYONE, "calls a minute"),
        ("tokens_per_minute", Whole(1, 10**12), Setter.ANYONE, "tokens a minute"),
        ("items_per_minute", Real(RATE_LOW, RATE_HIGH), Setter.ANYONE, "texts a minute"),
        ("max_concurrency", Whole(1, 1000), Setter.ANYONE, "calls in flight"),
        ("price_per_million_tokens", Real(0.0, 1e6), Setter.ANYONE,
         "in dollars, of all its models; without it what is known of the type"),
        ("api_version", VERSION, Setter.ANYONE, "of Azure's API"),
        ("allow_http", Switch(), Setter.FILE, "an endpoint without TLS may be anywhere"),
        ("allow_private", Switch(), Setter.FILE, "a hosted type may be at a private address"),
        ("on_drift", OneOf(("warn", "sinbin")), Setter.ANYONE,
         "what to do when the same text gets another vector than before"),
    )
)  # fmt: skip
BY_NAME: Mapping[str, RowField] = {field.name: field for field in FIELDS}
DEFAULTS: Mapping[str, Any] = {
    one.name: one.default for one in fields(Row) if one.name not in ("name", "provider_type")
}
KEY_FIELDS = ("api_key_env_var", "api_key_env_vars")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a row: the field, and the reason."""

    field: str
    reason: str


class BadRow(Exception):
    """A row, or a change of one, that breaks the rules. Carries every fault found."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.reason}" for fault in faults))
        self.faults = tuple(faults)


def nearest(name: str, known: Sequence[str]) -> str:
    """`; did you mean X?` for the known name that is most like `name`, else nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def read_fields(given: Mapping[str, object]) -> dict[str, Any]:
    """The known fields of `given`, checked one by one; unknown ones are left out.

    None and the empty text mean that a field is to have its default. Raises BadRow.
    """
    taken: dict[str, Any] = {}
    faults = []
    for name, value in given.items():
        field = BY_NAME.get(name)
        if field is None:
            continue
        try:
            taken[name] = _take(field, value)
        except ValueError as error:
            faults.append(Fault(name, str(error)))
    if faults:
        raise BadRow(faults)
    return taken


def _take(field: RowField, value: object) -> Any:
    if value is None or value == "":
        if field.name not in DEFAULTS:
            raise ValueError("must not be empty")
        return DEFAULTS[field.name]
    return field.form.take(value)


def check_api_variables(variables: Sequence[str], allowed: Sequence[str]) -> None:
    """Refuse names of variables that the admin API may not use. Raises BadRow."""
    for variable in variables:
        if variable.startswith("EMR_"):
            reason = "EMR_* are this router's own secrets and never sent to a provider"
        elif not variable.endswith("_API_KEY") and variable not in allowed:
            reason = (
                "over the admin API only variables that end in _API_KEY may be named; list this"
                " one in server.key_variables, or add the provider in the configuration file"
            )
        else:
            continue
        raise BadRow([Fault("api_key_env_var", reason)])


@dataclass(frozen=True, slots=True)
class RowRules:
    """What a row must be, given the types of providers and the check of endpoints."""

    kinds: Mapping[str, Kind]
    check_endpoint: CheckEndpoint

    def make(self, given: Mapping[str, object], source: Source, created_at: str = "") -> Row:
        """A new row of the fields in `given`, completed by its type's defaults. Raises BadRow."""
        taken = read_fields(given)
        missing = [name for name in ("name", "provider_type") if name not in taken]
        if missing:
            raise BadRow([Fault(name, "is required") for name in missing])
        row = self.complete(Row(**taken, source=source, created_at=created_at))
        if any(given.get(name) is not None for name in KEY_FIELDS):
            return row
        return replace(row, api_key_env_var=self._own_variable(row))

    def change(self, row: Row, given: Mapping[str, object]) -> Row:
        """`row` with the fields in `given`; the name and the type stay. Raises BadRow."""
        taken = read_fields(given)
        for name in ("name", "provider_type"):
            if name in taken and taken[name] != getattr(row, name):
                raise BadRow([Fault(name, "cannot be changed; remove the provider and add it")])
        names_key = any(name in given for name in KEY_FIELDS)
        if names_key:  # whatever keys it had were given for what it was
            taken = {name: DEFAULTS[name] for name in KEY_FIELDS} | taken
        changed = self.complete(replace(row, **taken))
        if "endpoint" not in taken or changed.endpoint == row.endpoint:
            return changed
        if row.key_variables and not names_key:
            reason = (
                "a new endpoint needs api_key_env_var in the same change: a key goes only to the"
                " host it was given for"
            )
            raise BadRow([Fault("api_key_env_var", reason)])
        return self.complete(replace(changed, adopted=False))

    def _kind(self, name: str) -> Kind:
        kind = self.kinds.get(name)
        if kind is None:
            known = sorted(self.kinds)
            reason = f"is not a type of provider; known: {', '.join(known)}{nearest(name, known)}"
            raise BadRow([Fault("provider_type", reason)])
        return kind

    def _own_variable(self, row: Row) -> str:
        """The type's own variable, for its own endpoint alone."""
        kind = self._kind(row.provider_type)
        own = self.check_endpoint(kind.endpoint, kind, Leeway.NONE) if kind.endpoint else ""
        if kind.key_variable and row.endpoint != own:
            reason = (
                f"is required with an endpoint of your own (such as {kind.key_variable}; empty"
                " for a server that needs no key)"
            )
            raise BadRow([Fault("api_key_env_var", reason)])
        return kind.key_variable

    def complete(self, row: Row) -> Row:
        """`row` with its type's endpoint and model where it has none, held against the rules.

        Raises BadRow.
        """
        kind = self._kind(row.provider_type)
        if row.name == LOCAL and kind.name != LOCAL:
            raise BadRow([Fault("name", f"{LOCAL} is kept for the built-in model")])
        row = replace(
            row, endpoint=row.endpoint or kind.endpoint, model=row.model or kind.default_model
        )
        faults = list(_faults_between(row))
        if not row.model:
            faults.append(Fault("model", f"is required for {kind.name}"))
        if row.endpoint:
            try:
                row = replace(row, endpoint=self.check_endpoint(row.endpoint, kind, row.leeway))
            except ValueError as error:
                faults.append(Fault("endpoint", str(error)))
        elif kind.name != LOCAL:
            faults.append(Fault("endpoint", f"is required for {kind.name}"))
        if faults:
            raise BadRow(faults)
        return row

    def warnings(self, row: Row) -> tuple[str, ...]:
        """What is allowed, but will not do what was meant."""
        kind = self.kinds[row.provider_type]
        known = kind.models.get(row.model)
        longest = known.max_text_tokens if known else None
        limit = row.tokens_per_minute
        if row.max_tokens_per_text is None and limit and longest and longest > limit:
            return (
                f"tokens_per_minute {limit} is less than one text of {row.model} may have"
                f" ({longest} tokens); longer texts will be refused by the provider",
            )
        return ()


def _faults_between(row: Row) -> list[Fault]:
    faults = []
    if row.api_key_env_var and row.api_key_env_vars:
        faults.append(Fault("api_key_env_vars", "cannot stand beside api_key_env_var"))
    if len(row.weight) > 1 and len(row.weight) != len(row.api_key_env_vars):
        faults.append(Fault("weight", "a list needs one value for each of api_key_env_vars"))
    text, minute = row.max_tokens_per_text, row.tokens_per_minute
    if text is not None and minute is not None and text > minute:
        reason = f"{text} tokens a text are more than tokens_per_minute allows ({minute})"
        faults.append(Fault("max_tokens_per_text", reason))
    return faults
