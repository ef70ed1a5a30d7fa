"""Runs every cell, and writes down what they say: for the tests, and for docs/providers.md."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from tests.table.bench import Bench, benches
from tests.table.errors import LIMITS, REFUSALS, SIZES
from tests.table.features import FEATURES
from tests.table.replies import REPLIES
from tests.table.subjects import SUBJECTS, Subject

Cell = Callable[[Bench], Awaitable[str]]
Found = dict[str, dict[str, str]]  # what the cells of a subject say, by their table and column

FILE = Path(__file__).parent / "found.json"
TABLES: Mapping[str, Mapping[str, Cell]] = {
    "vectors": FEATURES,
    "refusals": REFUSALS,
    "limits": LIMITS,
    "sizes": SIZES,
    "replies": REPLIES,
}
# the built-in model has no key, no network and no limits: it is asked for its vectors only
WITHOUT_ERRORS = ("local",)


def tables_of(subject: Subject) -> Mapping[str, Mapping[str, Cell]]:
    """The tables in which a subject has a row."""
    if subject.name in WITHOUT_ERRORS:
        return {"vectors": FEATURES}
    return TABLES


async def run_cells(folder: Path, subject: Subject) -> Found:
    """Try everything on a subject. Raises ExceptionGroup with all that is wrong."""
    tables = tables_of(subject)
    names = [(table, column) for table, columns in tables.items() for column in columns]
    found: Found = {table: {} for table in tables}
    wrong: list[AssertionError] = []
    async with benches(folder, subject, names) as made:
        for name in names:
            table, column = name
            try:
                found[table][column] = await tables[table][column](made[name])
            except AssertionError as error:
                error.add_note(f"in the cell {column!r} of {subject.name}")
                wrong.append(error)
    if wrong:
        raise ExceptionGroup(f"cells of {subject.name}", wrong)
    return found


def read_found() -> dict[str, Found]:
    """What the cells said when they were last written down, by the names of the subjects."""
    found: dict[str, Found] = json.loads(FILE.read_text())
    return found


def main() -> None:
    """Run everything, in half a minute, and write it down."""
    found = {}
    for subject in SUBJECTS:
        with tempfile.TemporaryDirectory() as folder:
            found[subject.name] = asyncio.run(run_cells(Path(folder), subject))
        cells = sum(map(len, found[subject.name].values()))
        print(f"{subject.name}: {cells} cells", file=sys.stderr)
    FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
