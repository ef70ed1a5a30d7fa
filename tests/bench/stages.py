"""Where each microsecond of a request goes, stage by stage along its way; `scripts/profile`.

A load is put on emr. First its CPU a request is measured without any tool, then the same load is
sampled by py-spy; a stage's microseconds are its share of the samples, of that CPU. Beside it the
floor: a server on uvloop and httptools that answers a constant, under the same load.

Where py-spy may not look into processes, emr runs under cProfile instead: its cost for each call
makes small functions look larger than they are, so shares are to be read with that in mind.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from tests.bench.load import load
from tests.bench.machine import machine
from tests.bench.measure import Measured, Measurement
from tests.bench.page import OUT, Page, figure, table
from tests.bench.peers.emr import Emr
from tests.bench.peers.peer import Place, Subject, own_python
from tests.bench.peers.plain import Floor
from tests.bench.rows import ROWS, Row
from tests.bench.running import alone
from tests.bench.samples import LOOP, Spent, counted, sampled, spy_program

ROW, SECONDS, WARM_S = "float-1x64-0ms", 8.0, 1.0
UNITS = {"py-spy": "samples", "cProfile": "µs, waiting among the event loop's"}
PLACES = 25  # of the second table

# the first pattern that a place begins with decides; the last of a folder takes what is new
STAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("write the answer: head, JSON around the vectors, the socket",
     ("emr/front/answer", "emr/front/exchange.py", "emr/front/connection.py:write")),
    ("read the request: head and body",
     ("emr/front/connection.py", "emr/front/wire.py", "emr/front/head.py", "emr/front/intake.py",
      "emr/front/framing.py", "emr/front/chunked.py", "emr/front/target.py",
      "emr/front/entrance.py", "emr/front/register.py", "emr/front/listener.py")),
    ("who asks: key, host, route",
     ("emr/front/auth.py", "emr/front/routes.py", "emr/control/keyring.py",
      "emr/control/keys.py")),
    ("desk: JSON to texts, which provider",
     ("emr/front/", "emr/control/desk.py", "emr/control/catalogue.py", "emr/control/accounts.py",
      "emr/control/providers.py", "emr/control/rows.py")),
    ("lane: who goes together, and when", ("emr/lane/",)),
    ("pump", ("emr/pump.py", "emr/app.py")),
    ("check the reply and cut the vectors",
     ("emr/upstream/reply.py", "emr/upstream/cut.py", "emr/upstream/vector.py",
      "emr/upstream/classify.py", "emr/upstream/limits.py", "emr/upstream/said.py",
      "emr/upstream/unpack.py")),
    ("send the call, read its reply", ("emr/upstream/",)),
    ("counting for the views", ("emr/control/",)),
)  # fmt: skip
LOOP_STAGE = "event loop: uvloop, reading sockets"


class Traced(Emr):
    """emr under cProfile."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def program(self, place: Place) -> list[str]:
        return [own_python(), "-m", "tests.bench.peers.apps.traced", str(self._file)]


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--row", default=ROW, choices=[row.name for row in ROWS], metavar="ROW")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"(default {SECONDS:g})")
    parser.add_argument("--tool", choices=["py-spy", "cprofile"], default="py-spy")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of stages-ROW.md")


def run(args: argparse.Namespace) -> int:
    """Profile, print, write."""
    row = next(row for row in ROWS if row.name == args.row)
    with alone(Floor(), args.venvs) as (subject, provider):
        floor = Measurement(provider, args.seconds / 2).take(subject, row)
    with alone(Emr(), args.venvs) as (subject, provider):
        plain = Measurement(provider, args.seconds / 2).take(subject, row)
        spent = spied(args, row, subject) if args.tool == "py-spy" else None
    tool = "py-spy" if spent else "cProfile"
    if spent is None:
        spent = traced(args, row)
    page = page_of(args, row, plain, floor, spent)
    page.parts.insert(0, f"`{row.name}`, by {tool} ({sum(spent.values()):,} {UNITS[tool]}).")
    print(page.write(args.out))
    return 0


def spied(args: argparse.Namespace, row: Row, subject: Subject) -> Spent | None:
    """By py-spy; None when it is not there or may not look."""
    program = spy_program(args.venvs)
    if program is None:
        print("py-spy cannot be installed", file=sys.stderr)
        return None
    with load(subject.door, row.shape):
        time.sleep(WARM_S)
        return sampled(program, subject.pid, args.seconds, args.venvs / "stacks.txt")


def traced(args: argparse.Namespace, row: Row) -> Spent:
    """By cProfile, in a process of its own that ends before its figures are read."""
    file = args.venvs / "stacks.prof"
    with (
        alone(Traced(file), args.venvs, row.delay_ms) as (subject, _),
        load(subject.door, row.shape),
    ):
        time.sleep(WARM_S + args.seconds)
    return counted(file)


def stage_of(place: tuple[str, str]) -> str:
    """The stage of a place."""
    name = ":".join(place)
    if place == LOOP:
        return LOOP_STAGE
    for stage, patterns in STAGES:
        if name.startswith(patterns):
            return stage
    return "elsewhere"


def page_of(
    args: argparse.Namespace, row: Row, plain: Measured, floor: Measured, spent: Spent
) -> Page:
    """The tables."""
    whole = sum(spent.values())
    stages: Counter[str] = Counter()
    for place, count in spent.items():
        stages[stage_of(place)] += count
    order = [LOOP_STAGE, *(stage for stage, _ in STAGES), "elsewhere"]
    lines = [
        [stage, f"{stages[stage] / whole:.1%}", figure(stages[stage] / whole * plain.cpu_us)]
        for stage in sorted(order, key=lambda stage: -stages[stage])
        if stages[stage]
    ]
    lines += [
        ["**emr, all**", "", f"**{figure(plain.cpu_us)}**"],
        ["the floor, all", "", figure(floor.cpu_us)],
    ]
    places = [
        [f"{name} ({path})" if path else name, f"{count / whole:.1%}",
         figure(count / whole * plain.cpu_us)]
        for (path, name), count in spent.most_common(PLACES)
    ]  # fmt: skip
    page = Page(f"stages-{row.name}", "Where a request's microseconds go", machine(args.venvs))
    calls = plain.provider_texts / max(1, plain.provider_calls)
    page.parts = [
        table(["stage", "share", "µs a request"], lines),
        f"A request is {row.shape.texts} text(s) in {row.shape.encoding} of {row.shape.callers} "
        f"caller(s); {figure(calls)} texts went in a call, at {plain.rate:,.0f} requests a second.",
        "## Functions",
        "With what they call outside of emr: libraries, the kernel.",
        table(["function", "share", "µs a request"], places),
    ]
    page.data = {
        "row": row.name, "cpu_us": plain.cpu_us, "floor_us": floor.cpu_us,
        "stages": {stage: count / whole for stage, count in stages.items()},
        "places": {f"{path}:{name}": count for (path, name), count in spent.most_common()},
    }  # fmt: skip
    return page
