"""The file of the cache on disk, for those who read and write it: its tables, its rows, its words.

SQLite, each vector as the bytes of its numbers. A *section* is what the cache in memory calls so:
space, parameters, caller. A row has a section, a text and a vector; it is found by a hash of the
first two, and believed by its seal. The seal is a hash of all that makes it the right vector: whose
it is, the model that gave it, the text and the vector itself. So a row that is damaged, in the
wrong place, or of a model that was exchanged since, is nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import orjson

from emr.control.store import primary_code, uri_path
from emr.lane.cache import Key

APPLICATION_ID = 0x656D7263  # "emrc"
VERSION = 1
BUSY_TIMEOUT_S = 2.0  # another emr at the same file is done by then
ROW_BYTES = 200  # of a row beside text and vector: numbers, seal, indexes, what a page leaves empty
WAL_BYTES = 4 << 20  # that the WAL beside the file keeps; SQLite writes it back at 1,000 pages
DIGEST_BYTES, SEAL_BYTES = 8, 16

TABLES = (
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
    sqlite3.SQLITE_FULL: "the disk is full",
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

Numbered = tuple[int, int]  # the number of a row, and its digest


class DiskError(Exception):
    """The file refused; the message says why. `passes`: a later try may succeed."""

    def __init__(self, message: str, *, passes: bool = False) -> None:
        super().__init__(message)
        self.passes = passes


class Row(NamedTuple):
    """A vector to write: its section, the model that gave it, its text, its numbers' bytes."""

    section: bytes
    model: str
    text: bytes
    raw: bytes

    @property
    def size(self) -> int:
        """What it takes of the file."""
        return len(self.text) + len(self.raw) + ROW_BYTES

    @property
    def seal(self) -> bytes:
        """What its row must have to be believed."""
        state = blake2b(digest_size=SEAL_BYTES)
        for part in (self.section, self.model.encode(), self.text, self.raw):
            state.update(_framed(part))
        return state.digest()


def section_bytes(key: Key) -> bytes:
    """A section's key as it stands in the file: names beside values, so that none is mistaken."""
    space, params, caller = key
    told = {name: value for name, value in params._asdict().items() if value is not None}
    return orjson.dumps([space, caller, told])


class Digester:
    """Makes the digests of a section's texts, by what rows are found.

    64 bits, signed, as SQLite's integers are.
    """

    __slots__ = ("_state",)

    def __init__(self, section: bytes) -> None:
        self._state = blake2b(_framed(section), digest_size=DIGEST_BYTES)

    def __call__(self, text: bytes) -> int:
        state = self._state.copy()
        state.update(text)
        return int.from_bytes(state.digest(), "little", signed=True)


def digest_of(section: bytes, text: bytes) -> int:
    """The digest of one text."""
    return Digester(section)(text)


def _framed(part: bytes) -> bytes:
    """A part of what is hashed, and where it ends."""
    return len(part).to_bytes(8, "little") + part


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the file, which exists. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"file:{uri_path(path)}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
    )
    limit = f"journal_size_limit = {WAL_BYTES}"
    for pragma in ("synchronous = NORMAL", "trusted_schema = OFF", limit):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing. Raises sqlite3.Error."""
    return sqlite3.connect(f"file:{uri_path(path)}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)


def check_ours(connection: sqlite3.Connection) -> bool:
    """Whether the file has its tables already. Raises DiskError for one that is not ours."""
    execute = connection.execute
    (version,) = execute("PRAGMA user_version").fetchone()
    (application,) = execute("PRAGMA application_id").fetchone()
    has_tables = execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
    if (version or application or has_tables) and application != APPLICATION_ID:
        raise DiskError("it belongs to another program: give another cache.path")
    if version > VERSION:
        raise DiskError("it was written by a later emr: use that one, or delete it")
    return has_tables


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables of a new file. Raises DiskError for one that is not ours, sqlite3.Error."""
    execute, has_tables = connection.execute, check_ours(connection)
    if not has_tables:
        execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first page is written
    execute("PRAGMA journal_mode = WAL")
    if not has_tables:
        script = "".join(f"{table};" for table in TABLES)
        connection.executescript(
            f"BEGIN IMMEDIATE; {script} PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {VERSION}; COMMIT"
        )


@contextmanager
def refusals() -> Iterator[None]:
    """What SQLite and the system refuse inside is a DiskError."""
    try:
        yield
    except sqlite3.Error as error:
        code = primary_code(error)
        advice = _ADVICE.get(code, f"it refused: {error}")
        raise DiskError(advice, passes=code in _PASSING) from error
    except OSError as error:
        raise DiskError(f"it cannot be opened: {error.strerror}") from error
