"""The tables of the database, in numbered steps: each brings a file of one version to the next.

`user_version` is the number of steps a file has behind it, `application_id` says that it is ours.
A step runs in one transaction, so a file is of one version or of the next and never between. A
file with something in it is copied beside itself first. A file of a later version is refused: an
older program cannot know what it would break.

Version 0 with the tables of the reference router is adopted by step 1 (`adopt`).
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from emr.control.adopt import TABLES, adopt, is_reference
from emr.control.private import open_private, sync_folder
from emr.control.times import time_text

APPLICATION_ID = 0x656D7231  # "emr1"
Step = Callable[[sqlite3.Connection], tuple[str, ...]]


class WrongDatabase(Exception):
    """A file that this program must not touch; the message says why and what to do."""


_TABLES = (
    """CREATE TABLE api_keys (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        key_hash TEXT NOT NULL,
        key_digest TEXT UNIQUE,
        key_prefix TEXT NOT NULL,
        created_at TEXT NOT NULL,
        revoked_at TEXT,
        last_used_at TEXT,
        expires_at TEXT,
        requests_per_minute INTEGER,
        tokens_per_minute INTEGER,
        tokens_per_month INTEGER,
        providers TEXT,
        max_priority TEXT
    )""",
    """CREATE TABLE providers (
        name TEXT PRIMARY KEY,
        provider_type TEXT NOT NULL,
        api_key_env_var TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        model TEXT NOT NULL,
        enabled INTEGER NOT NULL,
        created_at TEXT NOT NULL,
        adopted INTEGER NOT NULL DEFAULT 0,
        options TEXT NOT NULL DEFAULT '{}'
    )""",
)


def first_tables(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Step 1: keys and providers; what a reference router left is taken over."""
    old = TABLES if is_reference(connection) else ()
    for name in old:
        connection.execute(f"ALTER TABLE {name} RENAME TO reference_{name}")
    for table in _TABLES:
        connection.execute(table)
    news = adopt(connection) if old else ()
    for name in old:
        connection.execute(f"DROP TABLE reference_{name}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    return news


_USAGE = """CREATE TABLE usage (
    hour INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    abandoned INTEGER NOT NULL,
    limited INTEGER NOT NULL,
    texts INTEGER NOT NULL,
    cache_hits INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    call_parts INTEGER NOT NULL,
    alone INTEGER NOT NULL,
    tokens_without_price INTEGER NOT NULL,
    cost REAL NOT NULL,
    PRIMARY KEY (hour, key_id, provider, model)
) WITHOUT ROWID"""


def usage_table(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Step 2: usage by the hour, and which key a rotated one stands in the place of."""
    connection.execute(_USAGE)
    connection.execute("ALTER TABLE api_keys ADD COLUMN replaces TEXT")
    return ()


def learned_table(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Step 3: what accounts learned of their providers' limits."""
    connection.execute(
        "CREATE TABLE learned (provider TEXT NOT NULL, scope TEXT NOT NULL,"
        " key_variable TEXT NOT NULL, made_of TEXT NOT NULL, content BLOB NOT NULL,"
        " at REAL NOT NULL, PRIMARY KEY (provider, scope, key_variable)) WITHOUT ROWID"
    )
    return ()


def canaries_table(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Step 4: the vectors by which a change of a provider's model is seen (emr.control.drift)."""
    connection.execute(
        "CREATE TABLE canaries (provider TEXT NOT NULL, asked TEXT NOT NULL,"
        " vector BLOB NOT NULL, kept_at TEXT NOT NULL, PRIMARY KEY (provider, asked)) WITHOUT ROWID"
    )
    return ()


STEPS: tuple[Step, ...] = (first_tables, usage_table, learned_table, canaries_table)


def version_of(connection: sqlite3.Connection, steps: Sequence[Step] = STEPS) -> int:
    """The version of a file that may be used as it is. Raises WrongDatabase, sqlite3.Error."""
    version = _check(connection, len(steps))
    if version < len(steps):
        raise WrongDatabase(
            f"it must be brought from version {version} to {len(steps)}, but cannot be written:"
            " make the file and its folder writable"
        )
    return version


def migrate(
    connection: sqlite3.Connection, path: Path | None, steps: Sequence[Step] = STEPS
) -> tuple[str, ...]:
    """Bring a database to the newest version; returns what was done, for the log.

    `path` is None for a database in memory. Raises WrongDatabase, sqlite3.Error, OSError.
    """
    version = _check(connection, len(steps))
    if version == len(steps):
        return ()
    news: list[str] = []
    if path is not None and _has_tables(connection):
        backup = _back_up(connection, path, version)
        news.append(f"the database is brought from version {version} to {len(steps)}")
        news.append(f"as it was before, it is kept in {backup}")
    for number in range(version, len(steps)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            news += steps[number](connection)
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return tuple(news)


def _check(connection: sqlite3.Connection, newest: int) -> int:
    """The version of a database that is ours, empty, or the reference router's."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if version == 0 and (not _has_tables(connection) or is_reference(connection)):
        return 0
    if application != APPLICATION_ID:
        raise WrongDatabase(
            "it belongs to another program and is left alone: give another database.path"
        )
    if version > newest:
        raise WrongDatabase(
            f"it was written by a later emr (version {version} of its tables, this one knows"
            f" {newest}): use that emr, or restore the backup from before it"
        )
    return int(version)


def _has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    """A copy beside the database, private and on disk before anything is changed."""
    stamp = time_text(path.stat().st_mtime).replace(":", "").replace("-", "")
    backup = _free_name(path, f"v{version}-{stamp}")
    with closing(sqlite3.connect(backup, isolation_level=None)) as copy:
        connection.backup(copy)
    fd = os.open(backup, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_folder(path.parent)
    return backup


def _free_name(path: Path, middle: str) -> Path:
    """A new private file that nobody has planted, `emr.db.v0-20260301T120000Z.bak`."""
    for number in range(1000):
        word = f"{middle}-{number}" if number else middle
        backup = path.with_name(f"{path.name}.{word}.bak")
        try:
            os.close(open_private(backup, os.O_RDWR | os.O_EXCL))
        except FileExistsError:
            continue
        return backup
    raise OSError(errno.EEXIST, "a thousand backups are there already", str(path))
