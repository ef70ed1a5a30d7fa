"""`emr completion`: prints what completes emr's commands and flags in a shell.

    bash   eval "$(emr completion bash)"                            in ~/.bashrc
    zsh    emr completion zsh > "${fpath[1]}/_emr"                  and a new shell
    fish   emr completion fish > ~/.config/fish/completions/emr.fish

The files are made by scripts/completions whenever a command or a flag changes.
"""

from __future__ import annotations

import argparse
import sys

SHELLS = ("bash", "zsh", "fish")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "completion", help="completion for a shell", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the file."""
    sys.stdout.write(script(args.shell))
    return 0


def script(shell: str) -> str:
    """The completion for a shell, as it is shipped."""
    from importlib.resources import files

    return files("emr.cli").joinpath("completions", f"emr.{shell}").read_text(encoding="utf-8")
