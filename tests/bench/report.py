"""The table as Markdown and as JSON: medians over the rounds, ratios to nginx within a round."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from statistics import median

from tests.bench.measure import Measured
from tests.bench.peers.peer import Subject

YARDSTICK = "nginx"
ORDER = ("direct", "floor", "nginx", "emr", "tensorzero", "batched", "litellm")


class Report:
    """What was measured."""

    def __init__(self, described: dict[str, str]) -> None:
        self.described = described
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
        self.described["rounds"] = f"{rounds} of {seconds:g} s a measurement"
        self.described["load average at the end"] = f"{os.getloadavg()[0]:.1f}"

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


def ratios(some: list[Measured], yardstick: list[Measured]) -> list[float]:
    """CPU a request of one by that of the other, round by round."""
    return [a.cpu_us / b.cpu_us for a, b in zip(some, yardstick, strict=False) if b.cpu_us > 0]


def figure(value: float) -> str:
    """With as many places as can be trusted."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def spread(values: Iterable[float]) -> str:
    """Smallest and largest."""
    values = list(values)
    return f"{figure(min(values))}–{figure(max(values))}"


def table(report: Report, title: str, cell: Callable[[list[Measured], list[Measured]], str]) -> str:
    """One Markdown table, a row each, a column for each subject."""
    names = report.subjects
    lines = [f"| {title} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for row, by_subject in report.rows().items():
        cells = [
            cell(by_subject[name], by_subject.get(YARDSTICK, [])) if name in by_subject else "–"
            for name in names
        ]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cpu_cell(some: list[Measured], yardstick: list[Measured]) -> str:
    """Microseconds of CPU a request, and the ratio to the yardstick with its spread."""
    if some[0].cpu_s == 0:
        return "–"
    told = figure(median(each.cpu_us for each in some))
    if some[0].subject == YARDSTICK or not yardstick:
        return f"{told} ({spread(each.cpu_us for each in some)})"
    of = ratios(some, yardstick)
    return f"{told}, **×{figure(median(of))}** ({spread(of)})" if of else told


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
    return f"{figure(texts)}, {max(each.rss_mib for each in some):,.0f} MiB"


def in_the_way(report: Report) -> str:
    """How it was checked that neither provider nor load generator was what is measured."""
    busiest = max(report.measured, key=lambda each: max(each.provider_share, each.load_share))
    peers = [each for each in report.measured if each.subject != "direct"]
    if not peers:
        peers = [busiest]
    worst = max(peers, key=lambda each: max(each.provider_share, each.load_share))
    return (
        "Provider (compiled, one thread) and wrk (compiled, one thread) are measured with every "
        f"row. In front of a peer, the provider took at most "
        f"{max(each.provider_share for each in peers):.0%} of a core and wrk at most "
        f"{max(each.load_share for each in peers):.0%} (the most in {worst.row} of "
        f"{worst.subject}); asked directly, they reach {busiest.rate:,.0f} requests a second in "
        f"{busiest.row}. CPU a request does not depend on them; requests a second may, where the "
        "sum of all is all of the machine's cores."
    )


def markdown(report: Report) -> str:
    """The whole page."""
    parts = [
        "# The table of `scripts/bench`",
        "Written by it; [performance.md](../performance.md) tells how to read it. A row is "
        "encoding, texts in a request × callers, latency of the provider. `direct` is the "
        "provider without anybody between.",
        "\n".join(f"- {name}: {value}" for name, value in report.described.items()),
        "## CPU",
        "Microseconds of CPU of the subject's processes for one request (median of the rounds), "
        "and the ratio to nginx in the same round (median, smallest–largest).",
        table(report, "µs a request", cpu_cell),
        "## Times",
        "Requests a second; median and 99th percentile of a request's time. They depend on what "
        "else the machine does.",
        table(report, "rate, p50 / p99", wall_cell),
        "## Merging and memory",
        "Texts in a call that the provider got; the largest resident memory seen in the row.",
        table(report, "texts a call, RSS", calls_cell),
        "## Start",
        "From the start of the process to its first answer, and the memory then.",
        "\n".join(
            ["| | s | MiB |", "|---|---|---|"]
            + [
                f"| {name} | {each['seconds']:.2f} | {each['rss_mib']:.0f} |"
                for name, each in report.starts.items()
            ]
        ),
        "## Checks",
        in_the_way(report),
    ]
    notes = [f"- not installed: {name} ({why})" for name, why in report.skipped.items()]
    notes += [f"- {trouble}" for trouble in report.troubles]
    return "\n\n".join([*parts, "\n".join(notes)] if notes else parts) + "\n"


def write_report(report: Report, folder: Path) -> str:
    """Write table.md and table.json; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    page = markdown(report)
    (folder / "table.md").write_text(page)
    told = {
        "machine": report.described,
        "skipped": report.skipped,
        "troubles": report.troubles,
        "starts": report.starts,
        "measured": [
            {name: round(v, 6) if isinstance(v, float) else v for name, v in asdict(each).items()}
            for each in report.measured
        ],
    }
    (folder / "table.json").write_text(json.dumps(told, indent=1) + "\n")
    return page
