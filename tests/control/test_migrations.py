"""Migrations: numbered, whole, backed up; and the reference router's database taken over."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emr.control.keyring import no_loop
from emr.control.keys import Keys
from emr.control.migrations import STEPS, WrongDatabase, migrate
from emr.control.rows import Source
from emr.control.store import StorageError, Store
from emr.control.times import from_sqlite, parse_time, time_text
from tests.control.parts import FakeLoop, make_providers

REFERENCE = (
    """CREATE TABLE IF NOT EXISTS providers (
        name TEXT PRIMARY KEY, provider_type TEXT NOT NULL, api_key_env_var TEXT NOT NULL,
        endpoint TEXT NOT NULL, model TEXT NOT NULL, enabled INTEGER NOT NULL DEFAULT 1,
        created_at TEXT NOT NULL DEFAULT (datetime('now')))""",
    """CREATE TABLE IF NOT EXISTS api_keys (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, key_hash TEXT NOT NULL, key_prefix TEXT NOT NULL,
        created_at TEXT NOT NULL DEFAULT (datetime('now')), revoked_at TEXT)""",
)


def reference(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in (*REFERENCE, *statements):
            connection.execute(statement)
        connection.commit()


def raw(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def second_step(connection: sqlite3.Connection) -> tuple[str, ...]:
    connection.execute("CREATE TABLE more (x)")
    return ("more",)


def broken_step(connection: sqlite3.Connection) -> tuple[str, ...]:
    connection.execute("CREATE TABLE half (x)")
    raise sqlite3.OperationalError("broke")


# numbered steps


def test_a_new_database_needs_no_backup(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    Store(path).close()
    assert raw(path, "PRAGMA user_version") == [(len(STEPS),)]
    assert [one.name for one in tmp_path.iterdir()] == ["emr.db"]


def test_a_step_is_made_once_behind_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    store = Store(path)
    store.run(lambda c: c.execute("INSERT INTO providers VALUES ('a','t','','','',1,'now',0,'{}')"))
    store.close()
    before = os.umask(0)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            news = migrate(connection, path, (*STEPS, second_step))
            assert migrate(connection, path, (*STEPS, second_step)) == ()
    finally:
        os.umask(before)
    (backup,) = tmp_path.glob("*.bak")
    assert backup.name.startswith(f"emr.db.v{len(STEPS)}-20")
    assert str(backup) in news[1]
    assert news[2:] == ("more",)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert raw(backup, "SELECT name FROM providers") == [("a",)]
    assert raw(backup, "PRAGMA user_version") == [(len(STEPS),)]
    assert raw(path, "PRAGMA user_version") == [(len(STEPS) + 1,)]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["emr.db", backup.name]


def test_a_step_that_breaks_leaves_the_version_before_it(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    Store(path).close()
    steps = (*STEPS, second_step, broken_step)
    for _ in range(2):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            with pytest.raises(sqlite3.OperationalError, match="broke"):
                migrate(connection, path, steps)
            assert not connection.in_transaction
    assert raw(path, "PRAGMA user_version") == [(len(STEPS) + 1,)]
    assert raw(path, "SELECT name FROM sqlite_master WHERE name = 'half'") == []
    assert len(list(tmp_path.glob("*.bak"))) == 2


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    Store(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path, (*STEPS, second_step))
    with pytest.raises(StorageError) as caught:
        Store(path)
    newer, known = len(STEPS) + 1, len(STEPS)
    assert f"a later emr (version {newer} of its tables, this one knows {known})" in str(
        caught.value
    )
    assert raw(path, "PRAGMA user_version") == [(newer,)]


@pytest.mark.parametrize("version", [0, 1, 9])
def test_a_database_of_another_program_is_left_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE api_keys (key_hash, key_prefix)")
        connection.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="belongs to another program"):
        Store(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["places.sqlite"]


def test_backups_do_not_replace_each_other(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    reference(path)
    stamp = path.stat()
    Store(path).close()
    (first,) = tmp_path.glob("*.bak")
    path.unlink()
    reference(path)
    os.utime(path, (stamp.st_atime, stamp.st_mtime))
    Store(path).close()
    assert len(list(tmp_path.glob("*.bak"))) == 2
    assert first.exists()


def test_a_database_of_the_first_version_keeps_its_keys_and_gets_usage(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path, STEPS[:1])
        connection.execute(
            "INSERT INTO api_keys (id, name, key_hash, key_digest, key_prefix, created_at,"
            " tokens_per_month) VALUES ('id-1', 'one', '$argon2id$x', 'd', 'emr_abcd', 'now', 5)"
        )
        connection.execute("INSERT INTO providers VALUES ('a','t','','','',1,'now',0,'{}')")
    store = Store(path)
    (backup,) = tmp_path.glob("emr.db.v1-20*.bak")
    assert store.news[0] == f"the database is brought from version 1 to {len(STEPS)}"
    keys = Keys(store, no_loop())
    (told,) = keys.listing()
    assert (told["id"], told["tokens_per_month"], told["replaces"]) == ("id-1", 5, None)
    count = store.read(lambda c: c.execute("SELECT count(*) FROM usage").fetchone()).result()
    assert count == (0,)
    keys.close()
    store.close()
    assert raw(path, "PRAGMA user_version") == [(len(STEPS),)]
    assert raw(backup, "SELECT name FROM sqlite_master WHERE name = 'usage'") == []
    assert raw(backup, "SELECT id FROM api_keys") == [("id-1",)]


# the reference router's database


def test_the_reference_database_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    reference(
        path,
        "INSERT INTO providers VALUES ('v', 'voyage', 'VOYAGE_API_KEY',"
        " 'https://api.voyage.test/v1/embeddings', 'voyage-3', 1, '2025-02-03 04:05:06')",
        "INSERT INTO providers VALUES ('my cohere', 'cohere', 'MY_SECRET', 'http://10.0.0.7/v2',"
        " 'embed', 0, '2025-02-03 04:05:07')",
        "INSERT INTO api_keys VALUES ('id-1', 'one', '$argon2id$x', 'emr_abcd',"
        " '2025-02-03 04:05:06', NULL)",
        "INSERT INTO api_keys VALUES ('id-2', 'two', '$argon2id$y', 'emr_efgh',"
        " '2025-02-03 04:05:07', '2025-03-01 00:00:00')",
        "INSERT INTO api_keys VALUES ('id-3', 'three', '$argon2id$z', 'emr_ijkl', 'x', 'sometime')",
        "INSERT INTO api_keys VALUES ('id-4', 'four', '', 'emr_mnop', 'x', NULL)",
    )
    store = Store(path)
    assert "3 keys and 2 providers of the reference router" in " ".join(store.news)
    keys = Keys(store, no_loop())
    told = {key["id"]: key for key in keys.listing()}
    assert set(told) == {"id-1", "id-2", "id-3"}
    assert told["id-1"]["created_at"] == "2025-02-03T04:05:06Z"
    assert told["id-1"]["revoked_at"] is None
    assert told["id-2"]["revoked_at"] == "2025-03-01T00:00:00Z"
    assert told["id-3"]["revoked_at"] is not None
    assert parse_time(told["id-3"]["created_at"]) > 0
    assert keys.active == 1
    providers = make_providers(store, FakeLoop())
    first, second = providers.rows()
    assert (first.name, first.model, first.enabled, first.source) == (
        "v", "voyage-3", True, Source.DATABASE,
    )  # fmt: skip
    assert first.created_at == "2025-02-03T04:05:06Z"
    assert (second.name, second.enabled, second.adopted) == ("my cohere", False, True)
    assert (second.endpoint, second.key_variables) == ("http://10.0.0.7/v2", ("MY_SECRET",))
    keys.close()
    store.close()
    (backup,) = tmp_path.glob("emr.db.v0-*.bak")
    assert raw(backup, "SELECT count(*) FROM api_keys") == [(4,)]
    assert raw(backup, "SELECT created_at FROM providers")[0] == ("2025-02-03 04:05:06",)
    tables = raw(path, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    assert {("api_keys",), ("providers",)} <= {*tables}
    assert not [name for (name,) in tables if name.startswith("reference")]
    again = Store(path)
    assert again.news == ()
    again.close()


def test_other_columns_are_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            'CREATE TABLE api_keys (key_hash, extra, key_prefix, last_used_at, "odd name")'
        )
        connection.execute("CREATE TABLE providers (provider_type, name, extra)")
        connection.execute(
            "INSERT INTO api_keys VALUES ('$h', 1, 'emr_abcd', '2025-01-01 00:00:00', 2)"
        )
        connection.execute("INSERT INTO providers VALUES ('voyage', 'v', 9)")
        connection.execute("INSERT INTO providers VALUES ('voyage', NULL, 9)")
        connection.commit()
    store = Store(path)
    keys = Keys(store, no_loop())
    (key,) = keys.listing()
    assert key["name"] == key["key_prefix"] == "emr_abcd"
    assert len(key["id"]) == 36
    assert key["last_used_at"] == "2025-01-01T00:00:00Z"
    (row,) = make_providers(store, FakeLoop()).rows()
    assert (row.name, row.enabled, row.adopted) == ("v", True, True)
    keys.close()
    store.close()


# times


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("2025-02-03 04:05:06", "2025-02-03T04:05:06Z"),
        ("2025-02-03 04:05:06.789", "2025-02-03T04:05:06Z"),
        ("2025-02-03T04:05:06Z", "2025-02-03T04:05:06Z"),
        ("2025-02-03T04:05:06+02:00", "2025-02-03T02:05:06Z"),
        ("2025-02-30 04:05:06", None), ("x", None), ("", None), (None, None), (3, None),
        ("2025-02-03", None),
    ],
)  # fmt: skip
def test_times_of_sqlite(given: object, taken: str | None) -> None:
    assert from_sqlite(given) == taken


@pytest.mark.parametrize(
    "text",
    ["", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z"],
)
def test_times_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


def test_times_read_back() -> None:
    years_26_and_999 = (-61_346_764_800.0, -30_620_000_000.0)
    for seconds in (*years_26_and_999, 0.0, 1_800_000_000.0):
        assert parse_time(time_text(seconds)) == seconds
    assert time_text(parse_time("0026-12-31T00:00:00Z")) == "0026-12-31T00:00:00Z"


def test_a_wrong_database_is_an_error_of_its_own() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE other (x)")
        with pytest.raises(WrongDatabase):
            migrate(connection, None)
