"""One limit of an account, its meter: what of it was used, and from when on more may be.

The log's sum is exact over the minute before; the virtual clock is where everything charged so
far is paid for (`emr.lane.pace` says why both).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from emr.lane.learner import Learner
from emr.lane.verdict import Dimension

WINDOW_S = 60.0
CALLS, TOKENS, ITEMS = Dimension.CALLS, Dimension.TOKENS, Dimension.ITEMS


class Entry:
    """What one call counts against the limits."""

    __slots__ = ("bunched", "cost", "landed_at", "mark", "refused")

    def __init__(self, cost: dict[Dimension, float]) -> None:
        self.cost = cost
        self.mark: dict[Dimension, float] = {}  # all charged up to it, itself included
        self.landed_at = math.inf
        self.refused = False
        self.bunched = False  # another went with it, or much sooner than at the limit's own pace


class Meter:
    """One limit: its value, the sum of the log, its virtual clock, and what a header said."""

    __slots__ = (
        "charged", "configured", "dimension", "due", "held_by_log", "learner", "left", "sum",
    )  # fmt: skip

    def __init__(self, dimension: Dimension, learner: Learner, *, configured: bool) -> None:
        self.dimension = dimension
        self.learner = learner
        self.configured = configured
        self.sum = 0.0  # of the log
        self.due = 0.0  # GCRA: when everything charged so far is paid for
        self.held_by_log = False  # the log, not the virtual clock, holds the next call back
        self.charged = 0.0  # in all, ever
        self.left: tuple[float, float, float] | None = None  # what a header said: (at, left, mark)

    @property
    def room(self) -> float:
        """What the log of the last minute leaves of the limit."""
        return self.learner.cap - self.sum if self.learner.known else math.inf

    def unit_s(self, rtt_s: float) -> float:
        """The time of the virtual clock that one call, token or item takes."""
        return (WINDOW_S + rtt_s) / self.learner.w

    def wait(
        self, cost: float, burst: float, unit_s: float, landed: Iterable[Entry], now: float
    ) -> float:
        """Seconds until `cost` may go; infinite: after a reply."""
        wait = self._log_wait(cost, landed, now)
        if cost <= burst:
            paid = max(self.due, now) + (cost - burst) * unit_s - now
        else:
            paid = self.due - now
        if max(wait, paid) > 1e-9:  # else it goes, and why it waited until now is to be kept
            self.held_by_log = wait > paid
            wait = max(wait, paid)
        if self.left is not None:
            at, left, mark = self.left
            short = cost - (left - (self.charged - mark))
            wait = max(wait, at + short * WINDOW_S / self.learner.w - now)
        return wait

    def _log_wait(self, cost: float, landed: Iterable[Entry], now: float) -> float:
        over = self.sum + cost - max(self.learner.cap, cost)
        if over <= 1e-9:
            return 0.0
        for entry in landed:
            over -= entry.cost[self.dimension]
            if over <= 1e-9:
                return max(0.0, entry.landed_at + WINDOW_S - now)
        return math.inf

    def room_now(self, burst: float, unit_s: float, now: float) -> float:
        """What may go this instant: at most the log's room, and what the burst leaves."""
        if self.due <= now:
            return self.room
        return min(self.room, burst - (self.due - now) / unit_s)

    def book(self, cost: float) -> None:
        """Count what goes, or a correction of what went."""
        self.sum += cost
        self.charged += cost

    def owe(
        self, cost: float, unit_s: float, now: float, *, made_up: bool, late_s: float = 0.0
    ) -> None:
        """Charge the virtual clock, which starts now when nothing is owed.

        When `made_up` the time in which the log held a call back is made up for, up to the call's
        own: else each irregularity, which the log repeats every minute, would be lost again every
        minute (0.957 of a limit of 150,000 tokens instead of 0.98). So is what a timer was late, up
        to `late_s`; what is later than that waited for something else.
        """
        takes_s = cost * unit_s
        since = now - max(0.0, takes_s) if made_up and self.held_by_log else now
        if now - late_s <= self.due:
            since = self.due
        self.due = max(self.due, since) + takes_s
