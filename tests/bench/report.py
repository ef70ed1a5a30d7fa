"""The table as Markdown and as JSON: medians over the rounds, ratios to nginx within a round."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from statistics import median

from tests.bench.measure import Measured
from tests.bench.page import Page, figure, table
from tests.bench.peers.peer import Subject

YARDSTICK = "nginx"
ORDER = ("direct", "floor", "nginx", "emr", "tensorzero", "batched", "litellm")
Cell = Callable[[list[Measured], list[Measured]], str]


class Report:
    """What was measured."""

    def __init__(self, machine: dict[str, str]) -> None:
        self.machine = machine
        self.skipped: dict[str, str] = {}
        self.starts: dict[str, dict[str, float]] = {}
        self.troubles: list[str] = []
        self.measured: list[Measured] = []

    def started(self, subject: Subject, rss_mib: float) -> None:
        """A peer came up."""
        self.starts[subject.name] = {"seconds": subject.started_s, "rss_mib": rss_mib}

    def add(self, measured: Measured) -> None:
        """One measurement. Those of a row and a subject are in the order of the rounds."""
        self.measured.append(measured)
        if measured.failures:
            self.troubles.append(
                f"{measured.subject}, {measured.row}: {measured.failures} requests failed"
            )

    def end(self, rounds: int, seconds: float) -> None:
        """All rounds are done."""
        self.machine["rounds"] = f"{rounds} of {seconds:g} s a measurement"
        self.machine["load average at the end"] = f"{os.getloadavg()[0]:.1f}"

    @property
    def subjects(self) -> list[str]:
        """Their names, in the order of columns."""
        seen = {each.subject for each in self.measured}
        return [name for name in ORDER if name in seen]

    def rows(self) -> dict[str, dict[str, list[Measured]]]:
        """The rounds by row and subject."""
        rows: dict[str, dict[str, list[Measured]]] = {}
        for each in self.measured:
            rows.setdefault(each.row, defaultdict(list))[each.subject].append(each)
        return rows

    def table(self, title: str, cell: Cell) -> str:
        """One Markdown table: a line each row, a column each subject."""
        lines = []
        for row, by_subject in self.rows().items():
            yardstick = by_subject.get(YARDSTICK, [])
            lines.append(
                [row]
                + [
                    cell(by_subject[name], yardstick) if name in by_subject else "–"
                    for name in self.subjects
                ]
            )
        return table([title, *self.subjects], lines)


def ratios(some: list[Measured], yardstick: list[Measured]) -> list[float]:
    """CPU a request of one by that of the other, round by round."""
    return [a.cpu_us / b.cpu_us for a, b in zip(some, yardstick, strict=False) if b.cpu_us > 0]


def spread(values: Iterable[float]) -> str:
    """Smallest and largest in brackets; nothing when there is one only."""
    values = list(values)
    return f" ({figure(min(values))}–{figure(max(values))})" if len(values) > 1 else ""


def cpu_cell(some: list[Measured], yardstick: list[Measured]) -> str:
    """Microseconds of CPU a request, and the ratio to the yardstick with its spread."""
    if some[0].cpu_s == 0:
        return "–"
    told = figure(median(each.cpu_us for each in some))
    of = ratios(some, yardstick)
    if some[0].subject == YARDSTICK or not of:
        return f"{told}{spread(each.cpu_us for each in some)}"
    return f"{told}, **×{figure(median(of))}**{spread(of)}"


def wall_cell(some: list[Measured], _: list[Measured]) -> str:
    """Requests a second, and times."""
    return (
        f"{median(each.rate for each in some):,.0f}/s, "
        f"{figure(median(each.p50_ms for each in some))} / "
        f"{figure(median(each.p99_ms for each in some))} ms"
    )


def calls_cell(some: list[Measured], _: list[Measured]) -> str:
    """Texts in a call of the provider, and the largest memory."""
    calls = sum(each.provider_calls for each in some)
    texts = sum(each.provider_texts for each in some) / calls if calls else 0.0
    rss = max(each.rss_mib for each in some)
    return f"{figure(texts)}, {rss:,.0f} MiB" if rss else figure(texts)


def in_the_way(report: Report) -> str:
    """How it was checked that neither provider nor load generator is what is measured."""

    def share(each: Measured) -> float:
        return max(each.provider_share, each.load_share)

    peers = [each for each in report.measured if each.subject != "direct"] or report.measured
    worst, fastest = max(peers, key=share), max(report.measured, key=lambda each: each.rate)
    return (
        "Provider and wrk, both compiled and of one thread, are measured with every row. Before a "
        f"peer the provider took at most {max(each.provider_share for each in peers):.0%} of a "
        f"core and wrk at most {max(each.load_share for each in peers):.0%} (the most in "
        f"{worst.row} of {worst.subject}). The most that they did was {fastest.rate:,.0f} requests "
        f"a second ({fastest.row}, {fastest.subject}). CPU a request does not depend on them; "
        "requests a second do where all processes together fill the machine's cores."
    )


def page(report: Report) -> Page:
    """The whole page."""
    made = Page("table", "The table of `scripts/bench`", report.machine)
    starts = [
        (name, f"{each['seconds']:.2f}", f"{each['rss_mib']:.0f}")
        for name, each in report.starts.items()
    ]
    notes = [f"- left out: {name} ({why})" for name, why in report.skipped.items()]
    notes += [f"- {trouble}" for trouble in report.troubles]
    made.parts = [
        "A row is encoding, texts in a request × callers, latency of the provider; `hits` are "
        "64 requests asked again and again. `direct` is the provider without anybody between.",
        "## CPU",
        "Microseconds of CPU of the subject's processes for one request (median of the rounds), "
        "and the ratio to nginx in the same round (median, smallest–largest).",
        report.table("µs a request", cpu_cell),
        "## Times",
        "Requests a second; median and 99th percentile of a request's time. They depend on what "
        "else the machine does.",
        report.table("rate, p50 / p99", wall_cell),
        "## Merging and memory",
        "Texts in a call that the provider got; the largest resident memory seen in the row.",
        report.table("texts a call, RSS", calls_cell),
        "## Start",
        "From the start of the process to its first answer, and the memory then.",
        table(["", "s", "MiB"], starts),
        "## Checks",
        in_the_way(report),
        *(["\n".join(notes)] if notes else []),
    ]
    measured = [
        {name: round(v, 6) if isinstance(v, float) else v for name, v in asdict(each).items()}
        for each in report.measured
    ]
    made.data = {
        "skipped": report.skipped, "troubles": report.troubles, "starts": report.starts,
        "measured": measured,
    }  # fmt: skip
    return made


def write_report(report: Report, folder: Path) -> str:
    """Write table.md and table.json; returns the page."""
    return page(report).write(folder)
