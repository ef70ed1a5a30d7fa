"""The table of all scenarios, and whether each bound is met.

    scripts/simulate                    every scenario, and the baselines on the same
    scripts/simulate --only unknown     those whose name contains it
    scripts/simulate --deep             also the long runs of the state machines (`tests.sim.deep`)

One line a scenario: goodput against the limit, the share of 429s, calls against a perfect packer,
p50 and p99 of single texts and of bulk as multiples of the provider's own at the size that was
sent, Jain's index; below it what is asked and missed, and the baselines. Exit 1 when a bound is
missed. The figures are those of the scenario's last span.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.sim.baselines import POLICIES, Policy
from tests.sim.measure import Figures, Run, jain, judge
from tests.sim.page import page
from tests.sim.run import run
from tests.sim.scenario import Scenario, scenarios

EMR = "emr"
HEAD = (
    f"{'scenario':34} {'goodput':>7} {'429s %':>7} {'calls':>6} {'t/call':>6} {'ideal':>6} "
    f"{'1 p50':>6} {'1 p99':>6} {'b p50':>6} {'b p99':>6} {'served':>6} {'Jain':>5} {'cpu s':>6}"
)


@dataclass(frozen=True, slots=True)
class Line:
    """What a finished run leaves in the table."""

    scenario: str
    router: str
    figures: str
    missed: tuple[str, ...]
    met: tuple[str, ...]


def number(value: float, width: int, places: int) -> str:
    """A figure in its column; a dash for one that there is not."""
    if math.isnan(value):
        return "-".rjust(width)
    if math.isinf(value) or value >= 10 ** (width - places):
        return f"{value:.0f}".rjust(width) if value < 10**width else "never".rjust(width)
    return f"{value:{width}.{places}f}"


def over(figures: Figures, name: str) -> float:
    """A latency as a multiple of the provider's own."""
    return figures.value(name) / figures.own(name)


def columns(done: Run) -> str:
    """The figures of the scenario's last span."""
    figures = Figures(done, done.scenario.spans[-1])
    calls = len(figures.calls)
    return " ".join(
        (
            number(figures.value("goodput"), 7, 3),
            number(100.0 * figures.value("refused"), 7, 2),
            number(float(calls), 6, 0),
            number(figures.value("texts_a_call"), 6, 1),
            number(figures.value("of_ideal"), 6, 2),
            number(over(figures, "single_p50"), 6, 2),
            number(over(figures, "single_p99"), 6, 2),
            number(over(figures, "bulk_p50"), 6, 1),
            number(over(figures, "bulk_p99"), 6, 1),
            number(figures.value("served"), 6, 3),
            number(jain(figures), 5, 2),
            number(done.cpu_s, 6, 1),
        )
    )


def line_of(work: tuple[Scenario, Policy | None, int | None]) -> Line:
    """Run a scenario and judge it."""
    scenario, policy, seed = work
    done = run(scenario, policy, seed)
    router = EMR if policy is None else policy.name
    judged = judge(done) if policy is None else []
    return Line(
        scenario.name,
        router,
        columns(done),
        tuple(str(each) for each in judged if not each.met),
        tuple(str(each) for each in judged if each.met),
    )


def lines(chosen: Iterable[Scenario], seed: int | None, *, baselines: bool) -> Iterable[Line]:
    """The lines of the table, as they are done, in the order of the scenarios."""
    work: list[tuple[Scenario, Policy | None, int | None]] = []
    for scenario in chosen:
        work.append((scenario, None, seed))
        if baselines and scenario.baselines:
            work += [(scenario, policy, seed) for policy in POLICIES]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        yield from pool.imap(line_of, work)


def show(line: Line, *, bounds: bool) -> None:
    """Print a line, and below it what is missed."""
    name = line.scenario if line.router == EMR else f"    {line.router}"
    verdict = "" if line.router != EMR else "  MISSED" if line.missed else "  met"
    print(f"{name:34} {line.figures}{verdict}", flush=True)
    for each in line.missed:
        print(f"    missed: {each}", flush=True)
    for each in line.met if bounds else ():
        print(f"    met: {each}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", default="", metavar="NAME", help="scenarios that contain it")
    parser.add_argument("--seed", type=int, help="in place of each scenario's own")
    parser.add_argument("--deep", action="store_true", help="long runs of the state machines")
    parser.add_argument("--no-baselines", action="store_true", help="emr alone")
    parser.add_argument("--bounds", action="store_true", help="show the bounds that are met, too")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write docs/simulator.md")
    parser.add_argument("--fast", action="store_true", help="only what the tests run")
    options = parser.parse_args(arguments)
    chosen = [s for s in scenarios() if options.only in s.name and (s.fast or not options.fast)]
    if not chosen:
        parser.error(f"no scenario's name contains {options.only!r}")
    print(HEAD)
    missed = total = 0
    row = ""
    rows = {s.name: s.row for s in chosen}
    told: list[tuple[str, str]] = []
    for line in lines(chosen, options.seed, baselines=not options.no_baselines):
        told += [(line.scenario, f"**{each}**") for each in line.missed]
        told += [(line.scenario, each) for each in line.met]
        if rows[line.scenario] != row:
            row = rows[line.scenario]
            print(f"-- {row}")
        show(line, bounds=options.bounds)
        missed += len(line.missed)
        total += len(line.missed) + len(line.met)
    print(f"{total - missed} of {total} bounds met")
    if options.page:
        options.page.write_text(page(chosen, told))
    if options.deep:
        from tests.sim import deep

        deep.run(options.seed or 1)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
