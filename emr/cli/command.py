"""The `emr` command: its parser, and the dispatch to the module of each command.

A line that begins with the name of a command loads that command's module alone: a health check of
a container runs every few seconds, and need not pay for the rest.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from emr import __version__
from emr.cli.trouble import FAILED, Trouble

# in the order in which the help shows them
COMMANDS = (
    "serve",
    "keys",
    "providers",
    "config",
    "status",
    "health",
    "cache",
    "usage",
    "embed",
    "bench",
    "fake",
    "doctor",
    "up",
    "down",
    "completion",
)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of a file that stdout goes to
DESCRIPTION = (
    "The Embeddings Router: merges many callers' embedding requests into few provider calls."
)


class Help(argparse.HelpFormatter):
    """Gives the names of commands their room: argparse indents them further than it counts."""

    def add_argument(self, action: argparse.Action) -> None:
        """See argparse.HelpFormatter."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += self._indent_increment


class Parser(argparse.ArgumentParser):
    """A parser, of emr or of one of its commands, that takes no flag by its beginning only."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": Help, **given})


def parser(names: Sequence[str] = COMMANDS) -> Parser:
    """The parser of the commands `names`."""
    top = Parser(prog="emr", description=DESCRIPTION)
    top.add_argument("--version", action="version", version=f"emr {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name in names:
        import_module(f"emr.cli.{name}").add(commands)
    return top


def needed(argv: Sequence[str]) -> Sequence[str]:
    """The commands whose parsers a line needs: its own, none for the version, else all."""
    first = argv[0] if argv else ""
    if first == "--version":
        return ()
    return (first,) if first in COMMANDS else COMMANDS


def run(argv: Sequence[str]) -> int:
    """Parse and run; every trouble becomes a line on stderr and an exit code."""
    args = parser(needed(argv)).parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except Trouble as trouble:
        print(f"emr: {trouble}", file=sys.stderr)
        return trouble.code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # whoever read the output left: nobody is there to be told
        leave_stdout()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in FULL:
            raise
        leave_stdout()
        print(f"emr: the output cannot be written: {error.strerror}", file=sys.stderr)
        return FAILED
    return code


def leave_stdout() -> None:
    """Write nothing more, also not what is still held: the interpreter flushes it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
