"""What commands print: data on stdout, talk on stderr; tables for people, JSON for programs.

A table is drawn by rich on a terminal, and is aligned text in a pipe. TERM=dumb is a terminal that
cannot draw; FORCE_COLOR draws in a pipe too; NO_COLOR draws without colours. What is shown may come
from outside (a name, a provider's words): it never moves the cursor of a terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console

Cell = str | int | float | bool | None
NOTHING = "-"  # a cell without a value, so that columns stay columns for awk


def is_drawn(stream: TextIO | None = None) -> bool:
    """Whether tables and bars are drawn on `stream` (stdout by default)."""
    if os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream or sys.stdout).isatty()


def plain(text: str) -> str:
    """`text` on one line, what cannot be printed written as an escape."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def say(text: str) -> None:
    """A line of talk, on stderr. What comes from outside is made `plain` before."""
    print(text, file=sys.stderr)


def say_fields(title: str, fields: Iterable[tuple[str, Cell]]) -> None:
    """A title and a line a field, on stderr."""
    told = list(fields)
    width = max(len(name) for name, _ in told) + 1
    say(title)
    for name, value in told:
        say(f"  {name + ':':<{width}} {cell_text(value)}")


def print_json(value: Any) -> None:
    """A JSON value for programs, readable by people."""
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """A table on stdout: a row of names, then the rows. Columns of numbers are set to the right."""
    rights = [_is_of_numbers([row[place] for row in rows]) for place in range(len(columns))]
    texts = [[cell_text(cell) for cell in row] for row in rows]
    if is_drawn():
        _draw(columns, texts, rights)
        return
    widths = [
        max(len(name), *(len(row[place]) for row in texts)) if texts else len(name)
        for place, name in enumerate(columns)
    ]
    for row in (list(columns), *texts):
        cells = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, rights, strict=True)
        ]
        print("  ".join(cells).rstrip())


def cell_text(cell: Cell) -> str:
    """A value as a table shows it."""
    if cell is None or cell == "":
        return NOTHING
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:.10g}"
    return plain(str(cell))


def console(stream: TextIO | None = None) -> Console:
    """rich's console on `stream`; it obeys NO_COLOR and FORCE_COLOR itself."""
    from rich.console import Console

    return Console(file=stream or sys.stdout, highlight=False)


def _is_of_numbers(cells: Sequence[Cell]) -> bool:
    numbers = [cell for cell in cells if isinstance(cell, int | float)]
    return bool(numbers) and not any(isinstance(cell, bool | str) for cell in cells)


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]], rights: Sequence[bool]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for place, (name, right) in enumerate(zip(columns, rights, strict=True)):
        # the first is what one copies: it is never broken
        justify: Literal["left", "right"] = "right" if right else "left"
        table.add_column(Text(name), justify=justify, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*map(Text, row))
    console().print(table)
