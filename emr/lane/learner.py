"""One limit a minute, as far as it is known: told, guessed, learned from refusals, grown back.

The law is CUBIC's, made free of scale (TCP CUBIC, RFC 9438; botocore's adaptive retry uses it with
absolute constants that fit neither 3 nor 8 million a minute):

    w(x) = w_max (1 + (1 - beta) x^3),    x from -1 at the cut

A refusal cuts to beta × w_max, where w_max is what the provider had let through in the minute
before. x is back at 0, and w at w_max, after tau; then it runs faster, to find out whether there is
more: up to 1, which is a twentieth, and beyond it once w_max went through in a minute. x runs only
while the limit is what holds calls back: no evidence, no growth.

A cut that lands within 10% of one of the two before confirms the limit: it is small (of two,
because a fixed minute that was run through too fast shows the sum of two). tau is then
the time of some number of calls, so that at 30 calls a minute as at 3,000 one call in a hundred is
refused for knowing the limit. Near the ceiling that an operator told a refusal is more likely the
provider's own unevenness than another limit, and w is back soon.

A limit that the provider told in numbers is held exactly, and tried after minutes; after longer and
longer, while it tells the same again.

Only the pace is cut. The log of the last minute is held against `cap`, the largest of w, w_max and
what had been let through, or every cut would idle: a minute's (1 - beta) of the time, and after a
bucket's store was used up 20 s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

BETA = 0.7  # of a first cut, or an unexpected one
BETA_CONFIRMED = 0.95
NEAR = 0.1  # two cuts so near each other confirm a limit
BACK = -0.7  # x from which on w is back at w_max, but for a third of the cut
TAU_S = 60.0  # the window in which providers count
# of a confirmed one: with 30 s singles' p99 beside bulk is 2.3 of their own instead of 1.7 (the gap
# of one refusal is met by the next, a minute later), with 60 s a doubling gives less in 5 minutes
TAU_KNOWN_S, TAU_MAX_S = 45.0, 240.0
TAU_CEILING_S = 5.0  # near a ceiling that was told
CEILING_PART = 0.25  # of a cycle, there
TAU_BEYOND_S = 20.0  # beyond w_max: a doubling gives 0.92 in its first five minutes
CYCLE_CALLS = 100.0  # between two refusals of a limit that is known
TOLD_S = 120.0  # until a told limit is tried; doubled each time that the same is told
TOLD_MAX_S = 3600.0
TOLD_CALLS = 200.0  # between two tries of a told limit at the most, where that takes longer
FORGOTTEN_S = 600.0  # without demand: the plan may be another one now
FULL_PART = 0.01  # of w_max, or one call: what may be missing in a full minute
LEAST = 1.0  # a minute

# what outlives a restart; all else is of the present minute
REMEMBERED = (
    "w_max", "announced_limit", "cuts", "_x", "_tau", "_beta", "_before", "_let_through",
    "_told_times",
)  # fmt: skip


class Learner:
    """A limit a minute: `w` is used now, never over `ceiling`. Infinite while nothing is known."""

    __slots__ = (
        "_before", "_beta", "_held_until", "_let_through", "_tau", "_ticked_at", "_told_times",
        "_x", "announced_limit", "ceiling", "cuts", "w_max",
    )  # fmt: skip

    def __init__(self, *, ceiling: float = math.inf, guess: float = math.inf) -> None:
        self.ceiling = ceiling
        self.w_max = guess
        self.announced_limit: float | None = None
        self.cuts = 0
        self._x = 0.0
        self._tau = TAU_S
        self._beta = BETA
        self._before = 0.0  # w_max of the cut before the last
        self._let_through = 0.0  # in the minute before the last cut
        self._told_times = 0
        self._ticked_at = 0.0
        self._held_until = -math.inf

    @property
    def w(self) -> float:
        """The limit in use."""
        if self.w_max == math.inf:
            return self.ceiling
        w = self.w_max * (1.0 + (1.0 - self._beta) * self._x**3)
        return min(self.ceiling, max(LEAST, w))

    @property
    def cap(self) -> float:
        """What the log of a minute is held against."""
        if self.w_max == math.inf:
            return self.w
        return min(self.ceiling, max(self.w, self.w_max, self._let_through))

    @property
    def known(self) -> bool:
        """Whether there is a limit at all."""
        return self.w < math.inf

    @property
    def learned(self) -> bool:
        """Whether refusals made it what it is."""
        return self.cuts > 0

    def reached(self, until: float) -> None:
        """The limit holds a call back until then."""
        self._held_until = until

    def tick(self, now: float, log: float) -> None:
        """Let time pass: x runs while the limit holds a call back; `log` is a minute's sum."""
        held = min(now, self._held_until) - self._ticked_at
        if now - max(self._held_until, 0.0) > FORGOTTEN_S:
            self._told_times = 0
        self._ticked_at = now
        if held <= 0.0 or self.w >= self.ceiling:
            return
        if self._x < 0.0:
            self._x = min(0.0, self._x + held / self._tau)
        else:
            self._beta = BETA_CONFIRMED
            x = self._x + held / TAU_BEYOND_S
            if log > self.w_max - max(1.0, FULL_PART * self.w_max):
                self._x = x  # a minute is full at w_max, and no refusal came: there may be more
            else:
                self._x = max(self._x, min(1.0, x))

    def cut(self, seen: float, calls: float) -> None:
        """A refusal: the limit is at most what was `seen` in the minute before it.

        `calls` is what the account makes of them in a minute, of whatever the limit is.
        """
        w_max = min(self.w, seen)
        if w_max == math.inf:
            return
        w_max = max(LEAST, w_max)
        cycle_s = CYCLE_CALLS * 60.0 / max(1.0, calls)
        self._beta, self._tau = BETA, TAU_S
        # a refusal on the way back to w_max says that it is lower
        known = (self.w_max, self._before) if self.cuts > 0 and self._x >= BACK else ()
        if any(math.isclose(w_max, each, rel_tol=NEAR) for each in known):
            self._beta, self._tau = BETA_CONFIRMED, min(TAU_MAX_S, max(TAU_KNOWN_S, cycle_s))
        if w_max >= (1.0 - NEAR) * self.ceiling:
            self._beta, self._tau = BETA_CONFIRMED, max(TAU_CEILING_S, CEILING_PART * cycle_s)
        self._x = -1.0
        self._before, self.w_max = self.w_max, w_max
        self._let_through = seen
        self.cuts += 1

    def refused_too(self, cost: float) -> None:
        """Another call that was out at the cut was refused: it was not let through either."""
        if self.w_max < math.inf:
            self.w_max = max(LEAST, self.w_max - cost)
            self._let_through -= cost

    def announced(self, limit: float) -> None:
        """The provider's headers say what the limit is: nothing is gained by going over it."""
        if limit != self.announced_limit:
            self.announced_limit = self.ceiling = max(LEAST, limit)
            self.w_max = math.inf
            self._let_through = 0.0

    def told(self, limit: float) -> None:
        """The provider says what the limit is."""
        same = self._told_times > 0 and abs(limit - self.w_max) <= NEAR * limit
        self._told_times = self._told_times + 1 if same else 1
        self.w_max = max(LEAST, limit)
        most_s = min(TOLD_MAX_S, max(TOLD_S, TOLD_CALLS * 60.0 / self.w_max))
        wait_s = min(most_s, TOLD_S * 2.0 ** min(30, self._told_times - 1))
        self._let_through = 0.0
        self._beta, self._tau = 1.0, wait_s  # w stays at w_max until x is over 0
        self._x = -1.0
        self.cuts += 1


def remember_limit(learner: Learner) -> dict[str, float | None]:
    """The state of a limit as plain numbers, null for infinite; a new one can go on from there."""
    return {name.strip("_"): _finite(getattr(learner, name)) for name in REMEMBERED}


def recall_limit(learner: Learner, state: Mapping[str, Any], *, configured: bool) -> None:
    """Let a new limit go on where another was; a ceiling of headers only where none is configured.

    Raises KeyError, TypeError, ValueError when it is nothing that `remember_limit` gives.
    """
    given = {name: state[name.strip("_")] for name in REMEMBERED}
    known = {n: math.inf if value is None else float(value) for n, value in given.items()}
    if not (
        known["w_max"] >= LEAST
        and -1.0 <= known["_x"] < math.inf
        and 0.0 < known["_beta"] <= 1.0
        and 0.0 < known["_tau"] < math.inf
        and known["cuts"] >= 0.0
        and known["_told_times"] >= 0.0
        and known["announced_limit"] > 0.0
        and not math.isnan(known["_before"] + known["_let_through"])
    ):
        raise ValueError("this is not the state of a limit")
    announced = known.pop("announced_limit")
    for name, value in known.items():
        setattr(learner, name, int(value) if name in ("cuts", "_told_times") else value)
    if announced < math.inf and not configured:
        learner.announced_limit = learner.ceiling = announced


def _finite(value: float | None) -> float | None:
    return None if value is None or value == math.inf else value
