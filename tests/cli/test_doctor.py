"""`emr doctor`: each check with a machine that is well, and with each thing that can be wrong."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from emr.cli.checks import cache, configuration, network, software, storage
from emr.cli.checks.finding import Level, Site
from emr.control.lockfile import take_lock
from emr.control.migrations import STEPS
from emr.control.store import Store
from tests.cli.parts import QUIET, Commands, Home, at, listening, router
from tests.cli.provider import Provider
from tests.cli.sites import NOBODY, at_free_port, configured, only


def told(emr: Commands, *flags: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit code, and the findings by their check."""
    ran = emr("doctor", "--json", *flags)
    answer = json.loads(ran.out)
    assert answer["ok"] is (ran.code == 0)
    by_check: dict[str, list[dict[str, Any]]] = {}
    for finding in answer["findings"]:
        by_check.setdefault(finding["check"], []).append(finding)
    return ran.code, by_check


# the command


def test_a_machine_that_is_well(home: Home, emr: Commands) -> None:
    with listening() as far:
        home.configure(at_free_port() + QUIET.replace("127.0.0.1:9", f"127.0.0.1:{at(far).port}"))
        home.secret()
        emr("keys", "list")
        code, found = told(emr)
    assert code == 0
    assert {name: [each["level"] for each in found[name]] for name in found} == {
        "python": ["ok"], "packages": ["ok"], "local model": ["ok"], "configuration": ["ok"],
        "clock": ["ok"], "lock": ["ok"], "database": ["ok"], "admin secret": ["ok"],
        "file modes": ["ok"], "port": ["ok"], "reach": ["ok"],
    }  # fmt: skip


def test_as_text(home: Home, emr: Commands) -> None:
    home.configure(at_free_port() + QUIET)  # nothing listens at port 9
    ran = emr("doctor")
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert "warning  admin secret: there is none" in lines
    assert lines[lines.index("warning  admin secret: there is none") + 1].startswith("         -> ")
    assert any(
        line.startswith("problem  reach: far (127.0.0.1): port 9 cannot be") for line in lines
    )
    assert any(line.startswith("ok       python: Python 3.") for line in lines)


def test_nothing_is_changed(home: Home, emr: Commands) -> None:
    home.configure(at_free_port() + QUIET)
    emr("keys", "create", "--name", "a")
    before = {path: path.read_bytes() for path in home.places.folder.iterdir()}
    emr("doctor")
    assert {path: path.read_bytes() for path in home.places.folder.iterdir()} == before


def test_with_a_server_that_runs(home: Home, emr: Commands) -> None:
    home.configure(at_free_port() + QUIET)
    home.secret()
    with listening() as sock, router(home, sock) as address:
        emr("providers", "add", "--name", "v", "--type", "voyage")
        emr("providers", "disable", "v")
        _, found = told(emr)
        assert found["server"][0]["message"] == f"an emr answers at {address}"
        assert f"the server at {address}" in found["lock"][0]["message"]
        assert "port" not in found
        assert found["database"][0]["message"].endswith(f"is whole (schema {len(STEPS)})")


@pytest.mark.parametrize("runs", [True, False])
def test_a_call_to_each_provider(home: Home, emr: Commands, runs: bool) -> None:
    with Provider() as provider, listening() as sock:
        home.configure(at_free_port() + QUIET.replace("http://127.0.0.1:9", provider.url))
        home.secret()
        if runs:
            with router(home, sock):
                code, found = told(emr, "--call")
        else:
            code, found = told(emr, "--call")
        assert code == 0
        assert found["call"][0]["message"].startswith("far: ")
        assert found["call"][0]["message"].endswith("2 dimensions")
        assert len(provider.asked) == 1
        told(emr)
        assert len(provider.asked) == 1
        provider.refuse = lambda texts: (500, {"error": {"message": "sorry"}})
        code, found = told(emr, "--call")
        assert (code, found["call"][0]["message"]) == (1, "far: far answered 500: sorry")


def test_a_call_that_cannot_be_asked_for(home: Home, emr: Commands) -> None:
    home.configure(at_free_port() + QUIET)
    with listening() as sock, router(home, sock):
        code, found = told(emr, "--call")
    assert code == 1
    assert "there is no admin secret" in found["call"][0]["message"]


# software


def test_an_old_python_and_a_missing_package(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "PYTHON_MIN", (99, 0))
    monkeypatch.setattr(software, "PACKAGES", (("no_such_module", "no-such-package"),))
    monkeypatch.setattr("emr.upstream.local.model.is_installed", lambda: False)
    found = list(software.check(site))
    assert [(each.check, each.level) for each in found] == [
        ("python", Level.PROBLEM), ("packages", Level.PROBLEM), ("packages", Level.OK),
        ("local model", Level.WARNING),
    ]  # fmt: skip
    assert "pip install no-such-package" in found[1].remedy
    assert software.version_of("no-such-package") == "(version not known)"


@pytest.mark.parametrize(
    ("now", "level"),
    [
        (software.CLOCK_MIN_S - 1, Level.PROBLEM), (software.CLOCK_MIN_S, Level.OK),
        (software.CLOCK_MAX_S - 1, Level.OK), (software.CLOCK_MAX_S, Level.PROBLEM),
    ],
)  # fmt: skip
def test_the_clock(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: float, level: Level
) -> None:
    monkeypatch.setattr(software, "SYNC", tmp_path / "none")
    monkeypatch.setattr(software.time, "time", lambda: float(now))
    assert only(software.clock(site), "clock").level is level


def test_a_clock_behind_the_database_or_not_yet_set(
    site: Site, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(software, "SYNC", tmp_path)
    assert "not yet set" in only(software.clock(site), "clock").message
    (tmp_path / "synchronized").touch()
    assert only(software.clock(site), "clock").level is Level.OK
    home.places.folder.mkdir(parents=True)
    home.database.touch()
    written = software.CLOCK_MIN_S + 10 * software.FUTURE_S
    os.utime(home.database, (written, written))
    for before, level in ((software.FUTURE_S, Level.OK), (software.FUTURE_S + 1, Level.WARNING)):
        with monkeypatch.context() as patch:
            patch.setattr(software.time, "time", lambda now=written - before: now)
            assert only(software.clock(site), "clock").level is level


# configuration, secrets, modes


def test_a_bad_configuration_and_a_warning(site: Site, home: Home) -> None:
    home.configure("[server]\nbind = 1\nkeepalive_ms = 0\n")
    found = list(configuration.check(site, None))
    assert [each.level for each in found] == [Level.PROBLEM, Level.PROBLEM]
    assert found[0].message.startswith("config.toml:2: server.bind: ")
    home.configure("[serve]\n")
    assert [each.level for each in configuration.check(site, None)] == [Level.OK, Level.WARNING]
    assert only(configuration.check(site, "/nowhere"), "configuration").level is Level.PROBLEM


def test_secrets_that_others_can_read(site: Site, home: Home) -> None:
    home.secret()
    home.places.first_key.touch(0o600)
    home.places.first_key.write_text("emr_x")
    found = list(configuration.admin_secret(site, None))
    assert [(each.check, each.level) for each in found] == [
        ("admin secret", Level.OK), ("first key", Level.OK),
    ]  # fmt: skip
    home.places.env_file.chmod(0o640)
    home.places.first_key.chmod(0o604)
    found = list(configuration.admin_secret(site, None))
    assert [each.level for each in found] == [Level.PROBLEM, Level.PROBLEM]
    assert all("chmod 600" in each.message for each in found)


def test_the_keys_of_providers(site: Site, home: Home) -> None:
    configured(site, home, '[[providers]]\nname = "v"\nprovider_type = "voyage"\n')
    unset = only(configuration.keys(site), "provider key")
    assert (unset.level, unset.message) == (Level.PROBLEM, "v: VOYAGE_API_KEY is not set")
    assert str(home.places.env_file) in unset.remedy
    site.environment = {"VOYAGE_API_KEY": "canary"}
    there = only(configuration.keys(site), "provider key")
    assert (there.level, there.message) == (
        Level.OK, "v: VOYAGE_API_KEY from environment VOYAGE_API_KEY",
    )  # fmt: skip
    site.environment = {"VOYAGE_API_KEY": "two\nlines"}
    assert only(configuration.keys(site), "provider key").level is Level.PROBLEM
    site.environment = {}
    lock = take_lock(home.database)
    lock.announce("http://127.0.0.1:1")
    list(storage.lock(site))
    assert only(configuration.keys(site), "provider key").level is Level.WARNING
    lock.release()


def test_a_provider_that_a_rule_refuses_now(site: Site, home: Home) -> None:
    store = Store(home.database)
    store.run(lambda connection: connection.execute(
        "INSERT INTO providers VALUES ('x', 'gone', '', 'http://x', 'm', 1, '', 0, '{}')"
    ))  # fmt: skip
    store.close()
    list(storage.check(site))
    found = only(configuration.keys(site), "provider")
    assert found.message.startswith("x is not in use: provider_type: is not a type")


@pytest.mark.parametrize("name", ["", ".env", "first-key", "emr.db", "emr.db-wal", "emr.db-shm"])
def test_modes(site: Site, home: Home, name: str) -> None:
    home.places.folder.mkdir(parents=True, mode=0o700)
    path = home.places.folder / name
    right = 0o700 if path.is_dir() else 0o600
    if name:
        path.touch(right)
    path.chmod(right)
    assert only(configuration.modes(site), "file modes").level is Level.OK
    for mode in (right | 0o040, right | 0o004, right | 0o020):
        path.chmod(mode)
        found = only(configuration.modes(site), "file modes")
        assert (found.level, found.remedy) == (Level.WARNING, f"chmod {right:o} {path}")


def test_credentials_of_a_service(home: Home, tmp_path: Path) -> None:
    unit = tmp_path / "emr.service"
    site = Site(home.places, {}, units=(unit,))
    assert list(configuration.service(site)) == []
    unit.touch()
    missing = only(configuration.service(site), "credentials")
    assert (missing.level, "243/CREDENTIALS" in missing.message) == (Level.PROBLEM, True)
    folder = home.places.etc / "credentials"
    folder.mkdir()
    assert only(configuration.service(site), "credentials").level is Level.WARNING
    (folder / "admin_secret").touch()
    assert only(configuration.service(site), "credentials").level is Level.OK
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "emr_admin_secret").touch()
    places = type(home.places)(home.places.home, home.places.etc, credentials=tmp_path / "given")
    inside = only(configuration.service(Site(places, {}, units=(unit,))), "credentials")
    assert inside.message == "of the service manager: emr_admin_secret"


# the database


def test_no_database_yet(site: Site, home: Home, tmp_path: Path) -> None:
    assert "is not there yet" in only(storage.check(site), "database").message
    (tmp_path / "file").touch()
    configured(site, home, f'[database]\npath = "{tmp_path}/file/emr.db"\n')
    found = only(storage.check(site), "database")
    assert (found.level, found.message) == (
        Level.PROBLEM, f"{tmp_path}/file cannot be written",
    )  # fmt: skip
    configured(site, home, '[database]\npath = ":memory:"\n')
    assert only(storage.check(site), "database").level is Level.WARNING
    assert list(storage.lock(site)) == []


def test_a_disk_that_is_nearly_full(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": storage.SPACE_MIN})
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: usage)
    assert only(storage.check(site), "database").level is Level.OK
    usage.free = storage.SPACE_MIN - 1
    assert only(storage.check(site), "database").message.startswith("only 99 MiB are free at ")


def test_a_database_that_is_no_database_or_damaged(site: Site, home: Home) -> None:
    Store(home.database).close()
    whole = home.database.read_bytes()
    home.database.write_bytes(b"x" * len(whole))
    assert only(storage.check(site), "database").level is Level.PROBLEM
    # the first page says where the tables are; the rest is torn
    home.database.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    assert only(storage.check(site), "database").level is Level.PROBLEM
    home.database.write_bytes(whole)
    assert only(storage.check(site), "database").level is Level.OK


def test_a_database_of_another_program_or_of_a_later_emr(site: Site, home: Home) -> None:
    home.places.folder.mkdir(parents=True)
    connection = sqlite3.connect(home.database)
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    assert "belongs to another program" in only(storage.check(site), "database").message
    connection.execute("DROP TABLE t")
    connection.close()
    Store(home.database).close()
    connection = sqlite3.connect(home.database)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "written by a later emr" in only(storage.check(site), "database").message


def test_a_database_that_cannot_be_written(
    site: Site, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(home.database).close()
    real = os.access
    monkeypatch.setattr(
        storage.os, "access", lambda path, mode: path != home.database and real(path, mode)
    )
    found = only(storage.check(site), "database")
    assert (found.level, "cannot be written" in found.message) == (Level.PROBLEM, True)


def test_a_database_that_is_a_link(site: Site, home: Home, tmp_path: Path) -> None:
    home.places.folder.mkdir(parents=True)
    home.database.symlink_to(tmp_path / "elsewhere.db")
    (tmp_path / "elsewhere.db").touch()
    assert "symbolic link" in only(storage.check(site), "database").message


def test_the_lock(site: Site, home: Home) -> None:
    assert only(storage.lock(site), "lock").message == "nobody uses the database"
    lock = take_lock(home.database)
    assert "another command, or a server that still starts" in only(
        storage.lock(site), "lock"
    ).message  # fmt: skip
    lock.announce("http://127.0.0.1:1")
    assert f"process {os.getpid()} uses the database: the server at" in only(
        storage.lock(site), "lock"
    ).message  # fmt: skip
    lock.release()
    lock.path.unlink()
    lock.path.symlink_to("/nowhere")
    assert only(storage.lock(site), "lock").level is Level.WARNING


def test_the_copy_of_the_database_is_gone(site: Site, home: Home, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(storage.tempfile, "tempdir", str(tmp_path / "tmp"))
    Store(home.database).close()
    assert only(storage.check(site), "database").level is Level.OK
    assert list((tmp_path / "tmp").iterdir()) == []
    assert stat.S_IMODE(home.database.stat().st_mode) == 0o600


def test_folders_that_may_not_be_entered_are_findings(
    site: Site, home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As the folders of an installed service are for another user: `Path.exists` raises there."""
    shut = tmp_path / "shut"
    text = f'[database]\npath = "{shut}/emr.db"\n[cache]\npath = "{shut}/vectors.db"\n'
    configured(site, home, text + f'[server]\nbind = "unix:{shut}/emr.sock"\n')
    shut.mkdir()
    real = os.stat

    def stat_of(path: Any, *args: Any, **flags: Any) -> os.stat_result:
        if str(path).startswith(f"{shut}/"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **flags)

    monkeypatch.setattr("os.stat", stat_of)
    monkeypatch.setattr(
        "os.access", lambda path, mode, **flags: not str(path).startswith(str(shut))
    )
    found = [
        *software.clock(site),
        *storage.check(site),
        *cache.check(site),
        *network.ports(site, NOBODY),
    ]
    said = {each.check: each.message for each in found}
    assert said["database"] == said["cache"] == said["port"] == f"{shut} cannot be written"
