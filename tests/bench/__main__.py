"""`python -m tests.bench`: the table of emr and its peers, and what else is measured.

Without a command it measures the table.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
from pathlib import Path

from tests.bench import ends, idle, install, soak, stages, starts, table

ROOT = Path(__file__).parent.parent.parent
FILES = 24_000  # each peer's own: 10,000 connections of clients, as many to the provider, some
COMMANDS = {
    "table": table, "install": install, "idle": idle, "soak": soak, "ends": ends,
    "starts": starts, "profile": stages,
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--venvs", type=Path, default=ROOT / ".bench", help="where peers are installed"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        about = (module.__doc__ or "").splitlines()[0]
        module.add(commands.add_parser(name, help=about, description=module.__doc__))
    if not any(each in COMMANDS or each in ("-h", "--help") for each in arguments):
        arguments = ["table", *arguments]
    args = parser.parse_args(arguments)
    args.venvs = args.venvs.resolve()
    raise_file_limit()
    status: int = COMMANDS[args.command].run(args)
    return status


def raise_file_limit() -> None:
    """As far as the system lets us, up to FILES."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # peers end, too
    sys.exit(main(sys.argv[1:]))
