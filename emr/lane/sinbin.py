"""The sin-bin of a gate: how long its bins are, and when a binned provider is probed.

Bins grow with their number, until a minute without a failure forgets them. With a healthy twin a
provider is probed at leisure; alone it is probed soon, as nobody else can do its work.
"""

from __future__ import annotations

from emr.lane.settings import LaneSettings
from emr.lane.verdict import Ending

PROBE_FIRST_S, PROBE_MAX_S = 0.5, 2.0  # a 14 s reset then serves 0.96 of who arrive in it
DOUBLINGS_MAX = 30  # past any bound here; 2.0 ** 1024 is an OverflowError, met in half an hour


class SinBin:
    """The bin that a provider is in, or was in last."""

    __slots__ = ("_settings", "by", "ends", "probes_failed", "started", "times", "twin")

    def __init__(self, settings: LaneSettings) -> None:
        self._settings = settings
        self.times = 0  # that are not forgotten
        self.by = Ending.TRANSIENT
        self.started = 0.0
        self.ends = 0.0  # for display: the next call comes earlier
        self.probes_failed = 0
        self.twin = False  # whether another member of the family was healthy

    def start(self, by: Ending, now: float) -> None:
        """The provider goes into the bin."""
        self.by = by
        self.started = now
        self.probes_failed = 0
        self.ends = now + self._length_s()

    def probe_failed(self, now: float) -> None:
        """It is not back yet; a bin that is over begins again, longer."""
        self.probes_failed += 1
        if now >= self.ends:
            self.ends = now + self._length_s()

    def _length_s(self) -> float:
        s = self._settings
        grown = s.sinbin_multiplier ** min(self.times, DOUBLINGS_MAX)
        self.times += 1
        return min(s.sinbin_max_s, s.sinbin_initial_s * grown)

    def probe_wait(self, now: float) -> float:
        """Seconds until the next probe."""
        if self.twin:
            return min(self.ends - now, self._settings.probe_interval_s)
        return min(PROBE_MAX_S, PROBE_FIRST_S * doubled(self.probes_failed))

    def left_alone(self) -> bool:
        """No twin is healthy any more; whether one was."""
        had, self.twin = self.twin, False
        if had:
            self.probes_failed = 0
        return had


def doubled(times: int) -> float:
    """2 ** times, for a wait that doubles."""
    return 2.0 ** min(times, DOUBLINGS_MAX)
