"""Figures of a run, by spans of time, and whether they are within their bounds.

Latencies are held against the provider's own: the time that a direct call of the size that emr sent
would take (`own`, the same percentile over the calls that carried the class, each weighted by its
tickets).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from emr.lane.verdict import Ending
from tests.sim.callers import Asked
from tests.sim.scenario import Bound, Scenario, Span
from tests.sim.server import Limit, Seen, Server

STEP_S = 0.25  # of the time at which a recovery is looked for
RECOVERED = 0.8  # of the rate before
RATE_OVER_S = 1.0  # over which a recovered rate is taken
LASTING_OVER_S = 5.0  # over which it must not fall again
BEFORE_S = 10.0  # before an outage, in which the rate is taken


@dataclass(slots=True)
class Run:
    """What a finished run left."""

    scenario: Scenario
    servers: dict[str, Server]
    log: list[Asked]
    cpu_s: float = 0.0
    trace: int = 0
    most_texts: int = 1
    most_tokens: int = 1 << 30
    twin: Run | None = None

    @property
    def calls(self) -> list[Seen]:
        """Every call, of all providers."""
        return [seen for server in self.servers.values() for seen in server.seen]


@dataclass(slots=True)
class Figures:
    """The figures of one span, each computed when it is asked for; NaN: there is none."""

    run: Run
    span: Span
    calls: list[Seen] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    until: float = 0.0

    def __post_init__(self) -> None:
        self.until = min(self.span.until, self.run.scenario.seconds)
        since = self.span.since
        self.calls = [c for c in self.run.calls if since <= c.arrived < self.until]
        self.asked = [
            a
            for a in self.run.log
            if since <= a.asked < self.until and self.run.scenario.callers[a.group].measured
        ]

    def value(self, name: str) -> float:
        """The figure of that name. Raises KeyError for a name that there is not."""
        if name in FIGURES:
            return FIGURES[name](self)
        kind, _, part = name.partition("_")
        if part in ("p50", "p90", "p99") and self._is_group(kind):
            return self.latency(kind, int(part[1:]) / 100.0)
        if part == "served" and self._is_group(kind):
            ended = [a for a in self.asked if self._in(kind, a) and a.end not in ("left", "")]
            return _share([a.end == "ok" for a in ended])
        raise KeyError(name)

    def own(self, name: str) -> float:
        """The provider's own time for a latency figure, else NaN."""
        kind, _, part = name.partition("_")
        if part not in ("p50", "p90", "p99"):
            return math.nan
        own: list[tuple[float, int]] = []
        for seen in self.calls:
            count = seen.bulks if kind == "bulk" else seen.singles
            if kind == "all":
                count = seen.singles + seen.bulks
            if count and seen.ending is Ending.OK:
                own.append((seen.own_s, count))
        return _weighted(own, int(part[1:]) / 100.0)

    def latency(self, kind: str, part: float) -> float:
        """A percentile of the times of the answered of a class or group; others are infinite.

        Who was refused at the door or left has no latency; who waited in vain has an infinite one.
        """
        took = [
            a.ended - a.asked if a.end == "ok" else math.inf
            for a in self.asked
            if self._in(kind, a) and a.end != "left" and not a.at_door and self._could_end(a)
        ]
        return _percentile(sorted(took), part)

    def _could_end(self, asked: Asked) -> bool:
        return asked.end != "" or asked.asked + asked.deadline_s < self.run.scenario.seconds

    def _is_group(self, kind: str) -> bool:
        return kind in ("single", "bulk", "all") or kind in self.run.scenario.callers

    @staticmethod
    def _in(kind: str, asked: Asked) -> bool:
        if kind in ("single", "bulk"):
            return asked.bulk == (kind == "bulk")
        return kind in ("all", asked.group)


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else math.nan


def _percentile(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else math.nan


def _weighted(values: list[tuple[float, int]], part: float) -> float:
    whole = sum([weight for _, weight in values])
    reached = 0.0
    for value, weight in sorted(values):
        reached += weight
        if reached > part * whole:
            return value
    return math.nan


# figures by their names


def goodput(figures: Figures) -> float:
    """What limits allowed that was used: of the limit that was used most, over all providers."""
    best = math.nan
    for server in figures.run.servers.values():
        for limit in server.limits:
            allowed = limit.allowed(figures.span.since, figures.until)
            used = _used(limit, figures, server)
            best = used / allowed if math.isnan(best) else max(best, used / allowed)
    return best


def _used(limit: Limit, figures: Figures, server: Server) -> float:
    since, until = figures.span.since, figures.until
    taken = (s for s in server.seen if since <= s.arrived < until and s.ending is not Ending.RATE)
    return sum([limit.cost(seen) for seen in taken])


def goodput_least(figures: Figures) -> float:
    """As `goodput`, of the limit that was used least."""
    parts = []
    for server in figures.run.servers.values():
        for limit in server.limits:
            allowed = limit.allowed(figures.span.since, figures.until)
            parts.append(_used(limit, figures, server) / allowed)
    return min(parts, default=math.nan)


def refused(figures: Figures) -> float:
    """The share of calls that met a rate limit."""
    return _share([seen.ending is Ending.RATE for seen in figures.calls])


def calls(figures: Figures) -> float:
    """The calls made."""
    return float(len(figures.calls))


def texts_a_call(figures: Figures) -> float:
    """Texts in a call that was answered."""
    good = [seen.texts for seen in figures.calls if seen.ending is Ending.OK]
    return sum(good) / len(good) if good else math.nan


def of_ideal(figures: Figures) -> float:
    """Answered calls over what a perfect packer would make of their texts."""
    good = [seen for seen in figures.calls if seen.ending is Ending.OK]
    if not good:
        return math.nan
    texts = sum([seen.texts for seen in good]) / figures.run.most_texts
    tokens = sum([seen.tokens for seen in good]) / figures.run.most_tokens
    return len(good) / max(1.0, math.ceil(max(texts, tokens)))


def fullness(figures: Figures) -> float:
    """Texts in a call over the cap, of the calls that the limit allows."""
    for server in figures.run.servers.values():
        for limit in server.limits:
            allowed = limit.allowed(figures.span.since, figures.until)
            texts = sum([s.texts for s in figures.calls if s.ending is Ending.OK])
            return texts / (allowed * figures.run.most_texts)
    return math.nan


def served(figures: Figures) -> float:
    """The share of what was asked that was answered."""
    return _share([a.end == "ok" for a in figures.asked if a.end not in ("left", "")])


def rate(figures: Figures) -> float:
    """Texts answered a second."""
    since, until = figures.span.since, figures.until
    texts = sum([a.texts for a in figures.run.log if a.end == "ok" and since <= a.ended < until])
    return texts / (until - since)


def told_429(figures: Figures) -> float:
    """The requests that were told of a rate limit."""
    return float(sum([a.end == "rate_limited" for a in figures.asked]))


def let_down(figures: Figures) -> float:
    """The share of those let in at the door who were refused in the end."""
    let_in = [a for a in figures.asked if not a.at_door and a.end not in ("left", "")]
    return _share([a.end != "ok" for a in let_in])


def jain(figures: Figures) -> float:
    """Jain's index of the texts that equal keys got: 1.0 is perfectly even."""
    since, until = figures.span.since, figures.until
    got: Counter[str] = Counter({a.key: 0 for a in figures.asked})
    for a in figures.run.log:
        if a.end == "ok" and since <= a.ended < until:
            got[a.key] += a.texts
    squares = sum([n * n for n in got.values()])
    return sum(got.values()) ** 2 / (len(got) * squares) if squares else math.nan


def busy(figures: Figures) -> float:
    """The share of their time that a provider's servers computed, over the whole run."""
    for server in figures.run.servers.values():
        if server.servers is not None:
            most = server.servers.count * figures.run.scenario.seconds
            return server.servers.busy_s / most
    return math.nan


def answered(figures: Figures) -> float:
    """The requests that were answered."""
    return float(sum([a.end == "ok" for a in figures.asked]))


def innocent_served(figures: Figures) -> float:
    """The share answered of those whose text was not refused by the provider."""
    ended = [a for a in figures.asked if a.end not in ("left", "") and not a.poisoned]
    return _share([a.end == "ok" for a in ended])


def sent_of_asked(figures: Figures) -> float:
    """Texts sent over texts asked for."""
    sent = sum([seen.texts for seen in figures.calls])
    return sent / sum([a.texts for a in figures.asked])


def share_of_least(figures: Figures) -> float:
    """The share of the texts that the provider got which got least."""
    since, until = figures.span.since, figures.until
    got = [
        sum([seen.texts for seen in server.seen if since <= seen.arrived < until])
        for server in figures.run.servers.values()
    ]
    return min(got) / sum(got)


def too_large(figures: Figures) -> float:
    """The calls refused for their size."""
    sizes = (Ending.SIZE_ITEMS, Ending.SIZE_TOKENS, Ending.SIZE_BYTES)
    return float(sum([seen.ending in sizes for seen in figures.calls]))


def of_twin_rate(figures: Figures) -> float:
    """The rate over that of the twin without faults."""
    return rate(figures) / rate(Figures(_twin(figures), figures.span))


def of_needed(figures: Figures) -> float:
    """Calls over those that the twin makes, each 1 / (1 - p) times."""
    p = max([f.p for s in figures.run.servers.values() for f in s.plan.faults.values()])
    needed = calls(Figures(_twin(figures), figures.span)) / (1.0 - p)
    return calls(figures) / needed


def _twin(figures: Figures) -> Run:
    twin = figures.run.twin
    assert twin is not None, "the scenario has no twin to be compared with"
    return twin


def recovery_s(figures: Figures) -> float:
    """From the start of the span until the rate was back, infinite when it never was."""
    since = figures.span.since
    done = _done(figures)
    before = _rate_before(figures, done)
    at = since
    while at + RATE_OVER_S <= figures.until:
        if _rate_in(done, at, at + RATE_OVER_S) >= RECOVERED * before:
            return at - since
        at += STEP_S
    return math.inf


def lasting(figures: Figures) -> float:
    """The least rate over some seconds after the recovery, over the rate before."""
    done = _done(figures)
    before = _rate_before(figures, done)
    at = figures.span.since + recovery_s(figures)
    least = math.inf
    while at + LASTING_OVER_S <= figures.until:
        least = min(least, _rate_in(done, at, at + LASTING_OVER_S) / before)
        at += 1.0
    return least


def _done(figures: Figures) -> list[tuple[float, int]]:
    return [(a.ended, a.texts) for a in figures.run.log if a.end == "ok"]


def _rate_before(figures: Figures, done: list[tuple[float, int]]) -> float:
    faults = [f.since for s in figures.run.servers.values() for f in s.plan.faults.values()]
    return _rate_in(done, min(faults) - BEFORE_S, min(faults))


def _rate_in(done: list[tuple[float, int]], since: float, until: float) -> float:
    return sum([texts for at, texts in done if since <= at < until]) / (until - since)


FIGURES: dict[str, Callable[[Figures], float]] = {
    figure.__name__: figure
    for figure in (
        goodput, goodput_least, refused, calls, texts_a_call, of_ideal, fullness, served, rate,
        told_429, let_down, jain, busy, answered, innocent_served, sent_of_asked, share_of_least,
        too_large, of_twin_rate, of_needed, recovery_s, lasting,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged:
    """A bound, the figure, and whether it is met."""

    span: str
    bound: Bound
    figure: float
    limit: float
    met: bool

    def __str__(self) -> str:
        sign = ">=" if self.bound.least else "<="
        span = f"{self.span}: " if self.span else ""
        return f"{span}{self.bound.figure} {self.figure:.4g} (asked {sign} {self.limit:.4g})"


def judge(run: Run) -> list[Judged]:
    """Every bound of the scenario."""
    judged: list[Judged] = []
    for span in run.scenario.spans:
        figures = Figures(run, span)
        for bound in span.bounds:
            figure, own = figures.value(bound.figure), figures.own(bound.figure)
            limit = bound.limit(own)
            judged.append(Judged(span.name, bound, figure, limit, bound.met(figure, own)))
    return judged
