"""What emr is to reach in the table, and whether it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from tests.bench.measure import Measured, same_round

Rows = Mapping[str, Mapping[str, list[Measured]]]
Compare = Callable[[Measured, Measured], float]


@dataclass(frozen=True, slots=True)
class Ratio:
    """emr's CPU a request by another's, in the same round: at most `most`."""

    row: str
    other: str
    most: float

    def name(self) -> str:
        """What it bounds."""
        return f"{self.row}: CPU by {self.other}'s"

    def value(self, rows: Rows) -> float | None:
        """The median; None when it was not measured."""
        return _median(rows, self.row, self.other, lambda a, b: a.cpu_us / max(b.cpu_us, 1e-9))


@dataclass(frozen=True, slots=True)
class Added:
    """Milliseconds that a lone caller waits longer than for the provider itself."""

    row: str
    percentile: str
    most: float

    def name(self) -> str:
        """What it bounds."""
        return f"{self.row}: added to {self.percentile}, ms"

    def value(self, rows: Rows) -> float | None:
        """The median; None when it was not measured."""
        field = f"{self.percentile}_ms"
        return _median(rows, self.row, "direct", lambda a, b: getattr(a, field) - getattr(b, field))


def _goals() -> Iterator[Ratio | Added]:
    for encoding in ("float", "base64"):
        yield Ratio(f"{encoding}-1x64-0ms", "nginx", 1.5)
        yield Ratio(f"{encoding}-1x1000-180ms", "nginx", 1.0)
        yield Ratio(f"{encoding}-1x64-0ms", "tensorzero", 0.3)
        yield Ratio(f"{encoding}-1x64-0ms", "litellm", 0.01)
        yield Ratio(f"{encoding}-hits", "nginx", 0.8)
        yield Ratio(f"{encoding}-2048x2-0ms", "nginx", 3.0)
    yield Added("float-1x1-0ms", "p50", 0.3)
    yield Added("float-1x1-0ms", "p99", 1.0)


GOALS = tuple(_goals())


def judged(rows: Rows) -> list[list[str]]:
    """A line for each goal that was measured: name, at most, measured, verdict."""
    lines = []
    for goal in GOALS:
        value = goal.value(rows)
        if value is not None:
            verdict = "met" if value <= goal.most else "**missed**"
            lines.append([goal.name(), f"{goal.most:g}", f"{value:.3g}", verdict])
    return lines


def _median(rows: Rows, row: str, other: str, of: Compare) -> float | None:
    ours, theirs = (rows.get(row, {}).get(name, []) for name in ("emr", other))
    pairs = list(same_round(ours, theirs))
    return median(of(a, b) for a, b in pairs) if pairs else None
