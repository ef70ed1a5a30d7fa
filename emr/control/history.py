"""What became of a provider's calls: figures over the rolling window, and totals since the start.

Latencies are counted in a histogram whose buckets grow by 5%, so that a percentile is right within
2.5%. The window is cut into slices; what a slice added to the window's sums is taken off again when
the slice is over. So a window costs a few hundred integers a slice, however many calls, and a look
at its figures 0.1 ms: anyone may ask for them, at any rate.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from emr.lane.verdict import Ending, Outcome

GROWTH = math.log(1.05)
SLICES = 60  # of the window: at the default of an hour, minutes
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
class Span:
    """The calls of a span of time; `latencies` by bucket."""

    calls: int = 0
    failures: int = 0
    latencies: Counter[int] = field(default_factory=Counter)


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
        self._window_s = window_s
        self._slice_s = window_s / SLICES
        self.start_anew()
        # since the start, for the exposition
        self.calls: Counter[Ending] = Counter()
        self.texts = 0
        self.tokens = 0
        self.seconds = 0.0
        self.by_bucket = [0] * (len(BUCKETS_S) + 1)

    def start_anew(self) -> None:
        """The provider is another one now: nothing of the window is its doing."""
        self._slices: deque[tuple[int, Span]] = deque()  # with their numbers, the oldest first
        self._window = Span()  # the sum of the slices
        self._recent: deque[bool] = deque(maxlen=RECENT_CALLS)
        self._consecutive = 0
        self._failed_at = 0.0

    def count(self, outcome: Outcome, texts: int, seconds: float) -> None:
        """A call with so many texts ended after so long: it counts for the totals."""
        self.calls[outcome.verdict.ending] += 1
        self.seconds += seconds
        self.by_bucket[sum([seconds > edge for edge in BUCKETS_S])] += 1
        if outcome.reply is not None:
            self.texts += texts
            self.tokens += outcome.reply.tokens or 0

    def judge(self, ending: Ending, seconds: float, now: float) -> None:
        """A call to the provider as it is registered now ended: it counts for the window."""
        failed = ending not in BLAMELESS
        bucket = bucket_of(seconds)
        for span in (self._slice(now), self._window):
            span.calls += 1
            span.failures += failed
            span.latencies[bucket] += 1
        self._recent.append(ending is Ending.RATE)
        if failed:
            self._consecutive += 1
            self._failed_at = now
        else:
            self.answered()

    def answered(self) -> None:
        """The provider answered, whatever it said: failures from here on are others."""
        self._consecutive = 0

    def figures(self, now: float) -> Figures:
        """The figures of the window that ends now."""
        self._forget(now)
        window = self._window
        buckets = sorted(window.latencies.items())
        p50, p95, p99 = (percentile(buckets, window.calls, share) for share in (0.50, 0.95, 0.99))
        is_old = now - self._failed_at > self._window_s
        return Figures(
            p50_s=p50,
            p95_s=p95,
            p99_s=p99,
            calls=window.calls,
            failures=window.failures,
            consecutive_failures=0 if is_old else self._consecutive,
            recent_429_rate=sum(self._recent) / len(self._recent) if self._recent else 0.0,
        )

    def _slice(self, now: float) -> Span:
        number = int(now // self._slice_s)
        if not self._slices or self._slices[-1][0] != number:
            self._slices.append((number, Span()))
            self._forget(now)
        return self._slices[-1][1]

    def _forget(self, now: float) -> None:
        """Take the slices off that lie before the window, those that begin in it stay whole."""
        oldest = int(now // self._slice_s) - SLICES
        window = self._window
        while self._slices and self._slices[0][0] < oldest:
            _, gone = self._slices.popleft()
            window.calls -= gone.calls
            window.failures -= gone.failures
            for bucket, count in gone.latencies.items():
                window.latencies[bucket] -= count
                if not window.latencies[bucket]:
                    del window.latencies[bucket]


def bucket_of(seconds: float) -> int:
    """The histogram's bucket: the number of 5% steps over a microsecond."""
    return math.ceil(math.log(max(1.0, seconds * 1e6)) / GROWTH)


def percentile(buckets: Iterable[tuple[int, int]], calls: int, share: float) -> float:
    """The latency in seconds that so large a share of the calls stays below; 0 without calls.

    `buckets` are numbers with their counts, the smallest first.
    """
    wanted = math.ceil(share * calls)
    for bucket, count in buckets:
        wanted -= count
        if wanted <= 0:
            return math.exp((bucket - 0.5) * GROWTH) / 1e6
    return 0.0
