"""`emr cache`: what it shows and clears of a running server; what doctor finds of its file."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from emr.cli import cache
from emr.cli.checks import cache as checks
from emr.cli.checks.finding import Level, Site
from emr.control.cache.writer import DiskWriter
from tests.cli.parts import QUIET, Commands, Home, listening, router
from tests.cli.sites import configured, only

OFF = QUIET + "\n[cache]\nmax_bytes = 0\n"


def test_stats_of_an_empty_cache_and_after_clear(home: Home, emr: Commands) -> None:
    home.configure(QUIET)
    home.secret()
    with listening() as sock, router(home, sock):
        shown = emr("cache", "stats")
        assert shown.code == 0
        assert shown.err == "0 texts found, 0 not; scope shared\n"
        header, row = shown.out.splitlines()
        assert header.split() == ["store", "vectors", "bytes", "room", "hits", "evicted"]
        assert row.split() == ["memory", "0", "0", str(64 << 20), "0", "0"]
        told = json.loads(emr("cache", "stats", "--json").out)
        assert (told["enabled"], told["memory"]["entries"]) == (True, 0)
        cleared = emr("cache", "clear")
        assert (cleared.code, cleared.err) == (0, "Cleared: 0 vectors in memory.\n")
        assert json.loads(emr("cache", "clear", "--json").out) == {"cleared": {"memory": 0}}


def test_a_cache_that_is_switched_off(home: Home, emr: Commands) -> None:
    home.configure(OFF)
    home.secret()
    with listening() as sock, router(home, sock):
        assert "switched off" in emr("cache", "stats").err
        assert "nothing to clear" in emr("cache", "clear").err
        assert json.loads(emr("cache", "stats", "--json").out) == {"enabled": False}


def test_a_cache_on_disk_and_its_trouble(home: Home, emr: Commands) -> None:
    home.configure(QUIET + '\n[cache]\npath = "~/vectors.db"\n')
    home.secret()
    (home.places.home / "vectors.db").write_bytes(b"something else " * 100)
    (home.places.home / "vectors.db").chmod(0o600)
    with listening() as sock, router(home, sock):
        cleared = emr("cache", "clear")  # whose turn comes when the file was opened, or was not
        assert cleared.code == 1
        assert "memory was cleared, but not the cache on disk" in cleared.err
        shown = emr("cache", "stats")
        assert shown.code == 1
        assert "vectors.db: it is no SQLite database" in shown.err
        assert [line.split()[0] for line in shown.out.splitlines()] == ["store", "memory", "disk"]


def test_a_wrong_secret_is_told(home: Home, emr: Commands) -> None:
    home.configure(QUIET)
    home.secret()
    with listening() as sock, router(home, sock):
        refused = emr("cache", "stats", "--admin-secret", "wrong")
        assert refused.code == 1
        assert "--admin-secret" in refused.err


def test_without_a_server_there_is_no_cache(home: Home, emr: Commands) -> None:
    home.configure(QUIET)
    home.secret()
    refused = emr("cache", "stats")
    assert refused.code == 1
    assert "no emr answers" in refused.err


def test_a_test_of_a_provider_without_a_server_leaves_the_file_alone(
    home: Home, emr: Commands
) -> None:
    home.configure(QUIET + '\n[cache]\npath = "~/vectors.db"\n')
    home.secret()
    assert emr("providers", "add", "--name", "v", "--type", "voyage").code == 0
    assert emr("providers", "test", "v").code == 1, "it has no key"
    assert not (home.places.home / "vectors.db").exists()


# what doctor finds

CONFIGURED = '[cache]\npath = "~/deep/vectors.db"\n'


def test_doctor_says_nothing_of_a_file_that_nobody_wants(site: Site, home: Home) -> None:
    for text in ("", CONFIGURED + "max_disk_bytes = 0\n"):
        assert list(checks.check(configured(site, home, text))) == []


def test_doctor_looks_at_the_file(site: Site, home: Home) -> None:
    configured(site, home, CONFIGURED)
    path = home.places.home / "deep" / "vectors.db"
    assert "not there yet" in only(checks.check(site), "cache").message
    DiskWriter(path, 1 << 20).close()
    before = path.read_bytes()
    found = only(checks.check(site), "cache")
    assert (found.level, found.message) == (Level.OK, f"{path} can be used (0 MiB)")
    assert path.read_bytes() == before
    path.write_bytes(b"something else " * 100)
    found = only(checks.check(site), "cache")
    assert (found.level, "no SQLite database" in found.message) == (Level.WARNING, True)


def test_doctor_finds_a_file_of_another_program(site: Site, home: Home) -> None:
    configured(site, home, CONFIGURED)
    path = home.places.home / "deep" / "vectors.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (a)")
        other.commit()
    found = only(checks.check(site), "cache")
    assert (found.level, "another program" in found.message) == (Level.WARNING, True)


def test_doctor_finds_a_folder_that_cannot_be_written(
    site: Site, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(site, home, CONFIGURED)
    monkeypatch.setattr(checks.os, "access", lambda path, mode: path != home.places.home)
    found = only(checks.check(site), "cache")
    assert (found.level, "cannot be written" in found.message) == (Level.WARNING, True)


@pytest.mark.parametrize("value", [None, [], "text"])
def test_an_answer_of_something_else_is_trouble(value: object) -> None:
    with pytest.raises(Exception, match="not one of emr's"):
        cache._fields(value)
