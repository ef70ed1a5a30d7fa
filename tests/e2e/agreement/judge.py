"""Two runs of a scenario side by side, virtual and real, and whether they agree.

Compared is the last span of the scenario, as the table of the simulator shows it; times are those
of each kind of callers apart, for a median between two kinds is of neither. A figure agrees when
the real one is within a tenth of the virtual one. Both are counts, or medians, of chance
events, so a figure of n of them may also differ by three standard deviations of a count, 3/√n: from
900 on that is less than a tenth and says nothing. Times are besides allowed 10 ms: of
three processes and their turns, nothing of the control laws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.sim.measure import Figures, Run, jain, judge

TENTH = 0.1
DEVIATIONS = 3.0
MACHINE_S = 0.01


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of both runs. `judged`: a difference of more than `allowed` is a disagreement."""

    name: str
    virtual: float
    real: float
    allowed: float
    judged: bool
    slack: float = 0.0

    @property
    def difference(self) -> float:
        """The real figure over the virtual one, less 1; NaN when neither says anything."""
        if self.virtual == self.real:
            return 0.0
        if math.isnan(self.virtual) or math.isnan(self.real) or self.virtual == 0.0:
            return math.nan
        return self.real / self.virtual - 1.0

    @property
    def agrees(self) -> bool:
        """Whether it is within what is allowed."""
        if not self.judged or (math.isnan(self.virtual) and math.isnan(self.real)):
            return True
        if self.virtual == self.real:
            return True
        return abs(self.real - self.virtual) <= self.allowed * self.virtual + self.slack


def allowed(count: float) -> float:
    """The part by which a figure of so many events may differ."""
    return max(TENTH, DEVIATIONS / math.sqrt(max(1.0, count)))


def compare(virtual: Run, real: Run) -> list[Compared]:
    """Every figure, of both runs."""
    spans = virtual.scenario.spans[-1]
    a, b = Figures(virtual, spans), Figures(real, spans)
    calls = allowed(len(a.calls))
    compared = [
        Compared("goodput", a.value("goodput"), b.value("goodput"), calls, judged=True),
        Compared("calls", float(len(a.calls)), float(len(b.calls)), calls, judged=True),
        Compared("refused", a.value("refused"), b.value("refused"), 0.0, judged=False),
    ]
    for group in sorted(virtual.scenario.callers):
        asked = sum([each.group == group for each in a.asked])
        for part in ("p50", "p99"):
            name = f"{group}_{part}"
            compared.append(
                Compared(
                    name,
                    a.value(name),
                    b.value(name),
                    allowed(asked),
                    part == "p50",
                    MACHINE_S,
                )
            )
    compared.append(Compared("served", a.value("served"), b.value("served"), 0.0, judged=False))
    compared.append(Compared("jain", jain(a), jain(b), 0.0, judged=False))
    compared.append(Compared("rate", a.value("rate"), b.value("rate"), 0.0, judged=False))
    return compared


def bounds(run: Run) -> tuple[list[str], list[str]]:
    """The bounds of the scenario that the run misses, and those that it meets."""
    judged = judge(run)
    return [str(one) for one in judged if not one.met], [str(one) for one in judged if one.met]
