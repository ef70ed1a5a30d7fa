"""The command line, one file a command.

A command's module has `add(commands)`, which adds its parser, and `run(args)`, which returns the
exit code: 0 done, 1 refused or failed, 2 usage. Data goes to stdout, talk to stderr. What is slow
to import is imported inside of `run`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the entry point of `emr` and of the zipapp."""
    from emr.cli.command import run

    return run(sys.argv[1:] if argv is None else argv)
