"""Memory of idle connections: fresh ones, and such as had an answer.

For each peer: its memory, then with N connections on which nothing was said, then when they are
closed; and the same with N connections that each had one request answered (one at a time, so that
what is left is the connection's own). The floor is a server on uvloop and httptools that does
nothing else.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.bench.connections import Each, opened, use
from tests.bench.machine import machine
from tests.bench.page import OUT, Page, table
from tests.bench.peers import chosen_peers
from tests.bench.peers.peer import Peer
from tests.bench.running import alone
from tests.bench.usage import usage

COUNT = 10_000
PEERS = ["emr", "nginx", "floor"]
SETTLE_S = 0.5  # for the subject to accept the last, or to see them closed


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--connections", type=int, default=COUNT, help=f"(default {COUNT})")
    parser.add_argument("--peers", nargs="*", default=PEERS, help=f"(default {' '.join(PEERS)})")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of idle.md, idle.json")


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    page = Page("idle", f"{args.connections:,} idle connections", machine(args.venvs))
    rows, told = [], {}
    for peer in chosen_peers(args.peers):
        missing = peer.missing(args.venvs)
        if missing:
            print(f"skipped: {missing}", file=sys.stderr)
            continue
        fresh, used = measure(peer, args.venvs, args.connections)
        told[peer.name] = {"fresh": fresh, "used": used}
        rows.append([
            peer.name, *_columns(fresh, args.connections), *_columns(used, args.connections),
        ])  # fmt: skip
    columns = ["none, MiB", "open, MiB", "KiB each", "closed, MiB"]
    head = ["", *[f"{kind}: {name}" for kind in ("fresh", "used") for name in columns]]
    page.block = table(head, rows)
    page.parts.append(page.block)
    page.data = {"connections": args.connections, "kib": told}
    print(page.write(args.out))
    return 0


def _columns(kib: list[int], count: int) -> list[str]:
    before, while_open, after = (each / 1024 for each in kib)
    each = (while_open - before) * 1024 / count
    return [f"{before:.1f}", f"{while_open:.1f}", f"{each:.2f}", f"{after:.1f}"]


def measure(peer: Peer, venvs: Path, count: int) -> tuple[list[int], list[int]]:
    """Resident KiB without connections, with them, and without again: of fresh ones, of used ones.

    Two processes, as a gateway waits only some seconds for the first words of a fresh connection.
    """
    return _grown(peer, venvs, count, None), _grown(peer, venvs, count, use)


def _grown(peer: Peer, venvs: Path, count: int, each: Each | None) -> list[int]:
    with alone(peer, venvs) as (subject, _):
        kib = [usage(subject.pid).rss_kib]
        with opened(subject.door, count, each):
            time.sleep(SETTLE_S)
            kib.append(usage(subject.pid).rss_kib)
        time.sleep(SETTLE_S)
        kib.append(usage(subject.pid).rss_kib)
    return kib
