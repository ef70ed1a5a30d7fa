"""What is known of an account's calls in time: T of a call by its size, RTT, and the slow tail.

T is a line, a + b·tokens, fitted by recursive least squares in its two-parameter Kalman form, b
never below zero. What is old is forgotten by letting a and b drift a little with each call. RTT is
an EWMA of 0.3. The tail is the 99th percentile of the last samples of a size class, a power of two
of tokens: calls of one size are compared with calls of that size only.

Refused: holding b at zero by cutting it off alone (32-text calls of 100 to 400 tokens, whose time
does not depend on them, gave T = 622 s after 20 calls; Jain's index of equal keys was 0.28, now
0.99). Forgetting by a factor: when all calls are of one size, it lets what they do not tell (a
against b) grow without bound; after some hundred calls the fit is noise.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

from emr.lane.settings import LaneSettings
from emr.lane.ticket import Batch

FIRST_GUESS_S = 0.25  # before the first reply: a hosted call of one text takes 0.1 to 0.3 s
# the drift a call, in variances of a measurement: a, and what b adds to the largest call seen (of
# at least so many tokens), follow about the last fifty calls (gain 0.02)
DRIFT = 4e-4
LARGEST_MIN = 1000
DOUBT = 1.0  # a measurement's variance: half of what is seen next goes into the line
RTT_WEIGHT = 0.3
SAMPLES = 200  # a size class's tail: enough for a 99th percentile
ENOUGH_CALLS = 10  # below, the tail is not known and the ceiling holds
FIRST_BYTE_FLOOR_S = 5.0  # never impatient: a cold server needs seconds
TAIL_FACTOR = 4.0
SPARED = 1.5  # times the tail: cut off at the tail itself, one good call in a hundred would break


class Tail:
    """The 99th percentile of the last samples of a size class, which are kept in two orders."""

    __slots__ = ("_by_age", "_by_size")

    def __init__(self) -> None:
        self._by_age: deque[float] = deque()
        self._by_size: list[float] = []

    def took(self, seconds: float) -> None:
        """A call took so long."""
        if len(self._by_age) == SAMPLES:
            del self._by_size[bisect_left(self._by_size, self._by_age.popleft())]
        self._by_age.append(seconds)
        insort(self._by_size, seconds)

    @property
    def seconds(self) -> float | None:
        """None while too few are known."""
        known = len(self._by_size)
        return None if known < ENOUGH_CALLS else self._by_size[int(known * 0.99)]


class Latency:
    """The latency model of one account."""

    __slots__ = ("_a", "_b", "_largest", "_p", "_tails", "calls", "rtt_s")

    def __init__(self) -> None:
        self.calls = 0
        self.rtt_s = FIRST_GUESS_S
        self._a, self._b = FIRST_GUESS_S, 0.0
        self._p = (1e3, 0.0, 1e-3)  # covariance: variances of a and b, and between them
        self._largest = float(LARGEST_MIN)
        self._tails: dict[int, Tail] = {}

    def took(self, tokens: int, seconds: float) -> None:
        """A call of so many tokens ended well after so long."""
        self.rtt_s = (
            seconds if self.calls == 0 else self.rtt_s + RTT_WEIGHT * (seconds - self.rtt_s)
        )
        self.calls += 1
        tail = self._tails.get(tokens.bit_length())
        if tail is None:
            tail = self._tails[tokens.bit_length()] = Tail()
        tail.took(seconds)
        self._fit(float(tokens), seconds)

    def _fit(self, x: float, y: float) -> None:
        p00, p01, p11 = self._p
        g0, g1 = p00 + p01 * x, p01 + p11 * x
        scale = 1.0 + g0 + x * g1
        k0, k1 = g0 / scale, g1 / scale
        error = y - (self._a + self._b * x)
        a, b = self._a + k0 * error, self._b + k1 * error
        # none of the two is negative: each takes with it what the other has to give. Cutting them
        # off one by one would turn the next gain against the line, and b would grow without bound
        if b < 0.0:
            a, b = a - p01 / p11 * b, 0.0
        if a < 0.0:
            a, b = 0.0, max(0.0, b - p01 / p00 * a)
        self._a, self._b = a, b
        self._largest = max(self._largest, x)
        drift_b = DRIFT / self._largest**2
        self._p = (p00 - k0 * g0 + DRIFT, p01 - k0 * g1, p11 - k1 * g1 + drift_b)

    def doubt(self) -> None:
        """The line was found long ago: the next call says as much as all that were before."""
        p00, p01, p11 = self._p
        self._p = (p00 + DOUBT, p01, p11)

    def estimate_s(self, tokens: int) -> float:
        """T: how long a call of so many tokens will take."""
        return self._a + self._b * tokens

    def tail_s(self, tokens: int) -> float | None:
        """The 99th percentile of calls of that size, None while too few are known."""
        tail = self._tails.get(tokens.bit_length())
        return None if tail is None else tail.seconds

    def first_byte_s(self, batch: Batch, settings: LaneSettings, now: float) -> float:
        """How long this call may take to its first byte.

        While a retry is left, at most half of the longest deadline in the batch, so that a hang is
        noticed in time for another try, but never under the tail of such calls; where that is not
        known, not under the floor: callers in a hurry must not make a provider look broken.
        """
        ceiling = settings.call_timeout_s
        floor = min(FIRST_BYTE_FLOOR_S, ceiling)
        tail = self.tail_s(batch.tokens)
        usual = self._by_other_sizes(batch.tokens) if tail is None else TAIL_FACTOR * tail
        allowed = max(floor, min(ceiling, usual))
        if any(t.tries < settings.max_retries for t in batch.tickets):
            left = max(t.request.deadline for t in batch.tickets) - now
            allowed = min(allowed, max(left / 2.0, floor if tail is None else SPARED * tail))
        return min(allowed, ceiling)

    def _by_other_sizes(self, tokens: int) -> float:
        """A bound on calls of an unknown size: time grows at most in proportion to the tokens.

        Without it the large calls that gather during a hang, which are of a size never seen, would
        each hang for half a minute. Infinite when no size is known.
        """
        bounds = [
            tail * max(1.0, tokens / 2.0 ** (size - 1))
            for size in self._tails
            if (tail := self.tail_s(1 << size >> 1)) is not None
        ]
        return min(bounds, default=math.inf)
