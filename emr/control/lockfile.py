"""The lock beside the database: one process at a time has the store, and others find it.

`<database>.lock` is held by flock, so that the system frees it however its holder ends; what is
written in it counts only while it is held. A server writes the address of its API, so that the
CLI can go there; a CLI that has the store itself writes none, and is soon done: it is waited for.

    {"pid": 4711, "address": "http://127.0.0.1:3200"}

The file stays when it is released: to remove a lock file is to let two holders hold two files.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emr.control.private import make_folder, open_private

CLI_WAIT_S = 5.0  # for another CLI, which hashes a key and writes a row
LOOK_EVERY_S = 0.05
CONTENT_MAX = 4096


class LockError(Exception):
    """The lock cannot be had; the message says why and what to do."""


class LockHeld(LockError):
    """Somebody else holds the lock. `holder` is who, as far as they told."""

    def __init__(self, path: Path, holder: Holder) -> None:
        who = f"process {holder.pid}" if holder.pid else "another process"
        where = f" (its API is at {holder.address})" if holder.address else ""
        super().__init__(
            f"{who} uses the database{where}: {path} is locked; stop it, or give another"
            " database.path"
        )
        self.holder = holder


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock. `address` is None for a CLI, and for a server that still starts."""

    pid: int | None = None
    address: str | None = None


class Lock:
    """The lock, held. Free it with `release`; the end of the process does so too."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def announce(self, address: str | None) -> None:
        """Tell whoever looks who holds the lock, and where its API is. Raises LockError."""
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, json.dumps({"pid": os.getpid(), "address": address}).encode(), 0)
        except OSError as error:
            raise LockError(f"{self.path} cannot be written: {error.strerror}") from error

    def release(self) -> None:
        """Free the lock, and what it told; a second time does nothing."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # a full disk must not keep the lock
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def lock_path(database: Path) -> Path:
    """The lock of a database."""
    return database.with_name(f"{database.name}.lock")


def take_lock(
    database: Path,
    wait_s: float = CLI_WAIT_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Lock:
    """Hold the lock of `database`.

    A lock that a server holds is not waited for, any other up to `wait_s` seconds. Raises
    LockHeld, or LockError when there can be no lock (a folder that cannot be written).
    """
    path = lock_path(database)
    try:
        make_folder(path.parent)
        fd = open_private(path, os.O_RDWR)
    except OSError as error:
        raise LockError(f"{path} cannot be made: {error.strerror}") from error
    lock = Lock(path, fd)
    until = clock() + wait_s
    before = Holder()
    try:
        while not _try(path, fd):
            holder = _read(fd)
            # twice the same: who only looks holds the lock for an instant, beside the address of
            # a server that may be long gone
            if clock() >= until or (holder.address is not None and holder == before):
                raise LockHeld(path, holder)
            before = holder
            sleep(LOOK_EVERY_S)
        lock.announce(None)
    except LockError:
        os.close(fd)
        raise
    return lock


def find_holder(database: Path) -> Holder | None:
    """Who holds the lock of `database`, None when nobody does. Raises LockError."""
    path = lock_path(database)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LockError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return None if _try(path, fd) else _read(fd)
    finally:
        os.close(fd)


def _try(path: Path, fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise LockError(f"{path} cannot be locked: {error.strerror}") from error
    return True


def _read(fd: int) -> Holder:
    """What the holder wrote; it may be in the middle of writing it."""
    try:
        told = json.loads(os.pread(fd, CONTENT_MAX, 0))
    except ValueError:
        return Holder()
    if not isinstance(told, dict):
        return Holder()
    pid, address = told.get("pid"), told.get("address")
    return Holder(
        pid if isinstance(pid, int) else None, address if isinstance(address, str) else None
    )
