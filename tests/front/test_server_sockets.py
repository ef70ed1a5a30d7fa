"""The listener on real sockets: inherited ones, resets, lingering, the last to come, failures."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path

import pytest

from emr.front.entrance import NO_FILES_WAIT_S, Entrance
from emr.front.listener import Listener
from tests.front.cases import fields, post
from tests.support.aio import run
from tests.support.server import Echo, read_answers
from tests.support.sockets import ask, connect, listening

GET = fields()

# Inherited sockets


def test_inherited_sockets(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "emr.sock"
        tcp = socket.create_server(("127.0.0.1", 0))
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(str(path))
        unix.listen()
        listener = Listener(Echo())
        await listener.start([], sockets=[tcp, unix])
        for address in listener.addresses:
            assert await ask(address) == [200]
        assert await listener.drain() == []
        assert path.exists(), "the file of an inherited socket is its owner's"

    run(main())


# How connections end


def test_an_abort_is_seen_as_a_reset() -> None:
    async def main() -> None:
        service = Echo()
        service.is_holding = True
        async with listening("127.0.0.1:0", service=service) as listener:
            reader, writer = await connect(listener.addresses[0])
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            while not service.handled:
                await asyncio.sleep(0)
            service.handled[0].begin(200, [])
            await service.handled[0].send(b"half an answer")
            await reader.readuntil(b"half an answer")
            service.handled[0].abort()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    run(main())


def test_a_refusal_arrives_while_the_client_still_sends() -> None:
    async def main() -> None:
        async with listening("127.0.0.1:0") as listener:
            for _ in range(20):
                reader, writer = await connect(listener.addresses[0])
                writer.write(
                    b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n"
                )
                writer.write(b"x" * 4_000_000)
                answer = await reader.readuntil(b"\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 401 ")
                assert await reader.read() == b"no key"
                writer.close()

    run(main())


def test_the_last_to_come_are_let_in_before_a_drain(tmp_path: Path) -> None:
    async def main() -> None:
        path = f"unix:{tmp_path}/emr.sock"
        listener = Listener(Echo())
        await listener.start(["127.0.0.1:0", path])
        host, port = "127.0.0.1", int(listener.addresses[0].rpartition(":")[2])
        waiting = [socket.create_connection((host, port)) for _ in range(50)]
        for _ in range(50):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].connect(path.removeprefix("unix:"))
        for sock in waiting:  # the system has greeted them; the loop has not turned since
            sock.sendall(GET)
        assert await listener.drain() == []
        for sock in waiting:
            (answer,) = read_answers(sock.recv(1000))
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
            assert sock.recv(1000) == b""
            sock.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, port))

    run(main())


def test_a_listener_that_uvloop_shut_is_opened_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with listening("127.0.0.1:0") as listener:
            (entrance,) = listener._entrances
            assert entrance._server is not None
            entrance._server.close()  # as uvloop does when accepting fails
            while entrance._server_sock is not None and entrance._server_sock.fileno() >= 0:
                await asyncio.sleep(0)
            listener.sweep()
            assert "opened again" in caplog.text
            assert await ask(listener.addresses[0]) == [200]

    run(main())


def test_accepting_goes_on_after_a_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with listening(f"unix:{tmp_path}/emr.sock") as listener:
            (entrance,) = listener._entrances
            calls = 0

            def fail(self: Entrance, most: int) -> None:
                nonlocal calls
                calls += 1
                raise OSError(errno.EMFILE, "Too many open files")

            with monkeypatch.context() as patch:
                patch.setattr(Entrance, "_accept_waiting", fail)
                asking = asyncio.ensure_future(ask(listener.addresses[0]))
                while not calls:
                    await asyncio.sleep(0)
                for _ in range(20):  # it must not be asked again and again
                    await asyncio.sleep(0)
            assert calls == 1
            assert "Too many open files" in caplog.text
            entrance._again_at = listener._register.clock()
            listener.sweep()
            assert await asking == [200]
            assert NO_FILES_WAIT_S > 0

    run(main())


def test_accepting_skips_those_that_left_and_a_drain_bears_a_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        """A listening socket on which one client left, and then no more files were to be had."""

        def __init__(self, sock: socket.socket) -> None:
            self.sock = sock
            self.errors: list[OSError] = [OSError(errno.EMFILE, "Too many open files")]
            self.errors.append(ConnectionAbortedError())

        def accept(self) -> tuple[socket.socket, object]:
            raise self.errors.pop()

        def fileno(self) -> int:
            return self.sock.fileno()

        def close(self) -> None:
            self.sock.close()

    async def main() -> None:
        listener = Listener(Echo())
        await listener.start([f"unix:{tmp_path}/emr.sock"])
        (entrance,) = listener._entrances
        failing = Failing(entrance._sock)
        vars(entrance)["_sock"] = failing
        assert await listener.drain() == []
        assert failing.errors == []
        assert "Too many open files" in caplog.text

    run(main())


def test_sizes_that_need_many_reads_and_writes() -> None:
    async def main() -> None:
        async with listening("127.0.0.1:0") as listener:
            body = os.urandom(3_000_000)
            reader, writer = await connect(listener.addresses[0])
            writer.write(post(b"Content-Length: 3000000", body=body))
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(3_000_000 + len("POST /?:")) == b"POST /?:" + body
            writer.write(post(b"Transfer-Encoding: chunked"))
            for at in range(0, len(body), 9999):
                part = body[at : at + 9999]
                writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            writer.write(b"0\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(3_000_000 + len("POST /?:")) == b"POST /?:" + body
            writer.close()

    run(main())
