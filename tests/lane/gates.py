"""A gate driven by hand: verdicts of calls that were sent now, or in an earlier epoch."""

from __future__ import annotations

from random import Random

from emr.lane.gate import Gate, Known, Reason
from emr.lane.settings import LaneSettings
from emr.lane.verdict import Ending, Verdict

RTT_S = 0.2
INTERVAL_S = 1.5  # of a limit of 40 a minute
ANSWERS = (
    Ending.OK,
    Ending.SIZE_ITEMS,
    Ending.SIZE_TOKENS,
    Ending.SIZE_BYTES,
    Ending.BAD_TEXT,
    Ending.BAD_REQUEST,
)


class Lowest(Random):
    """Draws the least that it may, so that a time is exactly what the law says."""

    def uniform(self, a: float, b: float) -> float:
        return a


class Highest(Random):
    """Draws the most that it may."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Driver:
    """A gate and the verdicts of calls sent now, or in an earlier epoch."""

    def __init__(self, rng: Random | None = None, settings: LaneSettings | None = None) -> None:
        self.gate = Gate(settings or LaneSettings(), rng or Lowest())

    def end(
        self,
        ending: Ending,
        now: float,
        retry_after: float | None = None,
        *,
        epoch: int | None = None,
        rtt_s: float = RTT_S,
        message: str = "",
    ) -> Gate:
        """A call ends; `epoch` is that of its sending, the present one when it is not given."""
        gate = self.gate
        verdict = Verdict(ending, 500, message, retry_after)
        gate.settle(verdict, gate.epoch if epoch is None else epoch, now, Known(rtt_s, INTERVAL_S))
        return gate

    def bin(self, now: float) -> Gate:
        """Five failures in a row, the last of them now."""
        for before in (0.8, 0.6, 0.4, 0.2, 0.0):
            self.end(Ending.TRANSIENT, now - before)
        assert self.gate.reason is Reason.BINNED
        return self.gate
