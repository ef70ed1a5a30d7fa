"""Pace: when a call may go, by the limits a minute of its account: calls, tokens, items.

Two devices for each limit, because each alone fails. A *log* of what was sent is the hard cap: an
entry lives from sending to receipt + 60 s, so that wherever between the two the provider booked it,
no window of its can exceed the limit. A *virtual clock* (GCRA) spreads the calls over the minute:
interactive texts wait for a turn, not for a minute, and limits by the second hold too. It runs at
limit / (60 s + RTT), a little slower than the log empties, or the log would bind first.

A batch larger than the burst goes when nothing is owed, one larger than the limit when the log is
empty; both are charged in full and the next one waits longer.

Source of GCRA: ITU-T I.371. Refused: a token bucket alone (to be safe against a sliding window it
must run at limit less burst: half of a 10,000-token tier is lost).
"""

from __future__ import annotations

import math
from collections import deque

from emr.lane.fill import Filling
from emr.lane.learner import Learner
from emr.lane.lessons import Lessons
from emr.lane.meter import CALLS, ITEMS, TOKENS, WINDOW_S, Entry, Meter
from emr.lane.settings import AccountSpec
from emr.lane.ticket import Batch
from emr.lane.verdict import Dimension, Limits, Verdict

BURST_S = 0.5  # of a limit may go at once
BURST_OF_FEW_S = 6.0
BURST_CALLS = 2.0  # the call that is due, and one that was missed
TINY = 10.0  # calls a minute: on such a tier the minute before the start counts
OBSERVED_S = 60.0  # what a header said of what is left is forgotten
BUNCHED = 0.5  # of the time between calls at the limit
LATE = 0.4  # of it may be made up for: two calls are then further apart than bunched ones
EVEN_S = 60.0  # after an interactive request others are likely
NEARLY = 0.9  # of an even call: less is left to be filled up (calls stay full; 0.5 doubles them)


class Pace:
    """The limits of one account."""

    __slots__ = (
        "_flying", "_landed", "_last", "_refreshed_at", "_sent_at", "even_until", "lessons",
        "meters", "rtt_s",
    )  # fmt: skip

    def __init__(self, spec: AccountSpec) -> None:
        self.rtt_s = 0.0
        self.even_until = -math.inf  # interactive texts came: calls are spread evenly until then
        self.meters = {dimension: _meter(dimension, spec) for dimension in Dimension}
        self.lessons = Lessons(self.meters)
        self._flying: dict[Batch, Entry] = {}
        self._landed: deque[Entry] = deque()
        self._last: Entry | None = None  # of the call sent last, and when
        self._sent_at = 0.0
        self._refreshed_at = -math.inf

    # what is known

    @property
    def calls_per_minute(self) -> float | None:
        """The limit in calls, None while it is not known."""
        w = self.meters[CALLS].learner.w
        return w if w < math.inf else None

    @property
    def interval_s(self) -> float:
        """The time between calls at the limit; 1 s when it is not known."""
        limit = self.calls_per_minute
        return 60.0 / limit if limit else 1.0

    def share(self, dimension: Dimension) -> float:
        """What one call has of a limit when calls and that are used up together."""
        calls, other = self.meters[CALLS].learner.w, self.meters[dimension].learner.w
        return other / calls if calls < math.inf and other < math.inf else 0.0

    def used(self, dimension: Dimension, now: float) -> float:
        """What of a limit the minute before `now` used. For views: it changes nothing."""
        meter = self.meters[dimension]
        old = (entry.cost[dimension] for entry in self._landed if _left_the_log(entry, now))
        return meter.sum - sum(old)

    # when

    def wait(self, now: float, tokens: float, items: float, burst_s: float = BURST_S) -> float:
        """Seconds until a call with so many tokens and items may go; infinite: after a reply."""
        self.refresh(now)
        wait = 0.0
        for dimension, cost in ((CALLS, 1.0), (TOKENS, tokens), (ITEMS, items)):
            meter = self.meters[dimension]
            if meter.learner.known:
                burst, unit_s = self._burst(dimension, burst_s), meter.unit_s(self.rtt_s)
                needed = meter.wait(cost, burst, unit_s, self._landed, now)
                if needed > 0.0:
                    meter.learner.reached(now + min(needed, WINDOW_S))
                wait = max(wait, needed)
        return wait

    def _burst(self, dimension: Dimension, burst_s: float) -> float:
        w = self.meters[dimension].learner.w
        if dimension is CALLS:
            return 1.0 if self.lessons.burst_one else max(BURST_CALLS, w * BURST_S / WINDOW_S)
        return max(w * burst_s / WINDOW_S, self.share(dimension))

    # how large

    def evenly(self, dimension: Dimension, cap: float) -> float:
        """The most of a call so that whole calls use the limit up: limit / ceil(limit / cap).

        What the log leaves, when that is nearly a call or a little more: of two calls of 75,000
        tokens that took 70,000 the third has 80,000 (estimates are a little high), and after one
        that took 76,000 the other has 74,000, or it would wait for a minute (1M tokens in calls of
        120,000: 0.994 of the limit, without 0.991; 150,000 in calls of 8,000: 0.994, 0.992).
        """
        limit = self.meters[dimension].learner.w
        if limit == math.inf:
            return cap
        even = limit / math.ceil(limit / cap)
        room = self.meters[dimension].room
        return room if NEARLY * even <= room <= cap else even

    def room_now(self, dimension: Dimension, burst_s: float, now: float) -> float:
        """What of a limit may go this instant, infinite while the limit is not known."""
        meter = self.meters[dimension]
        if not meter.learner.known:
            return math.inf
        return meter.room_now(self._burst(dimension, burst_s), meter.unit_s(self.rtt_s), now)

    def burst_s(self, filling: Filling) -> float:
        """The seconds of a limit in tokens or items that may go at once."""
        return BURST_S if filling.bulk or self.lessons.burst_one else BURST_OF_FEW_S

    # what happens

    def interactive_came(self, now: float) -> None:
        """An interactive request came: bulk keeps its calls small and even for a while."""
        self.even_until = now + EVEN_S

    def charge(self, now: float, batch: Batch) -> None:
        """The batch goes."""
        self.refresh(now)
        entry = Entry({CALLS: 1.0, TOKENS: float(batch.tokens), ITEMS: float(batch.texts)})
        self._flying[batch] = entry
        if self._last is not None and now - self._sent_at < BUNCHED * self.interval_s:
            entry.bunched = self._last.bunched = True
        self._last, self._sent_at = entry, now
        for dimension, meter in self.meters.items():
            cost = entry.cost[dimension]
            meter.book(cost)
            entry.mark[dimension] = meter.charged
            self._owe(meter, cost, now)
            meter.held_by_log = False
        self.lessons.newest = batch.number

    def landed(self, now: float, batch: Batch, tokens: int | None, *, refused: bool) -> None:
        """The batch's reply came; the provider counted `tokens`, or refused it altogether."""
        self.refresh(now)
        entry = self._flying.pop(batch)
        entry.landed_at = now
        if refused:
            entry.refused = True
            self.lessons.refused_calls += 1
            self._correct(entry, TOKENS, 0.0, now)
            self._correct(entry, ITEMS, 0.0, now)
        else:
            self.lessons.let_through(batch.number)
            if tokens:  # a count of none at all is none
                self._correct(entry, TOKENS, self._believable(entry, tokens), now)
        self._landed.append(entry)

    def _believable(self, entry: Entry, tokens: int) -> float:
        """A count is taken up to a minute of the limit: an absurd one may not shut the account."""
        return min(float(tokens), max(entry.cost[TOKENS], self.meters[TOKENS].learner.cap))

    def _correct(self, entry: Entry, dimension: Dimension, cost: float, now: float) -> None:
        meter, more = self.meters[dimension], cost - entry.cost[dimension]
        entry.cost[dimension] = cost
        meter.book(more)
        self._owe(meter, more, now)

    def _owe(self, meter: Meter, cost: float, now: float) -> None:
        """Charge the virtual clock of a limit that is known.

        Time is not made up for beside interactive texts, which would find the log full (p99 1.97
        of their own instead of 1.4, at 1M tokens a minute). Calls that go one by one would lose
        what each timer is late: of 2,000 a minute, 10 ms late on average, 0.08.
        """
        if meter.learner.known:
            unit_s = meter.unit_s(self.rtt_s)
            late_s = LATE * unit_s if self.lessons.burst_one and meter.dimension is CALLS else 0.0
            meter.owe(cost, unit_s, now, made_up=now > self.even_until, late_s=late_s)

    def refresh(self, now: float) -> None:
        """Let what is a minute old leave the log; before anything that it has room for is asked."""
        if now == self._refreshed_at:  # a step asks several times
            return
        self._refreshed_at = now
        if self.lessons.started is None:
            self._start(now)
        for meter in self.meters.values():
            meter.learner.tick(now, meter.sum)
            if meter.left is not None and now - meter.left[0] > OBSERVED_S:
                meter.left = None
        landed = self._landed
        while landed and _left_the_log(landed[0], now):
            entry = landed.popleft()
            self.lessons.refused_calls -= entry.refused
            for dimension, meter in self.meters.items():
                meter.sum -= entry.cost[dimension]

    def _start(self, now: float) -> None:
        """On a tiny tier the minute before the start counts as half used."""
        self.lessons.started = now
        limit = self.meters[CALLS].learner.w
        if limit > TINY:
            return
        entry = Entry({})
        entry.landed_at = now
        for dimension, meter in self.meters.items():
            entry.cost[dimension] = meter.learner.w / 2 if meter.learner.known else 0.0
            meter.sum += entry.cost[dimension]
        self._landed.append(entry)

    # what replies teach

    def alone(self, batch: Batch) -> bool:
        """Whether the log holds no call but this one."""
        return batch in self._flying and len(self._flying) + len(self._landed) == 1

    def observe(self, now: float, batch: Batch, limits: Limits) -> None:
        """The reply's headers tell limits, and what is left of them; before `landed`."""
        self.lessons.observe(now, self._flying[batch], limits)

    def refused(self, now: float, batch: Batch, verdict: Verdict) -> None:
        """A rate limit was met; before `landed`."""
        self.refresh(now)
        self.lessons.refused(now, self._flying[batch], batch.number, verdict)


def _left_the_log(entry: Entry, now: float) -> bool:
    return entry.landed_at <= now - WINDOW_S


def _meter(dimension: Dimension, spec: AccountSpec) -> Meter:
    limit = spec.limits.get(dimension)
    if limit is None:
        return Meter(dimension, Learner(), configured=False)
    if limit.configured:
        return Meter(dimension, Learner(ceiling=limit.per_minute), configured=True)
    return Meter(dimension, Learner(guess=limit.per_minute), configured=False)
