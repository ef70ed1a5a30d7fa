"""Keys managed: at once, for good, and never seen again; every field checked."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emr.control import keys as keys_module
from emr.control.key_rows import CannotHash, NewKey, hash_of, is_key_of, new_key
from emr.control.keyring import REVOKED, UNKNOWN, no_loop
from emr.control.keys import Keys
from emr.control.migrations import STEPS
from emr.control.places import Places
from emr.control.secrets import write_first_key
from emr.control.store import StorageError, Store
from emr.front.desk import KeyLimits, Principal
from tests.control.parts import PATIENCE_S, FakeLoop, make_keys, places_in, refusal_of


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "data" / "emr.db")
    yield store
    store.close()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return places_in(tmp_path)


@pytest.fixture
def keys(store: Store, loop: FakeLoop, places: Places) -> Iterator[Keys]:
    keys = make_keys(store, loop, places)
    yield keys
    keys.close()


def create(keys: Keys, **given: Any) -> NewKey:
    return keys.create({"name": "app", **given}).result(timeout=PATIENCE_S)


def look(keys: Keys, new: NewKey) -> object:
    return keys.ring.look_up(new.key.encode())


def reopened(keys: Keys, store: Store, loop: FakeLoop) -> tuple[Keys, Store]:
    keys.close()
    store.close()
    assert store.path is not None
    again = Store(store.path)
    return make_keys(again, loop), again


# making and ending


def test_a_new_key_works_at_once(keys: Keys) -> None:
    new = create(keys)
    assert look(keys, new) == Principal(new.row.id, "app")
    assert keys.active == 1
    assert new.view() == {
        "id": new.row.id, "key": new.key, "name": "app", "key_prefix": new.key[:8],
        "created_at": "2027-01-15T08:00:00Z",
    }  # fmt: skip
    assert new.key not in f"{new!r} {new}"
    assert is_key_of(new.key.encode(), new.row.key_hash)


def test_a_revoked_key_is_refused_at_once(keys: Keys) -> None:
    new = create(keys)
    row = keys.revoke(new.row.id).result(timeout=PATIENCE_S)
    assert look(keys, new) is REVOKED
    assert row.revoked_at == "2027-01-15T08:00:00Z"
    assert keys.active == 0
    refusal = refusal_of(lambda: keys.revoke(new.row.id))
    assert (refusal.type, "revoked" in refusal.message) == ("not_found", True)


def test_keys_outlive_the_process(keys: Keys, store: Store, loop: FakeLoop) -> None:
    alive, dead = create(keys), create(keys)
    keys.revoke(dead.row.id).result(timeout=PATIENCE_S)
    again, reopened_store = reopened(keys, store, loop)
    assert look(again, alive) is None
    assert look(again, dead) is REVOKED
    answers: list[object] = []
    again.ring.verify(alive.key.encode(), answers.append)
    loop.turn()
    assert answers == [Principal(alive.row.id, "app")]
    again.close()
    reopened_store.close()


def test_rotation(keys: Keys, store: Store) -> None:
    old = create(keys, requests_per_minute=5, providers=["v"], max_priority="bulk")
    new = keys.rotate(old.row.id).result(timeout=PATIENCE_S)
    assert look(keys, old) is REVOKED
    assert look(keys, new) == Principal(new.row.id, "app", frozenset({"v"}), True, KeyLimits(5))
    assert new.row.requests_per_minute == 5
    assert new.row.replaces == old.row.id
    assert keys.rotations() == [(old.row.id, new.row.id)]
    assert new.row.id != old.row.id
    assert new.view()["key"] == new.key
    assert refusal_of(lambda: keys.rotate(old.row.id)).type == "not_found"
    assert [one["revoked_at"] is None for one in keys.listing()] == [False, True]


def test_a_rotation_that_fails_leaves_the_old_key(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = create(keys)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("no")

    monkeypatch.setattr(keys_module, "insert", fail)
    with pytest.raises(StorageError):
        keys.rotate(old.row.id).result(timeout=PATIENCE_S)
    assert look(keys, old) == Principal(old.row.id, "app")
    assert keys.active == 1


def test_an_expired_key_is_not_rotated(keys: Keys, loop: FakeLoop) -> None:
    old = create(keys, expires_at="2027-01-15T08:00:05Z")
    loop.advance(5.0)
    assert keys.active == 0
    refusal = refusal_of(lambda: keys.rotate(old.row.id))
    assert (refusal.type, refusal.param) == ("validation_error", "expires_at")
    keys.patch(old.row.id, {"expires_at": None}).result(timeout=PATIENCE_S)
    assert keys.rotate(old.row.id).result(timeout=PATIENCE_S).row.expires_at is None


def test_unknown_ids(keys: Keys) -> None:
    for act in (
        lambda: keys.revoke("x"),
        lambda: keys.rotate("x"),
        lambda: keys.patch("x", {"name": "y"}),
        lambda: keys.patch("x", {}),
    ):
        refusal = refusal_of(act)
        assert (refusal.type, refusal.message) == ("not_found", "key x is unknown")
    assert len(refusal_of(lambda: keys.revoke("y" * 10_000)).message) < 100


# fields


def test_the_listing_shows_limits_and_never_the_key(keys: Keys) -> None:
    new = create(keys, tokens_per_month=9, expires_at="2027-06-01T00:00:00+02:00")
    (told,) = keys.listing()
    assert told == {
        "id": new.row.id, "name": "app", "key_prefix": new.key[:8],
        "created_at": "2027-01-15T08:00:00Z", "revoked_at": None, "last_used_at": None,
        "expires_at": "2027-05-31T22:00:00Z", "requests_per_minute": None,
        "tokens_per_minute": None, "tokens_per_month": 9, "providers": None, "max_priority": None,
        "replaces": None,
    }  # fmt: skip
    assert new.key[8:] not in json.dumps(keys.listing())


def test_every_field_can_be_changed_and_taken_away(
    keys: Keys, store: Store, loop: FakeLoop
) -> None:
    new = create(keys)
    given = {
        "name": "other", "requests_per_minute": 1, "tokens_per_minute": 2, "tokens_per_month": 3,
        "providers": ["a", "b"], "expires_at": "2028-01-01T00:00:00Z", "max_priority": "bulk",
    }  # fmt: skip
    row = keys.patch(new.row.id, given).result(timeout=PATIENCE_S)
    assert {name: row.view()[name] for name in given} == given
    assert look(keys, new) == Principal(
        new.row.id, "other", frozenset({"a", "b"}), True, KeyLimits(1, 2, 3)
    )
    same = keys.patch(new.row.id, {}).result(timeout=PATIENCE_S)
    assert same == replace(row, last_used_at=same.last_used_at)
    again, reopened_store = reopened(keys, store, loop)
    (told,) = again.listing()
    assert {name: told[name] for name in given} == given
    nothing = {name: None for name in given if name != "name"}
    row = again.patch(new.row.id, nothing).result(timeout=PATIENCE_S)
    assert {name: row.view()[name] for name in nothing} == nothing
    assert row.principal() == Principal(new.row.id, "other")
    again.close()
    reopened_store.close()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", " "), ("name", None), ("name", 3), ("name", "a\nb"),
        ("name", "x" * 201), ("requests_per_minute", 0), ("requests_per_minute", -1),
        ("requests_per_minute", 1.5), ("requests_per_minute", "9"), ("requests_per_minute", True),
        ("tokens_per_minute", 0), ("tokens_per_month", 10**15 + 1), ("providers", []),
        ("providers", ["a b"]), ("providers", ["a", "a"]), ("providers", [3]), ("providers", {}),
        ("expires_at", "tomorrow"), ("expires_at", "2027-01-01"), ("expires_at", 3),
        ("expires_at", "2027-02-30T00:00:00Z"), ("max_priority", "interactive"),
        ("max_priority", 1), ("id", "x"), ("key_hash", "x"), ("revoked_at", None), ("rpm", 3),
    ],
)  # fmt: skip
def test_bad_fields(keys: Keys, field: str, value: object) -> None:
    new = create(keys)
    for act in (
        lambda: keys.create({"name": "app", field: value}),
        lambda: keys.patch(new.row.id, {field: value}),
    ):
        refusal = refusal_of(act)
        assert (refusal.type, refusal.param) == ("validation_error", field)
        assert refusal.message.startswith(f"{field} ")
    assert len(keys.listing()) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "x" * 200), ("requests_per_minute", 1), ("tokens_per_month", 10**15),
     ("providers", "v"), ("name", "日本 é")],
)  # fmt: skip
def test_good_fields_at_their_limits(keys: Keys, field: str, value: object) -> None:
    new = create(keys, **{field: value})
    expected = ["v"] if field == "providers" else value
    assert new.row.view()[field] == expected


def test_a_name_is_needed(keys: Keys) -> None:
    refusal = refusal_of(lambda: keys.create({}))
    assert (refusal.param, refusal.message) == ("name", "name is required")


def test_an_unknown_field_names_the_nearest(keys: Keys) -> None:
    refusal = refusal_of(lambda: keys.create({"name": "x", "requests_per_minut": 1}))
    assert "did you mean requests_per_minute?" in refusal.message


# use


def test_last_used_at_is_written_once_a_minute(keys: Keys, store: Store, loop: FakeLoop) -> None:
    new = create(keys)

    def told() -> object:
        store.run(lambda connection: None)  # behind what was handed in before
        return keys.listing()[0]["last_used_at"]

    assert told() is None
    look(keys, new)
    assert told() == "2027-01-15T08:00:00Z"
    loop.advance(59.0)
    look(keys, new)
    assert told() == "2027-01-15T08:00:00Z"
    loop.advance(1.0)
    look(keys, new)
    assert told() == "2027-01-15T08:01:00Z"


def test_an_adopted_key_is_found_by_its_digest_from_then_on(store: Store, loop: FakeLoop) -> None:
    key = new_key()
    store.run(lambda c: c.execute(
        "INSERT INTO api_keys (id, name, key_hash, key_prefix, created_at) VALUES"
        " ('id', 'old', ?, ?, '2025-01-01T00:00:00Z')", (hash_of(key), key[:8]),
    ))  # fmt: skip
    keys = make_keys(store, loop)
    answers: list[object] = []
    keys.ring.verify(key.encode(), answers.append)
    loop.turn()
    assert answers == [Principal("id", "old")]
    again, reopened_store = reopened(keys, store, loop)
    wrong = key[:8].encode() + b"x" * 28
    assert again.ring.look_up(wrong) is UNKNOWN
    assert again.ring.look_up(key.encode()) is None
    again.close()
    reopened_store.close()


# the first key's file


def test_the_first_key_file_goes_with_its_key(keys: Keys, places: Places) -> None:
    first, second = create(keys), create(keys)
    write_first_key(places, first.key)
    keys.revoke(second.row.id).result(timeout=PATIENCE_S)
    assert places.first_key.exists()
    keys.revoke(first.row.id).result(timeout=PATIENCE_S)
    assert not places.first_key.exists()


def test_the_first_key_file_goes_with_a_rotation(keys: Keys, places: Places) -> None:
    first = create(keys)
    write_first_key(places, first.key)
    keys.rotate(first.row.id).result(timeout=PATIENCE_S)
    assert not places.first_key.exists()


def test_a_first_key_file_that_is_not_ours_does_not_hinder(keys: Keys, places: Places) -> None:
    first = create(keys)
    write_first_key(places, first.key)
    places.first_key.chmod(0o644)
    keys.revoke(first.row.id).result(timeout=PATIENCE_S)
    assert look(keys, first) is REVOKED


# what fails


def test_a_key_that_could_not_be_kept_is_no_key(
    keys: Keys, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def remembered() -> str:
        made.append(new_key())
        return made[-1]

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("no")

    alive = create(keys)
    monkeypatch.setattr(keys_module, "new_key", remembered)
    monkeypatch.setattr(keys_module, "insert", fail)
    for act in (lambda: keys.create({"name": "x"}), lambda: keys.rotate(alive.row.id)):
        with pytest.raises(StorageError):
            act().result(timeout=PATIENCE_S)
    assert len(made) == 2
    for key in made:
        assert keys.ring.look_up(key.encode()) is UNKNOWN
    assert look(keys, alive) == Principal(alive.row.id, "app")


def test_a_database_that_refuses_stops_no_key(keys: Keys, store: Store) -> None:
    alive = create(keys)
    store.run(lambda c: c.execute("PRAGMA query_only = ON"))
    for act in (
        lambda: keys.create({"name": "x"}),
        lambda: keys.revoke(alive.row.id),
        lambda: keys.rotate(alive.row.id),
        lambda: keys.patch(alive.row.id, {"name": "y"}),
    ):
        with pytest.raises(StorageError, match="read-only"):
            act().result(timeout=PATIENCE_S)
    assert look(keys, alive) == Principal(alive.row.id, "app")
    assert len(keys.listing()) == 1
    assert "read-only" in store.trouble


@pytest.mark.parametrize("column", ["providers", "expires_at"])
def test_a_row_that_cannot_be_read_is_not_guessed_at(
    keys: Keys, store: Store, loop: FakeLoop, column: str
) -> None:
    """A limit that was lost must not become none."""
    new = create(keys)
    store.run(lambda c: c.execute(f"UPDATE api_keys SET {column} = 'x'"))
    with pytest.raises(StorageError, match=f"limits of key {new.row.id} cannot be read"):
        make_keys(store, loop)


def test_without_memory_no_key_is_made(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(key: str) -> str:
        raise CannotHash

    monkeypatch.setattr(keys_module, "hash_of", exhausted)
    with pytest.raises(StorageError, match="no memory"):
        create(keys)


def test_no_key_is_anywhere_in_the_files(keys: Keys, store: Store, tmp_path: Path) -> None:
    """20 keys, rotated, limited, revoked and used; and the files as a running server has them."""
    made = []
    for number in range(10):
        new = create(keys, name=f"app {number}")
        look(keys, new)
        made += [new.key, keys.rotate(new.row.id).result(timeout=PATIENCE_S).key]
    keys.patch(keys.listing()[1]["id"], {"requests_per_minute": 3}).result(timeout=PATIENCE_S)
    keys.revoke(keys.listing()[3]["id"]).result(timeout=PATIENCE_S)
    files = [path for path in (tmp_path / "data").iterdir() if path.is_file()]
    assert {path.name for path in files} == {"emr.db", "emr.db-wal", "emr.db-shm"}
    content = b"".join(path.read_bytes() for path in files)
    assert b"app 9" in content
    assert b"$argon2id$v=19$m=19456,t=2,p=1$" in content
    for key in made:
        assert key[:8].encode() in content
        assert key[4:].encode() not in content
        assert key[12:].encode() not in content


# kill -9


MAKE = """
import sys
from pathlib import Path
from emr.control.keyring import no_loop
from emr.control.keys import Keys
from emr.control.store import Store
keys = Keys(Store(Path(sys.argv[1])), no_loop())
while True:
    one, two = keys.create({"name": "a"}).result(), keys.create({"name": "b"}).result()
    print(f"+ {one.key}\\n+ {two.key}", flush=True)
    keys.revoke(one.row.id).result()
    print(f"- {one.key}", flush=True)
    new = keys.rotate(two.row.id).result()
    print(f"- {two.key}\\n+ {new.key}", flush=True)
"""


@pytest.mark.parametrize("lines", [1, 2, 3, 5, 11, 23])
def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path, lines: int) -> None:
    database = tmp_path / "emr.db"
    process = subprocess.Popen(
        [sys.executable, "-c", MAKE, str(database)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(lines)]
    os.kill(process.pid, signal.SIGKILL)
    told += process.communicate()[0].splitlines()
    state: dict[str, str] = {}
    for line in told:
        sign, _, key = line.strip().partition(" ")
        if len(key) == 36:
            state[key] = sign
    assert len(state) >= lines // 3
    store = Store(database)
    keys = Keys(store, no_loop())
    for key, sign in state.items():
        found = keys.ring.look_up(key.encode())
        # a `+` may have been revoked by what was under way; a `-` may never be alive
        assert found is REVOKED if sign == "-" else found in (None, REVOKED)
    alive = [key for key, sign in state.items() if keys.ring.look_up(key.encode()) is None]
    assert len(state) - list(state.values()).count("-") - len(alive) <= 1
    rows = {entry.row.key_prefix: entry.row.key_hash for entry in keys.ring.entries.values()}
    assert all(is_key_of(key.encode(), rows[key[:8]]) for key in alive)
    assert store.read(lambda c: c.execute("PRAGMA integrity_check").fetchone()).result() == ("ok",)
    keys.close()
    store.close()
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
