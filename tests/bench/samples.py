"""Where a process spends its time: samples by py-spy, or what cProfile counted.

Both give the same: for each place in the code (file, function) how much of the whole was spent in
it and in what it called outside of emr: libraries and the kernel count for whoever called them.
"""

from __future__ import annotations

import pstats
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.bench.install import make
from tests.bench.peers.peer import ROOT

SPY = "py-spy==0.4.3"
RATE = 500  # a second; at 1,000 reading the stacks of a busy process falls behind
LOOP = ("", "event loop")
FRAME = re.compile(r"(.+) \((.+?)(?::(\d+))?\)$")

Place = tuple[str, str]  # file below the tree's root, and function
Spent = Counter[Place]


def spy_program(venvs: Path) -> Path | None:
    """py-spy, installed into a virtual environment of its own; None when it cannot be."""
    program = venvs / "py-spy" / "bin" / "py-spy"
    if not program.exists():
        try:
            make(venvs / "py-spy", (SPY,))
        except subprocess.CalledProcessError:
            return None
    return program


def sampled(program: Path, pid: int, seconds: float, out: Path) -> Spent | None:
    """By py-spy; None when it may not look into the process."""
    command = [
        str(program), "record", "--pid", str(pid), "--duration", f"{max(1, round(seconds))}",
        "--rate", str(RATE), "--format", "raw", "--nonblocking", "--full-filenames",
        "--output", str(out),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not out.exists():
        print(f"py-spy: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    return read_stacks(out.read_text())


def read_stacks(text: str) -> Spent:
    """Lines of `frame;frame;frame count`, outermost first."""
    spent: Spent = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        spent[innermost(stack.split(";"))] += int(count)
    return spent


def innermost(frames: list[str]) -> Place:
    """The innermost frame of emr's own; the loop when only what starts it is there."""
    for frame in reversed(frames):
        read = FRAME.match(frame)
        if read is None:
            continue
        path = below_root(read[2])
        if path.startswith("emr/") and not path.startswith(("emr/cli/", "emr/__main__")):
            return path, read[1]
    return LOOP


def below_root(path: str) -> str:
    """Relative to the tree, when it is of the tree."""
    root = f"{ROOT}/"
    return path.removeprefix(root)


def counted(file: Path) -> Spent:
    """By cProfile: the time of functions themselves, and of what they called outside of emr.

    A foreign function's time is divided among its callers as cProfile divides it; one that foreign
    functions called, too, falls to the loop.
    """
    stats = pstats.Stats(str(file))
    spent: Spent = Counter()
    for (path, _, name), (_, _, own, _, callers) in vars(stats)["stats"].items():
        place = below_root(path), name
        if place[0].startswith("emr/") and not place[0].startswith("emr/cli/"):
            spent[place] += round(own * 1e6)
            continue
        for (caller, _, function), (_, _, share, _) in callers.items():
            outer = below_root(caller), function
            is_own = outer[0].startswith("emr/") and not outer[0].startswith("emr/cli/")
            spent[outer if is_own else LOOP] += round(share * 1e6)
    return spent
