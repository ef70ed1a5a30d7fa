"""The limits a minute of one account: calls, tokens and texts, asked together and taken together.

An account is a key, or a model of a key (`Scope`). Limits may change at any time: what was
counted before stays counted. A thief, somebody else who uses the same key, takes a share of each
limit as far as there is room for him (`emr.fake.thief`).
`now` is seconds on a clock that does not go back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from random import Random

from emr.fake.forms.form import LimitState
from emr.fake.forms.words import Complaint
from emr.fake.limits import Limiter, Method
from emr.fake.settings import FakeSettings, Scope, method_of
from emr.fake.thief import Thief


class Charged(Enum):
    """What is counted; the values are the names in headers."""

    CALLS = "requests"
    TOKENS = "tokens"
    ITEMS = "inputs"


COMPLAINTS = {
    Charged.CALLS: Complaint.RATE_CALLS,
    Charged.TOKENS: Complaint.RATE_TOKENS,
    Charged.ITEMS: Complaint.RATE_ITEMS,
}
Amounts = Mapping[Charged, float]


@dataclass(frozen=True, slots=True)
class Over:
    """Which limit a call would pass, and how long until it would fit every limit."""

    charged: Charged
    limit: float
    used: float
    requested: float
    wait_s: float


def limits_of(s: FakeSettings) -> dict[Charged, float]:
    """The limits that are set."""
    limits = {Charged.CALLS: s.rpm, Charged.TOKENS: s.tpm, Charged.ITEMS: s.ipm}
    return {charged: limit for charged, limit in limits.items() if limit > 0.0}


class Quota:
    """What one account has used."""

    __slots__ = ("_limiters", "_limits", "_rng", "_thieves")

    def __init__(self, rng: Random) -> None:
        """`rng` draws when the thief comes."""
        self._rng = rng
        self._limiters: dict[Charged, Limiter] = {}
        self._limits: Mapping[Charged, float] = {}
        self._thieves: dict[Charged, Thief] = {}

    def rob(self, thief: float, now: float) -> None:
        """Let somebody else take his share, up to `now`."""
        for charged, limiter in self._limiters.items():
            one = self._thieves.get(charged)
            if one is None:
                calls = charged is Charged.CALLS
                one = self._thieves[charged] = Thief(self._rng, now, calls=calls)
            one.catch_up(limiter, thief, now)

    def adjust(self, limits: Mapping[Charged, float], method: Method) -> None:
        """Bring the limits up to date."""
        if limits.keys() != self._limits.keys():
            kept = self._limiters
            self._limiters = {c: kept.get(c) or method.limiter(limits[c]) for c in limits}
        self._limits = limits
        for charged, limiter in self._limiters.items():
            limiter.limit = limits[charged]

    def ask(self, amounts: Amounts, now: float) -> Over | None:
        """Take the amounts if all of them fit now; else say which does not, and take nothing."""
        worst: Charged | None = None
        wait = 0.0
        for charged, limiter in self._limiters.items():
            one = limiter.wait_s(amounts[charged], now)
            if one > wait:
                worst, wait = charged, one
        if worst is None:
            for charged, limiter in self._limiters.items():
                limiter.take(amounts[charged], now)
            return None
        limit = self._limits[worst]
        used = max(0.0, limit - self._limiters[worst].left(now))
        return Over(worst, limit, used, amounts[worst], wait)

    def count_failed(self, now: float) -> None:
        """A call that was refused or failed counts as a call all the same."""
        limiter = self._limiters.get(Charged.CALLS)
        if limiter is not None:
            limiter.take(1.0, now)

    def state(self, now: float) -> dict[str, LimitState]:
        """Where each limit stands."""
        return {
            charged.value: LimitState(
                self._limits[charged], limiter.left(now), limiter.reset_s(now)
            )
            for charged, limiter in self._limiters.items()
        }


class Quotas:
    """The quotas of all accounts."""

    __slots__ = ("_method", "_quotas", "_rng")

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)
        self._quotas: dict[tuple[str, str], Quota] = {}
        self._method: Method | None = None

    def of(self, key: str, model: str, settings: FakeSettings, now: float) -> Quota | None:
        """The quota of that account, up to date; None while no limit is set."""
        limits = limits_of(settings)
        if not limits:
            return None
        method = method_of(settings)
        if method != self._method:
            self._quotas.clear()  # another way of counting begins at nothing
            self._method = method
        name = (key, model if settings.scope is Scope.MODEL else "")
        quota = self._quotas.get(name)
        if quota is None:
            quota = self._quotas[name] = Quota(self._rng)
        quota.adjust(limits, method)
        quota.rob(settings.thief, now)
        return quota
