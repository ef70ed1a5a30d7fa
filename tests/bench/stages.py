"""Where each microsecond of a request goes, stage by stage along its way; `scripts/profile`.

A load is put on emr. First its CPU a request is measured without any tool, then the same load is
sampled by py-spy; a stage's microseconds are its share of the samples, of that CPU. Beside it the
floor: a server on uvloop and httptools that answers a constant, under the same load of one text.

A sample counts for whoever is running or could run. On a busy machine that is more than CPU: the
kernel likes to let a process that was just woken run at once, so what wakes others (a write to a
socket) looks dearer than it is.

Where py-spy may not look into processes, emr runs under cProfile instead: its cost for each call
makes small functions look larger than they are, so shares are to be read with that in mind.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import load
from tests.bench.machine import machine
from tests.bench.measure import Measured, Measurement
from tests.bench.page import OUT, Page, figure, table
from tests.bench.peers.emr import Emr
from tests.bench.peers.peer import Place, Subject, own_python
from tests.bench.peers.plain import Floor
from tests.bench.rows import Row, chosen
from tests.bench.running import alone
from tests.bench.samples import LOOP, Spent, counted, sampled, spy_program

DEFAULT_ROWS = (
    "float-1x1-0ms", "float-1x64-0ms", "base64-1x64-0ms", "base64-32x64-0ms", "float-1x1000-180ms",
)  # fmt: skip
SECONDS, WARM_S = 8.0, 1.0
UNITS = {"py-spy": "samples", "cProfile": "µs, waiting among the event loop's"}
PLACES = 15  # of the tables of functions

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
    parser.add_argument("--rows", nargs="*", default=DEFAULT_ROWS, help="names or patterns")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"(default {SECONDS:g})")
    parser.add_argument("--tool", choices=["py-spy", "cprofile"], default="py-spy")
    parser.add_argument(
        "--out", type=Path, default=OUT, help="the folder of stages.md, stages.json"
    )


@dataclass(frozen=True, slots=True)
class Profiled:
    """A row: emr without a tool, the floor where there is one, and where the time went."""

    row: Row
    plain: Measured
    floor: Measured | None
    tool: str
    spent: Spent

    def us(self, count: float) -> float:
        """Microseconds a request of so many samples."""
        return count / sum(self.spent.values()) * self.plain.cpu_us

    def stages(self) -> Counter[str]:
        """What was spent, by stage."""
        stages: Counter[str] = Counter()
        for place, count in self.spent.items():
            stages[stage_of(place)] += count
        return stages


def run(args: argparse.Namespace) -> int:
    """Profile, print, write."""
    profiled = [profile(args, row) for row in chosen(list(args.rows))]
    if not profiled:
        return 2
    page = page_of(profiled, machine(args.venvs))
    print(page.write(args.out))
    return 0


def profile(args: argparse.Namespace, row: Row) -> Profiled:
    """One row."""
    print(row.name, file=sys.stderr)
    peer, floor = Floor(), None
    if row.shape.texts <= peer.texts_max:
        with alone(peer, args.venvs) as (subject, provider):
            floor = Measurement(provider, args.seconds / 4).take(subject, row)
    with alone(Emr(), args.venvs) as (subject, provider):
        plain = Measurement(provider, args.seconds / 2).take(subject, row)
        spent = spied(args, row, subject) if args.tool == "py-spy" else None
    if spent is not None:
        return Profiled(row, plain, floor, "py-spy", spent)
    return Profiled(row, plain, floor, "cProfile", traced(args, row))


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


def page_of(profiled: list[Profiled], described: dict[str, str]) -> Page:
    """The tables."""
    page = Page("stages", "Where a request's microseconds go", described)
    total = Counter[str]()
    for each in profiled:
        total += each.stages()
    page.block = stage_table(profiled, [stage for stage, _ in total.most_common()])
    page.parts = [page.block]
    for each in profiled:
        calls = each.plain.provider_texts / max(1, each.plain.provider_calls)
        page.parts += [
            f"## {each.row.name}",
            f"By {each.tool} ({sum(each.spent.values()):,} {UNITS[each.tool]}); {figure(calls)} "
            f"texts in a call, {each.plain.rate:,.0f} requests a second. Functions with what they "
            "call outside of emr: libraries, the kernel.",
            table(["function", "share", "µs a request"], functions(each)),
        ]
        page.data[each.row.name] = {
            "tool": each.tool, "cpu_us": each.plain.cpu_us,
            "floor_us": each.floor and each.floor.cpu_us,
            "stages_us": {stage: each.us(n) for stage, n in each.stages().items()},
            "places": {f"{path}:{name}": n for (path, name), n in each.spent.most_common()},
        }  # fmt: skip
    return page


def functions(each: Profiled) -> list[list[str]]:
    """The dearest functions: name, share, microseconds."""
    return [
        [f"{name} ({path})" if path else name, share(each, count), figure(each.us(count))]
        for (path, name), count in each.spent.most_common(PLACES)
    ]


def stage_table(profiled: list[Profiled], order: list[str]) -> str:
    """Microseconds and shares of each stage, a column a row."""
    lines = []
    for stage in order:
        counts = [(each, each.stages()[stage]) for each in profiled]
        cells = [f"{figure(each.us(count))} ({share(each, count)})" for each, count in counts]
        lines.append([stage, *cells])
    lines.append(["**all of emr**", *[f"**{figure(each.plain.cpu_us)}**" for each in profiled]])
    floors = [figure(each.floor.cpu_us) if each.floor else "–" for each in profiled]
    lines.append(["the floor", *floors])
    return table(["µs a request", *[each.row.name for each in profiled]], lines)


def share(each: Profiled, count: float) -> str:
    """Of all samples."""
    return f"{count / sum(each.spent.values()):.0%}"
