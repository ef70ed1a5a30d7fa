"""Reading the cache on disk: the vector of the very text that was asked for, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from emr.control.cache.rows import Row, connect, refusals


class Read(NamedTuple):
    """What was read of a question's texts.

    `vectors` are the bytes of numbers by the place of the text in the question, all of one size,
    given by `model`. `rows` are the numbers of their rows, `bad` of those that were not believed.
    """

    model: str
    vectors: dict[int, bytes]
    rows: list[int]
    bad: list[int]


class DiskReader:
    """A connection that only reads. Used by one thread."""

    def __init__(self, path: Path) -> None:
        """Raises DiskError."""
        with refusals():
            self._connection = connect(path)
            self._connection.execute("PRAGMA query_only = ON")
            # a damaged row may have anything for a blob: what it has is looked at, not decoded
            self._connection.text_factory = bytes

    def read(self, section: bytes, wanted: Sequence[tuple[int, bytes]]) -> Read:
        """The vectors of texts of a section, each with its digest. Raises DiskError."""
        with refusals():
            self._connection.execute("BEGIN")  # all of one moment
            try:
                return self._read(section, wanted)
            finally:
                self._connection.execute("COMMIT")

    def _read(self, section: bytes, wanted: Sequence[tuple[int, bytes]]) -> Read:
        execute = self._connection.execute
        found = Read("", {}, [], [])
        told = execute("SELECT id, size, model FROM sections WHERE key = ?", (section,)).fetchone()
        if told is None:
            return found
        number, size = told[:2]
        model = told[2].decode(errors="replace")
        for place, (digest, text) in enumerate(wanted):
            row = execute(
                "SELECT id, seal, text, vector FROM vectors WHERE digest = ? AND section = ?",
                (digest, number),
            ).fetchone()
            if row is None or row[2] != text:
                continue
            raw = row[3]
            if len(raw) == size and row[1] == Row(section, model, text, raw).seal:
                found.vectors[place] = raw
                found.rows.append(row[0])
            else:
                found.bad.append(row[0])
        return found._replace(model=model)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
