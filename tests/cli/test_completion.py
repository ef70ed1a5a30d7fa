"""The shipped completion files: as the parser of today makes them, and good for their shells."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from emr.cli.command import COMMANDS
from emr.cli.completion import SHELLS, script
from tests.cli.parts import ROOT, Commands
from tests.support.modules import load

FOLDER = ROOT / "emr" / "cli" / "completions"


def maker() -> ModuleType:
    """packaging/completions.py, whose folder is no package."""
    return load("packaging/completions.py")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_files_are_fresh(shell: str) -> None:
    assert script(shell) == maker().made(shell), "run scripts/completions"


def test_there_is_a_file_for_each_shell_and_no_other() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(f"emr.{s}" for s in SHELLS)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_is_in_them(shell: str) -> None:
    assert all(command in script(shell) for command in COMMANDS)
    assert "==SUPPRESS==" not in script(shell)


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shutil.which(shell)])
def test_the_shell_can_read_it(shell: str, tmp_path: Path) -> None:
    path = tmp_path / "emr"
    path.write_text(script(shell))
    told = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")


def test_bash_completes(tmp_path: Path) -> None:
    path = tmp_path / "emr"
    path.write_text(script("bash"))
    for words, found in (
        ("emr pro", "providers"),
        ("emr keys ro", "rotate"),
        ("emr keys create --na", "--name"),
        ("emr completion z", "zsh"),
    ):
        told = subprocess.run(
            ["bash", "-c",
             'source "$1"; COMP_WORDS=($2); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n'
             '"$(complete -p emr | sed "s/.*-F \\([^ ]*\\).*/\\1/")"\necho "${COMPREPLY[@]}"',
             "bash", str(path), words],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert found in told.stdout.split(), (words, told)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_them(emr: Commands, shell: str) -> None:
    told = emr("completion", shell)
    assert (told.code, told.out, told.err) == (0, script(shell), "")


def test_an_unknown_shell(emr: Commands) -> None:
    assert emr("completion", "tcsh").code == 2
