"""The listener on real sockets: binds, Unix sockets, inherited ones, resets, the last to come."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from emr.front.binds import Bind, BindError, parse_bind
from emr.front.entrance import NO_FILES_WAIT_S, Entrance
from emr.front.exchange import ServerLimits
from emr.front.listener import Listener
from tests.front.cases import fields, post
from tests.support.aio import run
from tests.support.server import Echo, read_answers

GET = fields()
CLOSING_GET = fields(b"Connection: close")


@asynccontextmanager
async def listening(
    *binds: str, limits: ServerLimits | None = None, service: Echo | None = None
) -> AsyncIterator[Listener]:
    listener = Listener(service or Echo(), limits)
    await listener.start(binds)
    try:
        yield listener
    finally:
        listener.close()
        await asyncio.sleep(0)


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.startswith("unix:"):
        return await asyncio.open_unix_connection(address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))


async def ask(address: str, data: bytes = CLOSING_GET) -> list[int]:
    """The statuses that `data` gets from `address`, until it closes."""
    reader, writer = await connect(address)
    writer.write(data)
    got = await reader.read()
    writer.close()
    return [answer.status for answer in read_answers(got)]


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            return False
        return True


def test_several_binds(tmp_path: Path) -> None:
    async def main() -> None:
        path = f"unix:{tmp_path}/emr.sock"
        async with listening("127.0.0.1:0", "localhost:0", path) as listener:
            assert listener.addresses[0].startswith("127.0.0.1:")
            assert listener.addresses[-1] == path
            assert len(listener.addresses) in (3, 4)  # as many as localhost has
            for address in listener.addresses:
                assert await ask(address) == [200]
            assert listener.accepted == listener.requests == len(listener.addresses)
            assert listener.refused == {}

    run(main())


def test_a_bind_of_ipv6_is_of_ipv6_alone() -> None:
    async def main() -> None:
        if not has_ipv6():
            with pytest.raises(BindError):
                await Listener(Echo()).start(["[::1]:0"])
            return
        async with listening("[::]:0") as listener:
            port = listener.addresses[0].rpartition(":")[2]
            assert await ask(f"[::1]:{port}") == [200]
            with pytest.raises(ConnectionRefusedError):
                await connect(f"127.0.0.1:{port}")

    run(main())


def test_the_peer_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        service = Echo()
        path = f"unix:{tmp_path}/emr.sock"
        async with listening("127.0.0.1:0", path, service=service) as listener:
            reader, writer = await connect(listener.addresses[0])
            writer.write(CLOSING_GET)
            await reader.read()
            port = writer.get_extra_info("sockname")[1]
            assert service.handled[0].peer == f"127.0.0.1:{port}"
            writer.close()
            await ask(path)
            assert service.handled[1].peer == "unix"

    run(main())


@pytest.mark.parametrize(("text", "bind"), [
    ("127.0.0.1:3200", Bind("127.0.0.1:3200", "127.0.0.1", 3200)),
    ("[::1]:3200", Bind("[::1]:3200", "::1", 3200)),
    ("host.example:0", Bind("host.example:0", "host.example", 0)),
    ("unix:/run/emr.sock", Bind("unix:/run/emr.sock", path="/run/emr.sock")),
])  # fmt: skip
def test_a_bind_is_read(text: str, bind: Bind) -> None:
    assert parse_bind(text) == bind


@pytest.mark.parametrize("text", [
    "", "127.0.0.1", ":3200", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:65536", "::1",
    "::1:3200", "[::1]", "unix:", "unix:relative", "127.0.0.1:٣", "127.0.0.1: 80",
])  # fmt: skip
def test_a_bad_bind_is_refused(text: str) -> None:
    with pytest.raises(BindError, match="cannot listen on"):
        parse_bind(text)


@pytest.mark.parametrize(("text", "is_local"), [
    ("127.0.0.1:1", True), ("127.8.9.1:1", True), ("localhost:1", True), ("[::1]:1", True),
    ("unix:/a", True), ("0.0.0.0:1", False), ("[::]:1", False), ("10.0.0.1:1", False),
    ("emr.example:1", False),
])  # fmt: skip
def test_which_binds_are_local(text: str, is_local: bool) -> None:
    assert parse_bind(text).is_local is is_local


def test_an_address_in_use_is_a_clear_error_and_nothing_listens() -> None:
    async def main() -> None:
        async with listening("127.0.0.1:0") as first:
            second = Listener(Echo())
            taken = first.addresses[0]
            free = socket.create_server(("127.0.0.1", 0))
            port = free.getsockname()[1]
            free.close()
            with pytest.raises(BindError, match=r"in use by another program; stop that one"):
                await second.start([f"127.0.0.1:{port}", taken])
            with pytest.raises(ConnectionRefusedError):
                await connect(f"127.0.0.1:{port}")
            assert await ask(taken) == [200]

    run(main())


@pytest.mark.parametrize(("bind", "words"), [
    ("192.0.2.1:0", "no such address"),
    ("unix:/no/such/directory/emr.sock", "does not exist"),
    (f"unix:/{'x' * 200}", "path too long"),
])  # fmt: skip
def test_what_cannot_be_bound_is_a_clear_error(bind: str, words: str) -> None:
    async def main() -> None:
        with pytest.raises(BindError, match=words):
            await Listener(Echo()).start([bind])

    run(main())


def test_an_unknown_name_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def main() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(BindError, match="nowhere:1: its host name is not known"):
            await Listener(Echo()).start(["nowhere:1"])

    run(main())


def test_an_address_can_be_bound_again_at_once() -> None:
    async def main() -> None:
        async with listening("127.0.0.1:0") as first:
            address = first.addresses[0]
            assert await ask(address) == [200]  # its end here is now in TIME_WAIT
        async with listening(address):
            assert await ask(address) == [200]

    run(main())


# Unix sockets


def test_the_mode_of_a_unix_socket(tmp_path: Path) -> None:
    async def main() -> None:
        for mode in (0o660, 0o600):
            path = tmp_path / f"{mode:o}.sock"
            listener = Listener(Echo())
            before = os.umask(0)
            os.umask(before)
            await listener.start([f"unix:{path}"], socket_mode=mode)
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert os.umask(before) == before
            listener.close()
            assert not path.exists()

    run(main())


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "emr.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        assert path.exists()
        async with listening(f"unix:{path}") as listener:
            assert await ask(listener.addresses[0]) == [200]

    run(main())


def test_a_unix_socket_in_use_is_not_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        address = f"unix:{tmp_path}/emr.sock"
        async with listening(address):
            with pytest.raises(BindError, match="in use by another program"):
                await Listener(Echo()).start([address])
            assert await ask(address) == [200]

    run(main())


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "emr.sock"
        path.write_text("precious")
        with pytest.raises(BindError, match="no socket"):
            await Listener(Echo()).start([f"unix:{path}"])
        assert path.read_text() == "precious"
        (tmp_path / "link").symlink_to(path)
        with pytest.raises(BindError, match="no socket"):
            await Listener(Echo()).start([f"unix:{tmp_path}/link"])

    run(main())


def test_a_successors_unix_socket_is_not_removed(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "emr.sock"
        async with listening(f"unix:{path}"):
            path.unlink()
            with socket.socket(socket.AF_UNIX) as successor:
                successor.bind(str(path))
        assert path.exists()

    run(main())


def test_the_host_is_not_checked_on_a_unix_socket(tmp_path: Path) -> None:
    async def main() -> None:
        limits = ServerLimits(allowed_hosts=frozenset({"localhost", "127.0.0.1", "::1"}))
        path = f"unix:{tmp_path}/emr.sock"
        async with listening("127.0.0.1:0", path, limits=limits) as listener:
            tcp = listener.addresses[0]
            foreign = CLOSING_GET.replace(b"Host: a", b"Host: rebound.example:3200")
            assert await ask(path, foreign) == [200]
            assert await ask(path, CLOSING_GET.replace(b"Host: a", b"Host:")) == [200]
            assert await ask(path, CLOSING_GET.replace(b"Host: a", b"Host: a/b")) == [400]
            assert await ask(tcp, foreign) == [421]
            for good in (b"localhost", b"LOCALHOST:1", b"127.0.0.1:3200", b"[::1]:3200", b"[::1]"):
                assert await ask(tcp, CLOSING_GET.replace(b"Host: a", b"Host: " + good)) == [200]
            for bad in (b"localhost.", b"127.0.0.2", b"localhost.evil", b"[::2]", b"xlocalhost"):
                assert await ask(tcp, CLOSING_GET.replace(b"Host: a", b"Host: " + bad)) == [421]
            absolute = CLOSING_GET.replace(b"Host: a", b"Host: localhost")
            assert await ask(tcp, absolute.replace(b" / ", b" http://b/ ")) == [421]
            assert await ask(tcp, foreign.replace(b" / ", b" http://localhost/ ")) == [421]
            # names can change while it runs, also for values that were judged before
            listener.allow_hosts(frozenset({"Rebound.Example", "[0:0::2]"}))
            assert await ask(tcp, foreign) == [200]
            assert await ask(tcp, CLOSING_GET.replace(b"Host: a", b"Host: [::2]")) == [200]
            assert await ask(tcp, absolute) == [421]
            listener.allow_hosts(None)
            assert await ask(tcp, absolute) == [200]

    run(main())


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
