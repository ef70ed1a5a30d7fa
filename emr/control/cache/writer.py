"""Writing the file of the cache on disk, and keeping it to its room: the oldest go first.

Rules of this file
- A file that is damaged, of another program, or of a later emr is left as it is, and not used.
- Nobody waits for the disk: a commit is in the file after a crash of emr (WAL), but may be lost
  with the machine's power (`synchronous = NORMAL`). A cache may lose what it has; it must not lie.

Theory of operation. The number of a row tells its age: numbers only grow. When room is needed the
rows of the lowest numbers go; one that was read since it was written gets a new number instead,
once (a second chance, CLOCK's). Numbers in a row mean that writing appends to the file, and that
what is freed is freed together.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from emr.control.cache.rows import (
    DiskError,
    Numbered,
    Row,
    connect,
    digest_of,
    prepare,
    refusals,
)
from emr.control.private import make_folder, open_private

EVICTED_AT_ONCE = 256  # rows, 1 MiB of 1,024 float32; and not more than
EVICTED_PART = 16  # of all rows
PART_OF_ALL = 4  # what is written at once takes a quarter of the room at the most
VACUUMED_AT_ONCE = 256  # pages


class DiskWriter:
    """The connection that writes, of one thread.

    `entries` are the rows of the file, `bytes` its size; `evictions` counts rows that went for want
    of room.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open the file, make it if there is none, and shrink it to its room. Raises DiskError."""
        self.max_bytes = max_bytes
        self.entries = 0
        self.bytes = 0
        self.evictions = 0
        self._last = 0  # the highest number that a row ever had
        with refusals():
            make_folder(path.parent)
            os.close(open_private(path, os.O_RDWR))
            self._connection = connect(path)
            try:
                prepare(self._connection)
                (self.entries,) = self._connection.execute(
                    "SELECT count(*) FROM vectors"
                ).fetchone()
                self._keep_to_room()
            except (sqlite3.Error, DiskError):
                self._connection.close()
                raise

    def digests(self) -> Iterator[Numbered]:
        """The number and the digest of every row. Raises DiskError."""
        with refusals():
            yield from self._connection.execute(
                "SELECT id, digest FROM vectors INDEXED BY sqlite_autoindex_vectors_1"
            )

    def oldest(self) -> int:
        """No row has a number under this one. Raises DiskError."""
        with refusals():
            (oldest,) = self._connection.execute("SELECT min(id) FROM vectors").fetchone()
        return self._last + 1 if oldest is None else int(oldest)

    def write(self, rows: Sequence[Row]) -> list[Numbered]:
        """Write vectors, each in place of an older one; the numbers and digests that are new.

        One that takes more than a quarter of the room is left out. Raises DiskError; then the rest
        is not written.
        """
        most = self.max_bytes // PART_OF_ALL
        rows = [row for row in rows if row.size <= most]
        numbered: list[Numbered] = []
        with refusals():
            while rows:
                count, size = 0, 0
                while count < len(rows) and size + rows[count].size <= most:
                    size += rows[count].size
                    count += 1
                with self._transaction():
                    numbered += self._make_room(size)
                    numbered += self._write(rows[:count])
                rows = rows[count:]
            numbered += self._keep_to_room()
        return numbered

    def _write(self, rows: Sequence[Row]) -> list[Numbered]:
        execute, many = self._connection.execute, self._connection.executemany
        # the last of equal texts is the one that stays
        by_digest = {digest_of(row.section, row.text): row for row in rows}
        gone = many("DELETE FROM vectors WHERE digest = ?", [(each,) for each in by_digest])
        numbered = list(enumerate(by_digest, self._next_number()))
        self._last = numbered[-1][0]
        sections: dict[bytes, int] = {}
        for section, row in {row.section: row for row in by_digest.values()}.items():
            execute(
                "INSERT INTO sections (key, size, model, newest) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET size = excluded.size, model = excluded.model,"
                " newest = excluded.newest",
                (section, len(row.raw), row.model, self._last),
            )
            (sections[section],) = execute(
                "SELECT id FROM sections WHERE key = ?", (section,)
            ).fetchone()
        many(
            "INSERT INTO vectors VALUES (?, ?, ?, 0, ?, ?, ?)",
            [
                (number, digest, sections[row.section], row.seal, row.text, row.raw)
                for (number, digest), row in zip(numbered, by_digest.values(), strict=True)
            ],
        )  # fmt: skip
        self.entries += len(numbered) - gone.rowcount
        return numbered

    def _next_number(self) -> int:
        (highest,) = self._connection.execute("SELECT max(id) FROM vectors").fetchone()
        return max(self._last, highest or 0) + 1

    def were_read(self, rows: Sequence[int]) -> None:
        """These rows were read: each gets its second chance. Raises DiskError."""
        self._each("UPDATE vectors SET was_read = 1 WHERE id = ?", rows)

    def remove(self, rows: Sequence[int]) -> None:
        """Take rows out. Raises DiskError."""
        self.entries -= self._each("DELETE FROM vectors WHERE id = ?", rows)

    def _each(self, statement: str, rows: Sequence[int]) -> int:
        with refusals(), self._transaction():
            return self._connection.executemany(statement, [(row,) for row in rows]).rowcount

    def clear(self) -> None:
        """Take everything out. Raises DiskError."""
        with refusals():
            self._last = self._next_number() - 1
            with self._transaction():
                self._connection.execute("DELETE FROM vectors")
                self._connection.execute("DELETE FROM sections")
            self.entries = 0
            self._shrink(0)

    def close(self) -> None:
        """Close the connection; the last one to close folds the WAL into the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it happens, or nothing; what is counted of the file, too."""
        counted = self.entries, self.evictions, self._last
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self.entries, self.evictions, self._last = counted
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    # room

    def _used(self) -> int:
        """The bytes of the pages in which something is."""
        pages = _pragma(self._connection, "page_count") - _pragma(
            self._connection, "freelist_count"
        )
        return pages * _pragma(self._connection, "page_size")

    def _make_room(self, size: int) -> list[Numbered]:
        """Let the oldest rows go until `size` bytes more have room; what got a new number."""
        execute = self._connection.execute
        renumbered: list[Numbered] = []
        while self._used() + size > self.max_bytes:
            most = min(EVICTED_AT_ONCE, self.entries // EVICTED_PART + 1)
            oldest = execute(
                "SELECT id, digest, section, was_read FROM vectors ORDER BY id LIMIT ?", (most,)
            ).fetchall()
            if not oldest:
                break
            number = self._next_number()
            for row, digest, section, was_read in oldest:
                if was_read:
                    execute("UPDATE vectors SET id = ?, was_read = 0 WHERE id = ?", (number, row))
                    execute("UPDATE sections SET newest = ? WHERE id = ?", (number, section))
                    renumbered.append((number, digest))
                    self._last = number
                    number += 1
            gone = execute("DELETE FROM vectors WHERE id <= ?", (oldest[-1][0],)).rowcount
            self.entries -= gone
            self.evictions += gone
        execute("DELETE FROM sections WHERE newest < (SELECT min(id) FROM vectors)")
        return renumbered

    def _keep_to_room(self) -> list[Numbered]:
        """Bring the file down to its room, whatever made it larger; what got a new number."""
        with self._transaction():
            renumbered = self._make_room(0)
        self._shrink(self.max_bytes)
        return renumbered

    def _shrink(self, most: int) -> None:
        """Give pages in which nothing is back to the disk until the file is that small."""
        size = _pragma(self._connection, "page_size")
        while (
            _pragma(self._connection, "freelist_count")
            and _pragma(self._connection, "page_count") * size > most
        ):
            self._connection.execute(f"PRAGMA incremental_vacuum({VACUUMED_AT_ONCE})").fetchall()
        self.bytes = _pragma(self._connection, "page_count") * size


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
