"""One snapshot of all that runs; every view (health, status, lanes, metrics) is a projection of it.

Made by walking the places where things are: counts are lengths of these, so a view cannot say
something else than the router does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from emr.control.history import Figures, History
from emr.control.rows import Row
from emr.lane.account import Account
from emr.lane.gate import Reason
from emr.lane.lane import Lane
from emr.lane.pace import Meter
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
    """A lane with what waits in it."""

    params: dict[str, object]
    requests: int
    texts: int
    tokens: int
    bytes: int


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account: its laws' state and its lanes. Times in seconds from now."""

    provider: str
    scope: str
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


@dataclass(frozen=True, slots=True)
class ProviderView:
    """A provider's row with what its accounts do, and its figures over the rolling window."""

    row: Row
    figures: Figures
    accounts: tuple[AccountView, ...]
    failure_threshold: int

    @property
    def gate(self) -> Reason:
        """The worst gate of its accounts."""
        gates = {account.gate for account in self.accounts}
        return next((reason for reason in WORST_FIRST if reason in gates), Reason.CLEAR)

    @property
    def status(self) -> Status:
        """What the gate and the figures say."""
        if self.gate is Reason.BINNED:
            return Status.SINBINNED
        if self.gate in (Reason.AUTH, Reason.QUOTA):
            return Status.DOWN
        figures = self.figures
        if (
            figures.error_rate > ERRORS_DOWN
            or figures.consecutive_failures >= self.failure_threshold
        ):
            return Status.DOWN
        return Status.DEGRADED if figures.error_rate > ERRORS_DEGRADED else Status.HEALTHY

    @property
    def serves(self) -> bool:
        """Whether a request could be answered now."""
        return self.status in (Status.HEALTHY, Status.DEGRADED)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All providers that are enabled, and the process as a whole."""

    version: str
    uptime_s: float
    draining: bool
    storage_ok: bool
    active_keys: int
    connections: int
    requests_served: int
    texts_served: int
    provider_calls: int
    cache_hits: int
    providers: tuple[ProviderView, ...]
    answers: Mapping[tuple[str, int], int]  # by route and status
    refusals: Mapping[str, int]  # by type
    histories: Mapping[str, History]  # by provider, those of removed ones too

    @property
    def status(self) -> str:
        """`ok`, `degraded` or `down`: whether all serve, some, or none."""
        serving = [provider for provider in self.providers if provider.serves]
        if self.providers and not serving:
            return "down"
        if len(serving) < len(self.providers) or not self.providers or not self.storage_ok:
            return "degraded"
        return "ok"


def view_account(account: Account, now: float) -> AccountView:
    """What an account does at this moment."""
    gate, caps = account.gate, account.caps
    account.refresh(now)
    limits = {
        dimension: LimitView(meter.learner.w, source_of(meter), meter.sum)
        for dimension, meter in account.pace.meters.items()
        if meter.learner.known
    }
    return AccountView(
        provider=account.spec.provider,
        scope=account.spec.scope,
        gate=gate.reason,
        gate_until_s=max(0.0, gate.until - now),
        message=gate.message,
        sinbin_left_s=max(0.0, gate.bin_ends - now) if gate.reason is Reason.BINNED else 0.0,
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
        lanes=tuple(view_lane(lane) for lane in account.lanes.values()),
        texts=account.texts,
        calls=account.calls,
    )


def view_lane(lane: Lane) -> LaneView:
    """What waits in a lane; its parameters without the body of a request passed on whole."""
    params = {
        name: value
        for name, value in lane.params._asdict().items()
        if value not in (None, False) and name != "whole"
    }
    if lane.params.whole is not None:
        params["whole"] = True
    return LaneView(params, len(lane.waiting), lane.texts, lane.tokens, lane.bytes)


def source_of(meter: Meter) -> str:
    """Where a limit comes from."""
    learner = meter.learner
    if learner.learned and learner.w < learner.ceiling:
        return "learned"
    if meter.configured:
        return "configured"
    return "headers" if learner.announced_limit is not None else "default"


def view_provider(
    row: Row, figures: Figures, accounts: Iterable[Account], threshold: int, now: float
) -> ProviderView:
    """What a provider does at this moment."""
    views = tuple(view_account(account, now) for account in accounts)
    return ProviderView(row, figures, views, threshold)
