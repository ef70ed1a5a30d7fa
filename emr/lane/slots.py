"""How many calls of an account may be in flight: C, at its first value, and its slow start.

The value moves in one case only so far: after a sin-bin or a latch it starts again from one and
grows by one a success while it is reached, until it is back at its first value.
"""

from __future__ import annotations

from emr.lane.settings import AccountSpec, Home

FIRST = {
    Home.HOSTED: 16,  # a hosted service is limited by its rates, hardly by calls at once
    Home.SELF_HOSTED: 4,  # one server: a few calls keep it busy
    Home.LOCAL: 1,  # one thread computes
}
MOST = 32  # calls in flight when the row says nothing


class Slots:
    """C, the calls that may be in flight; `first` is where it starts and where a ramp ends."""

    __slots__ = ("first", "limit", "most")

    def __init__(self, spec: AccountSpec) -> None:
        self.most = MOST if spec.max_concurrency is None else spec.max_concurrency
        if spec.home is Home.LOCAL:
            self.most = 1
        self.first = min(self.most, FIRST[spec.home])
        self.limit = self.first

    def restart(self) -> None:
        """Begin a slow start."""
        self.limit = 1

    def finish(self) -> None:
        """End a slow start: a minute passed without trouble."""
        self.limit = self.first

    def success(self, in_flight: int) -> bool:
        """A call ended well while `in_flight` were out, itself included; True: the ramp is over."""
        if self.limit < self.first and in_flight >= self.limit:
            self.limit += 1
        return self.limit >= self.first
