"""Tables: drawn on a terminal, aligned in a pipe; what comes from outside moves no cursor."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from emr.cli.output import cell_text, is_drawn, plain, print_table, say_fields
from tests.cli.parts import PATIENCE_S, environment


class Terminal:
    """A stream that is a terminal, or is none."""

    def __init__(self, is_terminal: bool) -> None:
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize(
    ("environ", "is_terminal", "drawn"),
    [
        ({}, True, True), ({}, False, False), ({"TERM": "xterm"}, True, True),
        ({"TERM": "dumb"}, True, False), ({"TERM": "unknown"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True), ({"FORCE_COLOR": ""}, False, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, False), ({"NO_COLOR": "1"}, True, True),
        ({"NO_COLOR": "1"}, False, False),
    ],
)  # fmt: skip
def test_when_tables_are_drawn(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], is_terminal: bool, drawn: bool
) -> None:
    for name in ("TERM", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert is_drawn(Terminal(is_terminal)) is drawn


def test_a_table_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(
        ("name", "count", "mixed"),
        [("a", 1, 2), ("longer", 1000, "x"), ("", None, None), ("b\n\x1b[2J", 7, True)],
    )
    assert capsys.readouterr().out == (
        "name        count  mixed\n"
        "a               1  2\n"
        "longer       1000  x\n"
        "-               -  -\n"
        "b\\n\\x1b[2J      7  yes\n"
    )


def test_a_table_without_rows(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [])
    assert capsys.readouterr().out == "a  b\n"


def test_fields_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say_fields("Made:", [("id", "1"), ("name", "x\ry")])
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "Made:\n  id:   1\n  name: x\\ry\n")


@pytest.mark.parametrize(
    ("cell", "text"),
    [(None, "-"), ("", "-"), (True, "yes"), (False, "no"), (0, "0"), (0.0, "0"), (1.50, "1.5"),
     (1234567.25, "1234567.25"), ("x", "x")],
)  # fmt: skip
def test_cells(cell: object, text: str) -> None:
    assert cell_text(cell) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain ü", "plain ü"), ("\x1b]0;x\x07", "\\x1b]0;x\\x07"), ("a\u2028b", "a\\u2028b"),
     ("\udcff", "\\udcff"), ("\x9b1m", "\\x9b1m"), ("\u202e", "\\u202e")],
)  # fmt: skip
def test_plain(text: str, shown: str) -> None:
    assert plain(text) == shown


def on_terminal(folder: Path, env: dict[str, str]) -> str:
    """What SHOW_KEY prints on a real terminal of 60 columns."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SHOW_KEY], cwd=folder,
        env=environment(folder, {"TERM": "xterm", "COLUMNS": "60", **env}),
        stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(slave)
    text = b""
    try:
        while True:
            assert select.select([master], [], [], PATIENCE_S)[0], text
            try:
                part = os.read(master, 65_536)
            except OSError:  # the terminal's last user left
                break
            text += part
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
    finally:
        process.kill()
        os.close(master)
    return text.decode().replace("\r\n", "\n")


SHOW_KEY = (
    "import sys; from emr.cli.output import print_table;"
    "print_table(('id', 'name'), [('0123456789' * 5, 'name ' * 20), ('[bold]x', 'y')])"
)


def test_a_table_on_a_terminal(tmp_path: Path) -> None:
    """What one copies, the first column, is never broken; no name is taken for a style."""
    shown = on_terminal(tmp_path, {})
    assert "\x1b[1m" in shown
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "0123456789" * 5 in text
    assert "[bold]x" in text
    assert "─" in text


@pytest.mark.parametrize(
    ("env", "is_drawn_", "has_colour"),
    [({"NO_COLOR": "1"}, True, False), ({"TERM": "dumb"}, False, False)],
)
def test_a_terminal_that_is_not_to_be_coloured(
    tmp_path: Path, env: dict[str, str], is_drawn_: bool, has_colour: bool
) -> None:
    shown = on_terminal(tmp_path, env)
    assert ("─" in shown) is is_drawn_
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", shown)) is has_colour
