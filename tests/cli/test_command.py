"""The parser and the dispatch: version, help, wrong use, what ends a command, what is imported."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from emr import __version__
from emr.cli import config
from emr.cli.command import COMMANDS
from emr.cli.trouble import Trouble
from tests.cli.parts import PATIENCE_S, ROOT, Commands, Home, environment


def test_version(emr: Commands) -> None:
    told = emr("--version")
    assert (told.code, told.out, told.err) == (0, f"emr {__version__}\n", "")


def test_help_names_every_command_in_its_order(emr: Commands) -> None:
    told = emr("--help")
    assert told.code == 0
    assert re.findall(r"^    (\w+) +\S", told.out, re.M) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_help(emr: Commands, name: str) -> None:
    told = emr(name, "--help")
    assert told.code == 0
    assert told.out.startswith(f"usage: emr {name} ")


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["--nonsense"], ["--vers"], ["status", "--js"]])
def test_wrong_use(emr: Commands, argv: list[str]) -> None:
    told = emr(*argv)
    assert (told.code, told.out) == (2, "")
    assert "usage: emr" in told.err


def test_each_module_of_a_command_is_one_and_the_reverse() -> None:
    """A module in emr/cli with `add` is in the list."""
    folder = ROOT / "emr" / "cli"
    found = {path.stem for path in folder.glob("*.py") if "\ndef add(" in path.read_text()}
    assert set(COMMANDS) <= found


@pytest.mark.parametrize(
    ("ends", "code", "said"),
    [
        (Trouble("no"), 1, "emr: no\n"), (Trouble("no", 2), 2, "emr: no\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)  # fmt: skip
def test_what_ends_a_command(
    emr: Commands, monkeypatch: pytest.MonkeyPatch, ends: BaseException, code: int, said: str
) -> None:
    def run(args: Namespace) -> int:
        raise ends

    monkeypatch.setattr(config, "validate", run)
    told = emr("config", "validate")
    assert (told.code, told.out, told.err) == (code, "", said)


def test_who_reads_the_output_leaves(tmp_path: Path) -> None:
    """A real process, whose output is still held when its reader is gone."""
    reads, writes = os.pipe()
    os.close(reads)
    told = subprocess.run(
        [sys.executable, "-m", "emr", "config", "show"], env=environment(tmp_path), cwd=tmp_path,
        stdout=writes, stderr=subprocess.PIPE, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    os.close(writes)
    assert (told.returncode, told.stderr) == (141, b"")


@pytest.mark.parametrize("argv", [["config", "show"], ["keys", "create", "--name", "a"]])
def test_an_output_that_is_full(
    home: Home, emr: Commands, monkeypatch: pytest.MonkeyPatch, argv: list[str]
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        told = emr(*argv)
        assert told.code == 1
        assert told.err.endswith("emr: the output cannot be written: No space left on device\n")


def test_an_output_that_cannot_write_a_letter(
    home: Home, emr: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    emr("keys", "create", "--name", "für")
    with io.TextIOWrapper(io.BytesIO(), "ascii") as narrow:
        monkeypatch.setattr(sys, "stdout", narrow)
        assert emr("keys", "list").code == 0
        assert b"  f\\xfcr  " in narrow.buffer.getvalue()


IMPORTED = """
import sys
before = set(sys.modules)
from emr.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit:
    pass
print(*sorted(set(sys.modules) - before), file=sys.stderr)
"""
HEAVY = {"asyncio", "httpx", "rich", "uvloop", "argon2", "orjson", "tomli", "prometheus_client",
         "numpy", "ssl", "sqlite3", "emr.app", "emr.control"}  # fmt: skip


@pytest.mark.parametrize("argv", [["--version"], ["health", "--live"], ["completion", "bash"]])
def test_what_must_be_quick_imports_little(tmp_path: Path, argv: list[str]) -> None:
    """Without its own default address nobody is asked: `--server` names a port where nobody is."""
    where = ["--server", "unix:/nowhere/emr.sock"] if argv[0] == "health" else []
    told = subprocess.run(
        [sys.executable, "-c", IMPORTED, *argv, *where], env=environment(tmp_path), cwd=tmp_path,
        capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    imported = set(told.stderr.split())
    assert "emr.cli.command" in imported
    assert imported & HEAVY == set()
