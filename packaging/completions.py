"""Makes the completion files of emr anew, from its own parser: run by scripts/completions."""

from __future__ import annotations

import argparse
from pathlib import Path

import shtab

from emr.cli.command import parser
from emr.cli.completion import SHELLS

FOLDER = Path(__file__).parent.parent / "emr" / "cli" / "completions"


def made(shell: str) -> str:
    """The completion for a shell as the parser of today has it."""
    top = parser()
    prepare(top)
    return shtab.complete(top, shell).rstrip() + "\n"


def prepare(top: argparse.ArgumentParser) -> None:
    """Let a FILE be completed as one, and a command be told by its one line of help."""
    for action in top._actions:
        if action.metavar == "FILE":
            action.complete = shtab.FILE
        if isinstance(action, argparse._SubParsersAction):
            for told in action._choices_actions:
                each = action.choices[told.dest]
                each.description = told.help
                prepare(each)


def main() -> None:
    """Write every file."""
    FOLDER.mkdir(exist_ok=True)
    for shell in SHELLS:
        (FOLDER / f"emr.{shell}").write_text(made(shell), encoding="utf-8")


if __name__ == "__main__":
    main()
