"""The store: what is answered is on disk, what fails leaves nothing, and files are private."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from emr.control.store import StorageError, Store
from tests.control.parts import NOBODY, unprivileged
from tests.support.aio import run


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "made" / "emr.db"


def put(name: str) -> str:
    return f"INSERT INTO providers VALUES ('{name}', 'voyage', '', '', '', 1, 'now', 0, '{{}}')"


def add(store: Store, name: str) -> None:
    store.run(lambda connection: connection.execute(put(name)))


def names(store: Store) -> list[str]:
    query = "SELECT name FROM providers ORDER BY rowid"
    return [row[0] for row in store.read(lambda c: c.execute(query).fetchall()).result()]


def pragma(store: Store, name: str) -> object:
    return store.read(lambda c: c.execute(f"PRAGMA {name}").fetchone()[0]).result()


def failing(store: Store, name: str = "x") -> str:
    with pytest.raises(StorageError) as caught:
        add(store, name)
    assert store.trouble == str(caught.value)
    return str(caught.value)


# the thread and its transactions


def test_writes_are_kept(database: Path) -> None:
    store = Store(database)
    assert pragma(store, "journal_mode") == "wal"
    assert pragma(store, "synchronous") == 2
    assert pragma(store, "foreign_keys") == 1
    assert store.news == ()
    add(store, "a")
    assert names(store) == ["a"]
    store.close()
    store.close()
    assert sorted(path.name for path in database.parent.iterdir()) == ["emr.db"]
    again = Store(database)
    assert names(again) == ["a"]
    again.close()


def test_in_memory() -> None:
    store = Store(None)
    add(store, "a")
    assert names(store) == ["a"]
    assert store.name == ":memory:"
    store.close()


def test_work_runs_in_order_on_one_other_thread(database: Path) -> None:
    store = Store(database)
    threads: list[int] = []
    futures = [
        store.submit(lambda c, n=n: (threads.append(threading.get_ident()), c.execute(put(str(n)))))
        for n in range(50)
    ]
    for future in futures:
        future.result(timeout=20)
    assert names(store) == [str(n) for n in range(50)]
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
    store.close()


def test_nothing_stays_of_work_that_raises(database: Path) -> None:
    store = Store(database)

    def work(connection: sqlite3.Connection) -> None:
        connection.execute(put("a"))
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        store.run(work)
    assert names(store) == []
    assert store.trouble == ""
    add(store, "b")
    assert names(store) == ["b"]
    store.close()


def test_then_comes_after_the_commit_and_before_the_answer(database: Path) -> None:
    store = Store(database)
    seen: list[object] = []

    def then(result: str) -> None:
        with closing(sqlite3.connect(database)) as other:
            seen.append((result, other.execute("SELECT name FROM providers").fetchall()))

    future = store.submit(lambda c: c.execute(put("a")) and "done", then)
    assert future.result(timeout=20) == "done"
    assert seen == [("done", [("a",)])]
    store.close()


def test_a_loop_waits_for_it(database: Path) -> None:
    store = Store(database)

    async def main() -> str:
        await asyncio.wrap_future(store.submit(lambda c: c.execute(put("a"))))
        return (await asyncio.wrap_future(store.read(lambda c: c.execute(
            "SELECT name FROM providers").fetchone())))[0]  # fmt: skip

    assert run(main()) == "a"
    store.close()


def test_what_was_handed_in_is_done_before_it_closes(database: Path) -> None:
    store = Store(database)
    future = store.submit(lambda c: c.execute(put("a")))
    store.close()
    assert future.done()
    for late in (store.submit(lambda c: c), store.read(lambda c: c)):
        with pytest.raises(StorageError, match="is closed"):
            late.result(timeout=20)


# files


def modes(folder: Path) -> dict[str, str]:
    paths = [folder, *folder.rglob("*")]
    return {path.name: f"{stat.S_IMODE(path.lstat().st_mode):04o}" for path in paths}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_files_are_private_whatever_the_umask(database: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = Store(database)
        add(store, "a")
        assert modes(database.parent) == {
            "made": "0700", "emr.db": "0600", "emr.db-wal": "0600", "emr.db-shm": "0600",
        }  # fmt: skip
        store.close()
    finally:
        os.umask(before)


def test_a_file_that_was_open_to_others_is_closed_to_them(database: Path) -> None:
    Store(database).close()
    database.chmod(0o666)
    store = Store(database)
    add(store, "a")
    assert set(modes(database.parent).values()) == {"0700", "0600"}
    store.close()


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_planted_links_are_not_followed(database: Path, tmp_path: Path, suffix: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("")
    database.parent.mkdir()
    if suffix:
        Store(database).close()
    database.with_name(f"emr.db{suffix}").symlink_to(victim)
    with pytest.raises(StorageError) as caught:
        store = Store(database)
        add(store, "a")
    if not suffix:
        assert "give the real path" in str(caught.value)
    assert victim.read_text() == ""


def test_a_name_with_signs_that_mean_something_in_a_uri(tmp_path: Path) -> None:
    database = tmp_path / "a?mode=memory#x%20 é.db"
    store = Store(database)
    add(store, "a")
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == [database.name]


# what the database refuses


def test_a_full_disk_refuses_the_write_and_no_more(database: Path) -> None:
    store = Store(database)
    pages = pragma(store, "page_count")
    pragma(store, f"max_page_count = {pages}")
    big = "x" * 100_000
    assert "the disk is full: free some space" in failing(store, big)
    assert str(database) in store.trouble
    assert names(store) == []
    pragma(store, "max_page_count = 1000000")
    add(store, big)
    assert store.trouble == ""
    assert names(store) == [big]
    store.close()


FULL = """
import resource, signal, sys
from pathlib import Path
from emr.control.store import Store, StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
for number in range(100):
    work = lambda c: c.execute("INSERT INTO providers VALUES (?, '', '', '', '', 1, '', 0, ?)",
                               (str(number), "x" * 10_000))
    try:
        store.run(work)
    except StorageError as error:
        print(error)
        break
    print(number, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.run(lambda c: c.execute("DELETE FROM providers WHERE name = '0'"))
store.close()
"""


def test_a_file_that_cannot_grow(database: Path) -> None:
    """The system refuses to write, in the middle of a commit; what was answered stays."""
    told = subprocess.run(
        [sys.executable, "-c", FULL, str(database)], capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0, told.stderr
    *written, refused = told.stdout.splitlines()
    assert refused.startswith(f"database {database}: the disk")
    assert len(written) > 3
    store = Store(database)
    assert names(store) == written[1:]
    assert store.read(lambda c: c.execute("PRAGMA integrity_check").fetchall()).result() == [
        ("ok",)
    ]
    store.close()


def test_a_lock_of_another_program(database: Path) -> None:
    store = Store(database, busy_timeout_s=0.05)
    add(store, "a")
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "another program holds a lock" in failing(store)
        assert names(store) == ["a"]
    add(store, "c")
    assert store.trouble == ""
    store.close()


def test_a_start_beside_a_lock_of_another_program(database: Path) -> None:
    Store(database).close()
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("COMMIT")
        with pytest.raises(StorageError, match="another program holds a lock"):
            Store(database, busy_timeout_s=0.05)
    Store(database).close()


def test_a_file_that_becomes_read_only(anywhere: Path) -> None:
    folder = anywhere / "data"
    folder.mkdir()
    os.chown(folder, NOBODY if os.geteuid() == 0 else -1, -1)
    with unprivileged():
        store = Store(folder / "emr.db")
        add(store, "a")
        store.close()
        (folder / "emr.db").chmod(0o400)
        store = Store(folder / "emr.db")
        assert names(store) == ["a"]
        assert "read-only" in store.trouble
        assert "serving goes on" in store.news[0]
        assert "make the file and its folder writable" in failing(store)
        assert names(store) == ["a"]
        store.close()
        (folder / "emr.db").chmod(0o600)
        store = Store(folder / "emr.db")
        add(store, "b")
        store.close()


def test_a_folder_that_may_not_be_entered(anywhere: Path) -> None:
    (anywhere / "data").mkdir(mode=0o700)
    (anywhere / "data").chmod(0o000)
    with unprivileged(), pytest.raises(StorageError, match="cannot be opened"):
        Store(anywhere / "data" / "emr.db")
    (anywhere / "data").chmod(0o700)


def test_a_folder_that_is_read_only(anywhere: Path) -> None:
    folder = anywhere / "data"
    store = Store(folder / "emr.db")
    add(store, "a")
    store.close()
    os.chown(folder / "emr.db", NOBODY if os.geteuid() == 0 else -1, -1)
    folder.chmod(0o555)
    with unprivileged():
        store = Store(folder / "emr.db")
        assert names(store) == ["a"]
        failing(store)
        store.close()
        with pytest.raises(StorageError, match="cannot be opened"):
            Store(folder / "other.db")
    folder.chmod(0o755)


def test_a_read_only_folder_with_unread_changes_is_not_served(anywhere: Path) -> None:
    """A revocation may be in the WAL, which cannot be read without a place for its index."""
    folder = anywhere / "data"
    store = Store(folder / "emr.db")
    add(store, "a")
    copy = anywhere / "copy"
    shutil.copytree(folder, copy)
    store.close()
    (copy / "emr.db-shm").unlink()
    assert (copy / "emr.db-wal").stat().st_size > 0
    for path in (copy, *copy.iterdir()):
        path.chmod(0o555)
    with unprivileged(), pytest.raises(StorageError):
        Store(copy / "emr.db")
    copy.chmod(0o755)


def test_what_is_no_database(database: Path) -> None:
    database.parent.mkdir()
    database.write_text("this is a text, and long enough to be looked at as a header" * 100)
    with pytest.raises(StorageError, match="not an SQLite database"):
        Store(database)
    database.unlink()
    database.mkdir()
    with pytest.raises(StorageError, match="cannot be opened"):
        Store(database)
    file = database.parent / "file"
    file.touch()
    with pytest.raises(StorageError, match="cannot be opened"):
        Store(file / "emr.db")


def test_a_damaged_database(database: Path) -> None:
    store = Store(database)
    for number in range(200):
        store.submit(lambda c, n=number: c.execute(put(f"{n}" * 100)))
    store.close()
    raw = bytearray(database.read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    database.write_bytes(raw)
    store = Store(database)
    with pytest.raises(StorageError, match="damaged: restore a backup"):
        names(store)
    store.close()
