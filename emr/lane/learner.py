"""One limit a minute, as far as it is known: told, guessed, learned from refusals, grown back.

The law is CUBIC's, made free of scale (TCP CUBIC, RFC 9438; botocore's adaptive retry uses it with
absolute constants that fit neither 3 nor 8 million a minute):

    w(t) = w_max (1 + (1 - beta) ((t - tau) / tau)^3)

A refusal cuts to beta × w_max; w is back at w_max after tau and grows ever faster beyond it. t runs
only while the limit is what holds calls back: no evidence, no growth. Two cuts that land within 10%
of each other confirm the limit: smaller cuts, slower growth, fewer refusals.

Only the pace is cut. The log of the last minute is held against `cap`, the larger of w and w_max,
or every cut would idle a minute's (1 - beta).
"""

from __future__ import annotations

import math

BETA = 0.7  # of a first cut, or an unexpected one
BETA_CONFIRMED = 0.95
NEAR = 0.1  # two cuts so near each other confirm a limit
TAU_S = 60.0  # the window in which providers count
TAU_CONFIRMED_S = 120.0
QUIET_S = 60.0  # at full pace without a refusal: the limit may have been raised
LEAST = 1.0  # a minute
REACHED_S = 1.0  # a limit that held a call back so lately is reached


class Learner:
    """A limit a minute: `w` is used now, never over `ceiling`. Infinite while nothing is known."""

    __slots__ = (
        "_beta", "_reached_at", "_t", "_tau", "_ticked_at", "announced_limit", "ceiling", "cuts",
        "w_max",
    )  # fmt: skip

    def __init__(self, *, ceiling: float = math.inf, guess: float = math.inf) -> None:
        self.ceiling = ceiling
        self.w_max = guess
        self.announced_limit: float | None = None
        self.cuts = 0
        self._t = self._tau = TAU_S
        self._beta = BETA
        self._ticked_at = 0.0
        self._reached_at = -math.inf

    @property
    def w(self) -> float:
        """The limit in use."""
        if self.w_max == math.inf:
            return self.ceiling
        x = (self._t - self._tau) / self._tau
        return min(self.ceiling, max(LEAST, self.w_max * (1.0 + (1.0 - self._beta) * x**3)))

    @property
    def cap(self) -> float:
        """What the log of a minute is held against."""
        return self.w if self.w_max == math.inf else min(self.ceiling, max(self.w, self.w_max))

    @property
    def known(self) -> bool:
        """Whether there is a limit at all."""
        return self.w < math.inf

    @property
    def learned(self) -> bool:
        """Whether refusals made it what it is."""
        return self.cuts > 0

    def reached(self, now: float) -> None:
        """The limit holds a call back."""
        self._reached_at = now

    def tick(self, now: float) -> None:
        """Let time pass: t runs while the limit is reached."""
        passed, self._ticked_at = now - self._ticked_at, now
        if now - self._reached_at > REACHED_S or self.w >= self.ceiling:
            return
        self._t += min(passed, REACHED_S)
        if self._tau > TAU_S and self._t >= QUIET_S:
            self._tau = TAU_S

    def cut(self, seen: float) -> None:
        """A refusal: the limit is at most what was `seen` in the minute before it."""
        w_max = min(self.w, seen)
        if w_max == math.inf:
            return
        w_max = max(LEAST, w_max)
        confirmed = self.cuts > 0 and abs(w_max - self.w_max) <= NEAR * self.w_max
        self._beta = BETA_CONFIRMED if confirmed else BETA
        self._tau = TAU_CONFIRMED_S if confirmed else TAU_S
        self._t = 0.0
        self.w_max = w_max
        self.cuts += 1

    def announced(self, limit: float) -> None:
        """The provider's headers say what the limit is: nothing is gained by going over it."""
        if limit != self.announced_limit:
            self.announced_limit = self.ceiling = max(LEAST, limit)
            self.w_max = math.inf

    def told(self, limit: float) -> None:
        """The provider says what the limit is."""
        self.w_max = max(LEAST, limit)
        self._beta, self._tau = BETA_CONFIRMED, TAU_CONFIRMED_S
        self._t = self._tau
        self.cuts += 1
