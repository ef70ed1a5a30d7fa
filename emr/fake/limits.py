"""How providers count against a limit a minute: four models, exact, on a clock that is handed in.

Rules of this file. No clock is read and nothing sleeps: `now` is seconds on any clock that does
not go back. All amounts are numbers of calls, tokens or texts. `wait_s` is 0.0 when an amount
fits now, else the exact time until it would if nobody else came, infinite when it never will.
`take` never refuses: whoever counts failed calls takes beyond the limit.

The four: the *sliding log* allows `limit` in any 60 s that end now (Voyage says that it counts so);
the *fixed minute* starts again at each full minute of the clock; the *token bucket* refills
evenly and holds up to `burst_s` of it (OpenAI's reset headers tell of one); *short windows* allow
a part of the minute each 1 to 10 s (Azure's calls a minute are judged so).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from enum import Enum
from math import floor, inf

MINUTE_S = 60.0
SLACK = 1e-9  # relative: sums of float parts must not refuse what fits exactly
EARLY_S = 1e-9  # who waits exactly as long as told may come a rounding error too early


class Counting(Enum):
    """The models of counting, by their names in settings."""

    SLIDING = "sliding"
    FIXED = "fixed"
    BUCKET = "bucket"
    WINDOWS = "windows"


class Limiter(ABC):
    """Counts one dimension against `limit` a minute; `limit` may be changed at any time."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    @abstractmethod
    def wait_s(self, amount: float, now: float) -> float:
        """How long until `amount` fits."""

    @abstractmethod
    def take(self, amount: float, now: float) -> None:
        """Count `amount`, whether it fits or not."""

    @abstractmethod
    def left(self, now: float) -> float:
        """What fits now; never below zero."""

    @abstractmethod
    def reset_s(self, now: float) -> float:
        """How long until nothing counts any more."""


class SlidingLog(Limiter):
    """Remembers each amount for 60 s: one taken at t counts at every now < t + 60."""

    def __init__(self, limit: float) -> None:
        super().__init__(limit)
        self._log: deque[tuple[float, float]] = deque()
        self._sum = 0.0

    def _forget(self, now: float) -> None:
        log = self._log
        while log and log[0][0] + MINUTE_S <= now + EARLY_S:
            self._sum -= log.popleft()[1]
        if not log:
            self._sum = 0.0

    def wait_s(self, amount: float, now: float) -> float:
        self._forget(now)
        most = self.limit * (1.0 + SLACK)
        over = self._sum + amount - most
        if over <= 0.0:
            return 0.0
        if amount > most:
            return inf
        for at, taken in self._log:
            over -= taken
            if over <= 0.0:
                return at + MINUTE_S - now
        return inf  # only a negative amount gets here

    def take(self, amount: float, now: float) -> None:
        self._forget(now)
        self._log.append((now, amount))
        self._sum += amount

    def left(self, now: float) -> float:
        self._forget(now)
        return max(0.0, self.limit - self._sum)

    def reset_s(self, now: float) -> float:
        self._forget(now)
        return self._log[-1][0] + MINUTE_S - now if self._log else 0.0


class Windows(Limiter):
    """Windows of `length_s`, each with its part of the minute's limit, aligned to the clock.

    What does not fit a whole window passes in an untouched one, and what it took too much is
    counted in the next ones: so a limit of 30 a minute allows one call in every other second.
    """

    def __init__(self, limit: float, length_s: float) -> None:
        super().__init__(limit)
        self._length_s = length_s
        self._window = 0
        self._level = 0.0

    @property
    def _share(self) -> float:
        return self.limit * self._length_s / MINUTE_S

    def _advance(self, now: float) -> None:
        window = floor((now + EARLY_S) / self._length_s)
        if window > self._window:
            self._level = max(0.0, self._level - self._share * (window - self._window))
            self._window = window

    def _until(self, windows: int, now: float) -> float:
        return (self._window + windows) * self._length_s - now

    def wait_s(self, amount: float, now: float) -> float:
        self._advance(now)
        share = self._share
        room = max(0.0, share * (1.0 + SLACK) - amount)  # what may be counted before it
        if self._level <= room:
            return 0.0
        if share <= 0.0:
            return inf
        windows = -floor((room - self._level) / share)
        return self._until(max(1, windows), now)

    def take(self, amount: float, now: float) -> None:
        self._advance(now)
        self._level += amount

    def left(self, now: float) -> float:
        self._advance(now)
        return max(0.0, self._share - self._level)

    def reset_s(self, now: float) -> float:
        self._advance(now)
        if self._level <= 0.0:
            return 0.0
        return self._until(max(1, -floor(-self._level / self._share)), now)


class FixedMinute(Limiter):
    """Begins again at each full minute of the clock, whatever was taken before."""

    def __init__(self, limit: float) -> None:
        super().__init__(limit)
        self._minute = 0
        self._taken = 0.0

    def _advance(self, now: float) -> None:
        minute = floor((now + EARLY_S) / MINUTE_S)
        if minute > self._minute:
            self._minute, self._taken = minute, 0.0

    def wait_s(self, amount: float, now: float) -> float:
        self._advance(now)
        most = self.limit * (1.0 + SLACK)
        if self._taken + amount <= most:
            return 0.0
        return (self._minute + 1) * MINUTE_S - now if amount <= most else inf

    def take(self, amount: float, now: float) -> None:
        self._advance(now)
        self._taken += amount

    def left(self, now: float) -> float:
        self._advance(now)
        return max(0.0, self.limit - self._taken)

    def reset_s(self, now: float) -> float:
        self._advance(now)
        return (self._minute + 1) * MINUTE_S - now if self._taken > 0.0 else 0.0


class TokenBucket(Limiter):
    """Refills `limit` a minute evenly and holds at most `burst_s` of it; full at the start.

    What is taken beyond its content is owed, up to as much again as it holds.
    """

    def __init__(self, limit: float, burst_s: float) -> None:
        super().__init__(limit)
        self._burst_s = burst_s
        self._missing = 0.0  # from full: so that a new limit keeps a full bucket full
        self._at = 0.0

    @property
    def _rate(self) -> float:
        return self.limit / MINUTE_S

    @property
    def _room(self) -> float:
        return self._rate * self._burst_s

    def _refill(self, now: float) -> None:
        self._missing = max(0.0, self._missing - self._rate * max(0.0, now - self._at))
        self._at = max(self._at, now)

    def wait_s(self, amount: float, now: float) -> float:
        self._refill(now)
        room = self._room
        over = amount + self._missing - room
        if over <= room * SLACK:
            return 0.0
        return over / self._rate if amount <= room * (1.0 + SLACK) else inf

    def take(self, amount: float, now: float) -> None:
        self._refill(now)
        self._missing = min(2.0 * self._room, self._missing + amount)

    def left(self, now: float) -> float:
        self._refill(now)
        return max(0.0, self._room - self._missing)

    def reset_s(self, now: float) -> float:
        self._refill(now)
        return self._missing / self._rate if self._rate > 0.0 else inf


@dataclass(frozen=True, slots=True)
class Method:
    """Which model, and its lengths in seconds."""

    counting: Counting = Counting.SLIDING
    window_s: float = 1.0
    burst_s: float = MINUTE_S

    def limiter(self, limit: float) -> Limiter:
        """A new limiter of this model."""
        if self.counting is Counting.SLIDING:
            return SlidingLog(limit)
        if self.counting is Counting.FIXED:
            return FixedMinute(limit)
        if self.counting is Counting.BUCKET:
            return TokenBucket(limit, self.burst_s)
        return Windows(limit, self.window_s)
