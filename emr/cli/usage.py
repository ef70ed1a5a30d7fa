"""`emr usage`: what was used, by key, provider, model, day or hour: a table, CSV or JSON.

The data goes to stdout, the time that it is of to stderr. A cost is empty where the price of a part
of it is not known.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from emr.cli import options
from emr.cli.output import Cell, plain, print_json, print_table, say

ID_SHOWN = 8  # of a key's id: enough to tell keys of one name apart
# what the table shows of the measures, and how it calls them
SHOWN = (
    ("requests", "requests"),
    ("errors", "errors"),
    ("limited", "limited"),
    ("texts", "texts"),
    ("cache_hits", "cache hits"),
    ("tokens", "tokens"),
    ("calls", "calls"),
    ("calls_saved", "saved"),
    ("cost", "cost $"),
)
QUESTION = ("by", "since", "until")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = commands.add_parser("usage", help="what was used, and its cost", description=__doc__)
    parser.add_argument(
        "--by", metavar="A,B",
        help="of key, provider, model, day, hour; key,provider,model without it, '' for a total",
    )  # fmt: skip
    parser.add_argument(
        "--since", metavar="WHEN",
        help="a time, a date, a span (12h, 30d, 8w) or month, the present one; without it 30d",
    )  # fmt: skip
    parser.add_argument("--until", metavar="WHEN", help="before this time; without it now")
    options.add_admin(parser)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--csv", action="store_true", help="print CSV")
    options.add_json(forms)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask for it."""
    from emr.cli.ask.whom import find_manager

    asked = {name: getattr(args, name) for name in QUESTION}
    with find_manager(args) as manager:
        told = manager.usage({name: text for name, text in asked.items() if text is not None})
    if args.json:
        print_json(told)
        return 0
    say(f"from {plain(str(told.get('since')))} until {plain(str(told.get('until')))}")
    if args.csv:
        write_csv(told)
    elif told["usage"]:
        show(told)
    else:
        say("Nothing was used in that time.")
    return 0


def show(told: Mapping[str, Any]) -> None:
    """The table, and the total below it."""
    by: Sequence[str] = told["by"]
    columns = [name for each in by for name in (("key", "id") if each == "key" else (each,))]
    rows = [[*_group(row, by), *_measures(row)] for row in told["usage"]]
    if by:
        rows.append(["total", *[None] * (len(columns) - 1), *_measures(told["total"])])
    print_table([*columns, *[title for _, title in SHOWN]], rows)


def _group(row: Mapping[str, Any], by: Sequence[str]) -> list[Cell]:
    cells: list[Cell] = []
    for name in by:
        if name == "key":
            key_id = row.get("key")
            cells += [row.get("key_name"), None if key_id is None else str(key_id)[:ID_SHOWN]]
        else:
            cells.append(row.get(name))
    return cells


def _measures(row: Mapping[str, Any]) -> list[Cell]:
    return [row.get(name) for name, _ in SHOWN]


def write_csv(told: Mapping[str, Any]) -> None:
    """Every row with every measure, under a row of names; nothing stands for null."""
    by = [
        name for each in told["by"] for name in (("key", "key_name") if each == "key" else (each,))
    ]
    names = [*by, *[name for name in told["total"] if name not in by]]
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(told["usage"])
