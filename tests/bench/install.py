"""Makes the virtual environments of the peers that have one."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.bench.peers import ALL, chosen_peers


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("peers", nargs="*", help=f"of {', '.join(ALL)}; all when none is named")


def run(args: argparse.Namespace) -> int:
    """Install what is missing; says what must come from the system."""
    left = 0
    for peer in chosen_peers(args.peers):
        missing = peer.missing(args.venvs)
        if not missing:
            print(f"{peer.name}: is there")
        elif peer.packages:
            make(args.venvs / peer.name, peer.packages)
        else:
            print(missing, file=sys.stderr)
            left = 1
    return left


def make(folder: Path, packages: tuple[str, ...]) -> None:
    """A virtual environment with these packages."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", *packages], check=True)
