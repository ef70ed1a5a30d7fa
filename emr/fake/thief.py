"""Somebody else who uses the same key: takes a share of a limit, whenever there is room for it.

Nobody asks him, so he is only looked at when a call comes: what he took since then is taken at its
own times, which is the same as if he had come each time. His calls come at irregular intervals. He
takes nothing that does not fit, and does not come back for it: a limit is shared with him by who
is first.
"""

from __future__ import annotations

from random import Random

from emr.fake.limits import MINUTE_S, Limiter

TAKINGS_A_MINUTE = 60.0  # of a limit in tokens or texts: parts of a size that calls have too
EARLIEST, LATEST = 0.5, 1.5  # of the mean interval


class Thief:
    """Takes from one limit. `calls`: it is one of calls, taken one by one."""

    __slots__ = ("_calls", "_next", "_rng")

    def __init__(self, rng: Random, now: float, *, calls: bool) -> None:
        self._rng = rng
        self._calls = calls
        self._next = now

    def catch_up(self, limiter: Limiter, share: float, now: float) -> None:
        """Take what he took up to `now`."""
        a_minute = limiter.limit * share
        if a_minute <= 0.0:
            self._next = max(self._next, now)
            return
        takings = a_minute if self._calls else TAKINGS_A_MINUTE
        while self._next <= now:
            if limiter.wait_s(a_minute / takings, self._next) <= 0.0:
                limiter.take(a_minute / takings, self._next)
            self._next += MINUTE_S / takings * self._rng.uniform(EARLIEST, LATEST)
