"""One snapshot of all that runs; every view (health, status, lanes, metrics) is a projection of it.

Made by walking the places where things are: counts are lengths of these, so a view cannot say
something else than the router does. To look changes nothing: what only time ends is worked out for
the moment, and ended by the next step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from emr.control.history import Figures, History
from emr.control.rows import Row
from emr.lane.account import Account
from emr.lane.gate import LATCHES, Gate, Reason
from emr.lane.lane import Lane
from emr.lane.meter import Meter
from emr.lane.ticket import Batch, Params
from emr.lane.verdict import Dimension

ERRORS_DOWN, ERRORS_DEGRADED = 0.5, 0.1  # error rates above which a provider is so called
WORST_FIRST = (
    Reason.AUTH, Reason.QUOTA, Reason.BINNED, Reason.RAMP, Reason.RATE, Reason.BACKOFF,
    Reason.CLEAR,
)  # fmt: skip


class Status(Enum):
    """A provider's state in a word."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"
    SINBINNED = "sinbinned"


@dataclass(frozen=True, slots=True)
class LimitView:
    """A limit a minute: its value, where it comes from, and what of it the last minute used."""

    per_minute: float
    source: str  # configured, headers, learned or default
    used: float


@dataclass(frozen=True, slots=True)
class LaneView:
    """A lane: what waits in it, and what of it is in flight."""

    params: Mapping[str, object]
    requests: int
    texts: int
    tokens: int
    bytes: int
    calls_in_flight: int
    texts_in_flight: int


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account: its laws' state and its lanes. Times in seconds from now.

    `key` is the name of its key's variable. `closing`: its provider changed or went; what it holds
    is still sent.
    """

    provider: str
    scope: str
    key: str
    closing: bool
    gate: Reason
    gate_until_s: float
    message: str
    sinbin_left_s: float
    consecutive_failures: int
    slots: int
    in_flight: int
    k: int
    max_texts: int
    max_tokens: int
    max_bytes: int
    tokens_a_byte: float
    rtt_s: float
    retry_credits: float
    limits: Mapping[Dimension, LimitView]
    lanes: tuple[LaneView, ...]
    texts: int  # waiting
    calls: int

    @property
    def is_rested(self) -> bool:
        """Sin-binned, but the bin is over and nobody came to try it: nothing is known."""
        is_idle = not (self.in_flight or self.texts or self.gate_until_s or self.sinbin_left_s)
        return self.gate is Reason.BINNED and is_idle

    @property
    def may_serve(self) -> bool:
        """Whether a request that comes now may be answered."""
        if self.gate is Reason.BINNED:
            return self.is_rested
        return self.gate not in LATCHES


@dataclass(frozen=True, slots=True)
class ProviderView:
    """A provider's row with what its accounts do, and its figures over the rolling window.

    `accounts` are the open ones, `closing` those of the row as it was before; `first` is what will
    be opened by the first request. `drift` says how its vectors changed; it is `shut` when it gets
    no requests for that.
    """

    row: Row
    figures: Figures
    accounts: tuple[AccountView, ...]
    closing: tuple[AccountView, ...]
    first: tuple[AccountView, ...]
    failure_threshold: int
    drift: str = ""
    shut: bool = False

    @property
    def all_accounts(self) -> tuple[AccountView, ...]:
        """All in which something may wait or fly."""
        return self.accounts + self.closing

    @property
    def gate(self) -> Reason:
        """The worst gate of its accounts."""
        return worst(self.accounts)

    @property
    def has_failed_too_often(self) -> bool:
        """Whether so many calls in a row failed that the next will, too."""
        return self.figures.consecutive_failures >= self.failure_threshold

    @property
    def status(self) -> Status:
        """What the gate and the figures say."""
        if self.shut or self.gate is Reason.BINNED:
            return Status.SINBINNED
        if self.gate in LATCHES or self.has_failed_too_often:
            return Status.DOWN
        if self.figures.error_rate > ERRORS_DOWN:
            return Status.DOWN
        return Status.DEGRADED if self.figures.error_rate > ERRORS_DEGRADED else Status.HEALTHY

    @property
    def may_serve(self) -> bool:
        """Whether a request that comes now may be answered by any of its accounts.

        Not the same as its status: that tells of an hour, and of the worst account. A provider
        that failed most calls of the hour and answers again is down by the figures, and serves.
        """
        if self.shut:
            return False
        if not self.accounts:
            return True
        able = [account for account in self.accounts if account.may_serve]
        if any(account.is_rested for account in able):
            return True
        return bool(able) and not self.has_failed_too_often


@dataclass(frozen=True, slots=True)
class StoreView:
    """A place in which the cache keeps vectors: memory, or the file at `path`.

    `hits` are texts that were found there. `dropped` were not written, for the disk could not keep
    up. `trouble` is why the file is not used, or why its last write failed.
    """

    entries: int
    bytes: int
    max_bytes: int
    evictions: int
    hits: int
    path: str = ""
    dropped: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class CacheView:
    """The cache. `hits` and `misses` count texts; `scope` says whether keys share entries."""

    hits: int
    misses: int
    scope: str
    memory: StoreView
    disk: StoreView | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All providers that are enabled, and the process as a whole.

    `others` are accounts of none of these: of removed ones, and the built-in asked by its name.
    `cache` is None when it is switched off.
    """

    version: str
    uptime_s: float
    draining: bool
    storage_ok: bool
    active_keys: int
    connections: int
    requests_served: int
    texts_served: int
    provider_calls: int
    providers: tuple[ProviderView, ...]
    others: tuple[AccountView, ...]
    answers: Mapping[tuple[str, int], int]  # by route and status
    refusals: Mapping[str, int]  # by type
    histories: Mapping[str, History]  # by provider, those of removed ones too
    cache: CacheView | None = None

    @property
    def cache_hits(self) -> int:
        """The texts that were answered from the cache."""
        return 0 if self.cache is None else self.cache.hits

    @property
    def accounts(self) -> tuple[AccountView, ...]:
        """Every account that there is."""
        of_providers = (view for each in self.providers for view in each.all_accounts)
        return (*of_providers, *self.others)

    @property
    def status(self) -> str:
        """`ok`, `degraded` or `down`: whether all serve, some, or none."""
        if self.providers and not any(provider.may_serve for provider in self.providers):
            return "down"
        in_trouble = (Status.DOWN, Status.SINBINNED)
        troubled = any(provider.status in in_trouble for provider in self.providers)
        if troubled or not self.providers or not self.storage_ok:
            return "degraded"
        return "ok"


def worst(accounts: Iterable[AccountView]) -> Reason:
    """The worst gate of some accounts, CLEAR without any."""
    gates = {account.gate for account in accounts}
    return next((reason for reason in WORST_FIRST if reason in gates), Reason.CLEAR)


def view_account(account: Account, now: float) -> AccountView:
    """What an account does at this moment."""
    gate, caps = account.gate, account.caps
    reason = reason_of(gate, now)
    limits = {
        dimension: LimitView(meter.learner.w, source_of(meter), account.pace.used(dimension, now))
        for dimension, meter in account.pace.meters.items()
        if meter.learner.known
    }
    return AccountView(
        provider=account.spec.provider,
        scope=account.spec.scope,
        key=account.spec.key,
        closing=account.closed,
        gate=reason,
        gate_until_s=max(0.0, gate.until - now),
        message=gate.message if reason in LATCHES else "",
        sinbin_left_s=max(0.0, gate.bin.ends - now) if reason is Reason.BINNED else 0.0,
        consecutive_failures=gate.failures,
        slots=account.slots.limit,
        in_flight=len(account.flying),
        k=account.threshold.value,
        max_texts=caps.max_texts,
        max_tokens=caps.max_tokens,
        max_bytes=caps.max_bytes,
        tokens_a_byte=caps.tokens_a_byte,
        rtt_s=account.latency.rtt_s,
        retry_credits=account.credits.balance,
        limits=limits,
        lanes=view_lanes(account),
        texts=account.texts,
        calls=account.calls,
    )


def reason_of(gate: Gate, now: float) -> Reason:
    """Why the gate holds at this moment: RATE and BACKOFF are over when their time has come."""
    if gate.reason in (Reason.RATE, Reason.BACKOFF) and now >= gate.until:
        return Reason.RAMP if gate.ramping else Reason.CLEAR
    return gate.reason


def view_lanes(account: Account) -> tuple[LaneView, ...]:
    """The lanes in which something waits, or of which something is in flight."""
    flying: dict[Params, list[Batch]] = {params: [] for params in account.lanes}
    for batch in account.flying:
        flying.setdefault(batch.lane_params, []).append(batch)
    return tuple(
        view_lane(account.lanes.get(params) or Lane(params, ""), batches)
        for params, batches in flying.items()
    )


def view_lane(lane: Lane, batches: Iterable[Batch]) -> LaneView:
    """A lane; its parameters without the body of a request passed on whole."""
    params = {
        name: value
        for name, value in lane.params._asdict().items()
        if value not in (None, False) and name != "whole"
    }
    if lane.params.whole is not None:
        params["whole"] = True
    in_flight = [batch.texts for batch in batches]
    return LaneView(
        params,
        requests=len({id(ticket.request) for ticket in lane.waiting}),
        texts=lane.texts,
        tokens=lane.tokens,
        bytes=lane.bytes,
        calls_in_flight=len(in_flight),
        texts_in_flight=sum(in_flight),
    )


def source_of(meter: Meter) -> str:
    """Where a limit comes from."""
    learner = meter.learner
    if learner.learned and learner.w < learner.ceiling:
        return "learned"
    if meter.configured:
        return "configured"
    return "headers" if learner.announced_limit is not None else "default"
