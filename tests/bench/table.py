"""The table: every row on every peer, in rounds, so that what the machine does meets all alike.

In a round each row is measured on all peers one after another; a ratio is of two figures of the
same row and round. Who begins goes round. All peers run all the time and idle when not asked.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench.machine import machine
from tests.bench.measure import Measured, Measurement, Stuck
from tests.bench.page import OUT
from tests.bench.peers import ALL, chosen_peers
from tests.bench.peers.peer import NotStarted, Subject, WrongAnswer, check_answer
from tests.bench.peers.plain import direct
from tests.bench.provider import Provider
from tests.bench.report import Report, write_report
from tests.bench.rows import ROWS, Row, chosen
from tests.bench.running import behind, place
from tests.bench.usage import usage

ROUNDS = 3
SECONDS = 1.0


def add(parser: argparse.ArgumentParser) -> None:
    """The options of the table."""
    parser.add_argument("--rows", nargs="*", default=[], help="names or patterns; see --list")
    parser.add_argument("--peers", nargs="*", default=[], help=", ".join(ALL))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"(default {ROUNDS})")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help=f"of a measurement (default {SECONDS})"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of table.md, table.json")
    parser.add_argument("--list", action="store_true", help="list the rows, measure nothing")


def run(args: argparse.Namespace) -> int:
    """Measure, print and write the table."""
    rows = chosen(args.rows)
    if args.list or not rows:
        print("\n".join(row.name for row in (ROWS if args.list else rows)))
        return 0 if args.list else 2
    report = Report(machine(args.venvs))
    with ExitStack() as stack:
        made, folder = stack.enter_context(behind(args.venvs))
        subjects = [direct(made.port)]
        for peer in chosen_peers(args.peers):
            missing = peer.missing(args.venvs)
            if missing:
                report.skipped[peer.name] = missing
                print(f"skipped: {missing}", file=sys.stderr)
                continue
            try:
                subject = stack.enter_context(
                    peer.started(place(folder, peer.name, made.port, args.venvs))
                )
            except NotStarted as error:
                report.skipped[peer.name] = str(error).splitlines()[0]
                print(f"skipped: {error}", file=sys.stderr)
                continue
            report.started(subject, usage(subject.pid).rss_kib / 1024)
            subjects.append(subject)
        check_all(subjects)
        rows, left_out = without_hits(rows, subjects, made)
        report.skipped |= left_out
        measurement = Measurement(made, args.seconds)
        for number in range(args.rounds):
            one_round(measurement, rows, subjects, report, number)
        report.end(args.rounds, args.seconds)
    if not report.measured:
        return 1
    print(write_report(report, args.out))
    return 0


def check_all(subjects: list[Subject]) -> None:
    """All give the provider's vectors, of one text and of many, as numbers and as base64.

    Raises WrongAnswer. Numbers are compared as float32: peers write them anew.
    """
    for encoding in ("float", "base64"):
        wanted = check_answer(subjects[0].door, encoding, 1)[0]
        for subject in subjects:
            texts = min(3, subject.texts_max)
            for vector in check_answer(subject.door, encoding, texts):
                if not same(vector, wanted):
                    raise WrongAnswer(f"{subject.name} gives other vectors ({encoding})")


def without_hits(
    rows: list[Row], subjects: list[Subject], made: Provider
) -> tuple[list[Row], dict[str, str]]:
    """The rows, those of cache hits left out unless emr is there and has a cache; and why."""
    hits = [row for row in rows if row.shape.cycle]
    asked = [subject for subject in subjects if subject.name == "emr"]
    if not hits or (asked and has_cache(asked[0], made)):
        return rows, {}
    why = "emr has no cache" if asked else "emr is not measured"
    return [row for row in rows if not row.shape.cycle], {row.name: why for row in hits}


def has_cache(subject: Subject, made: Provider) -> bool:
    """Whether a text that was asked before comes without a call of the provider."""
    check_answer(subject.door, "float", 1)
    before = made.told().calls
    check_answer(subject.door, "float", 1)
    return made.told().calls == before


def same(one: object, other: object) -> bool:
    """Whether two vectors are equal, numbers within what float32 tells apart."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            abs(a - b) <= 1e-7 for a, b in zip(one, other, strict=True)
        )
    return one == other


def one_round(
    measurement: Measurement, rows: list[Row], subjects: list[Subject], report: Report, number: int
) -> None:
    """Every row on every subject, once."""
    subjects = [each for each in subjects if number < each.rounds_max]
    for row in rows:
        turn = number % len(subjects)
        for subject in subjects[turn:] + subjects[:turn]:
            if not subject.takes(row.shape.texts, row.shape.callers):
                continue  # a dash in the table
            began = time.perf_counter()
            try:
                measured = measurement.take(subject, row)
            except Stuck as error:
                report.troubles.append(f"{subject.name}, {row.name}: {error}")
                print(f"{number + 1} {row.name:24} {subject.name:11} {error}", file=sys.stderr)
                continue
            report.add(measured)
            tell(number, measured, time.perf_counter() - began)


def tell(number: int, measured: Measured, seconds: float) -> None:
    """One line of progress."""
    print(
        f"{number + 1} {measured.row:24} {measured.subject:11} {measured.cpu_us:9.1f} us CPU "
        f"{measured.rate:8.0f}/s  p50 {measured.p50_ms:8.2f} ms  p99 {measured.p99_ms:8.2f} ms  "
        f"{measured.rss_mib:6.0f} MiB  provider {measured.provider_share:4.0%} "
        f"wrk {measured.load_share:4.0%}  {measured.failures} failed  ({seconds:.1f} s)",
        file=sys.stderr,
    )
