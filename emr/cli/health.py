"""`emr health`: whether the router can serve, and how its providers are; 1 when it cannot.

With --live only whether the process serves, as a container's health check asks: no provider counts
and nothing is printed but on failure.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from emr.cli import options
from emr.cli.ask import knock
from emr.cli.ask.address import DEFAULT, Server
from emr.cli.ask.named import named_server
from emr.cli.output import Cell, plain, print_json, print_table, say
from emr.cli.trouble import FAILED, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

OK = 200
COLUMNS = (
    "provider", "status", "gate", "p50 ms", "p95 ms", "p99 ms", "errors %", "score", "calls",
    "in flight", "waiting",
)  # fmt: skip
FIELDS = (
    "name", "status", "gate", "p50_ms", "p95_ms", "p99_ms", "error_rate", "health_score",
    "total_requests", "in_flight_batches", "queue_texts",
)  # fmt: skip


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "health", help="whether it can serve (exit code 0 or 1)", description=__doc__
    )
    parser.add_argument("--live", action="store_true", help="only whether the process serves")
    options.add_server(parser)
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask for the health."""
    if args.live:
        return live(args)
    from emr.cli.ask.whom import find_server

    server = find_server(args)
    answer = fetch(server, "/health")
    told = json_of(answer)
    providers = json_of(fetch(server, "/health/providers"))
    if args.json:
        print_json(told | {"providers": providers})
    else:
        print(plain(str(told.get("status"))))
        show_providers(providers)
    return 0 if answer.status == OK else FAILED


def live(args: argparse.Namespace) -> int:
    """Ask whether the process serves, with as little as will do."""
    named = named_server(args)
    server = Server(DEFAULT) if named is None else named
    try:
        answer = knock.get(server.address, "/health/live", server.context)
    except (knock.Nobody, knock.NoAnswer) as error:
        if named is not None:
            raise Trouble(str(error)) from error
        from emr.cli.ask.whom import find_server

        answer = fetch(find_server(args), "/health/live")
    if answer.status != OK:
        raise Trouble(f"it answers {answer.status}")
    if args.json:
        print_json(json_of(answer))
    return 0


def fetch(server: Server, path: str) -> knock.Answer:
    """GET a public route. Raises Trouble when nothing answers."""
    try:
        return knock.get(server.address, path, server.context)
    except (knock.Nobody, knock.NoAnswer) as error:
        raise Trouble(str(error)) from error


def json_of(answer: knock.Answer) -> Any:
    """The JSON value of an answer. Raises Trouble when it is none."""
    try:
        return json.loads(answer.body)
    except ValueError as error:
        raise Trouble(f"it answers {answer.status} and no JSON: is this an emr?") from error


def show_providers(providers: Sequence[dict[str, Any]]) -> None:
    """The table of the providers' health."""
    if not providers:
        say("No providers yet: `emr providers add --name voyage --type voyage` registers one.")
        return
    print_table(COLUMNS, [_row(provider) for provider in providers])
    for provider in providers:
        if provider.get("gate_message"):
            say(f"{plain(str(provider['name']))}: {plain(str(provider['gate_message']))}")


def _row(provider: dict[str, Any]) -> list[Cell]:
    cells: list[Cell] = [provider.get(field) for field in FIELDS]
    rate = provider.get("error_rate")
    if isinstance(rate, int | float):
        cells[FIELDS.index("error_rate")] = round(rate * 100, 2)
    return cells
