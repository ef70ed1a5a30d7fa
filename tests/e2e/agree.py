"""Whether the core over real sockets does what it does in virtual time.

    scripts/agree unknown/300/sliding 'closed/2000'    these cells of tests/scenarios
    scripts/agree --only outage --jobs 4               those whose name contains it, four at a time
    scripts/agree --list                               the names

For each cell `emr serve` runs as a process with the cell's account, `emr fake` with its limits,
latency and faults, and the simulator's callers ask over keep-alive connections in real time; every
vector is checked. Two rows are printed, virtual and real, then how far they are apart, and the
bounds of the scenario, held against the real run. Exit 1 when goodput, calls or a median differ by
more than a tenth (of few events: by more than chance makes them, `agreement.judge`), when a vector
was wrong, or a connection was lost. A missed bound is shown and no failure of this tool.

On a busy machine processes wait for their turn; virtual time has none of it. How long emr waited
stands below each cell beside how long it worked: where it waited more than it worked, times say
little. A 99th percentile, which is of the worst moments, is never judged.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from tests.e2e.agreement.judge import Compared, bounds, compare
from tests.e2e.agreement.plan import CannotRun, as_it_is_run
from tests.e2e.agreement.run import Real, run_real
from tests.sim.measure import Run
from tests.sim.run import run as run_virtual
from tests.sim.scenario import Scenario, scenarios
from tests.sim.table import HEAD, columns

MIB = 1024 * 1024
SHOWN = {"goodput": "{:.3f}", "calls": "{:.0f}", "refused": "{:.4f}", "rate": "{:.1f}"}


@dataclass(slots=True)
class Cell:
    """What a cell's two runs said."""

    name: str
    seconds: float = 0.0
    why_not: str = ""
    virtual: str = ""
    real: str = ""
    compared: list[Compared] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    met: list[str] = field(default_factory=list)
    missed_in_virtual: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether nothing was wrong, and every figure that is judged is near."""
        return not self.wrong and all(one.agrees for one in self.compared)


def run_cell(work: tuple[Scenario, int | None]) -> Cell:
    """Both runs of a scenario."""
    told, seed = work
    scenario = as_it_is_run(told)
    cell = Cell(scenario.name, scenario.seconds)
    try:
        real = run_real(scenario, seed)
    except CannotRun as why:
        cell.why_not = str(why)
        return cell
    virtual = run_virtual(scenario, None, seed)
    fill(cell, virtual, real)
    return cell


def fill(cell: Cell, virtual: Run, real: Real) -> None:
    """Put what the runs left into the cell."""
    cell.virtual, cell.real = columns(virtual), columns(real.run)
    cell.compared = compare(virtual, real.run)
    cell.missed, cell.met = bounds(real.run)
    cell.missed_in_virtual = bounds(virtual)[0]
    cell.wrong = list(dict.fromkeys(real.wrong))[:5]
    if real.lost:
        cell.wrong.append(f"{len(real.lost)} connections lost: {real.lost[0]}")
    if real.log:
        cell.wrong.append(f"emr logged: {real.log}")
    cell.notes = [
        f"emr: {real.run.cpu_s:.1f} s of CPU and {real.waited_s:.1f} s of waiting for it, memory "
        f"{real.rss_start / MIB:.0f} MiB at the start, {real.rss_most / MIB:.0f} at most"
    ]
    took = real.refusals_s
    if took:
        share = sum([each <= 0.05 for each in took]) / len(took)
        cell.notes.append(
            f"{len(took)} refusals: median {took[len(took) // 2] * 1e3:.1f} ms, 99 of 100 within "
            f"{took[int(len(took) * 0.99)] * 1e3:.0f} ms, {share:.3f} within 50 ms"
        )


def show(cell: Cell) -> None:
    """Print a cell."""
    if cell.why_not:
        print(f"{cell.name}: cannot be run over sockets: {cell.why_not}", flush=True)
        return
    verdict = "agree" if cell.agrees else "DISAGREE"
    print(f"{cell.name:34} {cell.virtual}  virtual")
    print(f"{'':34} {cell.real}  real: {verdict}")
    for one in cell.compared:
        if math.isnan(one.virtual) and math.isnan(one.real):
            continue
        difference = "" if math.isnan(one.difference) else f"{100 * one.difference:+.1f}%"
        form = SHOWN.get(one.name, "{:.3f}")
        limit = f"(within {100 * one.allowed:.0f}%)" if one.judged else ""
        mark = "" if one.agrees else "  <-- differs"
        print(
            f"    {one.name:12} {form.format(one.virtual):>9} {form.format(one.real):>9} "
            f"{difference:>8} {limit}{mark}"
        )
    for line in (*cell.wrong,):
        print(f"    wrong: {line}")
    for line in cell.missed:
        print(f"    bound missed over sockets: {line}")
    for line in cell.missed_in_virtual:
        print(f"    bound missed in virtual time: {line}")
    for line in (*(f"bound met: {each}" for each in cell.met), *cell.notes):
        print(f"    {line}")
    sys.stdout.flush()


def chosen(options: argparse.Namespace, parser: argparse.ArgumentParser) -> list[Scenario]:
    """The cells that the command line names."""
    known = scenarios()
    names = {each.name for each in known}
    for name in options.cells:
        if name not in names:
            parser.error(f"there is no cell {name!r}; --list shows them")
    picked = [
        each
        for each in known
        if each.name in options.cells or (options.only and options.only in each.name)
    ]
    if not picked and not options.list:
        parser.error("name cells, or --only a part of their names; --list shows them")
    return picked


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/agree", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("cells", nargs="*", help="names of cells")
    parser.add_argument("--only", default="", metavar="PART", help="cells whose name contains it")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time (they mostly wait)")
    parser.add_argument("--seed", type=int, help="in place of each scenario's own")
    parser.add_argument("--list", action="store_true", help="the names of all cells")
    parser.add_argument("--save", type=Path, metavar="FILE", help="add a line of JSON for each")
    options = parser.parse_args(arguments)
    picked = chosen(options, parser)
    if options.list:
        for each in picked or scenarios():
            print(f"{each.name}  ({each.seconds:g} s)")
        return 0
    print(HEAD)
    apart = 0
    began = time.monotonic()
    work = [(each, options.seed) for each in sorted(picked, key=lambda each: -each.seconds)]
    with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=1) as pool:
        for cell in pool.imap_unordered(run_cell, work):
            show(cell)
            apart += not cell.agrees or bool(cell.why_not)
            if options.save is not None:
                with options.save.open("ab") as file:
                    file.write(orjson.dumps(asdict(cell), option=orjson.OPT_APPEND_NEWLINE))
    took = time.monotonic() - began
    print(f"{len(picked) - apart} of {len(picked)} cells agree, in {took:.0f} s")
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main())
