"""`emr providers`: register, list, change, test and probe the providers.

A provider's key is never given here, but the name of the environment variable that holds it. A
test makes one call and a probe makes many; they cost what the provider asks for them. Without a
server that runs they are made by this command itself.
"""

from __future__ import annotations

import argparse
from typing import Any

from emr.cli import options
from emr.cli.output import Cell, plain, print_json, print_table, say, say_fields
from emr.cli.probe import add_probe
from emr.cli.trouble import FAILED

FIELDS = ("name", "provider_type", "api_key_env_var", "endpoint", "model")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = commands.add_parser("providers", help="the providers", description=__doc__)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    added = actions.add_parser("add", help="register a provider")
    added.add_argument("--name", required=True, help="how requests and commands call it")
    added.add_argument(
        "--type", required=True, dest="provider_type", metavar="TYPE",
        help="voyage, cohere, openai, openai-compatible, local, …",
    )  # fmt: skip
    added.add_argument(
        "--api-key-env", dest="api_key_env_var", metavar="NAME",
        help="the environment variable that holds its key; without it the type's own",
    )  # fmt: skip
    added.add_argument("--endpoint", metavar="URL", help="without it the type's own")
    added.add_argument("--model", help="without it the type's default")
    added.set_defaults(run=register)
    listed = actions.add_parser("list", help="every provider")
    listed.set_defaults(run=list_all)
    removed = actions.add_parser("remove", help="take a provider away")
    removed.set_defaults(run=remove)
    tested = actions.add_parser("test", help="make one call to a provider")
    tested.add_argument(
        "--accept", action="store_true",
        help="its vectors are right from now on, whatever they were before",
    )  # fmt: skip
    tested.set_defaults(run=test)
    enabled = actions.add_parser("enable", help="use a provider again")
    enabled.set_defaults(run=enable)
    disabled = actions.add_parser("disable", help="use a provider no more, but keep it registered")
    disabled.set_defaults(run=disable)
    probed = add_probe(actions)
    for each in (removed, tested, enabled, disabled):
        each.add_argument("name", metavar="NAME", help="as `emr providers list` shows it")
    for each in (added, listed, removed, tested, enabled, disabled, probed):
        options.add_admin(each)
    for each in (added, listed, tested, enabled, disabled, probed):
        options.add_json(each)


def register(args: argparse.Namespace) -> int:
    """Register a provider."""
    from emr.cli.ask.whom import find_manager

    given = {field: getattr(args, field) for field in FIELDS}
    fields = {field: value for field, value in given.items() if value is not None}
    with find_manager(args) as manager:
        made = manager.add_provider(fields)
    if args.json:
        print_json(made)
    say_fields("Provider added:", [(field, made.get(field)) for field in FIELDS])
    say(f"`emr providers test {made.get('name')}` makes one call to it.")
    return 0


def list_all(args: argparse.Namespace) -> int:
    """Every provider."""
    from emr.cli.ask.whom import find_manager

    with find_manager(args) as manager:
        providers = manager.providers()
    if args.json:
        print_json(providers)
    elif providers:
        columns = ("name", "type", "model", "enabled", "key", "endpoint", "source")
        print_table(columns, [_row(provider) for provider in providers])
        for provider in providers:
            if provider.get("note"):
                say(f"{plain(str(provider['name']))}: {plain(str(provider['note']))}")
    else:
        say("No providers yet: `emr providers add --name voyage --type voyage` registers one.")
    return 0


def _row(provider: dict[str, Any]) -> list[Cell]:
    keys = provider.get("api_key_env_vars") or [provider.get("api_key_env_var") or ""]
    return [
        provider.get("name"), provider.get("provider_type"), provider.get("model"),
        bool(provider.get("enabled")), ",".join(keys), provider.get("endpoint"),
        provider.get("source"),
    ]  # fmt: skip


def remove(args: argparse.Namespace) -> int:
    """Take a provider away."""
    from emr.cli.ask.whom import find_manager

    with find_manager(args) as manager:
        manager.remove_provider(args.name)
    say(f"Provider '{plain(args.name)}' removed.")
    return 0


def enable(args: argparse.Namespace) -> int:
    """Use a provider again."""
    return _switch(args, {"enabled": True}, "enabled")


def disable(args: argparse.Namespace) -> int:
    """Use a provider no more."""
    return _switch(args, {"enabled": False}, "disabled")


def _switch(args: argparse.Namespace, fields: dict[str, object], word: str) -> int:
    from emr.cli.ask.whom import find_manager

    with find_manager(args) as manager:
        changed = manager.change_provider(args.name, fields)
    if args.json:
        print_json(changed)
    say(f"Provider '{plain(args.name)}' {word}.")
    return 0


def test(args: argparse.Namespace) -> int:
    """Make one call; 1 when it fails."""
    from emr.cli.ask.whom import find_manager

    with find_manager(args) as manager:
        told = manager.test_provider(args.name, {"accept": True} if args.accept else {})
    is_ok = told.get("status") == "ok"
    if args.json:
        print_json(told)
    elif is_ok:
        figures = f"{told.get('latency_ms')} ms, {told.get('dimensions')} dimensions"
        print(f"Provider '{plain(args.name)}': ok ({figures})")
        if told.get("drift"):
            say(f"{plain(str(told['drift']))}; is it another model? --accept if that is right")
    else:
        say(f"Provider '{plain(args.name)}': {plain(str(told.get('error')))}")
    return 0 if is_ok else FAILED
