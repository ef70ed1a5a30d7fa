"""The machine and the versions that a table was measured with."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

from emr import __version__
from tests.bench.peers import ALL
from tests.bench.peers.nginx import found


def machine(venvs: Path) -> dict[str, str]:
    """What a reader must know to compare; names of processors and versions, no names of hosts."""
    described = {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": _first(Path("/proc/cpuinfo"), r"model name\s*:\s*(.+)"),
        "cores": str(os.cpu_count()),
        "memory": _first(Path("/proc/meminfo"), r"MemTotal:\s*(.+)"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load average at the start": f"{os.getloadavg()[0]:.1f}",
        "emr": f"{__version__} ({_commit()})",
        "wrk": _told(["wrk", "-v"], r"wrk (?:debian/)?(\S+)"),
        "nginx": _told([found() or "nginx", "-v"], r"nginx/(\S+)"),
    }
    for peer in ALL.values():
        if peer.packages and not peer.missing(venvs):
            described[peer.name] = peer.packages[0]
    return described


def _first(path: Path, pattern: str) -> str:
    told = re.search(pattern, path.read_text()) if path.exists() else None
    return told[1].strip() if told else "?"


def _told(command: list[str], pattern: str) -> str:
    if not shutil.which(command[0]):
        return "not installed"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = re.search(pattern, done.stdout + done.stderr)
    return told[1] if told else "?"


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or "no git"
