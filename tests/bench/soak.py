"""Memory over ten minutes at full load: what it grows by in the second half.

The load is as much as emr takes from that many callers; all texts differ, so that a cache fills
and then forgets as much as it learns. Growth is the slope of a straight line through the samples
of the second half, times its length: a single high sample does not decide.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.bench.load import Shape, load
from tests.bench.machine import machine
from tests.bench.page import OUT, Page, table
from tests.bench.peers import chosen_peers
from tests.bench.running import alone
from tests.bench.usage import usage

MINUTES, CALLERS = 10.0, 64
EVERY_S = 5.0


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"(default {MINUTES:g})")
    parser.add_argument("--callers", type=int, default=CALLERS, help=f"(default {CALLERS})")
    parser.add_argument("--encoding", default="float", choices=["float", "base64"])
    parser.add_argument("--peer", default="emr", help="(default emr)")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of soak.md, soak.json")


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    page = Page("soak", "Memory at full load", machine(args.venvs))
    (peer,) = chosen_peers([args.peer])
    shape = Shape(args.encoding, 1, args.callers)
    samples: list[tuple[float, float]] = []
    with alone(peer, args.venvs) as (subject, _), load(subject.door, shape) as running:
        began = time.monotonic()
        while (passed := time.monotonic() - began) < args.minutes * 60.0:
            samples.append((passed, usage(subject.pid).rss_kib / 1024))
            print(f"{passed:6.0f} s  {samples[-1][1]:8.2f} MiB", file=sys.stderr)
            time.sleep(EVERY_S)
        told = running.stop()
    half = [each for each in samples if each[0] >= args.minutes * 30.0]
    grown = slope(half) * (half[-1][0] - half[0][0])
    minutes = [f"{at / 60:.1f}" for at, _ in samples]
    steps = range(0, len(samples), max(1, len(samples) // 10))
    page.parts = [
        f"{peer.name}, {args.callers} callers, {args.encoding}, one text a request, "
        f"{args.minutes:g} minutes: {told.requests:,} requests, {told.refused + told.broken} of "
        "them failed.",
        table(["minute", "MiB"], [[minutes[i], f"{samples[i][1]:.1f}"] for i in steps]),
        f"Growth over the second half: **{grown:+.2f} MiB** (straight line); between the lowest "
        f"and the highest sample of it {spread(half):.2f} MiB.",
    ]
    page.block = f"{page.parts[0]} {page.parts[-1]}"
    page.data = {"samples": samples, "requests": told.requests, "grown_mib": grown}
    print(page.write(args.out))
    return 0


def slope(samples: list[tuple[float, float]]) -> float:
    """Of the straight line through them, by least squares."""
    count = len(samples)
    middle_x = sum(x for x, _ in samples) / count
    middle_y = sum(y for _, y in samples) / count
    wide = sum((x - middle_x) ** 2 for x, _ in samples)
    return sum((x - middle_x) * (y - middle_y) for x, y in samples) / wide if wide else 0.0


def spread(samples: list[tuple[float, float]]) -> float:
    """Between the lowest and the highest."""
    return max(y for _, y in samples) - min(y for _, y in samples)
