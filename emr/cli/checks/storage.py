"""The database: whether it opens, is whole and can be written, and who has it.

It is read without a change; what a server would do at its start (bringing an older file up to
date, reading the providers) is tried on a copy.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from emr.cli.checks.finding import Finding, Level, Site, ok, problem, warning
from emr.control.endpoints import row_rules
from emr.control.lockfile import Holder, LockError, find_holder
from emr.control.providers import Environs, Providers
from emr.control.rows import Row
from emr.control.settings import Settings
from emr.control.store import StorageError, Store
from emr.upstream.local.model import is_installed

BUSY_S = 2.0
SPACE_MIN = 100 << 20  # bytes: a WAL and a backup of a database of many thousand keys


def lock(site: Site) -> Iterator[Finding]:
    """Look who has the database."""
    path = site.settings.database_file(site.places)
    if path is None:
        return
    try:
        site.holder = find_holder(path)
    except LockError as error:
        yield warning("lock", str(error), "run `emr doctor` as the user that emr runs as")
        return
    yield ok("lock", _told(site.holder))


def _told(holder: Holder | None) -> str:
    if holder is None:
        return "nobody uses the database"
    who = f"process {holder.pid}" if holder.pid else "a process"
    if holder.address is None:
        return f"{who} uses the database: another command, or a server that still starts"
    return f"{who} uses the database: the server at {holder.address}"


def check(site: Site) -> Iterator[Finding]:
    """Look at the database; the providers in it are used by the checks that follow."""
    path = site.settings.database_file(site.places)
    if path is None:
        yield warning("database", "database.path is :memory:: keys are lost when emr ends")
        return
    yield from _folder(path)
    if os.path.islink(path):
        yield problem(
            "database", f"{path} is a symbolic link, which emr does not follow",
            f"give the real path in database.path: {path.resolve()}",
        )  # fmt: skip
    elif os.path.exists(path):
        yield from _file(site, path)


def _folder(path: Path) -> Iterator[Finding]:
    """Look at the folder, or the one that it will be made in."""
    folder = path.parent
    while not os.path.exists(folder):
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        yield problem(
            "database", f"{folder} cannot be written", "run emr as its owner, or set database.path"
        )
        return
    free = shutil.disk_usage(folder).free
    if free < SPACE_MIN:
        yield warning("database", f"only {free >> 20} MiB are free at {folder}", "free some space")
    elif not os.path.exists(path):
        yield ok("database", f"{path} is not there yet; the first start makes it")


def _file(site: Site, path: Path) -> Iterator[Finding]:
    try:
        with _read_only(path, site.holder) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (whole,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if whole != "ok":
                yield problem("database", f"{path} is damaged: {whole}", "restore a backup")
                return
            tried = list(_rows(site, connection))
    except sqlite3.Error as error:
        yield problem("database", f"{path} cannot be read: {error}")
        return
    yield from tried
    if any(finding.level is Level.PROBLEM for finding in tried):
        return
    if os.access(path, os.W_OK):
        yield ok("database", f"{path} is whole (schema {version})")
    else:
        yield problem(
            "database", f"{path} cannot be written", f"make it writable: chmod u+w {path}"
        )


@contextlib.contextmanager
def _read_only(path: Path, holder: Holder | None) -> Iterator[sqlite3.Connection]:
    """The database, without a file made beside it where that can be."""
    wal = path.with_name(f"{path.name}-wal")
    is_still = holder is None and not (wal.exists() and wal.stat().st_size)
    name = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    mode = "mode=ro&immutable=1" if is_still else "mode=ro"
    connection = sqlite3.connect(f"file:{name}?{mode}", uri=True, timeout=BUSY_S)
    with contextlib.closing(connection):
        yield connection


def _rows(site: Site, connection: sqlite3.Connection) -> Iterator[Finding]:
    """Open a copy as a server would, and take the providers out of it."""
    with tempfile.TemporaryDirectory(prefix="emr-") as folder:
        copy = Path(folder) / "copy.db"
        with contextlib.closing(sqlite3.connect(copy)) as into:
            connection.backup(into)
        try:
            store = Store(copy)
        except StorageError as error:
            yield problem("database", str(error).replace(str(copy), "(a copy)"))
            return
        with contextlib.closing(store):
            for each in store.news:
                yield warning("database", f"the next start: {each}".replace(folder, "…"))
            site.rows = _providers(store, site.settings)


def _providers(store: Store, settings: Settings) -> list[Row]:
    environs = Environs(row_rules(), is_installed, post=lambda run: run())
    return Providers(store, environs, settings).rows()
