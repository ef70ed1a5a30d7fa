"""How providers count: the limiters that a model of a provider is made of.

Each answers `admit(now, cost)`: None when the call passes, else the seconds after which it would.
A refused call counts too when `refused_count` is set (OpenAI's documentation says so of its own).
"""

from __future__ import annotations

from collections import deque
from typing import Protocol


class Limiter(Protocol):
    """A limit of one dimension, a minute."""

    limit: float

    def admit(self, now: float, cost: float) -> float | None:
        """None, or how long to wait."""

    def left(self, now: float) -> float:
        """What remains."""


class SlidingLog:
    """So much in any `window_s`, exactly: `limit` is a minute's."""

    def __init__(self, limit: float, window_s: float = 60.0, *, refused_count: bool = False):
        self.limit = limit
        self.window_s = window_s
        self.refused_count = refused_count
        self._log: deque[tuple[float, float]] = deque()
        self._sum = 0.0

    @property
    def allowed(self) -> float:
        """What fits into a window."""
        return self.limit * self.window_s / 60.0

    def _forget(self, now: float) -> None:
        while self._log and self._log[0][0] <= now - self.window_s:
            self._sum -= self._log.popleft()[1]

    def left(self, now: float) -> float:
        self._forget(now)
        return max(0.0, self.allowed - self._sum)

    def admit(self, now: float, cost: float) -> float | None:
        self._forget(now)
        over = self._sum + cost - self.allowed
        if over <= 1e-9 or not self._log:
            self._log.append((now, cost))
            self._sum += cost
            return None
        if self.refused_count:
            self._log.append((now, cost))
            self._sum += cost
        for at, spent in self._log:
            over -= spent
            if over <= 1e-9:
                return at + self.window_s - now
        return self.window_s


class FixedMinute:
    """So much in each minute of the clock."""

    def __init__(self, limit: float, phase_s: float = 17.0) -> None:
        self.limit = limit
        self._phase_s = phase_s
        self._minute = -1
        self._sum = 0.0

    def left(self, now: float) -> float:
        self._turn(now)
        return max(0.0, self.limit - self._sum)

    def _turn(self, now: float) -> None:
        minute = int((now + self._phase_s) // 60.0)
        if minute != self._minute:
            self._minute, self._sum = minute, 0.0

    def admit(self, now: float, cost: float) -> float | None:
        self._turn(now)
        if self._sum + cost <= self.limit + 1e-9 or self._sum == 0.0:
            self._sum += cost
            return None
        return (self._minute + 1) * 60.0 - self._phase_s - now


class TokenBucket:
    """Fills at limit / 60 a second up to `burst_s` of the limit."""

    def __init__(self, limit: float, burst_s: float = 60.0) -> None:
        self.limit = limit
        self._burst_s = burst_s
        self._level = limit * burst_s / 60.0
        self._at = 0.0

    def left(self, now: float) -> float:
        self._fill(now)
        return max(0.0, self._level)

    def _fill(self, now: float) -> None:
        most = max(1.0, self.limit * self._burst_s / 60.0)
        self._level = min(most, self._level + (now - self._at) * self.limit / 60.0)
        self._at = now

    def admit(self, now: float, cost: float) -> float | None:
        self._fill(now)
        full = self._level >= self.limit * self._burst_s / 60.0
        if self._level + 1e-9 >= cost or full:
            self._level -= cost
            return None
        return (cost - self._level) * 60.0 / self.limit
