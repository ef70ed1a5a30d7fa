"""How long emr takes to start: to its first answer, and to say its version.

The first start makes a database, an admin secret and a key; the others find them (warm). Programs
and libraries are in the page cache after the first. Medians.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from pathlib import Path
from statistics import median

from tests.bench.machine import machine
from tests.bench.page import OUT, Page, table
from tests.bench.peers.emr import Emr
from tests.bench.peers.peer import ROOT, own_python
from tests.bench.running import behind, place
from tests.bench.usage import usage

RUNS = 7


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--runs", type=int, default=RUNS, help=f"(default {RUNS})")
    parser.add_argument("--zipapp", type=Path, help="an emr.pyz, see scripts/build-zipapp")
    parser.add_argument(
        "--out", type=Path, default=OUT, help="the folder of starts.md, starts.json"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    times: dict[str, list[tuple[float, float]]] = {}
    first, *warm = served(args.venvs, args.runs)
    times["serve to its first answer, an empty home"] = [first]
    times["serve to its first answer, warm"] = warm
    times["emr --version"] = told([own_python(), "-m", "emr", "--version"], args.runs)
    if args.zipapp:
        zipapp = [own_python(), str(args.zipapp.resolve()), "--version"]
        times["emr.pyz --version, first (unpacks, if it never did)"] = told(zipapp, 1)
        times["emr.pyz --version, warm"] = told(zipapp, args.runs)
    page = Page("starts", "Starting", machine(args.venvs))
    rows = [
        [name, len(each), *[f"{median(column):.3f}" for column in zip(*each, strict=True)]]
        for name, each in times.items()
    ]
    page.parts = [
        table(["", "runs", "seconds", "CPU seconds"], rows),
        "CPU seconds are what is left of a start when nothing else uses the machine.",
    ]
    page.block = page.parts[0]
    page.data = {"seconds_and_cpu": times}
    print(page.write(args.out))
    return 0


def served(venvs: Path, runs: int) -> list[tuple[float, float]]:
    """Seconds and CPU seconds of `emr serve` until its first answer; the home stays."""
    peer, found = Emr(), []
    with behind(venvs) as (made, folder):
        for _ in range(runs + 1):
            with peer.started(place(folder, peer.name, made.port, venvs)) as subject:
                found.append((subject.started_s, usage(subject.pid).cpu_s))
    return found


def told(command: list[str], runs: int) -> list[tuple[float, float]]:
    """Seconds and CPU seconds of a command that ends by itself."""
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            used = wait_for(process)
        found.append((time.perf_counter() - began, used))
    return found


def wait_for(process: subprocess.Popen[bytes]) -> float:
    """Its CPU seconds, when it has ended well."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"bench: {process.args!r} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime
