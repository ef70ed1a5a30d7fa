"""The accounts of the providers that are registered: opened when first asked for, closed on change.

An account is one key of a provider at one limit scope: a model, or the whole organisation where the
type's row says so. It is made of the provider's row, what is known of its type, and the key's value
at that time.

Rules of this file
- A row that changes closes those accounts that would be others if they were opened for it now: what
  they hold is still sent as it was taken, and the next request opens new ones. A change that does
  not touch them (a price, a further model) leaves them what they have learned.
- The table of rows is replaced by the store's thread, and whoever is told of it hears of it a turn
  of the loop later. So an account is held against the row it is asked for, each time.
- A key that was not found is not looked for again, until the sources of keys are read anew: looking
  reads files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Protocol

from emr.control.rows import Row
from emr.lane.account import Account
from emr.lane.refusal import Refusal, Refused
from emr.lane.settings import AccountSpec, Home, LimitSpec
from emr.lane.verdict import Dimension
from emr.pump import Pump
from emr.upstream.call import Caller
from emr.upstream.kinds import Kind, Model

ANY_SIZE = 1 << 40  # no cap known
KEYLESS = ("",)  # the one account of a provider that needs no key


@dataclass(frozen=True, slots=True)
class Makers:
    """What turns a row into calls.

    `kinds` is the table of types. `key` finds the value of a key variable, None when it is not
    set. `caller` makes what calls the row's endpoint with a credential (empty: none needed), and
    raises Refused for one that cannot be sent; `home` tells where it runs.
    """

    kinds: Mapping[str, Kind]
    key: Callable[[str], str | None]
    caller: Callable[[Row, str], Caller]
    home: Callable[[Row], Home]


class Memory(Protocol):
    """What earlier accounts learned."""

    def tell(self, row: Row, account: Account) -> None:
        """An account is opened: let it know."""

    def show(self, row: Row, account: Account) -> None:
        """An account is made for views: let it know what an opened one would."""


class NoMemory:
    """Nothing is known of earlier accounts."""

    def tell(self, row: Row, account: Account) -> None:
        """See Memory."""

    def show(self, row: Row, account: Account) -> None:
        """See Memory."""


@dataclass(slots=True)
class Opened:
    """An open account, with the row, the model and the key that it was opened for."""

    row: Row
    model: str
    credential: str
    account: Account


Place = tuple[str, str, str]  # provider name, scope, key variable


class Accounts:
    """The open accounts. `version` grows whenever `members` may give others."""

    def __init__(self, pump: Pump, makers: Makers, learned: Memory | None = None) -> None:
        self._pump = pump
        self._makers = makers
        self._learned = learned or NoMemory()
        self._opened: dict[Place, Opened] = {}
        self._unusable: dict[tuple[str, str], str] = {}  # by provider and key variable: why
        # what `members` gave, by provider and scope, while nothing changes
        self._members: dict[tuple[str, str], tuple[Row, tuple[Account, ...]]] = {}
        self.version = 0

    def members(self, row: Row, model: str) -> tuple[Account, ...]:
        """The accounts of a provider for a model, one a key. Raises Refused: no key is usable."""
        scope = self._scope(row, model)
        known = self._members.get((row.name, scope))
        if known is not None and known[0] is row:
            return known[1]
        found: list[Account] = []
        for variable in row.key_variables or KEYLESS:
            opened = self._opened.get((row.name, scope, variable))
            if opened is not None and not self._fits(opened, row):
                self._close((row.name, scope, variable))
                opened = None
            opened = opened or self._open(row, model, variable)
            if opened is not None:
                found.append(opened.account)
        if not found:
            raise Refused(self._no_key(row))
        members = tuple(found)
        self._members[row.name, scope] = (row, members)
        return members

    def unusable(self, row: Row) -> list[str]:
        """Why keys of a provider cannot be used, one sentence each."""
        for variable in row.key_variables:
            self._credential(row, variable)
        return [
            f"{variable} {self._unusable[row.name, variable]}"
            for variable in row.key_variables
            if (row.name, variable) in self._unusable
        ]

    def spec(self, row: Row, model: str, variable: str) -> AccountSpec:
        """What is known of an account before its first call."""
        kind = self._makers.kinds[row.provider_type]
        known = kind.models.get(model, Model())
        weights = row.weight or (1.0,)
        number = row.key_variables.index(variable) if variable else 0
        return AccountSpec(
            provider=row.name,
            scope=self._scope(row, model),
            key=variable,
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
        return [opened.account for place, opened in self._opened.items() if place[0] == provider]

    def of_first(self, row: Row) -> list[Account]:
        """The accounts that the first request to a provider will open, for views."""
        settings = self._pump.roster.settings
        accounts = [
            Account(self.spec(row, row.model, variable), settings, Random())
            for variable in row.key_variables or KEYLESS
        ]
        for account in accounts:
            self._learned.show(row, account)
        return accounts

    def all(self) -> list[tuple[Row, Account]]:
        """The open accounts of all providers, with their rows."""
        return [(opened.row, opened.account) for opened in self._opened.values()]

    def changed(self, rows: Mapping[str, Row | None]) -> set[str]:
        """These rows are others now, None for one that went; the names that lost an account."""
        lost: set[str] = set()
        for fault in [fault for fault in self._unusable if fault[0] in rows]:
            del self._unusable[fault]
        for place, opened in list(self._opened.items()):
            if place[0] in rows:
                row = rows[place[0]]
                if row is None or not row.enabled or not self._fits(opened, row):
                    self._close(place)
                    lost.add(place[0])
        return lost

    def keys_may_have_changed(self) -> None:
        """The sources of keys were read anew: accounts of another value are closed."""
        self._unusable.clear()
        self._members.clear()
        self.version += 1
        for place, opened in list(self._opened.items()):
            if place[2] and self._makers.key(place[2]) != opened.credential:
                self._close(place)

    def reset(self, row: Row) -> None:
        """Forget what is held against a provider, and look for its keys anew."""
        for variable in row.key_variables:
            self._unusable.pop((row.name, variable), None)
        self._members.clear()
        self.version += 1
        for account in self.of(row.name):
            self._pump.reset(account)

    # one account

    def _scope(self, row: Row, model: str) -> str:
        return "" if self._makers.kinds[row.provider_type].organisation_wide else model

    def _open(self, row: Row, model: str, variable: str) -> Opened | None:
        """A new account; None when its key cannot be used."""
        credential = self._credential(row, variable)
        if credential is None:
            return None
        try:
            caller = self._makers.caller(row, credential)
        except Refused as refused:
            if not variable:
                raise
            self._unusable[row.name, variable] = f"cannot be used: {refused.refusal.message}"
            return None
        spec = self.spec(row, model, variable)
        opened = Opened(row, model, credential, self._pump.open(spec, caller))
        self._learned.tell(row, opened.account)
        self._opened[row.name, spec.scope, variable] = opened
        self.version += 1
        return opened

    def _credential(self, row: Row, variable: str) -> str | None:
        """The value of a key variable, empty where none is needed."""
        if not variable:
            return ""
        if (row.name, variable) in self._unusable:
            return None
        credential = self._makers.key(variable)
        if credential is None:
            self._unusable[row.name, variable] = "is not set, or not usable"
        return credential

    def _fits(self, opened: Opened, row: Row) -> bool:
        """Whether an open account is what it would be if it were opened for `row` now."""
        old, variable = opened.row, opened.account.spec.key
        if old is row:
            return True
        if (variable not in row.key_variables) if variable else row.key_variables:
            return False
        fits = _endpoint(old) == _endpoint(row) and (
            opened.account.spec == self.spec(row, opened.model, variable)
        )
        if fits:
            opened.row = row
        return fits

    def _close(self, place: Place) -> None:
        self._pump.close(self._opened.pop(place).account)
        self._members.pop(place[:2], None)
        self.version += 1

    def _no_key(self, row: Row) -> Refusal:
        """What is told when no key of a provider can be used."""
        return Refusal(
            "provider_error",
            f"{row.name} has no key: {'; '.join(self.unusable(row))}. Set it in the environment of"
            " emr, as a credential, or in ~/.config/emr/.env, and reload",
            final=True,
        )


def _endpoint(row: Row) -> tuple[object, ...]:
    """Where calls go, and in which words."""
    return row.provider_type, row.endpoint, row.api_version, row.leeway


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
