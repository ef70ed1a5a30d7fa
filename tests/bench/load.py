"""The load: wrk with `load.lua`, started for as long as it is wanted, and its figures."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.bench.peers.peer import Door

SCRIPT = Path(__file__).with_name("load.lua")
LONG_S = 3600  # it is told to stop before
TIMEOUT_S = 60  # wrk holds a counter for every microsecond of it
END_S = 30.0
RUNS = count(1)
FIGURES = "figures: "


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked. `cycle` is how many requests are asked again and again; 0: all differ."""

    encoding: str
    texts: int
    callers: int
    cycle: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What wrk counted from its start to its end."""

    requests: int
    bytes: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    refused: int
    timeouts: int
    broken: int


class Load:
    """A running wrk."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.figures: Figures | None = None

    def stop(self) -> Figures:
        """End it; returns what it counted."""
        self.process.send_signal(signal.SIGINT)
        told, _ = self.process.communicate(timeout=END_S)
        lines = [line for line in told.splitlines() if line.startswith(FIGURES)]
        if not lines:
            raise RuntimeError(f"wrk ended without figures:\n{told}")
        return Figures(**json.loads(lines[0].removeprefix(FIGURES)))


def program() -> str:
    """wrk's program; ends the bench when there is none."""
    return shutil.which("wrk") or sys.exit(
        "bench: the load generator wrk is missing (apt install wrk)"
    )


@contextmanager
def load(door: Door, shape: Shape) -> Iterator[Load]:
    """That load on that door; it is killed at the end if nobody stopped it."""
    command = [
        program(), "--threads", "1", "--connections", str(shape.callers), "--latency",
        "--duration", f"{LONG_S}s", "--timeout", f"{TIMEOUT_S}s", "--script", str(SCRIPT), door.url,
        "--", shape.encoding, str(shape.texts), str(shape.cycle), door.model, door.key,
        str(next(RUNS)),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield Load(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(END_S)
        assert process.stdout is not None
        process.stdout.close()
