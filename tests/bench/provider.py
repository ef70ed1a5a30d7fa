"""The bench's provider: `provider.c`, compiled when it changed, and what it says of itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.asking import ask

SOURCE = Path(__file__).with_name("provider.c")
DIMENSIONS = 1024


@dataclass(frozen=True, slots=True)
class Told:
    """What it answered so far, the most texts of a call, and the calls whose time has not come."""

    calls: int
    texts: int
    largest: int
    waiting: int


@dataclass(slots=True)
class Provider:
    """A running one."""

    port: int
    pid: int

    def told(self) -> Told:
        """Its counters."""
        stats = json.loads(ask(self.port, "/stats")[1])
        return Told(stats["calls"], stats["texts"], stats["largest"], stats["waiting"])

    def delay(self, ms: float) -> None:
        """Answer that long after a request came, from now on."""
        ask(self.port, f"/delay?ms={ms}")


def compiled(folder: Path) -> Path:
    """The program, compiled into that folder when it is older than its source."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "provider"
    if program.exists() and program.stat().st_mtime > SOURCE.stat().st_mtime:
        return program
    compiler = shutil.which("cc") or sys.exit("bench: no C compiler (apt install gcc libc6-dev)")
    subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCE)], check=True)
    return program


@contextmanager
def provider(folder: Path, dimensions: int = DIMENSIONS) -> Iterator[Provider]:
    """A provider on a port that the system chose, from its start to its end."""
    program = str(compiled(folder))
    with subprocess.Popen([program, str(dimensions)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Provider(int(process.stdout.readline()), process.pid)
        finally:
            process.kill()
