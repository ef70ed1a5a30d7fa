"""`emr status`: what the router did since its start, and how its providers are."""

from __future__ import annotations

import argparse

from emr.cli import options
from emr.cli.output import Cell, print_json

DAY_S, HOUR_S, MINUTE_S = 86_400, 3600, 60
SHOWN = (
    ("Version", "version"),
    ("Providers", "providers"),
    ("Active keys", "active_keys"),
    ("Requests served", "requests_served"),
    ("Texts served", "texts_served"),
    ("Provider calls", "provider_calls"),
    ("Cache hits", "cache_hits"),
)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = commands.add_parser("status", help="what the router did", description=__doc__)
    options.add_server(parser)
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask for the figures."""
    from emr.cli.ask.whom import find_server
    from emr.cli.health import fetch, json_of, show_providers
    from emr.cli.output import cell_text

    server = find_server(args)
    told = json_of(fetch(server, "/status"))
    providers = json_of(fetch(server, "/health/providers"))
    if args.json:
        print_json(told | {"address": str(server.address), "health": providers})
        return 0
    lines: list[tuple[str, Cell]] = [("Address", str(server.address))]
    lines.append(("Uptime", span(told.get("uptime_seconds", 0))))
    lines += [(name, told.get(field)) for name, field in SHOWN if field in told]
    width = max(len(name) for name, _ in lines) + 1
    for name, value in lines:
        print(f"{name + ':':<{width}} {cell_text(value)}")
    print()
    show_providers(providers)
    return 0


def span(seconds: int) -> str:
    """A time as people say it: `2d 3h 4m`, `5m 6s`."""
    days, rest = divmod(int(seconds), DAY_S)
    hours, rest = divmod(rest, HOUR_S)
    minutes, rest = divmod(rest, MINUTE_S)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{count}{unit}" for count, unit in parts[:3])
