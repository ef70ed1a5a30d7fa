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
from collections.abc import Sequence

from emr.lane.fill import Filling
from emr.lane.learner import Learner
from emr.lane.settings import AccountSpec
from emr.lane.ticket import Batch
from emr.lane.verdict import Dimension, Limits, Verdict

WINDOW_S = 60.0
BURST_S = 0.5  # of a limit may go at once
BURST_OF_FEW_S = 6.0
BURST_CALLS = 2.0  # the call that is due, and one that was missed
TINY = 10.0  # calls a minute: on such a tier the minute before the start counts
OBSERVED_S = 60.0  # what a header said of what is left is forgotten
SHORT_RETRY_S = 10.0  # a Retry-After of a limit by the second
BUNCHED = 0.5  # of the time between calls at the limit
EVEN_S = 60.0  # after an interactive request others are likely
NEARLY = 0.9  # of an even call: less is left to be filled up (calls stay full; 0.5 doubles them)
HALF = 0.5  # below this share of a limit its refusal is somebody else's doing
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
        "burst_one", "charged", "configured", "due", "held_by_log", "learner", "left", "sum",
    )  # fmt: skip

    def __init__(self, learner: Learner, *, configured: bool) -> None:
        self.learner = learner
        self.configured = configured
        self.sum = 0.0  # of the log
        self.due = 0.0  # GCRA: when everything charged so far is paid for
        self.held_by_log = False  # the log, not the virtual clock, holds the next call back
        self.burst_one = False
        self.charged = 0.0  # in all, ever
        self.left: tuple[float, float, float] | None = None  # what a header said: (at, left, mark)


class Pace:
    """The limits of one account."""

    def __init__(self, spec: AccountSpec) -> None:
        self.rtt_s = 0.0
        self.even_until = -math.inf  # interactive texts came: calls are spread evenly until then
        self.meters: dict[Dimension, Meter] = {}
        for dimension in Dimension:
            limit = spec.limits.get(dimension)
            if limit is None:
                learner = Learner()
            elif limit.configured:
                learner = Learner(ceiling=limit.per_minute)
            else:
                learner = Learner(guess=limit.per_minute)
            configured = limit is not None and limit.configured
            self.meters[dimension] = Meter(learner, configured=configured)
        self._flying: dict[Batch, Entry] = {}
        self._landed: deque[Entry] = deque()
        self._started: float | None = None
        self._last: Entry | None = None  # of the call sent last, and when
        self._sent_at = 0.0
        self._newest = 0  # the number of the call sent last
        self._cut_number = 0  # calls up to this one cannot cut again
        self._cut: list[tuple[Learner, Dimension]] = []  # what the last refusal cut
        self._refused_calls = 0  # in the log
        self._holds: deque[tuple[float, float]] = deque()  # of the gate: since, until
        self._let_through = True  # a call was, since the last cut

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

    # when

    def wait(self, now: float, tokens: float, items: float, burst_s: float = BURST_S) -> float:
        """Seconds until a call with so many tokens and items may go; infinite: after a reply."""
        self.refresh(now)
        wait = 0.0
        for dimension, cost in ((CALLS, 1.0), (TOKENS, tokens), (ITEMS, items)):
            meter = self.meters[dimension]
            if meter.learner.known:
                needed = self._wait_of(dimension, cost, burst_s, now)
                if needed > 0.0:
                    meter.learner.reached(now + min(needed, WINDOW_S))
                wait = max(wait, needed)
        return wait

    def _wait_of(self, dimension: Dimension, cost: float, burst_s: float, now: float) -> float:
        meter = self.meters[dimension]
        wait = self._log_wait(dimension, meter, cost, now)
        per_unit = (WINDOW_S + self.rtt_s) / meter.learner.w
        burst = self._burst(dimension, burst_s)
        if cost <= burst:
            paid = max(meter.due, now) + (cost - burst) * per_unit - now
        else:
            paid = meter.due - now
        if max(wait, paid) > 1e-9:  # else it goes, and why it waited until now is to be kept
            meter.held_by_log = wait > paid
            wait = max(wait, paid)
        if meter.left is not None:
            at, left, mark = meter.left
            short = cost - (left - (meter.charged - mark))
            per_second = meter.learner.w / WINDOW_S
            wait = max(wait, at + short / per_second - now)
        return wait

    def _log_wait(self, dimension: Dimension, meter: Meter, cost: float, now: float) -> float:
        over = meter.sum + cost - max(meter.learner.cap, cost)
        if over <= 1e-9:
            return 0.0
        for entry in self._landed:
            over -= entry.cost[dimension]
            if over <= 1e-9:
                return max(0.0, entry.landed_at + WINDOW_S - now)
        return math.inf

    def _burst(self, dimension: Dimension, burst_s: float) -> float:
        w = self.meters[dimension].learner.w
        if dimension is CALLS:
            one = self.meters[CALLS].burst_one
            return 1.0 if one else max(BURST_CALLS, w * BURST_S / WINDOW_S)
        return max(w * burst_s / WINDOW_S, self.share(dimension))

    # how large

    def evenly(self, dimension: Dimension, cap: float) -> float:
        """The most of a call so that whole calls use the limit up: limit / ceil(limit / cap).

        What the log leaves, when that is nearly a call or a little more: of two calls of 75,000
        tokens that took 70,000 the third has 80,000 (estimates are a little high), and after one
        that took 76,000 the other has 74,000, or it would wait for a minute.
        """
        limit = self.meters[dimension].learner.w
        if limit == math.inf:
            return cap
        even = limit / math.ceil(limit / cap)
        room = self.log_room(dimension)
        return room if NEARLY * even <= room <= cap else even

    def room_now(self, dimension: Dimension, burst_s: float, now: float) -> float:
        """What of a limit may go this instant, infinite when nothing is owed and the log is free.

        At most the log's room; of the virtual clock, what the burst leaves.
        """
        meter = self.meters[dimension]
        if not meter.learner.known:
            return math.inf
        if meter.due <= now:
            return self.log_room(dimension)
        per_unit = (WINDOW_S + self.rtt_s) / meter.learner.w
        return min(
            self.log_room(dimension),
            self._burst(dimension, burst_s) - (meter.due - now) / per_unit,
        )

    def log_room(self, dimension: Dimension) -> float:
        """What the log of the last minute leaves of a limit."""
        meter = self.meters[dimension]
        return meter.learner.cap - meter.sum if meter.learner.known else math.inf

    def burst_s(self, filling: Filling) -> float:
        """The seconds of a limit in tokens or items that may go at once."""
        one = self.meters[CALLS].burst_one
        return BURST_S if filling.bulk or one else BURST_OF_FEW_S

    # what happens

    def interactive_came(self, now: float) -> None:
        """An interactive request came: bulk keeps its calls small and even for a while."""
        self.even_until = now + EVEN_S

    def held(self, since: float, until: float) -> None:
        """The gate lets nothing go until then: the log of such a minute is no minute's."""
        while self._holds and self._holds[0][1] < since - WINDOW_S:
            self._holds.popleft()
        if self._holds and self._holds[-1][1] > since:
            since = self._holds.pop()[0]
        self._holds.append((since, until))

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
            meter.sum += cost
            meter.charged += cost
            entry.mark[dimension] = meter.charged
            if meter.learner.known:
                self._owe(meter, cost, now)
                meter.held_by_log = False
        self._newest = batch.number

    def landed(self, now: float, batch: Batch, tokens: int | None, *, refused: bool) -> None:
        """The batch's reply came; the provider counted `tokens`, or refused it altogether."""
        self.refresh(now)
        entry = self._flying.pop(batch)
        entry.landed_at = now
        if refused:
            entry.refused = True
            self._refused_calls += 1
            self._correct(entry, TOKENS, 0.0, now)
            self._correct(entry, ITEMS, 0.0, now)
        else:
            self._let_through = True
            if tokens is not None:
                self._correct(entry, TOKENS, float(tokens), now)
        self._landed.append(entry)

    def _correct(self, entry: Entry, dimension: Dimension, cost: float, now: float) -> None:
        meter, more = self.meters[dimension], cost - entry.cost[dimension]
        entry.cost[dimension] = cost
        meter.sum += more
        meter.charged += more
        if meter.learner.known:
            self._owe(meter, more, now)

    def _owe(self, meter: Meter, cost: float, now: float) -> None:
        """Charge the virtual clock, which starts now when nothing is owed.

        The time in which the log held a call back is made up for, up to the call's own: else each
        irregularity, which the log repeats every minute, would be lost again every minute (0.957
        of a limit of 150,000 tokens instead of 0.98). Not beside interactive texts, which would
        find the log full (p99 1.97 of their own instead of 1.4, at 1M tokens a minute).
        """
        takes_s = cost * (WINDOW_S + self.rtt_s) / meter.learner.w
        made_up = meter.held_by_log and now > self.even_until
        since = now - max(0.0, takes_s) if made_up else now
        meter.due = max(meter.due, since) + takes_s

    def refresh(self, now: float) -> None:
        """Let what is a minute old leave the log; before anything that it has room for is asked."""
        if self._started is None:
            self._start(now)
        for meter in self.meters.values():
            meter.learner.tick(now, meter.sum)
            if meter.left is not None and now - meter.left[0] > OBSERVED_S:
                meter.left = None
        landed = self._landed
        while landed and landed[0].landed_at <= now - WINDOW_S:
            entry = landed.popleft()
            self._refused_calls -= entry.refused
            for dimension, meter in self.meters.items():
                meter.sum -= entry.cost[dimension]

    def _start(self, now: float) -> None:
        """On a tiny tier the minute before the start counts as half used."""
        self._started = now
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
        """The reply's headers tell limits, and what is left of them; to be asked before `landed`.

        A value that is zero or negative says nothing (Azure sends -1 and 0).
        """
        entry = self._flying[batch]
        told = (
            (CALLS, limits.calls, limits.calls_left),
            (TOKENS, limits.tokens, limits.tokens_left),
            (ITEMS, limits.items, limits.items_left),
        )
        for dimension, limit, left in told:
            meter = self.meters[dimension]
            if limit is not None and limit > 0 and not meter.configured:
                meter.learner.announced(limit)
            if left is not None and left > 0 and meter.learner.known:
                meter.left = (now, left, entry.mark[dimension])

    def refused(self, now: float, batch: Batch, verdict: Verdict) -> None:
        """A rate limit was met: cut what it was about, once an epoch; before `landed`."""
        entry = self._flying[batch]
        if batch.number <= self._cut_number:
            for learner, dimension in self._cut:
                learner.refused_too(entry.cost[dimension])
            return
        self.refresh(now)
        self._cut_number = self._newest
        self._cut = []
        if not self._let_through:
            return  # nothing since the last cut: the provider's window is full still, and no lower
        self._let_through = False
        told = verdict.limits
        if told is not None and self._believe(told):
            return
        calls = self.meters[CALLS]
        known = {d: m for d, m in self.meters.items() if m.learner.known}
        if entry.bunched and known and not calls.burst_one:
            calls.burst_one = True  # too many at once: the next ones go one by one
            return
        if verdict.dimension is not None:
            self._cut_to_log([verdict.dimension], entry, verdict, now)
            return
        if not known:
            self._cut_to_log([CALLS], entry, verdict, now)
            return
        most = max(known, key=lambda d: known[d].sum / known[d].learner.cap)
        # all under half: someone else shares the credential
        half = known[most].sum >= HALF * known[most].learner.cap
        self._cut_to_log([most] if half else list(known), entry, verdict, now)

    def _believe(self, told: Limits) -> bool:
        believed = False
        for dimension, limit in (
            (CALLS, told.calls), (TOKENS, told.tokens), (ITEMS, told.items)
        ):  # fmt: skip
            if limit is not None and limit > 0 and limit < self.meters[dimension].learner.w:
                self.meters[dimension].learner.told(limit)
                believed = True
        return believed

    def _cut_to_log(
        self, dimensions: Sequence[Dimension], entry: Entry, verdict: Verdict, now: float
    ) -> None:
        """Cut to what was let through of what the log holds; of one with less than a minute, scaled.

        When nothing was let through the gate's own wait is all that helps.
        """
        begun = max(self._started or 0.0, now - WINDOW_S)
        held = [max(0.0, min(now, until) - max(begun, since)) for since, until in self._holds]
        age = now - begun - sum(held)
        asked = verdict.retry_after
        a_minute = 1.0
        if asked is None or asked <= SHORT_RETRY_S:
            a_minute = WINDOW_S / max(1.0, age)
        calls = (self.meters[CALLS].sum - self._refused_calls - 1.0) * a_minute
        if calls < 1.0:
            return
        for dimension in dimensions:
            meter = self.meters[dimension]
            seen = (meter.sum - entry.cost[dimension]) * a_minute
            if dimension is CALLS:
                # refused near a ceiling: calls that arrived bunched, more likely than another limit
                near = calls >= NEARLY * meter.learner.ceiling
                seen = meter.learner.w if near else calls
            meter.learner.cut(seen, calls)
            self._cut.append((meter.learner, dimension))
