"""The file of the cache on disk: SQLite, vectors as the bytes of their numbers, the oldest go first.

Rules of this file
- What is read is the vector of the text that was asked for, or nothing. A row is found by a hash,
  but its text must be the very same; its seal is a hash of whose it is, text and vector together,
  so that a damaged row, or one in the wrong place, is nothing; and its vector must be as long as
  those of its section are now, so that nothing of a model that was exchanged comes back.
- A file that is damaged, of another program, or of a later emr is left as it is, and not used.
- Nobody waits for the disk: a commit is in the file after a crash of emr (WAL), but may be lost with
  the machine's power (`synchronous = NORMAL`). A cache may lose what it has; it must not lie.

Theory of operation. A *section* is what the cache in memory calls so: space, parameters, caller. A
row has a section, a text and a vector, and its number tells its age: numbers only grow. When room
is needed the rows of the lowest numbers go; one that was read since it was written gets a new
number instead, once (a second chance, CLOCK's). Numbers in a row mean that writing appends to the
file, and that what is freed is freed together.

Used by one thread that writes and one that reads, each with a connection of its own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import orjson

from emr.control.private import make_folder, open_private
from emr.control.store import primary_code, uri_path
from emr.lane.cache import Key

APPLICATION_ID = 0x656D7263  # "emrc"
VERSION = 1
BUSY_TIMEOUT_S = 2.0  # another emr at the same file is done by then
ROW_BYTES = 200  # of a row beside text and vector: numbers, seal, indexes, what a page leaves empty
EVICTED_AT_ONCE = 256  # rows, 1 MiB of 1,024 float32; and not more than
EVICTED_PART = 16  # of all rows
PART_OF_ALL = 4  # what is written at once takes a quarter of the room at the most
VACUUMED_AT_ONCE = 256  # pages
WAL = 4 << 20  # bytes that the WAL beside the file keeps; SQLite writes it back at 1,000 pages

_TABLES = (
    """CREATE TABLE sections (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key BLOB NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        model TEXT NOT NULL,
        newest INTEGER NOT NULL
    )""",
    """CREATE TABLE vectors (
        id INTEGER PRIMARY KEY,
        digest INTEGER NOT NULL UNIQUE,
        section INTEGER NOT NULL,
        was_read INTEGER NOT NULL,
        seal BLOB NOT NULL,
        text BLOB NOT NULL,
        vector BLOB NOT NULL
    )""",
)
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full, or max_disk_bytes reached",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_BUSY: "another program holds a lock on it",
    sqlite3.SQLITE_LOCKED: "another program holds a lock on it",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: see that its folder exists and is writable",
    sqlite3.SQLITE_PERM: "it cannot be opened: see its owner and mode",
    sqlite3.SQLITE_CORRUPT: "it is damaged: delete it, and a new one is made",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database: give another cache.path, or delete it",
}
# of these the next try may be better; anything else will not mend itself
_PASSING = (
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR,
)  # fmt: skip


class DiskError(Exception):
    """The file refused; the message says why. `passes`: a later try may succeed."""

    def __init__(self, message: str, *, passes: bool = False) -> None:
        super().__init__(message)
        self.passes = passes


Numbered = tuple[int, int]  # the number of a row, and its digest


class Row(NamedTuple):
    """A vector to write: its section, the model that gave it, its text, the bytes of its numbers."""

    section: bytes
    model: str
    text: bytes
    raw: bytes

    @property
    def size(self) -> int:
        """What it takes of the file."""
        return len(self.text) + len(self.raw) + ROW_BYTES


class Read(NamedTuple):
    """What was read of a question's texts.

    `vectors` are the bytes of numbers by the place of the text in the question, all of one size,
    given by `model`. `rows` are the numbers of their rows, `damaged` of rows that were not
    believed.
    """

    model: str
    vectors: dict[int, bytes]
    rows: list[int]
    damaged: list[int]


def section_bytes(key: Key) -> bytes:
    """A section's key as it stands in the file: names beside values, so that none is mistaken."""
    space, params, caller = key
    told = {name: value for name, value in params._asdict().items() if value is not None}
    return orjson.dumps([space, caller, told])


def digest_of(section: bytes, text: bytes) -> int:
    """By what a row is found: 64 bits, signed, as SQLite's integers are."""
    return int.from_bytes(_hash(8, section, text), "little", signed=True)


def _hash(size: int, *parts: bytes) -> bytes:
    """A hash of the parts and of where each ends."""
    state = blake2b(digest_size=size)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()


def seal_of(section: bytes, text: bytes, raw: bytes) -> bytes:
    """What a row must have for its vector to be believed."""
    return _hash(16, section, text, raw)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = primary_code(error)
        advice = _ADVICE.get(code, f"it refused: {error}")
        raise DiskError(advice, passes=code in _PASSING) from error
    except OSError as error:
        raise DiskError(f"it cannot be opened: {error.strerror}") from error


class DiskReader:
    """A connection that only reads."""

    def __init__(self, path: Path) -> None:
        """Raises DiskError."""
        with _refusals():
            self._connection = _connect(path)
            self._connection.execute("PRAGMA query_only = ON")

    def read(self, section: bytes, wanted: Sequence[tuple[int, bytes]]) -> Read:
        """The vectors of texts of a section, each with its digest. Raises DiskError."""
        found = Read("", {}, [], [])
        with _refusals():
            told = self._connection.execute(
                "SELECT id, size, model FROM sections WHERE key = ?", (section,)
            ).fetchone()
            if told is None:
                return found
            number, size, model = told
            for place, (digest, text) in enumerate(wanted):
                row = self._connection.execute(
                    "SELECT id, seal, text, vector FROM vectors WHERE digest = ? AND section = ?",
                    (digest, number),
                ).fetchone()
                if row is None or row[2] != text or len(row[3]) != size:
                    continue
                if row[1] == seal_of(section, text, row[3]):
                    found.vectors[place] = row[3]
                    found.rows.append(row[0])
                else:
                    found.damaged.append(row[0])
        return found._replace(model=model)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class DiskWriter:
    """The connection that writes. `entries` are the rows that the file has, `bytes` its size."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open the file, make it if there is none, and shrink it to its room. Raises DiskError."""
        self.max_bytes = max_bytes
        self.entries = 0
        self.bytes = 0
        self.evictions = 0
        self._last = 0  # the highest number that a row ever had
        with _refusals():
            make_folder(path.parent)
            os.close(open_private(path, os.O_RDWR))
            self._connection = _connect(path)
            try:
                self._prepare()
                (self.entries,) = self._connection.execute(
                    "SELECT count(*) FROM vectors"
                ).fetchone()
                self._keep_to_room()
            except (sqlite3.Error, DiskError):
                self._connection.close()
                raise

    def _prepare(self) -> None:
        """Make the tables of a new file; refuse one that is not ours."""
        execute = self._connection.execute
        (version,) = execute("PRAGMA user_version").fetchone()
        (application,) = execute("PRAGMA application_id").fetchone()
        has_tables = execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
        if (version or application or has_tables) and application != APPLICATION_ID:
            raise DiskError("it belongs to another program: give another cache.path")
        if version > VERSION:
            raise DiskError("it was written by a later emr: use that one, or delete it")
        if not has_tables:
            execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first page is written
        execute("PRAGMA journal_mode = WAL")
        if not has_tables:
            with self._transaction():
                for table in _TABLES:
                    execute(table)
                execute(f"PRAGMA application_id = {APPLICATION_ID}")
                execute(f"PRAGMA user_version = {VERSION}")

    def digests(self) -> Iterator[Numbered]:
        """The number and the digest of every row. Raises DiskError."""
        with _refusals():
            yield from self._connection.execute(
                "SELECT id, digest FROM vectors INDEXED BY sqlite_autoindex_vectors_1"
            )

    def oldest(self) -> int:
        """No row has a number under this one. Raises DiskError."""
        with _refusals():
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
        with _refusals():
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
        for row in by_digest.values():
            execute(
                "INSERT INTO sections (key, size, model, newest) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET size = excluded.size, model = excluded.model,"
                " newest = excluded.newest",
                (row.section, len(row.raw), row.model, self._last),
            )
            if row.section not in sections:
                (sections[row.section],) = execute(
                    "SELECT id FROM sections WHERE key = ?", (row.section,)
                ).fetchone()
        many(
            "INSERT INTO vectors VALUES (?, ?, ?, 0, ?, ?, ?)",
            [
                (number, digest, sections[row.section], seal_of(row.section, row.text, row.raw),
                 row.text, row.raw)
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
        with _refusals(), self._transaction():
            return self._connection.executemany(statement, [(row,) for row in rows]).rowcount

    def clear(self) -> None:
        """Take everything out. Raises DiskError."""
        with _refusals():
            self._last = self._next_number() - 1
            with self._transaction():
                self._connection.execute("DELETE FROM vectors")
                self._connection.execute("DELETE FROM sections")
            self.entries = 0
            self._shrink(0)

    def resize(self, max_bytes: int) -> list[Numbered]:
        """Take so many bytes at the most from now on; what got a new number. Raises DiskError."""
        self.max_bytes = max_bytes
        with _refusals():
            return self._keep_to_room()

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

    def _pragma(self, name: str) -> int:
        (value,) = self._connection.execute(f"PRAGMA {name}").fetchone()
        return int(value)

    def _used(self) -> int:
        """The bytes of the pages in which something is."""
        pages = self._pragma("page_count") - self._pragma("freelist_count")
        return pages * self._pragma("page_size")

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
        size = self._pragma("page_size")
        while self._pragma("freelist_count") and self._pragma("page_count") * size > most:
            self._connection.execute(f"PRAGMA incremental_vacuum({VACUUMED_AT_ONCE})").fetchall()
        self.bytes = self._pragma("page_count") * size


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{uri_path(path)}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
    )
    for pragma in ("synchronous = NORMAL", "trusted_schema = OFF", f"journal_size_limit = {WAL}"):
        connection.execute(f"PRAGMA {pragma}")
    return connection
