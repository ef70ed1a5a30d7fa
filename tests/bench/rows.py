"""The rows of the table: what is asked, by how many callers, and how slow the provider is."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch

from tests.bench.load import Shape

DELAY_MS = 180.0  # the median of Voyage's calls, as the fake has it
CYCLE = 64  # requests of a row of cache hits


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `idle` connections are open beside the callers'."""

    name: str
    shape: Shape
    delay_ms: float = 0.0
    idle: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether a run is measured from its start to its end, see `measure`."""
        return self.delay_ms > 0 or self.shape.cycle > 0


def _rows() -> list[Row]:
    rows = [
        Row(f"{encoding}-{texts}x{callers}-{delay:.0f}ms", Shape(encoding, texts, callers), delay)
        for delay in (0.0, DELAY_MS)
        for texts in (1, 32)
        for callers in (1, 64, 1000)
        for encoding in ("float", "base64")
    ]
    for encoding in ("float", "base64"):
        rows.append(Row(f"{encoding}-hits", Shape(encoding, 1, 64, CYCLE)))
        rows.append(Row(f"{encoding}-2048x2-0ms", Shape(encoding, 2048, 2)))
    rows.append(Row("float-1x64-0ms-idle2000", Shape("float", 1, 64), idle=2000))
    return rows


ROWS = _rows()


def chosen(patterns: list[str]) -> list[Row]:
    """The rows whose names fit one of the patterns; all when there is none."""
    return [r for r in ROWS if not patterns or any(fnmatch(r.name, p) for p in patterns)]
