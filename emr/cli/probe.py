"""`emr providers probe`: latency by the number of texts in a call, and the real cap on it.

Sizes are tried in their order until one is refused. On a terminal there is a bar and then a table;
in a pipe a line a size as it is known, with --json as an object a line. `--write` keeps a cap on
texts that was met as the provider's max_texts_per_request.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emr.cli.output import Cell, cell_text, console, is_drawn, plain, print_table, say
from emr.cli.trouble import FAILED, USAGE, Trouble

if TYPE_CHECKING:
    from emr.cli.ask.manager import Manager

SIZES = "1,2,4,8,16,32,48,64,96,128,256"
SAMPLES = 3
COLUMNS = ("batch_size", "mean_latency_ms", "latency_per_text_ms")
TEXTS = "texts"


def add_probe(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the parser of the action, but for the flags that all actions share."""
    parser = actions.add_parser(
        "probe", help="latency by the size of a call, and the cap on it", description=__doc__
    )
    parser.add_argument("name", metavar="NAME", help="as `emr providers list` shows it")
    parser.add_argument("--sizes", default=SIZES, help=f"texts in a call ({SIZES})")
    parser.add_argument(
        "--samples", type=int, default=SAMPLES, help=f"calls of each size ({SAMPLES})"
    )
    parser.add_argument(
        "--write", action="store_true", help="keep the cap found as max_texts_per_request"
    )
    parser.add_argument(
        "--api-key", metavar="KEY", help="not needed any more: accepted and not used"
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Probe; 1 when a call failed for another reason than its size."""
    from emr.cli.ask.whom import find_manager

    sizes = sizes_of(args.sizes)
    if args.api_key is not None:
        say("emr: --api-key is not used: a probe asks the provider with the provider's own key")
    with find_manager(args) as manager:
        lines = []
        with _bar(len(sizes), args) as advance:
            show = _Shower(args)
            for line in manager.probe_provider(args.name, sizes, args.samples):
                lines.append(line)
                show(line)
                advance(line)
        if is_drawn() and not args.json:
            print_table(COLUMNS, [_row(line) for line in lines if "error" not in line])
        found = outcome_of(lines)
        say(plain(f"{args.name}: {found.message}"))
        if args.write:
            return _write(args, manager, found)
    return FAILED if found.failed else 0


def sizes_of(text: str) -> list[int]:
    """The sizes of `--sizes`. Raises Trouble (usage)."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() for word in words):
        raise Trouble(f"--sizes must be whole numbers with commas between, such as {SIZES}", USAGE)
    return [int(word) for word in words]


# showing


class _Shower:
    """Shows a line as it comes, in a pipe or as JSON; a terminal gets a table at the end."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._as_json = args.json
        self._as_text = not args.json and not is_drawn()
        if self._as_text:
            print(f"Provider: {plain(args.name)}\n\n{'  '.join(COLUMNS)}", flush=True)

    def __call__(self, line: dict[str, Any]) -> None:
        if self._as_json:
            print(json.dumps(line, ensure_ascii=False), flush=True)
        elif self._as_text and "error" not in line:
            cells = zip(_row(line), COLUMNS, strict=True)
            texts = [cell_text(cell).rjust(len(name)) for cell, name in cells]
            print("  ".join(texts), flush=True)


@contextlib.contextmanager
def _bar(count: int, args: argparse.Namespace) -> Iterator[Any]:
    """A bar on stderr, where one can be drawn and nothing else is written meanwhile."""
    if not is_drawn(sys.stderr) or (args.json and sys.stdout.isatty()):
        yield lambda line: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console(sys.stderr), transient=True) as progress:
        task = progress.add_task(plain(args.name), total=count)
        yield lambda line: progress.advance(task)


def _row(line: dict[str, Any]) -> list[Cell]:
    return [line.get(name) for name in COLUMNS]


# what was found


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a probe showed: in words, the cap on texts (None: none met), and whether it failed."""

    message: str
    cap: int | None = None
    failed: bool = False


def outcome_of(lines: list[dict[str, Any]]) -> Outcome:
    """What the lines of a probe come to."""
    good = max([line["batch_size"] for line in lines if "error" not in line], default=None)
    refused = next((line for line in lines if "error" in line), None)
    if refused is None:
        return Outcome(f"no cap was met up to {good} texts a call")
    size, cap, error = refused["batch_size"], refused.get("cap"), refused["error"]
    if "cap_of" not in refused:
        return Outcome(f"the call of {size} texts failed: {error}", failed=True)
    if refused["cap_of"] != TEXTS:
        amount = "" if cap is None else f" of {cap}"
        return Outcome(
            f"the call of {size} texts met a cap{amount} on {refused['cap_of']}, none on texts:"
            f" {error}"
        )
    if cap is not None:
        return Outcome(f"at most {cap} texts a call: {error}", cap)
    if good is None:
        return Outcome(f"even {size} texts are too many: {error}", failed=True)
    return Outcome(f"{good} texts a call are taken, {size} are too many: {error}", good)


def _write(args: argparse.Namespace, manager: Manager, found: Outcome) -> int:
    """Keep the cap that was found."""
    if found.cap is None:
        say("emr: nothing is written: no cap on texts was met")
        return FAILED if found.failed else 0
    manager.change_provider(args.name, {"max_texts_per_request": found.cap})
    say(f"max_texts_per_request of {plain(args.name)} is {found.cap} now")
    return 0
