"""`emr embed`: lines of text from files or stdin to vectors as NDJSON, in the order of the lines.

A line of text gives a line of output: {"index":0,"embedding":[…]}, with --with-text also its
"text". `index` counts the lines of all input from 0. A line that cannot be embedded (an empty one
too) gives {"index":3,"error":"…"} in its place, and exit code 1 at the end. Several requests of
several lines each are in flight at a time; input without end needs no more memory.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from emr.cli import options
from emr.cli.output import console, is_drawn, say
from emr.cli.trouble import FAILED, USAGE, Trouble

if TYPE_CHECKING:
    from emr.cli.bulk.sending import Done, Sender
    from emr.control.secrets import Secret

KEY_VARIABLE = "EMR_API_KEY"
BATCH = 128  # texts a request: what the largest providers take in one call
IN_FLIGHT = 8  # requests: two calls of the largest providers ahead of the one that is answered
STDIN = "-"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = commands.add_parser("embed", help="lines of text to vectors", description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"text files ({STDIN}: stdin)")
    parser.add_argument("--model", help="a model id, an alias or provider/model")
    parser.add_argument("--provider", help="a provider's name")
    parser.add_argument("--input-type", choices=("query", "document"), help="what the texts are")
    parser.add_argument("--dimensions", type=int, metavar="N", help="numbers a vector")
    parser.add_argument(
        "--output-base64", action="store_true",
        help="vectors as base64 of little-endian float32, not as numbers",
    )  # fmt: skip
    parser.add_argument(
        "--with-text", action="store_true", help="repeat each text beside its vector"
    )
    parser.add_argument("--key", help=f"the caller key; better: {KEY_VARIABLE}")
    parser.add_argument("--batch", type=int, default=BATCH, metavar="N",
                        help=f"texts a request ({BATCH})")  # fmt: skip
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT, metavar="N",
                        help=f"requests at a time ({IN_FLIGHT})")  # fmt: skip
    options.add_server(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Embed; 1 when a line failed."""
    for name in ("batch", "in_flight"):
        if getattr(args, name) < 1:
            raise Trouble(f"--{name.replace('_', '-')} must be at least 1", USAGE)
    from emr.cli.ask.api import client
    from emr.cli.ask.whom import find_server
    from emr.cli.bulk.sending import Sender, Wish

    names = args.files or [STDIN]
    for name in names:
        check_readable(name)
    server, key = find_server(args), caller_key(args.key)
    with client(server, key.value) as link:
        sender = Sender(link, server.address, key, Wish(fields_of(args), args.with_text))
        total = embed(map(input_file, names), sender, args)
    if total.failed:
        say(f"emr: {total.failed} of {total.failed + total.embedded} lines failed")
    return FAILED if total.failed else 0


def embed(files: Iterable[BinaryIO], sender: Sender, args: argparse.Namespace) -> Done:
    """Send what is read, write what comes back; the figures of it all. Raises Trouble."""
    from emr.cli.bulk.flow import in_order
    from emr.cli.bulk.lines import batches, read
    from emr.cli.bulk.sending import Done

    total, started = Done(), time.monotonic()
    with progress() as show:
        for done in in_order(batches(read(files), args.batch), sender.send, args.in_flight):
            sys.stdout.buffer.writelines(done.lines)
            sys.stdout.buffer.flush()
            total.embedded += done.embedded
            total.failed += done.failed
            total.tokens += done.tokens
            total.answered_by = done.answered_by or total.answered_by
            show(total)
    if is_drawn(sys.stderr) and total.embedded:
        seconds = time.monotonic() - started
        say(
            f"{total.embedded} texts by {total.answered_by}, {total.tokens} tokens, in"
            f" {seconds:.1f} s"
        )
    return total


@contextlib.contextmanager
def progress() -> Iterator[Callable[[Done], None]]:
    """Shows the figures on stderr, where they are drawn and the vectors go elsewhere."""
    if not is_drawn(sys.stderr) or sys.stdout.isatty():
        yield lambda total: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console(sys.stderr), transient=True) as bar:
        task = bar.add_task("0 texts")

        def show(total: Done) -> None:
            failed = f", {total.failed} failed" if total.failed else ""
            bar.update(task, description=f"{total.embedded} texts{failed}")

        yield show


def fields_of(args: argparse.Namespace) -> dict[str, object]:
    """The fields of every request."""
    fields = {
        "model": args.model,
        "provider": args.provider,
        "input_type": args.input_type,
        "dimensions": args.dimensions,
        "encoding_format": "base64" if args.output_base64 else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def check_readable(name: str) -> None:
    """Raises Trouble: before anything is sent, and without opening it, for it may be a pipe."""
    try:
        if name != STDIN and os.stat(name) and not os.access(name, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise Trouble(f"{name} cannot be read: {error.strerror}") from error


def input_file(name: str) -> BinaryIO:
    """A file to read from. Raises Trouble."""
    if name == STDIN:
        if sys.stdin.isatty():
            say("emr: reading lines from the terminal; Ctrl-D ends them")
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    try:
        return open(name, "rb", buffering=0)
    except OSError as error:
        raise Trouble(f"{name} cannot be read: {error.strerror}") from error


def caller_key(flag: str | None) -> Secret:
    """The caller key to show. Raises Trouble when there is none."""
    from emr.control.places import Places
    from emr.control.secrets import Secret, SecretError, find_first_key

    places = Places.of(os.environ)
    for value, source in ((flag, "--key"), (os.environ.get(KEY_VARIABLE), KEY_VARIABLE)):
        if value and value.strip():
            if not (value.isascii() and value.strip().isprintable()):
                raise Trouble(f"the key from {source} has characters that no key has")
            return Secret(value.strip(), source)
    try:
        first = find_first_key(places)
    except SecretError as error:
        raise Trouble(str(error)) from error
    if first is None:
        raise Trouble(
            f"there is no caller key: give --key, set {KEY_VARIABLE}, or make one with"
            " `emr keys create --name NAME`"
        )
    return first
