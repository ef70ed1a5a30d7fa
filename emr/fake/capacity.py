"""How much a provider works on at a time: servers with a line before them, and permits.

Rules of this file. No clock: `now` is handed in, seconds. The line is first come, first served,
so a call's start is known when it arrives: that is all a finite server needs. Work whose client
left is done all the same, as most servers do.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappush, heapreplace


class Servers:
    """`count` servers, at most `waiting` calls in line before them; 0 of either: any number."""

    __slots__ = ("_busy", "_starts", "count", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.waiting = 0
        self._busy: list[float] = []  # when each server is free, a heap
        self._starts: deque[float] = deque()  # of calls that may still wait, in order

    def resize(self, count: int, waiting: int) -> None:
        """Set both numbers; calls accepted before keep their times."""
        self.waiting = waiting
        if count != self.count:
            self.count = count
            self._busy = sorted(self._busy, reverse=True)[:count]
            heapify(self._busy)

    def start(self, work_s: float, now: float) -> float | None:
        """When a call that comes now is begun; None when the line is full."""
        if self.count == 0:
            return now
        starts = self._starts
        while starts and starts[0] <= now:
            starts.popleft()
        busy = self._busy
        if len(busy) < self.count:
            heappush(busy, now + work_s)
            return now
        begin = max(now, busy[0])
        if begin > now:
            if 0 < self.waiting <= len(starts):
                return None
            starts.append(begin)
        heapreplace(busy, begin + work_s)
        return begin


class Permits:
    """At most `most` of something at a time (0: any number)."""

    __slots__ = ("most", "most_seen", "used")

    def __init__(self) -> None:
        self.most = 0
        self.used = 0
        self.most_seen = 0

    def acquire(self, number: int) -> bool:
        """Take permits, all or none."""
        if 0 < self.most < self.used + number:
            return False
        self.used += number
        self.most_seen = max(self.most_seen, self.used)
        return True

    def release(self, number: int) -> None:
        """Give them back."""
        assert self.used >= number, "more permits given back than taken: a bug"
        self.used -= number
