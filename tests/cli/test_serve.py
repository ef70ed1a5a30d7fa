"""`emr serve` as a real process: its first start, its second, its signals, and what it refuses."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from emr.cli.ask import knock
from tests.cli.parts import (
    PATIENCE_S,
    QUIET,
    ROOT,
    SECRET,
    Process,
    address_in,
    at,
    environment,
    listening,
)

ANY_PORT = ("--bind", "127.0.0.1:0")


class Manager:
    """A service manager's end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE_S)
        self.path = folder / "notify"
        self._socket.bind(str(self.path))

    def told(self) -> list[str]:
        """The lines of the next datagram."""
        return self._socket.recv(4096).decode().split("\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def run_curl_of(welcome: str) -> dict[str, Any]:
    """Run the printed curl line in sh; the answer."""
    lines = [line.strip() for line in welcome.splitlines() if line.strip().startswith("curl ")]
    assert len(lines) == 1, welcome
    told = subprocess.run(
        ["sh", "-c", lines[0].replace("curl -s", "curl -s -w '\\n%{http_code}'", 1)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    body, _, code = told.stdout.rpartition("\n")
    assert code == "200", body
    answer: dict[str, Any] = json.loads(body)
    return answer


def test_the_first_start_and_the_second(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    own = folder / ".config" / "emr"
    old_umask = os.umask(0)  # modes must not depend on it
    try:
        with Process(tmp_path / "run", "serve", *ANY_PORT, home=folder) as first:
            welcome = first.welcome()
            assert f"made, and written to {own / '.env'}" in welcome
            assert f"caller key    {own / 'first-key'}" in welcome
            assert '"text-embedding-3-small" = "local/wordllama-256"' in welcome
            assert f"dashboard     {address_in(welcome)}/" in welcome
            for path in (own / ".env", own / "first-key", *own.glob("emr.db*")):
                assert mode_of(path) == 0o600, path
            assert mode_of(own) == 0o700
            answer = run_curl_of(welcome)
            assert len(answer["data"][0]["embedding"]) == 256
            secret = (own / ".env").read_text()
            key = (own / "first-key").read_text()
            assert key.strip() not in welcome
            assert secret.strip().partition("=")[2] not in welcome
            assert first.end(signal.SIGTERM) == 0
    finally:
        os.umask(old_umask)
    with Process(tmp_path / "run", "serve", *ANY_PORT, home=folder) as second:
        welcome = second.welcome()
        assert f"admin secret  {own / '.env'}" in welcome
        assert len(run_curl_of(welcome)["data"][0]["embedding"]) == 256
        assert ((own / ".env").read_text(), (own / "first-key").read_text()) == (secret, key)
        assert second.end(signal.SIGINT) == 0


def test_under_a_service_manager_nothing_is_made(tmp_path: Path, manager: Manager) -> None:
    env = {"INVOCATION_ID": "1", "NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "60000000"}
    config = tmp_path / "quiet.toml"
    config.write_text(QUIET)
    with Process(tmp_path / "home", "serve", *ANY_PORT, "--config", str(config), env=env) as emr:
        welcome = emr.welcome()
        assert "admin secret  none: set EMR_ADMIN_SECRET" in welcome
        assert "curl" not in welcome
        own = tmp_path / "home" / ".config" / "emr"
        assert sorted(path.name for path in own.iterdir()) == [
            "emr.db", "emr.db-shm", "emr.db-wal", "emr.db.lock",
        ]  # fmt: skip
        ready = manager.told()
        assert ready == ["READY=1", f"STATUS=serving at {address_in(welcome)}"]
        assert manager.told() == ["WATCHDOG=1"]
        # a bad file changes nothing, and the log says why
        config.write_text(QUIET + "[server]\nkeepalive_ms = -1\n")
        emr.process.send_signal(signal.SIGHUP)
        assert [line.partition("=")[0] for line in manager.told()] == [
            "RELOADING", "MONOTONIC_USEC",
        ]  # fmt: skip
        assert manager.told() == ["READY=1"]
        assert f"{config}:7: server.keepalive_ms: must be" in emr.said()
        assert knock.get(address_in(welcome), "/health/live").status == 200
        # a good one does
        config.write_text(QUIET.replace('"far"', '"farther"'))
        emr.process.send_signal(signal.SIGHUP)
        manager.told()
        manager.told()
        told = json.loads(knock.get(address_in(welcome), "/health").body)
        assert told["providers"] == ["farther"]
        assert emr.process.send_signal(signal.SIGTERM) is None
        assert manager.told() == ["STOPPING=1", "STATUS=finishing what was taken"]
        assert emr.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(("host", "scope"), [("127.0.0.1", "shared"), ("0.0.0.0", "key")])
def test_sockets_of_the_manager_count_as_binds(tmp_path: Path, host: str, scope: str) -> None:
    (tmp_path / "config.toml").write_text(QUIET)
    env = {"EMR_ADMIN_SECRET": SECRET, "EMR_CONFIG": str(tmp_path / "config.toml")}
    with (
        socket.create_server((host, 0)) as handed,
        Process(tmp_path / "home", "serve", env=env, handed=handed) as emr,
    ):
        emr.welcome()
        place = f"{host}:{handed.getsockname()[1]}"
        assert (f"listening on {place} without TLS" in emr.said()) is (scope == "key")
        url = f"http://127.0.0.1:{handed.getsockname()[1]}/admin"
        asked = {"Authorization": f"Bearer {SECRET}"}
        with httpx.Client(headers=asked, timeout=PATIENCE_S, trust_env=False) as client:
            assert client.get(f"{url}/cache").json()["scope"] == scope
            told = client.get(f"{url}/config").json()
            assert told["server"]["bind"] == place
            assert told["sources"]["server"]["bind"] == "sockets of the service manager"
            assert client.post(f"{url}/reload").json()["changed"] == []


def test_a_database_in_use_a_port_in_use_and_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    config = tmp_path / "home" / "config.toml"
    config.write_text(QUIET)
    env = {"EMR_ADMIN_SECRET": SECRET}
    with Process(tmp_path / "home", "serve", *ANY_PORT, env=env) as first:
        address = address_in(first.welcome())
        with Process(tmp_path / "home", "serve", *ANY_PORT, env=env) as second:
            assert second.process.wait(PATIENCE_S) == 1
            said = second.said()
            assert f"process {first.process.pid} uses the database" in said
            assert f"its API is at {address}" in said
        other = ("--database", str(tmp_path / "other.db"))
        bind = f"127.0.0.1:{address.port}"
        with Process(tmp_path / "home", "serve", "--bind", bind, *other, env=env) as third:
            assert third.process.wait(PATIENCE_S) == 1
            assert third.said().startswith(f"emr: cannot listen on {bind}: it is in use")
            assert third.said().count("\n") == 1
        config.write_text("[server]\nbind = 1\n[cache]\nscope = 2\n")
        with Process(tmp_path / "home", "serve", *other, env=env) as fourth:
            assert fourth.process.wait(PATIENCE_S) == 1
            assert "config.toml:2: server.bind: " in fourth.said()
            assert "config.toml:4: cache.scope: " in fourth.said()
        assert first.end(signal.SIGTERM) == 0


def test_what_an_operator_should_know_is_logged(tmp_path: Path) -> None:
    """An unknown name in the file, and a bind that others reach without TLS."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text("[serve]\n" + QUIET)
    env = {"EMR_ADMIN_SECRET": SECRET, "EMR_LOG_FORMAT": "json"}
    with Process(tmp_path / "home", "serve", "--bind", "0.0.0.0:0", env=env) as emr:
        assert "dashboard     http://127.0.0.1:" in emr.welcome()
        assert emr.end(signal.SIGTERM) == 0
        warnings = [line for line in map(json.loads, emr.said().splitlines())
                    if line["level"] == "warning"]  # fmt: skip
    assert [line["message"].partition(";")[0] for line in warnings] == [
        "config.toml:1: unknown section serve",
        "listening on 0.0.0.0:0 without TLS: keys and texts cross the network in the clear",
    ]
    assert SECRET not in emr.said()


def unwritable(tmp_path: Path) -> Path:
    """A home in which nothing can be made, for root too: it is a file."""
    home = tmp_path / "file"
    home.write_text("")
    return home


def test_a_home_that_cannot_be_written_ends_it_without_a_terminal(tmp_path: Path) -> None:
    with Process(tmp_path / "run", "serve", *ANY_PORT, home=unwritable(tmp_path)) as emr:
        assert emr.process.wait(PATIENCE_S) == 1
        database = tmp_path / "file" / ".config" / "emr" / "emr.db"
        assert emr.said().startswith(f"emr: database.path {database}: ")


def test_a_first_start_that_fails_is_still_the_first(tmp_path: Path) -> None:
    database = ("--database", str(tmp_path / "emr.db"))
    with Process(tmp_path / "run", "serve", *ANY_PORT, *database, home=unwritable(tmp_path)) as emr:
        assert emr.process.wait(PATIENCE_S) == 1
        assert "nothing can be kept at" in emr.said()
    (tmp_path / "home").mkdir()
    with Process(tmp_path / "run", "serve", *ANY_PORT, *database, home=tmp_path / "home") as emr:
        assert len(run_curl_of(emr.welcome())["data"][0]["embedding"]) == 256


def test_a_home_that_cannot_be_written_is_served_from_memory_on_a_terminal(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "emr", "serve", *ANY_PORT], cwd=tmp_path,
        env=environment(unwritable(tmp_path)), stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    try:
        text = ""
        while "text-embedding-3-small" not in text:
            assert select.select([master], [], [], PATIENCE_S)[0], text
            text += os.read(master, 65_536).decode().replace("\r", "")
        assert "serving from memory: keys are lost at the end" in text
        assert "(in memory only: write it down)" in text
        assert len(run_curl_of(text)["data"][0]["embedding"]) == 256
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        os.close(master)


def test_a_key_that_is_gone_is_not_shown(tmp_path: Path) -> None:
    own = tmp_path / "home" / ".config" / "emr"
    own.mkdir(parents=True)
    (tmp_path / "home" / "config.toml").write_text(QUIET)
    (own / "first-key").touch(0o600)
    (own / "first-key").write_text("emr_" + "a" * 32 + "\n")
    env = {"EMR_ADMIN_SECRET": SECRET}
    with Process(tmp_path / "home", "serve", *ANY_PORT, env=env) as emr:
        welcome = emr.welcome()
        assert "first-key" not in welcome
        assert emr.end(signal.SIGTERM) == 0


def test_a_request_in_flight_is_finished_at_a_stop(tmp_path: Path, manager: Manager) -> None:
    """The provider answers only after SIGTERM was heeded: the caller still gets its vector."""
    provider = listening()
    provider.settimeout(PATIENCE_S)
    (tmp_path / "home").mkdir()
    text = QUIET.replace("127.0.0.1:9", f"127.0.0.1:{at(provider).port}")
    (tmp_path / "home" / "config.toml").write_text(text)
    env = {"EMR_ADMIN_SECRET": SECRET, "NOTIFY_SOCKET": str(manager.path)}
    with provider, Process(tmp_path / "home", "serve", *ANY_PORT, env=env) as emr:
        address = address_in(emr.welcome())
        manager.told()
        made = subprocess.run(
            [sys.executable, "-m", "emr", "keys", "create", "--name", "a",
             "--server", str(address)],
            env=environment(tmp_path / "home", env), cwd=ROOT, capture_output=True, text=True,
            timeout=PATIENCE_S, check=True,
        )  # fmt: skip
        key = made.stdout.strip()
        with socket.create_connection((address.host, address.port), PATIENCE_S) as caller:
            body = b'{"input":"x"}'
            caller.sendall(
                b"POST /v1/embeddings HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
            )
            called, _ = provider.accept()
            with called:
                emr.process.send_signal(signal.SIGTERM)
                assert manager.told()[0] == "STOPPING=1"
                called.recv(65_536)
                reply = (
                    b'{"object":"list","model":"m","data":[{"index":0,"embedding":[0.5,0.25]}],'
                    b'"usage":{"prompt_tokens":1,"total_tokens":1}}'
                )
                called.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
                               % (len(reply), reply))  # fmt: skip
                answer = b""
                while part := caller.recv(65_536):
                    answer += part
        assert b" 200 " in answer.split(b"\r\n")[0]
        assert b"[0.5,0.25]" in answer
        assert emr.process.wait(PATIENCE_S) == 0
