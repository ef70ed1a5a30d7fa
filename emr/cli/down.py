"""`emr down`: stop the container of `emr up` and remove it; its keys and providers stay.

A stop drains: what was taken is answered, as long as --timeout allows. --force ends it at once.
`docker volume rm emr` removes what stays.
"""

from __future__ import annotations

import argparse

from emr.cli.docker import NAME, RUN_S, Docker
from emr.cli.trouble import USAGE, Trouble


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = commands.add_parser("down", help="stop the container", description=__doc__)
    parser.add_argument("--force", action="store_true", help="end it at once, without a drain")
    parser.add_argument("--timeout", type=int, default=30, help="seconds for the drain (30)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Stop and remove the container, if there is one."""
    if args.timeout < 0:
        raise Trouble(f"--timeout must not be negative, as {args.timeout} is", USAGE)
    docker = Docker()
    state = docker.state()
    if state is None:
        print(f"There is no container {NAME}.")
        return 0
    if state in ("running", "paused", "restarting"):
        if args.force:
            docker.do("kill", NAME)
        else:
            docker.do("stop", "-t", str(args.timeout), NAME, seconds=args.timeout + RUN_S)
    docker.do("rm", NAME)
    print(f"The container {NAME} is stopped and removed.")
    return 0
