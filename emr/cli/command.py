"""The `emr` command: its parser, and the dispatch to the module of each command."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from emr import __version__
from emr.cli.trouble import Trouble

# in the order in which the help shows them
COMMANDS = ("serve", "bench", "fake")
DESCRIPTION = (
    "The Embeddings Router: merges many callers' embedding requests into few provider calls."
)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(prog="emr", description=DESCRIPTION, allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"emr {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"emr.cli.{name}").add(commands)
    return top


def run(argv: Sequence[str]) -> int:
    """Parse and run; every trouble becomes a line on stderr and an exit code."""
    args = parser().parse_args(argv)
    try:
        code: int = args.run(args)
    except Trouble as trouble:
        print(f"emr: {trouble}", file=sys.stderr)
        return trouble.code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # whoever read the output left: nobody is there to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return code
