"""A sliding minute: how much of a limit was used in the last 60 s, and when there is room again.

Rules of this file. Amounts are whole numbers, `now` is seconds of a steady clock. What was taken
counts for 60 s and up to a grain more, so that no minute, wherever it begins, holds more than the
limit. What alone is more than the limit (tokens are known only when the provider has counted them)
counts for so many minutes as it is limits: the limit holds on the average.

What was taken within one grain is one entry, so that a window has 241 at the most, however high the
limit is. Refused: a token bucket (it lets twice the limit through in the minute after a pause); one
entry for each request.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MINUTE_S = 60.0
GRAIN_S = 0.25  # a steady stream gets 240/241 of its limit


@dataclass(slots=True)
class Entry:
    """What was taken within a grain, and when it counts no longer."""

    grain: int
    amount: int
    ends: float


class Window:
    """The last minute of one limit."""

    __slots__ = ("_log", "_sum")

    def __init__(self) -> None:
        self._log: deque[Entry] = deque()
        self._sum = 0

    def used(self, now: float) -> int:
        """What counts now."""
        log = self._log
        while log and log[0].ends <= now:
            self._sum -= log.popleft().amount
        return self._sum

    def take(self, amount: int, limit: int, now: float) -> None:
        """Count `amount` from now on."""
        self.used(now)
        grain = int(now / GRAIN_S)
        ends = (grain + 1) * GRAIN_S + MINUTE_S * max(1.0, amount / limit)
        self._sum += amount
        last = self._log[-1] if self._log else None
        if last is not None and last.grain == grain:
            last.amount += amount
            last.ends = max(last.ends, ends)
        else:
            self._log.append(Entry(grain, amount, ends))

    def wait_s(self, amount: int, limit: int, now: float, held: int = 0) -> float:
        """How long until there is room for `amount`, 0 when there is; one over the limit needs all.

        `held` is what others will take, when it is known how much: it has no end yet.
        """
        over = self.used(now) + held + min(amount, limit) - limit
        if over <= 0:
            return 0.0
        at = now
        for entry in self._log:
            at = max(at, entry.ends)
            over -= entry.amount
            if over <= 0:
                return at - now
        return max(at - now, MINUTE_S)
