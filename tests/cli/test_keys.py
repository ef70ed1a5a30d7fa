"""`emr keys`: what goes where, against a server and against the store itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from emr.cli.keys import expiry
from tests.cli.parts import QUIET, Commands, Home, listening, router

KEY = re.compile(r"emr_[A-Za-z0-9]{32}\n")
UUID = r"[0-9a-f-]{36}"


@pytest.fixture(params=["server", "store"])
def keys(request: pytest.FixtureRequest, home: Home, emr: Commands) -> Iterator[Commands]:
    """`emr`, where a server runs and where none does: all must be the same."""
    home.configure(QUIET)
    if request.param == "store":
        yield emr
        return
    home.secret()
    with listening() as sock, router(home, sock):
        yield emr


def listed(emr: Commands) -> list[dict[str, object]]:
    told: list[dict[str, object]] = json.loads(emr("keys", "list", "--json").out)
    return told


def without_store_note(err: str) -> str:
    return "".join(line for line in err.splitlines(True) if "no server runs" not in line)


def test_create_prints_the_key_alone(keys: Commands) -> None:
    made = keys("keys", "create", "--name", "ci pipeline")
    assert made.code == 0
    assert KEY.fullmatch(made.out)
    (key,) = listed(keys)
    assert without_store_note(made.err) == (
        "API key created (save this: it will not be shown again):\n"
        f"  id:         {key['id']}\n"
        "  name:       ci pipeline\n"
        f"  prefix:     {made.out[:8]}\n"
        f"  created_at: {key['created_at']}\n"
    )
    assert made.out.strip() not in made.err


def test_create_as_json(keys: Commands) -> None:
    made = json.loads(keys("keys", "create", "--name", "a", "--json").out)
    assert set(made) == {"id", "key", "name", "key_prefix", "created_at"}


def test_create_with_limits(keys: Commands) -> None:
    made = keys(
        "keys", "create", "--name", "a", "--rpm", "60", "--tpm", "1000", "--tokens-month", "5",
        "--providers", "far, near", "--expires", "2100-01-01T00:00:00Z", "--max-priority", "bulk",
    )  # fmt: skip
    assert made.code == 0
    (key,) = listed(keys)
    assert {name: key[name] for name in (
        "requests_per_minute", "tokens_per_minute", "tokens_per_month", "providers", "expires_at",
        "max_priority",
    )} == {
        "requests_per_minute": 60, "tokens_per_minute": 1000, "tokens_per_month": 5,
        "providers": ["far", "near"], "expires_at": "2100-01-01T00:00:00Z", "max_priority": "bulk",
    }  # fmt: skip


def test_limit_changes_and_takes_away(keys: Commands) -> None:
    keys("keys", "create", "--name", "a", "--rpm", "60")
    (key,) = listed(keys)
    changed = keys("keys", "limit", str(key["id"]), "--rpm", "none", "--tpm", "7", "--name", "b")
    assert changed.code == 0
    assert changed.out == ""
    assert f"API key '{key['id']}' (b) changed: tpm=7\n" in changed.err
    (key,) = listed(keys)
    assert (key["name"], key["requests_per_minute"], key["tokens_per_minute"]) == ("b", None, 7)
    told = json.loads(keys("keys", "limit", str(key["id"]), "--tpm", "none", "--json").out)
    assert told["tokens_per_minute"] is None


def test_rotate(keys: Commands) -> None:
    first = keys("keys", "create", "--name", "a", "--rpm", "60").out
    (key,) = listed(keys)
    made = keys("keys", "rotate", str(key["id"]))
    assert KEY.fullmatch(made.out)
    assert made.out != first
    assert "API key rotated (save the new key: it will not be shown again):\n" in made.err
    old, new = listed(keys)
    assert (bool(old["revoked_at"]), new["revoked_at"], new["requests_per_minute"]) == (
        True, None, 60,
    )  # fmt: skip


def test_revoke(keys: Commands) -> None:
    keys("keys", "create", "--name", "a")
    (key,) = listed(keys)
    gone = keys("keys", "revoke", str(key["id"]))
    assert (gone.code, gone.out) == (0, "")
    assert f"API key '{key['id']}' revoked.\n" in gone.err
    again = keys("keys", "revoke", str(key["id"]))
    assert again.code == 1
    assert f"emr: key {key['id']} is revoked\n" in again.err


@pytest.mark.parametrize("action", ["revoke", "rotate", "limit"])
@pytest.mark.parametrize("key_id", ["nobody", "a/../../providers", "%2e%2e", "ü"])
def test_an_unknown_key(keys: Commands, action: str, key_id: str) -> None:
    told = keys("keys", action, key_id, *(["--rpm", "1"] if action == "limit" else []))
    assert told.code == 1
    assert f"key {key_id} is unknown" in told.err or "there is no /admin/keys/" in told.err
    assert listed(keys) == []


def test_what_the_rules_refuse(keys: Commands) -> None:
    for flags, reason in (
        (["--rpm", "0"], "requests_per_minute must be"),
        (["--expires", "2026-12-31"], "expires_at must be a time as RFC 3339 has it"),
        (["--max-priority", "high"], "max_priority must be"),
        (["--providers", ","], "providers must have"),
        (["--providers", "a,a"], "providers must not have a value twice"),
    ):
        told = keys("keys", "create", "--name", "a", *flags)
        assert (told.code, told.out) == (1, "")
        assert f"emr: {reason}" in told.err
    assert keys("keys", "create", "--name", " ").code == 1
    assert listed(keys) == []


def test_wrong_use(emr: Commands) -> None:
    for argv in (
        ["create"], ["revoke"], ["rotate"], ["limit"], ["nonsense"], [], ["limit", "x"],
        ["limit", "x", "--rpm", "1.5"], ["limit", "x", "--rpm", "-1"], ["limit", "x", "--tpm", ""],
        ["create", "--nam", "x"],
    ):  # fmt: skip
        assert emr("keys", *argv).code == 2, argv


def test_list_as_text(keys: Commands) -> None:
    empty = keys("keys", "list")
    assert (empty.code, empty.out) == (0, "")
    assert "No API keys yet: `emr keys create --name NAME` makes one.\n" in empty.err
    keys("keys", "create", "--name", "a")
    keys("keys", "create", "--name", "b", "--expires", "2020-01-01T00:00:00Z", "--rpm", "3")
    first, second = listed(keys)
    keys("keys", "revoke", str(first["id"]))
    lines = keys("keys", "list").out.splitlines()
    assert re.split(r"\s{2,}", lines[0]) == [
        "id", "name", "prefix", "state", "created", "last used", "limits",
    ]  # fmt: skip
    assert re.split(r"\s{2,}", lines[1])[:4] == [
        first["id"], "a", first["key_prefix"], "revoked",
    ]  # fmt: skip
    assert re.split(r"\s{2,}", lines[2]) == [
        second["id"], "b", second["key_prefix"], "expired", second["created_at"], "-",
        "rpm=3 expires=2020-01-01T00:00:00Z",
    ]  # fmt: skip


def test_the_first_key_goes_with_its_file(home: Home, emr: Commands) -> None:
    home.configure(QUIET)
    key = emr("keys", "create", "--name", "first").out
    file: Path = home.places.first_key
    file.touch(0o600)
    file.write_text(key)
    emr("keys", "create", "--name", "second")
    first, second = listed(emr)
    emr("keys", "revoke", str(second["id"]))
    assert file.exists()
    emr("keys", "revoke", str(first["id"]))
    assert not file.exists()


def test_a_database_that_refuses(home: Home, emr: Commands) -> None:
    home.places.folder.mkdir(parents=True)
    home.database.write_text("this is no database, and long enough to be read as one" * 100)
    home.database.chmod(0o600)
    told = emr("keys", "create", "--name", "a")
    assert (told.code, told.out) == (1, "")
    assert "is not an SQLite database" in told.err


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("90d", "2027-04-01T00:00:00Z"), ("12h", "2027-01-01T12:00:00Z"),
        ("30m", "2027-01-01T00:30:00Z"), ("1w", "2027-01-08T00:00:00Z"),
        ("45s", "2027-01-01T00:00:45Z"), ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
        ("1y", "1y"), ("d", "d"), ("100000d", "100000d"),
    ],
)  # fmt: skip
def test_spans(text: str, ends: str) -> None:
    assert expiry(text, 1_798_761_600.0) == ends
