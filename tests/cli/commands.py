"""Runs single commands: in this process, or as a process of their own."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import orjson

from emr.cli import bench, fake

COMMANDS = {"fake": fake, "bench": bench}
RUNNER = "import sys; from tests.cli.commands import run; sys.exit(run(*sys.argv[1:]))"


def parse(command: ModuleType, *flags: str) -> argparse.Namespace:
    """The command's arguments as it reads them."""
    parser = argparse.ArgumentParser(prog="emr")
    command.add(parser.add_subparsers(required=True))
    return parser.parse_args(flags)


def run(name: str, *flags: str) -> int:
    """Run a command in this process; its exit code."""
    args = parse(COMMANDS[name], name, *flags)
    code: int = args.run(args)
    return code


@contextmanager
def running_fake(*flags: str) -> Iterator[str]:
    """`emr fake` as a process of its own: its URL. It must end well."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, "fake", "--port", "0", "--json", *flags],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1].decode()
        yield orjson.loads(line)["url"]
    finally:
        process.send_signal(signal.SIGTERM)
        _, words = process.communicate(timeout=10.0)
        assert process.returncode == 0, words.decode()
        assert b"calls;" in words
        assert b"Traceback" not in words, words.decode()
