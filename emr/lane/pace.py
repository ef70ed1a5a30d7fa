"""Pace: the limits a minute of an account. This one holds nothing back; it only knows the limit."""

from __future__ import annotations

from emr.lane.ticket import Batch


class Unpaced:
    """The pace of an account that is asked and never makes wait.

    `calls_per_minute` is the limit that the operator wrote down, None when unknown.
    """

    __slots__ = ("calls_per_minute",)

    def __init__(self, calls_per_minute: float | None) -> None:
        self.calls_per_minute = calls_per_minute

    @property
    def interval_s(self) -> float:
        """The time between calls at the limit; 1 s when it is not known."""
        return 60.0 / self.calls_per_minute if self.calls_per_minute else 1.0

    def wait(self, now: float, batch: Batch) -> float:
        """Seconds until this batch may go."""
        return 0.0

    def charge(self, now: float, batch: Batch) -> None:
        """The batch goes."""
