"""Who is asked: the named server, what answers by default, the lock's holder, the store itself."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from emr.cli.ask import own, whom
from emr.cli.ask.address import Address
from emr.control.lockfile import Lock, take_lock
from tests.cli.parts import (
    PATIENCE_S,
    QUIET,
    SECRET,
    Commands,
    Home,
    at,
    free_port,
    listening,
    router,
)
from tests.support.certificates import AUTHORITY, EXPIRED, GOOD

CREATE = ("keys", "create", "--name", "app")
LIST = ("keys", "list", "--json")


@pytest.fixture
def default(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket that listens at the default address."""
    with listening() as sock:
        home.default = at(sock)
        monkeypatch.setattr(whom, "DEFAULT", home.default)
        yield sock


class Other(BaseHTTPRequestHandler):
    """Another program than emr."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"uptime_seconds":1}')

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def other(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another program at the default address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Other)
    home.default = Address(host="127.0.0.1", port=server.server_address[1])
    monkeypatch.setattr(whom, "DEFAULT", home.default)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield
    server.shutdown()
    thread.join(PATIENCE_S)
    server.server_close()


def test_nobody_runs_and_the_store_is_used(home: Home, emr: Commands) -> None:
    made = emr(*CREATE)
    assert made.code == 0
    assert made.out.startswith("emr_")
    assert made.out.count("\n") == 1
    assert f"emr: no server runs: working on {home.database} itself\n" in made.err
    assert [key["name"] for key in json.loads(emr(*LIST).out)] == ["app"]
    for path in home.places.folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_named_server_is_asked(home: Home, emr: Commands) -> None:
    home.configure(QUIET)
    home.secret()
    with listening() as sock, router(home, sock) as address:
        assert emr(*CREATE, "--server", str(address)).code == 0
        told = emr(*LIST, "--server", str(address))
        assert [key["name"] for key in json.loads(told.out)] == ["app"]
        assert told.err == ""


def test_a_named_server_that_is_not_there_is_an_error(home: Home, emr: Commands) -> None:
    home.secret()
    address = f"http://127.0.0.1:{free_port()}"
    told = emr(*CREATE, "--server", address)
    assert told.code == 1
    assert told.err.startswith(f"emr: no emr can be reached at {address}: ")
    assert not home.database.exists()


@pytest.mark.parametrize("text", ["ftp://x", "http://u:secret@h"])
def test_a_server_that_is_no_address_is_wrong_use(emr: Commands, text: str) -> None:
    assert emr(*CREATE, "--server", text).code == 2


def test_a_named_server_without_tls_elsewhere_is_told(
    home: Home, emr: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.secret()

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no test leaves this machine")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    told = emr(*CREATE, "--server", "http://emr.test")
    assert told.err.startswith("emr: http://emr.test has no TLS: ")


def test_what_answers_at_the_default_address_is_asked(
    home: Home, emr: Commands, default: socket.socket
) -> None:
    home.configure(QUIET)
    home.secret()
    with router(home, default):
        told = emr(*LIST)
        assert (told.code, told.err) == (0, "")


def test_a_wrong_secret_is_an_error_and_never_gone_round(
    home: Home, emr: Commands, default: socket.socket
) -> None:
    home.configure(QUIET)
    home.secret("another")
    with router(home, default) as address:
        told = emr(*CREATE)
        assert told.code == 1
        assert told.out == ""
        used = f"{address} refuses the admin secret from {home.places.env_file}: "
        assert told.err.startswith(f"emr: {used}")
        told = emr(*CREATE, "--admin-secret", "wrong")
        assert "the admin secret from --admin-secret" in told.err
        assert "wrong" not in told.err.replace("the admin secret is wrong", "")
    assert json.loads(emr(*LIST).out) == []


def test_without_a_secret_it_is_said_where_one_is_looked_for(
    home: Home, emr: Commands, default: socket.socket
) -> None:
    home.configure(QUIET)
    with router(home, default):
        told = emr(*CREATE)
    assert told.code == 1
    for place in ("EMR_ADMIN_SECRET", home.places.env_file, home.places.system_secret):
        assert str(place) in told.err


def test_the_secret_of_a_service_is_roots(
    home: Home, emr: Commands, default: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.configure(QUIET)
    home.places.system_secret.parent.mkdir()
    home.places.system_secret.touch(0o600)
    home.places.system_secret.write_text(SECRET)
    with router(home, default):
        assert emr(*CREATE).code == 0
        hidden = home.places.system_secret
        monkeypatch.setattr(os, "access", lambda path, mode, **more: path != hidden)
        told = emr(*CREATE)
        assert (told.code, "there is no admin secret" in told.err) == (1, True)
    assert emr("config", "validate").code == 0


def test_a_secret_that_others_can_read_is_refused(
    home: Home, emr: Commands, default: socket.socket
) -> None:
    home.configure(QUIET)
    home.secret()
    home.places.env_file.chmod(0o644)
    with router(home, default):
        told = emr(*CREATE)
    assert (told.code, f"chmod 600 {home.places.env_file}" in told.err) == (1, True)


def test_the_holder_of_the_lock_is_asked_where_it_is(home: Home, emr: Commands) -> None:
    home.configure(QUIET)
    home.secret()
    with listening() as sock, router(home, sock) as address:
        assert emr(*CREATE).code == 0
        assert json.loads(emr("status", "--json").out)["address"] == str(address)
        told = emr(*CREATE, "--admin-secret", "wrong")
        assert (told.code, str(address) in told.err) == (1, True)
    assert len(json.loads(emr(*LIST).out)) == 1


def test_a_unix_socket(home: Home, emr: Commands, tmp_path: Path) -> None:
    home.configure(QUIET)
    home.secret()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        with router(home, sock) as address:
            assert str(address) == f"unix:{tmp_path / 's'}"
            assert emr(*CREATE).code == 0
            assert emr(*CREATE, "--server", str(address)).code == 0
            assert emr("health", "--live", "--server", str(address)).code == 0


def test_another_program_at_the_default_address(home: Home, emr: Commands, other: None) -> None:
    for command in (CREATE, ("status",)):
        told = emr(*command)
        assert told.code == 1
        assert told.err == (
            f"emr: what answers at {home.default} is not an emr; say where yours is with --server\n"
        )
    assert not home.database.exists()
    home.configure(QUIET)
    with listening() as sock, router(home, sock) as address:
        assert emr(*CREATE).err == (
            f"emr: what answers at {home.default} is not an emr; yours is at {address}: say so"
            " with --server\n"
        )


def test_a_program_that_does_not_answer_at_the_default_address(
    home: Home, emr: Commands, default: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whom, "KNOCK_S", 0.05)
    told = emr(*CREATE)
    assert told.code == 1
    assert f"{home.default} does not answer as emr does: it takes too long" in told.err


# another command, and a server that starts


def test_another_command_is_waited_for(
    home: Home, emr: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = take_lock(home.database)
    monkeypatch.setattr(own, "take_lock", partial(take_lock, sleep=lambda seconds: lock.release()))
    assert emr(*CREATE).code == 0


def test_another_command_that_does_not_end(
    home: Home, emr: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = take_lock(home.database)
    monkeypatch.setattr(own, "take_lock", partial(take_lock, wait_s=0.0))
    told = emr(*CREATE)
    lock.release()
    assert told.code == 1
    assert "uses the database" in told.err


def test_a_server_that_starts_is_waited_for_and_asked(
    home: Home, emr: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    lock: Lock = take_lock(home.database)
    home.secret()

    def starts(seconds: float) -> None:
        lock.announce(address)

    monkeypatch.setattr(own, "take_lock", partial(take_lock, sleep=starts))
    told = emr(*CREATE)
    lock.release()
    assert f"no emr can be reached at {address}" in told.err


def test_nothing_runs_for_a_command_that_needs_a_server(home: Home, emr: Commands) -> None:
    for command in (("status",), ("health",), ("health", "--live"), ("embed",)):
        told = emr(*command)
        assert told.code == 1
        assert told.err.startswith(
            f"emr: no emr answers at {home.default}, and none uses {home.database}: start one"
        )


def test_a_database_in_memory_has_only_its_server(home: Home, emr: Commands) -> None:
    home.configure('[database]\npath = ":memory:"\n')
    told = emr(*CREATE)
    assert (told.code, "database.path is :memory:" in told.err) == (1, True)


def test_a_bad_configuration_is_told(home: Home, emr: Commands) -> None:
    home.configure("[server]\nbind = 1\n")
    told = emr(*CREATE)
    assert (told.code, "config.toml:2: server.bind: " in told.err) == (1, True)


def test_the_configuration_that_is_named(home: Home, emr: Commands, tmp_path: Path) -> None:
    config = tmp_path / "other.toml"
    config.write_text(f'[database]\npath = "{tmp_path / "other.db"}"\n')
    assert emr(*CREATE, "--config", str(config)).code == 0
    assert (tmp_path / "other.db").exists()
    assert not home.database.exists()


# TLS


def certificate(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def with_tls(home: Home, cert: Path, more: str = "") -> None:
    home.configure(f'[server]\ntls_cert = "{cert}"\ntls_key = "{cert}"\n{more}{QUIET}')
    home.secret()


def test_a_certificate_is_checked_by_the_named_ca(
    home: Home, emr: Commands, tmp_path: Path
) -> None:
    ca = certificate(tmp_path, "ca.pem", AUTHORITY)
    with_tls(home, certificate(tmp_path, "good.pem", GOOD))
    with listening() as sock, router(home, sock) as address:
        assert emr(*CREATE, "--server", str(address), "--ca", str(ca)).code == 0
        assert emr("health", "--server", str(address), "--ca", str(ca)).code == 0
        named = str(address).replace("127.0.0.1", "localhost")
        assert emr("status", "--server", named, "--ca", str(ca)).code == 0
        for command in (CREATE, ("status",)):
            told = emr(*command, "--server", str(address))
            assert told.code == 1
            assert "certificate verify failed" in told.err
        told = emr(*CREATE, "--server", str(address), "--ca", str(tmp_path / "none"))
        assert told.err == f"emr: --ca {tmp_path / 'none'}: No such file or directory\n"
    assert len(json.loads(emr(*LIST).out)) == 1


def test_by_its_lock_a_server_must_show_its_own_certificate(
    home: Home, emr: Commands, tmp_path: Path
) -> None:
    """Found by the lock it may have any name and any CA, but must be the very certificate."""
    cert = certificate(tmp_path, "cert.pem", GOOD)
    with_tls(home, cert)
    with listening() as sock, router(home, sock):
        assert emr(*CREATE).code == 0
        cert.write_text(EXPIRED)  # as if another had the port: signed by the same authority
        told = emr(*CREATE)
        assert (told.code, "certificate verify failed" in told.err) == (1, True)
        cert.write_text("none")
        assert "no certificate in it" in emr(*CREATE).err
        cert.write_text(GOOD)
        assert len(json.loads(emr(*LIST).out)) == 1


def test_a_server_with_tls_at_the_default_address_is_found_by_its_lock(
    home: Home, emr: Commands, tmp_path: Path, default: socket.socket
) -> None:
    with_tls(home, certificate(tmp_path, "good.pem", GOOD))
    with router(home, default) as address:
        assert json.loads(emr("status", "--json").out)["address"] == str(address)
        assert emr("health", "--live").code == 0


def test_a_server_that_asks_for_a_certificate_gets_one(
    home: Home, emr: Commands, tmp_path: Path
) -> None:
    ca = certificate(tmp_path, "ca.pem", AUTHORITY)
    cert = certificate(tmp_path, "good.pem", GOOD)
    with_tls(home, cert, f'client_ca = "{ca}"\n')
    with listening() as sock, router(home, sock):
        assert emr(*CREATE, "--client-cert", str(cert)).code == 0
        assert emr("status", "--client-cert", str(cert)).code == 0
        assert emr(*CREATE).code == 1
        told = emr(*CREATE, "--client-cert", str(ca))
        assert told.err == f"emr: --client-cert {ca}: not a PEM file of that kind\n"


def test_the_secret_is_not_in_the_namespace_of_the_command(home: Home) -> None:
    """A secret is printed by no repr of what holds it."""
    home.secret()
    from argparse import Namespace

    assert SECRET not in repr(whom.admin_secret(Namespace(admin_secret=None)))
