"""`emr cache`: what the cache of a running server has, and letting go of it all.

After a provider exchanged a model under the same name, `clear` is the way to forget its vectors.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from emr.cli import options
from emr.cli.output import Cell, print_json, print_table, say
from emr.cli.trouble import FAILED, Trouble

if TYPE_CHECKING:
    from emr.cli.ask.api import Api

PATH = "/admin/cache"
COLUMNS = ("store", "vectors", "bytes", "room", "hits", "evicted")
FIELDS = ("entries", "bytes", "max_bytes", "hits", "evictions")
PLACES = {"memory": "in memory", "disk": "on disk"}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = commands.add_parser("cache", help="the cache of vectors", description=__doc__)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    told = actions.add_parser("stats", help="what it has, and how often it had what was asked")
    told.set_defaults(run=stats)
    cleared = actions.add_parser("clear", help="let go of every vector, in memory and on disk")
    cleared.set_defaults(run=clear)
    for each in (told, cleared):
        options.add_admin(each)
        options.add_json(each)


def stats(args: argparse.Namespace) -> int:
    """Show what it has."""
    with _api(args) as api:
        told = _fields(api.ask("GET", PATH))
    if args.json:
        print_json(told)
        return 0
    if not told.get("enabled"):
        say("The cache is switched off: cache.max_bytes is 0, and no cache.path is set.")
        return 0
    rate = told.get("hit_rate")
    share = "" if rate is None else f" ({rate:.1%} hits)"
    say(f"{told.get('hits')} texts found, {told.get('misses')} not{share}; scope {told['scope']}")
    stores = [(name, told.get(name)) for name in PLACES]
    rows: list[list[Cell]] = [
        [name, *[store.get(field) for field in FIELDS]] for name, store in stores if store
    ]
    print_table(COLUMNS, rows)
    disk = told.get("disk") or {}
    if disk.get("trouble"):
        say(f"{disk.get('path')}: {disk['trouble']}")
        return FAILED
    return 0


def clear(args: argparse.Namespace) -> int:
    """Let go of everything."""
    with _api(args) as api:
        told = _fields(api.ask("DELETE", PATH))
    if args.json:
        print_json(told)
        return 0
    cleared = _fields(told.get("cleared"))
    if not cleared:
        say("The cache is switched off; there was nothing to clear.")
        return 0
    counts = [
        f"{cleared[name]} vectors {place}" for name, place in PLACES.items() if name in cleared
    ]
    say(f"Cleared: {', '.join(counts)}.")
    return 0


@contextmanager
def _api(args: argparse.Namespace) -> Iterator[Api]:
    from emr.cli.ask.api import Api
    from emr.cli.ask.whom import admin_secret, find_server

    with closing(Api(find_server(args), admin_secret(args))) as api:
        yield api


def _fields(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Trouble("the answer is not one of emr's: is this an emr?")
    return value
