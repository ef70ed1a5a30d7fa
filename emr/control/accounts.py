"""The accounts of the providers that are registered: opened when first asked for, closed on change.

An account is one key of a provider at one limit scope: a model, or the whole organisation where the
type's row says so. It is made of the provider's row, what is known of its type, and the key's value
at that time. A row that changes closes its accounts: what they hold is still sent as it was taken,
and the next request opens new ones. A key whose value changed (a reload) does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from emr.control.rows import Row
from emr.lane.account import Account
from emr.lane.refusal import Refusal, Refused
from emr.lane.settings import AccountSpec, Home, LimitSpec
from emr.lane.verdict import Dimension
from emr.pump import Pump
from emr.upstream.call import Caller
from emr.upstream.kinds import Kind, Model

ANY_SIZE = 1 << 40  # no cap known


@dataclass(frozen=True, slots=True)
class Makers:
    """What turns a row into calls.

    `kinds` is the table of types. `key` finds the value of a key variable, None when it is not
    set. `caller` makes what calls the row's endpoint with a credential (empty: none needed);
    `home` tells where it runs.
    """

    kinds: Mapping[str, Kind]
    key: Callable[[str], str | None]
    caller: Callable[[Row, str], Caller]
    home: Callable[[Row], Home]


@dataclass(slots=True)
class Opened:
    """An open account, with the row and the key that it was opened for."""

    row: Row
    variable: str
    credential: str
    account: Account


class Accounts:
    """The open accounts, by provider name, scope and key variable."""

    def __init__(self, pump: Pump, makers: Makers) -> None:
        self._pump = pump
        self._makers = makers
        self._opened: dict[tuple[str, str, str], Opened] = {}

    def members(self, row: Row, model: str) -> tuple[Account, ...]:
        """The accounts of a provider for a model, one a key. Raises Refused: a key is not set."""
        scope = "" if self._makers.kinds[row.provider_type].organisation_wide else model
        found: list[Account] = []
        missing: list[str] = []
        for number, variable in enumerate(row.key_variables or ("",)):
            opened = self._opened.get((row.name, scope, variable))
            if opened is None:
                credential = self._makers.key(variable) if variable else ""
                if credential is None:
                    missing.append(variable)
                    continue
                opened = self._open(row, model, scope, number, credential)
            found.append(opened.account)
        if not found:
            raise Refused(no_key(row, missing))
        return tuple(found)

    def _open(self, row: Row, model: str, scope: str, number: int, credential: str) -> Opened:
        variable = row.key_variables[number] if row.key_variables else ""
        caller = self._makers.caller(row, credential)
        account = self._pump.open(self.spec(row, model, scope, number), caller)
        opened = Opened(row, variable, credential, account)
        self._opened[row.name, scope, variable] = opened
        return opened

    def spec(self, row: Row, model: str, scope: str, number: int) -> AccountSpec:
        """What is known of an account before its first call."""
        kind = self._makers.kinds[row.provider_type]
        known = kind.models.get(model, Model())
        weights = row.weight or (1.0,)
        return AccountSpec(
            provider=row.name,
            scope=scope,
            home=self._makers.home(row),
            max_texts=row.max_texts_per_request or kind.max_texts or ANY_SIZE,
            max_tokens=known.max_call_tokens or kind.max_tokens or ANY_SIZE,
            max_bytes=kind.max_bytes or ANY_SIZE,
            max_concurrency=row.max_concurrency,
            limits=limits_of(row, kind, known),
            dimensions=lengths_of(row, kind),
            weight=weights[number % len(weights)],
        )

    def of(self, provider: str) -> list[Account]:
        """The open accounts of a provider."""
        return [each.account for each in self._opened.values() if each.row.name == provider]

    def changed(self, names: Iterable[str]) -> None:
        """These providers' rows changed, or went."""
        gone = set(names)
        for at, opened in list(self._opened.items()):
            if opened.row.name in gone:
                self._close(at)

    def keys_may_have_changed(self) -> None:
        """The sources of keys were read anew: accounts of another value are closed."""
        for at, opened in list(self._opened.items()):
            if opened.variable and self._makers.key(opened.variable) != opened.credential:
                self._close(at)

    def reset(self, provider: str) -> None:
        """Forget what is held against a provider."""
        for account in self.of(provider):
            self._pump.reset(account)

    def _close(self, at: tuple[str, str, str]) -> None:
        self._pump.close(self._opened.pop(at).account)


def no_key(row: Row, missing: Iterable[str]) -> Refusal:
    """What is told when no key variable of a provider is set."""
    names = " or ".join(missing)
    return Refusal(
        "provider_error",
        f"{row.name} has no key: set {names} in the environment of emr, as a credential, or in "
        "~/.config/emr/.env, and reload",
        final=True,
    )


def lengths_of(row: Row, kind: Kind) -> dict[str, int]:
    """The default length of vectors of each model, where it is known."""
    lengths = {name: known.dimensions[0] for name, known in kind.models.items() if known.dimensions}
    if row.dimensions:
        lengths[row.model] = row.dimensions[0]
    return lengths


def limits_of(row: Row, kind: Kind, model: Model) -> dict[Dimension, LimitSpec]:
    """The limits a minute: the operator's word, else a guess from the table."""
    told = {
        Dimension.CALLS: (row.requests_per_minute, model.calls_per_minute, kind.calls_per_minute),
        Dimension.TOKENS: (row.tokens_per_minute, model.tokens_per_minute, kind.tokens_per_minute),
        Dimension.ITEMS: (row.items_per_minute, None, kind.items_per_minute),
    }
    limits: dict[Dimension, LimitSpec] = {}
    for dimension, (configured, of_model, of_kind) in told.items():
        if configured is not None:
            limits[dimension] = LimitSpec(configured, True)
        elif of_model or of_kind:
            limits[dimension] = LimitSpec(of_model or of_kind or 0.0, False)
    return limits
