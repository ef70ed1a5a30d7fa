"""CPU seconds and memory of a process and all that descend from it, read from /proc.

CPU is user and system time together. The kernel tells it twice: in ticks of 10 ms (`stat`, with
the time of threads and children that ended) and in nanoseconds for each thread that lives
(`schedstat`). The larger of the two is taken: a lone caller's seconds hold few ticks.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
KIB_A_PAGE = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds so far, and resident KiB now, of a process and its descendants."""

    cpu_s: float
    rss_kib: int


def usage(pid: int) -> Usage:
    """Of that process and its descendants; one that ended in between counts no more."""
    cpu_s, pages = 0.0, 0
    for each in family(pid):
        told = _stat(each)
        if told is None:
            continue
        ticks = sum(map(int, told[11:15]))  # utime, stime, and those of children that ended
        cpu_s += max(ticks * TICK_S, _nanoseconds(each) / 1e9)
        pages += int(told[21])
    return Usage(cpu_s, pages * KIB_A_PAGE)


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            told = _stat(int(entry.name))
            if told is not None:
                children[int(told[1])].append(int(entry.name))
    found = [pid]
    for each in found:
        found += children[each]
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, which is the second and may hold anything."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _nanoseconds(pid: int) -> int:
    total = 0
    try:
        for thread in (PROC / str(pid) / "task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return total
