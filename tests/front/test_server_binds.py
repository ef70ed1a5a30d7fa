"""Where the listener listens: binds, their errors, and Unix sockets."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from emr.front.binds import Bind, BindError, parse_bind
from emr.front.exchange import ServerLimits
from emr.front.listener import Listener
from tests.support.aio import run
from tests.support.server import Echo
from tests.support.sockets import CLOSING_GET, ask, connect, listening


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


def test_a_second_address_in_use_closes_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            name = free.getsockname()
            free.close()
            found = [(socket.AF_INET, 0, 0, "", at) for at in (name, taken.getsockname())]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
            with pytest.raises(BindError, match="in use"):
                await Listener(Echo()).start(["both:1"])
            monkeypatch.undo()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(name)

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


def test_a_path_that_cannot_be_looked_at_is_a_clear_error(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(BindError, match="Not a directory"):
            await Listener(Echo()).start([f"unix:{tmp_path}/file/emr.sock"])
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(str(tmp_path / "datagrams"))
            with pytest.raises(BindError, match="wrong type"):
                await Listener(Echo()).start([f"unix:{tmp_path}/datagrams"])

    run(main())


def test_a_socket_file_that_is_gone_or_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    async def main() -> None:
        gone, stays = tmp_path / "gone", tmp_path / "stays"
        async with listening(f"unix:{gone}"):
            gone.unlink()
        assert caplog.records == []
        async with listening(f"unix:{stays}"):
            monkeypatch.setattr(os, "unlink", refuse)
        monkeypatch.undo()
        assert "A socket file stays" in caplog.text

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
