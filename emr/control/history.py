"""What became of a provider's calls: figures over the rolling window, and totals since the start.

A minute's calls are counted by a histogram of latencies whose buckets grow by 5%, so that a
percentile is right within 2.5% and a window costs a few hundred integers, however many calls.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass

from emr.lane.verdict import Ending, Outcome

GROWTH = math.log(1.05)
RECENT_CALLS = 20  # over which the share of rate limits is told
P99_WORST_S = 10.0  # a p99 at which nothing is left of the health score

# what the caller, a limit, or a size is to blame for says nothing about the provider's health
BLAMELESS = frozenset(
    {
        Ending.OK, Ending.RATE, Ending.BAD_TEXT, Ending.BAD_REQUEST, Ending.SIZE_ITEMS,
        Ending.SIZE_TOKENS, Ending.SIZE_BYTES,
    }
)  # fmt: skip

# the buckets of the exposition, in seconds: from a cache next door to a call's longest time
BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 60.0)


@dataclass(slots=True)
class Minute:
    """The calls of one minute; `latencies` by bucket."""

    number: int
    calls: int
    failures: int
    latencies: Counter[int]


@dataclass(frozen=True, slots=True)
class Figures:
    """A provider's calls over the rolling window. Latencies in seconds, of all its calls."""

    p50_s: float
    p95_s: float
    p99_s: float
    calls: int
    failures: int
    consecutive_failures: int
    recent_429_rate: float

    @property
    def error_rate(self) -> float:
        """The share of calls that failed by the provider's doing."""
        return self.failures / self.calls if self.calls else 0.0

    @property
    def availability(self) -> float:
        """The share of calls that did not."""
        return 1.0 - self.error_rate

    @property
    def health_score(self) -> float:
        """Availability, less what a slow p99 takes of it: 0 to 1."""
        return self.availability * (1.0 - min(self.p99_s / P99_WORST_S, 1.0))


class History:
    """The calls of one provider, over all its accounts."""

    def __init__(self, window_s: float) -> None:
        self._minutes: deque[Minute] = deque()
        self._window_minutes = max(1, round(window_s / 60.0))
        self._recent: deque[bool] = deque(maxlen=RECENT_CALLS)
        self._consecutive = 0
        # since the start, for the exposition
        self.calls: Counter[Ending] = Counter()
        self.texts = 0
        self.tokens = 0
        self.seconds = 0.0
        self.by_bucket = [0] * (len(BUCKETS_S) + 1)

    def called(self, outcome: Outcome, texts: int, seconds: float, now: float) -> None:
        """A call with so many texts ended after so long."""
        ending = outcome.verdict.ending
        minute = self._minute(now)
        minute.calls += 1
        minute.latencies[bucket_of(seconds)] += 1
        if ending not in BLAMELESS:
            minute.failures += 1
            self._consecutive += 1
        elif ending is Ending.OK:
            self._consecutive = 0
        self._recent.append(ending is Ending.RATE)
        self.calls[ending] += 1
        self.seconds += seconds
        self.by_bucket[sum([seconds > edge for edge in BUCKETS_S])] += 1
        if outcome.reply is not None:
            self.texts += texts
            self.tokens += outcome.reply.tokens or 0

    def figures(self, now: float) -> Figures:
        """The figures of the window that ends now."""
        self._forget(now)
        latencies: Counter[int] = Counter()
        for minute in self._minutes:
            latencies.update(minute.latencies)
        p50, p95, p99 = (percentile(latencies, share) for share in (0.50, 0.95, 0.99))
        return Figures(
            p50_s=p50,
            p95_s=p95,
            p99_s=p99,
            calls=sum([minute.calls for minute in self._minutes]),
            failures=sum([minute.failures for minute in self._minutes]),
            consecutive_failures=self._consecutive,
            recent_429_rate=sum(self._recent) / len(self._recent) if self._recent else 0.0,
        )

    def _minute(self, now: float) -> Minute:
        number = int(now // 60.0)
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(Minute(number, 0, 0, Counter()))
            self._forget(now)
        return self._minutes[-1]

    def _forget(self, now: float) -> None:
        oldest = int(now // 60.0) - self._window_minutes
        while self._minutes and self._minutes[0].number <= oldest:
            self._minutes.popleft()


def bucket_of(seconds: float) -> int:
    """The histogram's bucket: the number of 5% steps over a microsecond."""
    return math.ceil(math.log(max(1.0, seconds * 1e6)) / GROWTH)


def percentile(latencies: Counter[int], share: float) -> float:
    """The latency in seconds that so large a share of the calls stays below; 0 without calls."""
    wanted = math.ceil(share * latencies.total())
    for bucket in sorted(latencies):
        wanted -= latencies[bucket]
        if wanted <= 0:
            return math.exp((bucket - 0.5) * GROWTH) / 1e6
    return 0.0
