"""What replies teach an account of its limits: from headers, from refusals, from their words.

A refusal of calls that were sent before the last cut was known is the same event. It cuts what it
names; else, when nothing is known, the calls; else what is nearest to its limit; everything when
all are far below theirs: then somebody else shares the credential.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from emr.lane.learner import Learner
from emr.lane.meter import CALLS, ITEMS, TOKENS, WINDOW_S, Entry, Meter
from emr.lane.verdict import Dimension, Limits, Verdict

SHORT_RETRY_S = 10.0  # a Retry-After of a limit by the second
NEARLY = 0.9  # of a ceiling that was told
HALF = 0.5  # below this share of a limit its refusal is somebody else's doing


class Lessons:
    """What was learned of the meters of one account, and what the last cut was made of."""

    __slots__ = (
        "_cut", "_cut_at", "_cut_number", "_cut_sent", "_holds", "_let_through", "_meters",
        "_scaled", "burst_one", "newest", "refused_calls", "started",
    )  # fmt: skip

    def __init__(self, meters: Mapping[Dimension, Meter]) -> None:
        self._meters = meters
        self.started: float | None = None  # the first call
        self.newest = 0  # the number of the call sent last
        self.refused_calls = 0  # in the log
        self.burst_one = False  # calls go one by one: two at once were refused
        self._cut_number = 0  # calls up to this one cannot cut again
        self._cut_sent = 0  # calls up to this one were sent before it
        self._cut_at = 0.0
        self._scaled = False  # it took the limit for one by the second
        self._let_through = True  # a call that was sent after it was
        self._cut: list[tuple[Learner, Dimension]] = []  # what the last refusal cut
        self._holds: deque[tuple[float, float]] = deque()  # of the gate: since, until

    def held(self, since: float, until: float) -> None:
        """The gate lets nothing go until then: the log of such a minute is no minute's."""
        while self._holds and self._holds[0][1] < since - WINDOW_S:
            self._holds.popleft()
        if self._holds and self._holds[-1][1] > since:
            since = self._holds.pop()[0]
        self._holds.append((since, until))

    def let_through(self, number: int) -> None:
        """The call of that number was."""
        if number > self._cut_sent:
            self._let_through = True

    def observe(self, now: float, entry: Entry, limits: Limits) -> None:
        """The reply's headers tell limits, and what is left of them.

        A value that is zero or negative says nothing (Azure sends -1 and 0).
        """
        told = (
            (CALLS, limits.calls, limits.calls_left),
            (TOKENS, limits.tokens, limits.tokens_left),
            (ITEMS, limits.items, limits.items_left),
        )
        for dimension, limit, left in told:
            meter = self._meters[dimension]
            if limit is not None and limit > 0 and not meter.configured:
                meter.learner.announced(limit)
            if left is not None and left > 0 and meter.learner.known:
                meter.left = (now, left, entry.mark[dimension])

    def refused(self, now: float, entry: Entry, number: int, verdict: Verdict) -> None:
        """The call of that number met a rate limit: cut what it was about, once an epoch."""
        if number <= self._cut_number:
            for learner, dimension in self._cut:
                learner.refused_too(entry.cost[dimension])
            return
        self._cut_number = self.newest
        if not self._let_through:
            self._still_full(now, entry)
            return
        self._cut = []
        self._cut_at, self._cut_sent, self._scaled = now, self.newest, False
        self._let_through = False
        told = verdict.limits
        if told is not None and self._believe(told):
            return
        known = {d: m for d, m in self._meters.items() if m.learner.known}
        if entry.bunched and known and not self.burst_one:
            self.burst_one = True  # too many at once: the next ones go one by one
            return
        asked = verdict.retry_after
        a_minute = 1.0
        if asked is None or asked <= SHORT_RETRY_S:
            a_minute = WINDOW_S / max(1.0, self._age_s(now))
        self._scaled = a_minute > 1.0
        self._cut_to_log(self._about(verdict, known), entry, a_minute)

    def _still_full(self, now: float, entry: Entry) -> None:
        """Nothing was let through since the last cut: the provider's window is full still.

        That is no lower limit. But a limit by the second would have room again by now: what it was
        taken for was let through in a minute, not in seconds.
        """
        if self._scaled and now - self._cut_at > SHORT_RETRY_S:
            self._scaled = False
            about = [dimension for _, dimension in self._cut]
            self._cut = []
            self._cut_to_log(about, entry, 1.0)

    def _about(self, verdict: Verdict, known: Mapping[Dimension, Meter]) -> Sequence[Dimension]:
        """The limits that a refusal is about."""
        if verdict.dimension is not None:
            return [verdict.dimension]
        if not known:
            return [CALLS]
        most = max(known, key=lambda d: known[d].sum / known[d].learner.cap)
        half = known[most].sum >= HALF * known[most].learner.cap
        return [most] if half else list(known)

    def _believe(self, told: Limits) -> bool:
        believed = False
        for dimension, limit in (
            (CALLS, told.calls), (TOKENS, told.tokens), (ITEMS, told.items)
        ):  # fmt: skip
            if limit is not None and limit > 0 and limit < self._meters[dimension].learner.w:
                self._meters[dimension].learner.told(limit)
                believed = True
        return believed

    def _age_s(self, now: float) -> float:
        """The part of the last minute in which calls could go."""
        begun = max(self.started or 0.0, now - WINDOW_S)
        held = [max(0.0, min(now, until) - max(begun, since)) for since, until in self._holds]
        return now - begun - sum(held)

    def _cut_to_log(self, dimensions: Sequence[Dimension], entry: Entry, a_minute: float) -> None:
        """Cut to what was let through of what the log holds, scaled to a minute.

        When nothing was let through the gate's own wait is all that helps.
        """
        calls = (self._meters[CALLS].sum - self.refused_calls - 1.0) * a_minute
        if calls < 1.0:
            return
        for dimension in dimensions:
            meter = self._meters[dimension]
            seen = (meter.sum - entry.cost[dimension]) * a_minute
            if dimension is CALLS:
                # refused near a ceiling: calls that arrived bunched, more likely than another limit
                near = calls >= NEARLY * meter.learner.ceiling
                seen = meter.learner.w if near else calls
            meter.learner.cut(seen, calls)
            self._cut.append((meter.learner, dimension))
