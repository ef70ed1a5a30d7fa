"""The report of a load as a table for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 240  # in a pipe a line is a line, whatever its length
BUSY = 0.85  # of a core: from here on the client itself may be what limits


def print_report(report: dict[str, Any], console: Console | None = None) -> None:
    """Print what `Results.plain` gives, with the provider's part."""
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=PIPE_WIDTH)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in rows(report):
        table.add_row(name, value)
    console.print(table)


def rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines of the table."""
    made = [
        ("requests", f"{report['requests']:,} in {report['seconds']:.2f} s"),
        ("answered", f"{report['answered']:,}"),
        ("rate", f"{report['requests_per_second']:,.1f} requests/s, "
                 f"{report['texts_per_second']:,.1f} texts/s"),
        ("latency ms", percentiles(report["latency_ms"])),
    ]  # fmt: skip
    if report["refused_latency_ms"]:
        made.append(("refused ms", percentiles(report["refused_latency_ms"])))
    made.append(("statuses", counts(report["statuses"])))
    if report["errors"]:
        made.append(("errors", counts(report["errors"])))
    made += [(f"  {kind}", words) for kind, words in report["examples"].items()]
    if report["vectors_checked"] or "wrong vector" in report["errors"]:
        wrong = report["errors"].get("wrong vector", 0)
        made.append(
            ("checked", f"{report['vectors_checked']:,} vectors right, {wrong} replies wrong")
        )
    if report["models"]:
        made.append(("models", counts(report["models"])))
    made += provider_rows(report["provider"])
    for number, key in enumerate(report.get("by_key", ())):
        rate = f"{key['requests_per_second']:,.1f} requests/s  "
        made.append((f"key {number + 1}", rate + percentiles(key["latency_ms"])))
    if "jain_index" in report:
        made.append(("Jain index", f"{report['jain_index']:.3f} over the keys' rates"))
    made += client_rows(report["client"])
    return made


def provider_rows(provider: dict[str, Any] | None) -> list[tuple[str, str]]:
    """What the provider was asked."""
    if provider is None:
        return [("provider", "not known (no /status there; --fake URL counts at a fake)")]
    text = f"{provider['calls']:,} calls"
    if provider["requests_per_call"] is not None:
        text += f", {provider['requests_per_call']:,.2f} requests a call"
        text += f", {provider['texts_per_call']:,.2f} texts a call"
    return [("provider", text)]


def client_rows(client: dict[str, Any]) -> list[tuple[str, str]]:
    """What the client itself needed."""
    text = f"{client['cpu_seconds']:.2f} s of CPU, {client['cpu_us_per_request']:.0f} us a request"
    made = [("this client", text)]
    if client["lag_ms"]:
        made.append(("sent late ms", percentiles(client["lag_ms"])))
    if client["cpu_share"] > BUSY:
        share = f"{100.0 * client['cpu_share']:.0f}%"
        made.append(("beware", f"this client used {share} of a core: it may be what limits"))
    return made


def percentiles(spread: dict[str, float | None]) -> str:
    """`p50 1.2  p90 3.4  …`, or a dash for none."""
    if spread["max"] is None:
        return "-"
    return "  ".join(f"{name} {value:,.2f}" for name, value in spread.items())


def counts(table: dict[str, int]) -> str:
    """`200: 5  429: 1`."""
    return "  ".join(f"{name}: {number:,}" for name, number in table.items()) or "-"
