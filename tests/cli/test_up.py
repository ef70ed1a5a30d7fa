"""`emr up` and `emr down`, with a program in docker's place that keeps one container in a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from emr.cli import docker, up
from tests.cli.parts import QUIET, Commands, Home, at, free_port, listening, router

# answers as docker does; every line that it was called with is kept in `calls`
DOCKER = """#!/bin/sh
cd "$(dirname "$0")"
for word in "$@"; do printf '%s\\n' "$word"; done >>calls
echo . >>calls
case "$1 $2" in
"version "*) cat daemon 2>/dev/null && exit 0; echo "Cannot connect to the daemon." >&2; exit 1 ;;
"image inspect") [ -e image ] ;;
"container inspect") cat state 2>/dev/null ;;
"run "*) [ ! -e refuses ] || { echo "port is taken" >&2; exit 125; }
    if [ -e ends ]; then echo exited >state; else echo running >state; fi ;;
"stop "* | "kill "*) echo exited >state ;;
"rm "*) rm state ;;
"port "*) echo "127.0.0.1:3200" ;;
"logs "*) echo "its last words" ;;
*) exit 64 ;;
esac
"""


class Fake:
    """The program and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "docker"
        program.write_text(DOCKER)
        program.chmod(0o755)
        self.has("daemon", "28.0")
        self.has("image")

    def has(self, name: str, text: str = "") -> None:
        """Put a file beside the program: what it goes by."""
        (self.folder / name).write_text(f"{text}\n")

    def calls(self) -> list[list[str]]:
        """What it was called with."""
        return [each.split("\n")[:-1] for each in (self.folder / "calls").read_text().split(".\n")]

    def ran(self, verb: str) -> list[str]:
        """The arguments of its one call of that kind."""
        (call,) = [each for each in self.calls() if each and each[0] == verb]
        return call


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return Fake(folder)


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long in a test."""
    monkeypatch.setattr(up, "WAIT_S", 0.3)
    monkeypatch.setattr(up, "LOOK_EVERY_S", 0.02)


def test_up_starts_what_down_ends(home: Home, emr: Commands, fake: Fake) -> None:
    home.configure(QUIET)
    with listening() as sock, router(home, sock):
        port = at(sock).port
        config = home.places.here / "config.toml"
        config.chmod(0o644)
        told = emr("up", "--port", str(port), "--config", "config.toml")
    assert (told.code, told.out) == (0, f"emr is up at http://127.0.0.1:{port}\n"), told.err
    secret = home.places.env_file
    assert secret.read_text().startswith("EMR_ADMIN_SECRET=")
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.read_text().partition("=")[2].strip() not in told.out + told.err
    called = fake.ran("run")
    assert called[-1] == "emr:latest"
    for one, two in (
        ("--name", "emr"), ("--env-file", str(secret)), ("--publish", f"127.0.0.1:{port}:3200"),
        ("-v", f"{config.resolve()}:/app/config.toml:ro"), ("--cap-drop", "ALL"),
    ):  # fmt: skip
        assert called[called.index(one) + 1] == two
    assert "--read-only" in called
    assert emr("up").err == "The container emr runs already: 127.0.0.1:3200\n"
    told = emr("down", "--timeout", "7")
    assert (told.code, told.out) == (0, "The container emr is stopped and removed.\n")
    assert fake.ran("stop") == ["stop", "-t", "7", "emr"]
    assert emr("down").out == "There is no container emr.\n"


def test_down_by_force(emr: Commands, fake: Fake) -> None:
    fake.has("state", "running")
    assert emr("down", "--force").code == 0
    assert fake.ran("kill") == ["kill", "emr"]
    fake.has("state", "exited")
    assert emr("down").code == 0
    assert len([call for call in fake.calls() if call and call[0] in ("kill", "stop")]) == 1


@pytest.mark.usefixtures("hurry")
def test_up_takes_the_place_of_a_container_that_ended(emr: Commands, fake: Fake) -> None:
    fake.has("state", "exited")
    fake.has("ends")
    told = emr("up", "--port", str(free_port()))
    assert told.code == 1
    assert fake.ran("rm") == ["rm", "emr"]
    assert "the container ended" in told.err
    assert "its last words" in told.err


@pytest.mark.usefixtures("hurry")
def test_up_says_why_it_is_not_healthy(
    emr: Commands, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = emr("up", "--port", str(free_port()))
    assert told.code == 1
    assert "nothing listens at" in told.err
    fake.has("state", "exited")

    def down(*_: Any, **__: Any) -> up.knock.Answer:
        return up.knock.Answer(503, json.dumps({"status": "down"}).encode())

    monkeypatch.setattr(up.knock, "get", down)
    assert "no provider can be used" in emr("up", "--port", "3999").err


def test_an_env_file_that_is_there_stays(emr: Commands, fake: Fake, tmp_path: Path) -> None:
    fake.has("refuses")
    file = tmp_path / "mine.env"
    file.write_text("EMR_ADMIN_SECRET=mine\n")
    told = emr("up", "--env-file", str(file))
    assert (told.code, told.err) == (1, "emr: docker run failed: port is taken\n")
    assert file.read_text() == "EMR_ADMIN_SECRET=mine\n"
    assert str(file) in fake.ran("run")


def test_without_docker_it_says_so(
    emr: Commands, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fake.folder / "image").unlink()
    assert "`docker build -t emr:latest .`" in emr("up").err
    (fake.folder / "daemon").unlink()
    for command in ("up", "down"):
        told = emr(command)
        assert told.code == 1
        assert told.err.startswith("emr: Docker does not answer: Cannot connect to the daemon.;")
    monkeypatch.setattr(docker, "PROGRAMS", ("docker-that-is-not-there",))
    for command in ("up", "down"):
        assert emr(command).err.startswith("emr: Docker is not installed")


def test_a_program_that_never_ends_is_not_waited_for(
    emr: Commands, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fake.folder / "docker").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(docker.Docker.ask, "__kwdefaults__", {"seconds": 0.1})
    told = emr("down")
    assert told.code == 1
    assert "does not end" in told.err


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_ports_that_there_are_not(emr: Commands, fake: Fake, port: str) -> None:
    assert emr("up", "--port", port).code == 2
    assert not (fake.folder / "calls").exists()


def test_what_up_and_down_refuse(emr: Commands, fake: Fake, tmp_path: Path) -> None:
    assert emr("down", "--timeout", "-1").code == 2
    missing = tmp_path / "missing.toml"
    assert f"{missing} cannot be read" in emr("up", "--config", str(missing)).err
    missing.write_text("")
    missing.chmod(0o600)
    assert f"chmod o+r {missing}" in emr("up", "--config", str(missing)).err
    assert not (fake.folder / "calls").exists()
