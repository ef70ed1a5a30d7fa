"""Runs the cells of a provider, and writes the page of all of them."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from tests.table.bench import Bench, benches
from tests.table.errors import LIMITS, REFUSALS, SIZES
from tests.table.features import FEATURES
from tests.table.subjects import SUBJECTS, Subject

Cell = Callable[[Bench], Awaitable[str]]
NAME = "provider-table.md"

TABLES: Mapping[str, Mapping[str, Cell]] = {
    "Vectors": FEATURES,
    "Refusals": REFUSALS,
    "Limits and outages": LIMITS,
    "Sizes": SIZES,
}
# the built-in model has no key, no network and no limits: it is asked for its vectors only
WITHOUT_ERRORS = ("local",)
ABOUT = {
    "Vectors": """What a caller may ask of each type of provider, and the words in which emr asks for
it. A `400` is emr's own, before anything is sent, and names what there is.""",
    "Refusals": """What a caller is told, and what the provider's gate says afterwards
(docs/operations.md). *final*: the answer carries `x-should-retry: false`.""",
    "Limits and outages": """The caller of these cells waits for 0.4 s and no longer: with more time
most of them end in vectors. Every 429 and 503 carries `Retry-After`.""",
    "Sizes": """The provider's caps are below those that emr knows of. *learned*: the request is
answered all the same, in so many calls; and the next one like it in fewer or as many.""",
}
HEAD = """# What each provider can do, and what becomes of its errors

Made by `scripts/provider-table`, which asks a running emr over its socket, before the strict fake
of each provider (`emr fake`): it refuses what the real one refuses, in its words. Every vector is
held against the fake's, bit by bit; every failure must name the provider, and show no key and no
text.
"""


async def run_cells(folder: Path, subject: Subject) -> dict[tuple[str, str], str]:
    """What each cell of a subject says, by the names of its table and column."""
    cells = {
        (table, column): cell
        for table, columns in TABLES.items()
        for column, cell in columns.items()
        if table == "Vectors" or subject.name not in WITHOUT_ERRORS
    }
    names = {f"{table}/{column}": (table, column) for table, column in cells}
    found: dict[tuple[str, str], str] = {}
    async with benches(folder, subject, names) as made:
        for name, key in names.items():
            try:
                found[key] = await cells[key](made[name])
            except AssertionError as error:
                raise AssertionError(f"{subject.name}, {key[1]}: {error}") from error
    return found


def row(subject: Subject, table: str, found: Mapping[tuple[str, str], str]) -> str:
    """A line of a table."""
    cells = [found.get((table, column), "–") for column in TABLES[table]]
    return f"| {subject.name} | {' | '.join(cells)} |"


def page(found: Mapping[str, Mapping[tuple[str, str], str]]) -> str:
    """The whole page, from what was found of each subject."""
    parts = [HEAD]
    for table, columns in TABLES.items():
        lines = [f"## {table}", ABOUT[table], ""]
        lines.append(f"| type | {' | '.join(columns)} |")
        lines.append("|" + "---|" * (len(columns) + 1))
        lines += [
            row(subject, table, found[subject.name])
            for subject in SUBJECTS
            if table == "Vectors" or subject.name not in WITHOUT_ERRORS
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def make() -> str:
    """Run everything; a minute."""
    found = {}
    for subject in SUBJECTS:
        with tempfile.TemporaryDirectory() as folder:
            found[subject.name] = asyncio.run(run_cells(Path(folder), subject))
        print(f"{subject.name}: {len(found[subject.name])} cells", file=sys.stderr)
    return page(found)


if __name__ == "__main__":
    print(make(), end="")
