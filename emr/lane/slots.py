"""How many calls of an account may be in flight: C, additive increase and multiplicative decrease.

C grows by one a window, only if it was reached in it: no evidence, no growth. It is cut once an
epoch (only calls sent since the last cut can cut again), each signal by its own factor. After a
sin-bin or a latch C starts again from one, plus one a success, until its first value or a cut. Cuts
in a row without a success between them are one event: once the provider answers again, C is soon
back at what the first of them left (over five seconds after 10 s of 503s 0.72 of the rate before;
else 0.65). Likewise at the start, where a known rate keeps more calls in flight than that (2,000
calls of one second a minute: 0.983 of the limit in five minutes; else 0.972).

The latency law is for self-hosted servers alone, where calls queue in the server: a hosted
service's latency says nothing about our calls. It compares the smoothed time of a class of sizes (a
power of two of tokens) with the least such mean of the last minute or two. Refused: a law on the
fitted T (it is fitted to the very queue that it should notice: singles' p50 beside bulk 15 of their
own instead of 2.6), and an unsmoothed minimum (C collapses to 1).
"""

from __future__ import annotations

from emr.lane.settings import AccountSpec, Home

FIRST = {
    Home.HOSTED: 16,  # a hosted service is limited by its rates, hardly by calls at once
    Home.SELF_HOSTED: 4,  # one server: a few calls keep it busy
    Home.LOCAL: 1,  # one thread computes
}
MOST = 32  # calls in flight when the row says nothing
MOST_OF_RATE = 1.5  # times the calls that a known rate keeps in flight
OVERLOADED, TIMED_OUT, SLOW = 0.5, 0.7, 0.9  # what a cut leaves
WINDOW_MIN_S = 0.1
RTT_WEIGHT = 0.2
SLOW_FACTOR = 1.6  # times the least mean (2.0: singles' p50 beside bulk 3.9 of their own, not 2.6)
# C is halved so often, for a look at how fast calls are without our own queue: else the least mean
# creeps up, and after ten minutes under bulk singles' p50 is 7 of their own
DIP, DIP_EVERY_S = 0.5, 60.0
LEAST_FOR_S = 60.0  # the least mean is that of this period and the one before it


class SizeClass:
    """The smoothed time of calls of one size, and its least value lately."""

    __slots__ = ("before", "least", "mean", "since")

    def __init__(self, seconds: float, now: float) -> None:
        self.mean = self.least = self.before = seconds
        self.since = now

    def took(self, seconds: float, now: float) -> float:
        """Take in a call; returns its mean over the least mean."""
        self.mean += RTT_WEIGHT * (seconds - self.mean)
        if now - self.since > LEAST_FOR_S:
            self.before, self.least, self.since = self.least, self.mean, now
        self.least = min(self.least, self.mean)
        return self.mean / max(1e-9, min(self.least, self.before))


class Slots:
    """C, as a number with a fraction; `limit` is what may be in flight."""

    __slots__ = ("_aim", "_answered", "_c", "_classes", "_cut_number", "_dip_at", "_home",
                 "_reached", "_window_ends", "configured", "first")  # fmt: skip

    def __init__(self, spec: AccountSpec) -> None:
        self._home = spec.home
        self.configured = 1 if spec.home is Home.LOCAL else spec.max_concurrency
        self.first = min(self.configured or MOST, FIRST[spec.home])
        self._c = float(self.first)
        self._aim = self._c  # up to it C grows by one a success: the slow start
        self._answered = True  # a call ended well since the last cut
        self._reached = False
        self._window_ends = 0.0
        self._cut_number = 0
        self._dip_at: float | None = None  # from the first call on
        self._classes: dict[int, SizeClass] = {}

    @property
    def limit(self) -> int:
        """The calls that may be in flight."""
        return int(self._c)

    def most(self, rate_calls: float) -> int:
        """The largest C, where a known rate keeps `rate_calls` calls in flight."""
        return self.configured or max(MOST, int(MOST_OF_RATE * rate_calls))

    def restart(self) -> None:
        """Begin a slow start."""
        self._c = 1.0
        self._aim = float(self.first)

    def finish(self) -> None:
        """End a slow start: a minute passed without trouble."""
        self._c = self._aim = float(self.first)

    def success(self, in_flight: int, rtt_s: float, most: int, now: float) -> bool:
        """A call ended well while `in_flight` were out, itself included.

        True when C is back at its first value, so that a ramp is over.
        """
        reached = in_flight >= self.limit
        self._answered = True
        if most > MOST and self._cut_number == 0:
            self._aim = max(self._aim, most / MOST_OF_RATE)
        if self._c < self._aim:
            if reached:
                self._c = min(self._aim, self._c + 1.0)
            return self._c >= self.first
        self._reached = self._reached or reached
        if now >= self._window_ends:
            if self._reached:
                self._c = min(float(most), self._c + 1.0)
            self._reached = False
            self._window_ends = now + max(WINDOW_MIN_S, rtt_s)
        return self._c >= self.first

    def cut(self, factor: float, number: int, newest: int, now: float) -> bool:
        """A signal of congestion in call `number`, the `newest` sent so far; True if C was cut."""
        if number <= self._cut_number:
            return False
        self._cut_number = newest
        self._c = max(1.0, self._c * factor)
        if self._answered:
            self._aim = self._c
        self._answered = self._reached = False
        return True

    def too_slow(self, tokens: int, seconds: float, now: float) -> bool:
        """Whether calls of that size got slow."""
        self._answered = True
        if self._home is not Home.SELF_HOSTED:
            return False
        if self._dip_at is None:
            self._dip_at = now + DIP_EVERY_S
        elif now >= self._dip_at:
            self._dip_at = now + DIP_EVERY_S
            self._c = self._aim = max(1.0, self._c * DIP)
        seen = self._classes.get(tokens.bit_length())
        if seen is None:
            self._classes[tokens.bit_length()] = SizeClass(seconds, now)
            return False
        return seen.took(seconds, now) > SLOW_FACTOR
