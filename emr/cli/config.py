"""`emr config`: write a configuration to start from, show what is in effect, check it.

Works without a server. What is in effect is what the file, the environment and the defaults come
to: a flag of `emr serve` beats an environment variable, which beats the file.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from emr.cli import options
from emr.cli.output import plain, print_json, say
from emr.cli.trouble import FAILED, Trouble

FILE = "config.toml"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = commands.add_parser("config", help="the configuration", description=__doc__)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    made = actions.add_parser("init", help="write a file with every setting at its default")
    made.add_argument("--config", metavar="FILE", default=FILE, help=f"where to (./{FILE})")
    made.set_defaults(run=init)
    shown = actions.add_parser("show", help="print what is in effect, and where it comes from")
    shown.set_defaults(run=show)
    options.add_json(shown)
    checked = actions.add_parser("validate", help="check it; 1 when it cannot be used")
    checked.set_defaults(run=validate)
    for each in (shown, checked):
        each.add_argument("--config", metavar="FILE", help="the file; else the first one found")


def init(args: argparse.Namespace) -> int:
    """Write a configuration to start from; a file that is there stays as it is."""
    from emr.control.config_text import init_text

    path = Path(args.config)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Trouble(f"{path} cannot be written: {error.strerror}") from error
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(init_text())
    except FileExistsError as error:
        message = f"{path} is there already and stays as it is; --config FILE writes another"
        raise Trouble(message) from error
    except OSError as error:
        raise Trouble(f"{path} cannot be written: {error.strerror}") from error
    say(f"Config written to: {path}")
    return 0


def show(args: argparse.Namespace) -> int:
    """Print what is in effect; the last line tells whether there is an admin secret."""
    from emr.cli.ask.whom import Local
    from emr.control.config_text import effective, nested_sources, show_text
    from emr.control.secrets import ADMIN_VARIABLE, Secret, SecretError, find_admin_secret

    local = Local.of(args)
    secret: Secret | None = None
    why = ""
    try:
        secret = find_admin_secret(local.places, os.environ)
    except SecretError as error:
        why = str(error)
    for warning in local.loaded.warnings:
        say(f"emr: {plain(warning)}")
    if why:
        say(f"emr: {ADMIN_VARIABLE} cannot be used: {why}")
    if args.json:
        source = None if secret is None else secret.source
        told = {"sources": nested_sources(local.loaded), "admin_secret_source": source}
        print_json(effective(local.loaded) | told)
    else:
        sys.stdout.write(show_text(local.loaded, secret))
    return 0


def validate(args: argparse.Namespace) -> int:
    """Check the configuration and the admin secret; every problem is told."""
    from emr.control.config import ConfigError, find_file, load
    from emr.control.endpoints import row_rules
    from emr.control.places import Places
    from emr.control.secrets import ADMIN_VARIABLE, SecretError, find_admin_secret

    places = Places.of(os.environ)
    problems: list[str] = []
    warnings: tuple[str, ...] = ()
    try:
        warnings = load(
            find_file(places, os.environ, args.config), os.environ, row_rules()
        ).warnings
    except ConfigError as error:
        problems += map(str, error.problems)
    if os.environ.get(ADMIN_VARIABLE, "-").strip():  # an empty one is among the problems already
        try:
            find_admin_secret(places, os.environ)
        except SecretError as error:
            problems.append(str(error))
    for warning in warnings:
        say(f"warning: {plain(warning)}")
    for problem in problems:
        say(plain(problem))
    if problems:
        return FAILED
    print("Config is valid.")
    return 0
