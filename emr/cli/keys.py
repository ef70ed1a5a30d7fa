"""`emr keys`: make, list, revoke, rotate and limit the keys of callers.

The key alone goes to stdout and all else to stderr, so that `KEY=$(emr keys create --name app)`
works. It is shown this once.
"""

from __future__ import annotations

import argparse
import re
import time
from typing import Any

from emr.cli import options
from emr.cli.output import Cell, plain, print_json, print_table, say, say_fields
from emr.cli.trouble import USAGE, Trouble

SPAN = re.compile(r"(\d{1,5})([smhdw])")
SPAN_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
NONE = "none"  # of a limit: take it away
# flag, field, and what the help says
LIMITS = (
    ("--rpm", "requests_per_minute", "N", "requests a minute"),
    ("--tpm", "tokens_per_minute", "N", "tokens a minute"),
    ("--tokens-month", "tokens_per_month", "N", "tokens a month"),
    ("--providers", "providers", "A,B", "the only providers it may use"),
    ("--expires", "expires_at", "WHEN", "such as 2026-12-31T23:59:59Z, or a span: 90d, 12h"),
    ("--max-priority", "max_priority", "bulk", "hold it to bulk"),
)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = commands.add_parser("keys", help="the keys of callers", description=__doc__)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    made = actions.add_parser("create", help="make a key, and print it alone")
    made.add_argument("--name", required=True, help="what it is for")
    _add_limits(made)
    made.set_defaults(run=create)
    listed = actions.add_parser("list", help="every key, without the key itself")
    listed.set_defaults(run=list_all)
    revoked = actions.add_parser("revoke", help="refuse a key from now on")
    revoked.set_defaults(run=revoke)
    rotated = actions.add_parser("rotate", help="a new key in place of one, of the same limits")
    rotated.set_defaults(run=rotate)
    limited = actions.add_parser("limit", help=f"change a key's limits ({NONE} takes one away)")
    limited.add_argument("--name", help="another name")
    _add_limits(limited)
    limited.set_defaults(run=limit)
    for each in (revoked, rotated, limited):
        each.add_argument("id", metavar="ID", help="as `emr keys list` shows it")
    for each in (made, listed, revoked, rotated, limited):
        options.add_admin(each)
    for each in (made, listed, rotated, limited):
        options.add_json(each)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    for flag, field, metavar, told in LIMITS:
        parser.add_argument(flag, dest=field, metavar=metavar, help=told)


def create(args: argparse.Namespace) -> int:
    """Make a key."""
    from emr.cli.ask.whom import find_manager

    fields = {"name": args.name} | limits_of(args)
    with find_manager(args) as manager:
        _show_key("API key created (save this: it will not be shown again):",
                  manager.create_key(fields), args.json)  # fmt: skip
    return 0


def rotate(args: argparse.Namespace) -> int:
    """A new key in place of an old one."""
    from emr.cli.ask.whom import find_manager

    with find_manager(args) as manager:
        _show_key("API key rotated (save the new key: it will not be shown again):",
                  manager.rotate_key(args.id), args.json)  # fmt: skip
    return 0


def _show_key(title: str, made: dict[str, Any], as_json: bool) -> None:
    shown = (("id", "id"), ("name", "name"), ("prefix", "key_prefix"), ("created_at", "created_at"))
    say_fields(title, [(name, made.get(field)) for name, field in shown])
    if as_json:
        print_json(made)
    else:
        print(made["key"], flush=True)


def list_all(args: argparse.Namespace) -> int:
    """Every key."""
    from emr.cli.ask.whom import find_manager

    with find_manager(args) as manager:
        keys = manager.keys()
    if args.json:
        print_json(keys)
    elif keys:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        columns = ("id", "name", "prefix", "state", "created", "last used", "limits")
        print_table(columns, [_row(key, now) for key in keys])
    else:
        say("No API keys yet: `emr keys create --name NAME` makes one.")
    return 0


def _row(key: dict[str, Any], now: str) -> list[Cell]:
    return [
        key.get("id"), key.get("name"), key.get("key_prefix"), _state(key, now),
        key.get("created_at"), key.get("last_used_at"), limits_text(key),
    ]  # fmt: skip


def _state(key: dict[str, Any], now: str) -> str:
    if key.get("revoked_at"):
        return "revoked"
    expires = key.get("expires_at")
    return "expired" if expires and expires <= now else "active"


def limits_text(key: dict[str, Any]) -> str:
    """The limits of a key in the words of the flags: `rpm=60 providers=voyage,cohere`."""
    told = []
    for flag, field, _, _ in LIMITS:
        value = key.get(field)
        if value is not None:
            shown = ",".join(value) if isinstance(value, list) else value
            told.append(f"{flag.removeprefix('--')}={shown}")
    return " ".join(told)


def revoke(args: argparse.Namespace) -> int:
    """Refuse a key from now on."""
    from emr.cli.ask.whom import find_manager

    with find_manager(args) as manager:
        manager.revoke_key(args.id)
    say(f"API key '{plain(args.id)}' revoked.")
    return 0


def limit(args: argparse.Namespace) -> int:
    """Change a key's name or limits."""
    from emr.cli.ask.whom import find_manager

    fields = limits_of(args) | ({} if args.name is None else {"name": args.name})
    if not fields:
        flags = ", ".join(flag for flag, *_ in LIMITS)
        raise Trouble(f"nothing to change: give one of --name, {flags}", USAGE)
    with find_manager(args) as manager:
        changed = manager.change_key(args.id, fields)
    if args.json:
        print_json(changed)
    limits = limits_text(changed) or "no limits"
    say(f"API key '{plain(args.id)}' ({plain(str(changed.get('name')))}) changed: {plain(limits)}")
    return 0


def limits_of(args: argparse.Namespace) -> dict[str, object]:
    """The fields that the flags set. Raises Trouble (usage)."""
    fields: dict[str, object] = {}
    for flag, field, _, _ in LIMITS:
        text = getattr(args, field)
        if text is None:
            continue
        if text == NONE:
            fields[field] = None
        elif field == "providers":
            fields[field] = [name.strip() for name in text.split(",") if name.strip()]
        elif field == "expires_at":
            fields[field] = expiry(text, time.time())
        elif field == "max_priority":
            fields[field] = text
        elif text.isascii() and text.isdecimal():
            fields[field] = int(text)
        else:
            raise Trouble(f"{flag} must be a whole number or {NONE}, not {plain(text)}", USAGE)
    return fields


def expiry(text: str, now: float) -> str:
    """A time as it is, a span (`90d`) as the time when it will be over."""
    span = SPAN.fullmatch(text)
    if span is None:
        return text
    ends = now + int(span[1]) * SPAN_S[span[2]]
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))
