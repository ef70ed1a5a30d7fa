"""The gate of an account: not before `until`, because of `reason`, at most `width` in flight.

One gate instead of a breaker, a latch, a back-off and a Retry-After hold that know nothing of
each other; whoever asks why nothing goes gets one reason and one time.

Theory of operation. A verdict of a call changes the gate only when the call was sent after the
gate's last change (its *epoch*): sixteen calls in flight that all meet one outage are one event.
The one exception is a Retry-After, which always moves `until` out: the provider's wish is obeyed
by whichever reply it comes.

    CLEAR    nothing holds
    RATE     a rate limit was met; until the provider's time, or an interval of the limit, doubled
    BACKOFF  the provider's capacity is used up, or it asked for time with a 5xx
    BINNED   the sin-bin: `failure_threshold` broken calls in a row. With a healthy twin its work
             goes there, and it is probed at leisure. A provider alone is never shut: one small
             call at a time, at most 2 s apart, made of callers' own requests
    RAMP     after BINNED, AUTH or QUOTA: the slots start again from one
    AUTH     the credential is refused; one real ticket tries again after 30 s, doubling to 1 h
    QUOTA    the account has nothing left; as AUTH

Refused: shutting a lone provider for the length of a bin. At 10% errors five in a row come often
enough that a shut gate serves 0.98 of an hour, at 20% 0.44, at 30% 0.03.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from emr.lane.settings import LaneSettings
from emr.lane.sinbin import PROBE_FIRST_S, SinBin, doubled
from emr.lane.verdict import Ending, Verdict

if TYPE_CHECKING:
    from random import Random


NO_LIMIT = 1 << 30
RETRY_AFTER_MAX_S = 3600.0  # a longer one counts as an hour: no provider means a day
RATE_WAIT_MAX_S = 60.0  # the longest window in which providers count
BACKOFF_MIN_S, BACKOFF_MAX_S = 0.1, 2.0
PROBE_TEXTS = 8  # a probe is small: it may be lost
LATCH_FIRST_S, LATCH_MAX_S = 30.0, 3600.0
FORGIVEN_S = 60.0  # a bin is forgotten, and a ramp over, after a minute without a failure
JITTER = 0.1  # of a wait, added after it so that no wait is ever shortened
JITTER_MAX_S = 1.0


class Reason(Enum):
    """Why the gate holds. Listed from the best to the worst, as views show the worst."""

    CLEAR = "CLEAR"
    BACKOFF = "BACKOFF"
    RATE = "RATE"
    RAMP = "RAMP"
    BINNED = "BINNED"
    QUOTA = "QUOTA"
    AUTH = "AUTH"


LATCHES = (Reason.AUTH, Reason.QUOTA)
TRIED_AGAIN = (Reason.BINNED, Reason.AUTH, Reason.QUOTA)


@dataclass(slots=True)
class Known:
    """What the gate is told of its account.

    `rtt_s` is the smoothed time of a call, `interval_s` the time between calls at its limit (1 s
    when that is not known), `twin` whether another member of its family is healthy.
    """

    rtt_s: float
    interval_s: float
    twin: bool = False


class Gate:
    """The gate's whole state; `settle` is the only door for verdicts, `refresh` for time."""

    __slots__ = (
        "_forgive_at", "_latched", "_overload_since", "_rng", "_same", "_same_times", "_settings",
        "bin", "epoch", "failed_first_at", "failures", "message", "ramping", "reason", "status",
        "until",
    )  # fmt: skip

    def __init__(self, settings: LaneSettings, rng: Random) -> None:
        self._settings = settings
        self._rng = rng
        self.clear()

    def clear(self) -> None:
        """Start anew, as at the beginning: a changed key, a reload, `providers test`."""
        self.reason = Reason.CLEAR
        self.until = 0.0
        self.epoch = getattr(self, "epoch", 0) + 1
        self.message = ""  # of AUTH and QUOTA: the provider's own words
        self.status: int | None = None
        # the streak that leads to a bin, and the bin
        self.failures = 0
        self.failed_first_at = 0.0
        self.bin = SinBin(self._settings)
        self._forgive_at = 0.0
        self.ramping = False
        # epochs in a row that ended in the same verdict
        self._same: Ending | None = None
        self._same_times = 0
        self._latched = 0
        self._overload_since: float | None = None

    @property
    def width(self) -> int:
        """The most calls that may be in flight, whatever the slots say."""
        return 1 if self.reason in TRIED_AGAIN else NO_LIMIT

    def refresh(self, now: float) -> bool:
        """Let what only time ends come to its end; True when a ramp ended so."""
        ramped = False
        if self.reason in (Reason.RATE, Reason.BACKOFF) and now >= self.until:
            self.reason = Reason.RAMP if self.ramping else Reason.CLEAR
        if self.ramping and self.reason is Reason.RAMP and now >= self._forgive_at:
            self.end_ramp()
            ramped = True
        if self.bin.times and self.reason is not Reason.BINNED and now >= self._forgive_at:
            self.bin.times = 0
        return ramped

    def troubled(self, now: float) -> None:
        """The slots were cut: a ramp goes on for another minute."""
        if self.ramping:
            self._forgive_at = now + FORGIVEN_S

    def end_ramp(self) -> None:
        """The slots are back at their first value, or a minute passed without a failure."""
        self.ramping = False
        if self.reason is Reason.RAMP:
            self.reason = Reason.CLEAR

    def settle(self, verdict: Verdict, epoch: int, now: float, known: Known) -> None:
        """Take in how a call ended that was sent in `epoch`."""
        ending = verdict.ending
        self.bin.twin = known.twin
        asked = _asked(verdict)
        if epoch != self.epoch:
            if asked is not None:
                self._move_out(ending, now + asked)
            if ending is Ending.OK:
                # the gate stays, but a row that a success broke is none: its answer takes longer
                self._overload_since = None
                if self.reason is not Reason.BINNED:
                    self.failures = 0
                if epoch == self.epoch - 1:
                    self._same = None
            return
        self._count_same(ending, now)
        if ending in (Ending.AUTH, Ending.QUOTA):
            self._latch(verdict, now)
        elif self.reason in TRIED_AGAIN and _is_refused_probe(self, ending):
            self._probe_failed(now, asked)
        elif ending is Ending.TRANSIENT:
            self._transient(now, known.rtt_s, asked)
        elif ending is not Ending.PROTOCOL:
            self._succeed(now)
            if ending is Ending.RATE:
                self._rate(now, asked, known.interval_s)
            elif ending is Ending.OVERLOAD:
                self._overload(now, asked)

    # what a verdict does

    def _succeed(self, now: float) -> None:
        """The provider answered, whatever it said: it is there."""
        self.failures = 0
        if self.reason in TRIED_AGAIN:
            self.epoch += 1
            self.reason = Reason.RAMP
            self.ramping = True
            self._latched = 0
            self._forgive_at = now + FORGIVEN_S
            if self.until > now:  # a Retry-After came while the probe was out
                self.reason = Reason.BACKOFF

    def _rate(self, now: float, asked: float | None, interval_s: float) -> None:
        own = min(RATE_WAIT_MAX_S, interval_s * doubled(self._same_times))
        wait = own if asked is None else asked
        if self._same_times > 0:
            wait = max(wait, own)
        self._hold(Reason.RATE, now + wait + _jitter(self._rng, wait))

    def _overload(self, now: float, asked: float | None) -> None:
        if self.ramping:
            self._forgive_at = now + FORGIVEN_S
        since = self._overload_since
        if since is not None and now - since >= self._settings.binned_wait_s:
            self._bin(Ending.OVERLOAD, now, asked)
            return
        most = min(BACKOFF_MAX_S, BACKOFF_MIN_S * doubled(self._same_times))
        wait = self._rng.uniform(BACKOFF_MIN_S, most) if asked is None else asked
        self._hold(Reason.BACKOFF, now + wait)

    def _transient(self, now: float, rtt_s: float, asked: float | None) -> None:
        if self.failures == 0:
            self.failed_first_at = now
        self.failures += 1
        if self.ramping:
            self._forgive_at = now + FORGIVEN_S
        # errors come back faster than successes: of 16 calls at 50% errors the failures arrive
        # first, so a streak within 2 RTT says nothing yet
        if (
            self.failures >= self._settings.failure_threshold
            and now - self.failed_first_at >= 2.0 * rtt_s
        ):
            self._bin(Ending.TRANSIENT, now, asked)
        elif asked is not None:
            self._hold(Reason.BACKOFF, now + asked)

    def _bin(self, by: Ending, now: float, asked: float | None) -> None:
        self.epoch += 1
        self.reason = Reason.BINNED
        self.bin.start(by, now)
        self.until = max(self.until, now + self.bin.probe_wait(now), now + (asked or 0.0))
        self.ramping = False
        self._forgive_at = now + FORGIVEN_S

    def _probe_failed(self, now: float, asked: float | None) -> None:
        if self.reason in LATCHES:
            self.until = max(self.until, now + self._latch_s(), now + (asked or 0.0))
            return
        self.failures += 1
        self._forgive_at = now + FORGIVEN_S
        self.bin.probe_failed(now)
        wait = self.bin.probe_wait(now)
        self.until = max(self.until, now + wait, now + (asked or 0.0))

    def left_alone(self, now: float) -> None:
        """No twin is healthy any more: tried again as often as a provider alone is."""
        if self.reason is Reason.BINNED and self.bin.left_alone():
            self.until = min(self.until, now + PROBE_FIRST_S)

    def _latch(self, verdict: Verdict, now: float) -> None:
        reason = Reason.AUTH if verdict.ending is Ending.AUTH else Reason.QUOTA
        self._latched = self._latched + 1 if self.reason in LATCHES else 1
        self.epoch += 1
        self.reason = reason
        self.until = now + self._latch_s()
        self.message, self.status = verdict.message, verdict.status
        self.ramping = False

    def _latch_s(self) -> float:
        return min(LATCH_MAX_S, LATCH_FIRST_S * doubled(self._latched - 1))

    # helpers

    def _count_same(self, ending: Ending, now: float) -> None:
        if ending is Ending.PROTOCOL:
            return
        self._same_times = self._same_times + 1 if ending is self._same else 0
        self._same = ending
        if ending is not Ending.OVERLOAD:
            self._overload_since = None
        elif self._overload_since is None:
            self._overload_since = now

    def _hold(self, reason: Reason, until: float) -> None:
        """Of RATE and BACKOFF the later `until` wins; both lie over RAMP and return to it."""
        if self.reason in (Reason.RATE, Reason.BACKOFF) and self.until >= until:
            return
        self.epoch += 1
        self.reason = reason
        self.until = until

    def _move_out(self, ending: Ending, until: float) -> None:
        if until <= self.until:
            return
        if self.reason in (Reason.CLEAR, Reason.RAMP):
            self.reason = Reason.RATE if ending is Ending.RATE else Reason.BACKOFF
        self.until = until


def _asked(verdict: Verdict) -> float | None:
    """The provider's Retry-After; zero, negative and unreadable ones count as absent."""
    if verdict.ending not in (Ending.RATE, Ending.OVERLOAD, Ending.TRANSIENT):
        return None
    asked = verdict.retry_after
    if asked is None or not asked > 0.0:
        return None
    return min(asked, RETRY_AFTER_MAX_S)


def _is_refused_probe(gate: Gate, ending: Ending) -> bool:
    if ending is Ending.OVERLOAD:
        return gate.reason is Reason.BINNED and gate.bin.by is Ending.OVERLOAD
    return ending in (Ending.TRANSIENT, Ending.PROTOCOL)


def _jitter(rng: Random, wait: float) -> float:
    return rng.uniform(0.0, min(JITTER_MAX_S, JITTER * wait))
