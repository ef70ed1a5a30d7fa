"""The store: one SQLite file, one thread that writes it, and answers that come after the commit.

Theory of operation. Whoever wants something of the database hands a function to the one writer
thread; it runs in a transaction of its own, and the Future that came back is done when the commit
is on disk (WAL with synchronous=FULL: a kill or a power cut loses nothing that was answered).
`then` is called with the result between the commit and the Future, on the writer thread: what is
kept in memory is changed there, so that whoever waits for the Future finds it changed. The event
loop waits with `asyncio.wrap_future`, the CLI with `run`.

Readers of the hot path never come here; they see tables in memory. So a full disk, a read-only
file or a lock held by another program refuses the write, with what to do, and serving goes on.
`trouble` says what the last write met, until one succeeds.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from emr.control.migrations import WrongDatabase, migrate, version_of
from emr.control.private import make_folder, open_private, sync_folder

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_TIMEOUT_S = 2.0  # a shell that reads or writes is done by then; an admin does not wait longer
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_READONLY: "it is read-only: make the file and its folder writable",
    sqlite3.SQLITE_BUSY: "another program holds a lock on it: end that program, and try again",
    sqlite3.SQLITE_LOCKED: "another program holds a lock on it: end that program, and try again",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write: see the system's log",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: see that its folder exists and is writable",
    sqlite3.SQLITE_PERM: "it cannot be opened: see the file's owner and mode",
    sqlite3.SQLITE_CORRUPT: "it is damaged: restore a backup",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database: give another database.path",
}
_UNWRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


class StorageError(Exception):
    """The database refused; the message says which file, why, and what to do."""


class Store:
    """An open database. `news` is what happened to it when it was opened, for the log.

    `path` is None for a database in memory, which is gone with the process.
    """

    def __init__(self, path: Path | None, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Open, and make or bring up to date. Raises StorageError."""
        self.path = path
        self.trouble = ""
        self.news: tuple[str, ...] = ()
        self._busy_timeout_s = busy_timeout_s
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="emr-store")
        self._connection: sqlite3.Connection  # of the writer thread alone
        try:
            self._writer.submit(self._open).result()
        except StorageError:
            self._writer.shutdown()
            raise

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return ":memory:" if self.path is None else str(self.path)

    def submit(self, work: Work[T], then: Callable[[T], None] | None = None) -> Future[T]:
        """Run `work` in a transaction on the writer thread; nothing of it stays if it raises.

        The Future has its result after the commit, or what `work` raised, or StorageError.
        """
        try:
            return self._writer.submit(self._transact, work, then)
        except RuntimeError:
            refused: Future[T] = Future()
            refused.set_exception(StorageError(f"the database {self.name} is closed"))
            return refused

    def run(self, work: Work[T], then: Callable[[T], None] | None = None) -> T:
        """`submit`, and wait. Raises what `work` raises, and StorageError."""
        return self.submit(work, then).result()

    def read(self, work: Work[T]) -> Future[T]:
        """Run `work`, which only reads, on the writer thread."""
        try:
            return self._writer.submit(self._look, work)
        except RuntimeError:
            refused: Future[T] = Future()
            refused.set_exception(StorageError(f"the database {self.name} is closed"))
            return refused

    def close(self) -> None:
        """Finish what was handed in, and close; a second time does nothing."""
        try:
            self._writer.submit(self._close)
        except RuntimeError:
            return
        self._writer.shutdown()

    # on the writer thread

    def _transact(self, work: Work[T], then: Callable[[T], None] | None) -> T:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            refused = self._refused(error)
            self.trouble = str(refused)
            raise refused from error
        self.trouble = ""
        if then is not None:
            then(result)
        return result

    def _look(self, work: Work[T]) -> T:
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def _refused(self, error: sqlite3.Error) -> StorageError:
        advice = _ADVICE.get(primary_code(error), f"it refused: {error}")
        return StorageError(f"database {self.name}: {advice}")

    def _open(self) -> None:
        if self.path is None:
            self._connection = sqlite3.connect(":memory:", isolation_level=None)
            migrate(self._connection, None)
            return
        try:
            self._make_file(self.path)
            self._connection, self.news = self._open_to_write(self.path)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
                raise self._cannot_make(error) from error
            self._open_read_only(self.path)
        except WrongDatabase as error:
            raise StorageError(f"database {self.path}: {error}") from error
        except sqlite3.Error as error:
            if primary_code(error) not in _UNWRITABLE:
                raise self._refused(error) from error
            self._open_read_only(self.path)

    def _open_to_write(self, path: Path) -> tuple[sqlite3.Connection, tuple[str, ...]]:
        connection = self._connect(path, "mode=rw")
        try:
            news = migrate(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
        except (sqlite3.Error, OSError, WrongDatabase):
            connection.close()
            raise
        return connection, news

    def _make_file(self, path: Path) -> None:
        """The file, 0600 whatever the umask; SQLite gives its WAL and SHM the same mode."""
        make_folder(path.parent)
        is_new = not path.exists()
        os.close(open_private(path, os.O_RDWR))
        if is_new:
            sync_folder(path.parent)

    def _connect(self, path: Path, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{uri_path(path)}?{mode}",
            uri=True,
            timeout=self._busy_timeout_s,
            isolation_level=None,
        )
        try:
            for pragma in ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _open_read_only(self, path: Path) -> None:
        """Serve from a database that cannot be written: every write is refused from here on.

        Without a writable folder SQLite can only read a WAL that is empty, as a clean stop
        leaves it (`immutable`). One that is not may hold a revocation: then we do not start.
        """
        wal = f"{path}-wal"
        is_empty = not os.path.exists(wal) or os.path.getsize(wal) == 0
        mode = "mode=ro&immutable=1" if is_empty else "mode=ro"
        try:
            connection = self._connect(path, mode)
            try:
                version = version_of(connection)
            except (sqlite3.Error, WrongDatabase):
                connection.close()
                raise
        except sqlite3.Error as error:
            raise self._refused(error) from error
        except WrongDatabase as error:
            raise StorageError(f"database {path}: {error}") from error
        self._connection = connection
        advice = _ADVICE[sqlite3.SQLITE_READONLY]
        self.trouble = f"database {path}: {advice}"
        self.news = (f"{self.trouble}; serving goes on with what it holds (schema {version})",)

    def _cannot_make(self, error: OSError) -> StorageError:
        advice = {
            errno.ELOOP: "it is a symbolic link: give the real path in database.path",
            errno.EMLINK: "it has a second name, or is no file: give another database.path",
            errno.ENOSPC: _ADVICE[sqlite3.SQLITE_FULL],
        }.get(error.errno or 0, f"it cannot be opened: {error.strerror}")
        return StorageError(f"database {self.name}: {advice}")

    def _close(self) -> None:
        try:
            self._connection.close()
        except sqlite3.Error as error:
            self.trouble = str(self._refused(error))


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code, without the extension that tells the place in its source."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def uri_path(path: Path) -> str:
    """A path inside of SQLite's file: URI."""
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
