"""Memory of idle connections: fresh ones, and such as had an answer.

For each peer: its memory, then with N connections on which nothing was said, then after each had
one request answered (one at a time, so that what is left is the connection's own), then when all
are closed. The floor is a server on uvloop and httptools that does nothing else.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.bench.connections import opened, use
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
        kib = measure(peer, args.venvs, args.connections)
        told[peer.name] = kib
        each = [(after - kib[0]) / args.connections for after in kib[1:3]]
        rows.append([
            peer.name, f"{kib[0] / 1024:.1f}", f"{kib[1] / 1024:.1f}", f"{each[0]:.2f}",
            f"{kib[2] / 1024:.1f}", f"{each[1]:.2f}", f"{kib[3] / 1024:.1f}",
        ])  # fmt: skip
    head = ["", "none, MiB", "fresh, MiB", "KiB each", "used, MiB", "KiB each", "closed, MiB"]
    page.block = table(head, rows)
    page.parts.append(page.block)
    page.data = {"connections": args.connections, "kib": told}
    print(page.write(args.out))
    return 0


def measure(peer: Peer, venvs: Path, count: int) -> list[int]:
    """Resident KiB: without connections, with fresh ones, with used ones, with none again."""
    with alone(peer, venvs) as (subject, _):
        kib = [usage(subject.pid).rss_kib]
        with opened(subject.door, count) as connections:
            time.sleep(SETTLE_S)
            kib.append(usage(subject.pid).rss_kib)
            use(subject.door, connections)
            kib.append(usage(subject.pid).rss_kib)
        time.sleep(SETTLE_S)
        kib.append(usage(subject.pid).rss_kib)
    return kib
