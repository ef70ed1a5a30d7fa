"""A GET by hand: against a server that answers well, badly, slowly and not at all."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emr.cli.ask import knock
from emr.cli.ask.address import Address
from tests.cli.parts import PATIENCE_S, at, free_port, listening

GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}"
Script = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(script: Script, sock: socket.socket) -> Iterator[list[bytes]]:
    """A server for one connection: reads a head, then does what the script says."""
    heads: list[bytes] = []

    def serve() -> None:
        link, _ = sock.accept()
        with link:
            link.settimeout(PATIENCE_S)
            head = b""
            while b"\r\n\r\n" not in head:
                head += link.recv(4096)
            heads.append(head)
            with contextlib.suppress(OSError):  # the client may leave first
                script(link)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield heads
    finally:
        thread.join(PATIENCE_S)
        sock.close()


def answer(data: bytes) -> Script:
    return lambda link: link.sendall(data)


def test_an_answer_whole_and_bytewise() -> None:
    def bytewise(link: socket.socket) -> None:
        for at_ in range(len(GOOD)):
            link.sendall(GOOD[at_ : at_ + 1])

    for script in (answer(GOOD), bytewise):
        with listening() as sock, server(script, sock) as heads:
            address = at(sock)
            assert knock.get(address, "/health/live") == (200, b"{}")
        assert heads == [b"GET /health/live HTTP/1.0\r\nHost: 127.0.0.1:%d\r\n\r\n" % address.port]


def test_the_prefix_of_a_proxy() -> None:
    with listening() as sock, server(answer(GOOD), sock) as heads:
        knock.get(at(sock)._replace(prefix="/emr"), "/status")
    assert heads[0].startswith(b"GET /emr/status HTTP/1.0\r\n")


def test_a_unix_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        with server(answer(GOOD), sock) as heads:
            address = Address(port=80, socket=str(tmp_path / "s"))
            assert knock.get(address, "/").status == 200
    assert b"\r\nHost: localhost\r\n" in heads[0]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"HTTP/1.1 200 OK\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc x\r\n\r\n", b"HTTP/2 200\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http(data: bytes) -> None:
    with (
        listening() as sock,
        server(answer(data), sock),
        pytest.raises(knock.NoAnswer, match="does not speak HTTP"),
    ):
        knock.get(at(sock), "/")


def test_an_answer_at_the_limit_and_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knock, "ANSWER_MAX", len(GOOD))
    with listening() as sock, server(answer(GOOD), sock):
        assert knock.get(at(sock), "/").body == b"{}"
    monkeypatch.setattr(knock, "ANSWER_MAX", len(GOOD) - 1)
    with (
        listening() as sock,
        server(answer(GOOD), sock),
        pytest.raises(knock.NoAnswer, match="without end"),
    ):
        knock.get(at(sock), "/")


def test_who_takes_the_connection_and_says_nothing() -> None:
    done = threading.Event()
    with listening() as sock, server(lambda link: done.wait(PATIENCE_S) and None, sock):
        with pytest.raises(knock.NoAnswer, match="takes too long"):
            knock.get(at(sock), "/", timeout_s=0.05)
        done.set()


def test_nobody(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(knock.Nobody, match=f"nothing listens at http://127.0.0.1:{port}: "):
        knock.get(Address(host="127.0.0.1", port=port), "/")
    for name in ("nothing", "file"):
        (tmp_path / "file").touch()
        with pytest.raises(knock.Nobody):
            knock.get(Address(socket=str(tmp_path / name)), "/")
