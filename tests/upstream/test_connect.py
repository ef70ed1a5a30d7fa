"""New connections: names, addresses, who refuses, who hangs, who changes their mind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from emr.upstream.addresses import Reach
from emr.upstream.connect import Connector
from emr.upstream.endpoint import Endpoint
from emr.upstream.fault import Fault, Stage
from emr.upstream.transport import Transport, TransportSettings
from tests.support.aio import run
from tests.support.peer import Guest, Peer
from tests.upstream.asking import HEAD, LONG, SHORT, at, until


def test_a_port_where_nobody_listens() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        transport = Transport()
        endpoint = Endpoint("http", "127.0.0.1", port, "/", reach=Reach.LOOPBACK)
        with pytest.raises(Fault) as caught:
            await transport.exchange(endpoint, HEAD + b"body", LONG, LONG)
        assert caught.value.stage is Stage.CONNECT
        assert "refused" in caught.value.message
        assert not caught.value.timed_out

    run(main())


def test_a_connection_that_does_not_come_about() -> None:
    async def main() -> None:
        transport = Transport(TransportSettings(connect_s=SHORT))
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            endpoint = Endpoint(
                "http", "127.0.0.1", full.getsockname()[1], "/", reach=Reach.LOOPBACK
            )
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:  # fill the listener's backlog: further connects hang
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            with pytest.raises(Fault) as caught:
                await transport.exchange(endpoint, HEAD + b"body", LONG, LONG)
            for filler in fillers:
                filler.close()
        assert caught.value.stage is Stage.CONNECT
        assert caught.value.timed_out
        assert transport.connections == 0

    run(main())


async def _hang(host: str, port: int) -> list[str]:
    await asyncio.Event().wait()
    return []


@pytest.mark.parametrize(
    ("connect_s", "first_byte_s", "whole_s"),
    [(SHORT, LONG, LONG), (LONG, SHORT, LONG), (LONG, LONG, SHORT), (LONG, 0.0, LONG)],
)
def test_a_name_that_does_not_resolve_in_time(
    connect_s: float, first_byte_s: float, whole_s: float
) -> None:
    async def main() -> None:
        transport = Transport(TransportSettings(connect_s=connect_s), resolve=_hang)
        endpoint = Endpoint("http", "provider.test", 80, "/")
        with pytest.raises(Fault) as caught:
            await transport.exchange(endpoint, HEAD + b"body", first_byte_s, whole_s)
        assert caught.value.stage is Stage.CONNECT
        assert caught.value.timed_out

    run(main())


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long")])
def test_a_name_that_does_not_exist(error: Exception) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise error

    async def nothing(host: str, port: int) -> list[str]:
        return []

    async def main() -> None:
        endpoint = Endpoint("http", "provider.test", 80, "/")
        for resolver in (resolve, nothing):
            transport = Transport(resolve=resolver)
            with pytest.raises(Fault) as caught:
                await transport.exchange(endpoint, HEAD + b"body", LONG, LONG)
            assert caught.value.stage is Stage.CONNECT
            assert caught.value.message == "the name provider.test has no address"

    run(main())


def test_a_name_that_changes_its_mind_is_caught_at_the_next_connect() -> None:
    """The rebinding attack: first a good address, then the metadata service's."""
    answers = [["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1", "169.254.169.254"]]
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return answers[len(asked) - 1]

    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.answer(b"ok", 200, [("Connection", "close")])

    async def main() -> None:
        transport = Transport(resolve=resolve)
        async with Peer(script) as peer:
            endpoint = at(peer, "provider.test", Reach.ANY)
            good = await transport.exchange(endpoint, HEAD + b"body", LONG, LONG)
            assert good.body == b"ok"
            for _ in range(2):
                with pytest.raises(Fault) as caught:
                    await transport.exchange(endpoint, HEAD + b"body", LONG, LONG)
                assert caught.value.stage is Stage.CONNECT
                assert "169.254.169.254" in caught.value.message
            assert asked == [("provider.test", peer.port)] * 3
            assert peer.connections == 1
            await transport.close()

    run(main())


def test_a_name_may_not_lead_to_loopback_unless_allowed() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async def main() -> None:
        transport = Transport(resolve=resolve)
        async with Peer(lambda guest: guest.serve(b"ok")) as peer:
            with pytest.raises(Fault, match=r"leads to 127\.0\.0\.1"):
                await transport.exchange(
                    at(peer, "provider.test", Reach.PUBLIC), HEAD + b"body", LONG, LONG
                )
            assert peer.connections == 0
            await transport.close()

    run(main())


def test_connections_are_not_shared_between_reaches() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async def main() -> None:
        transport = Transport(resolve=resolve)
        async with Peer(lambda guest: guest.serve(b"ok")) as peer:
            await transport.exchange(
                at(peer, "provider.test", Reach.ANY), HEAD + b"body", LONG, LONG
            )
            with pytest.raises(Fault):
                await transport.exchange(
                    at(peer, "provider.test", Reach.PUBLIC), HEAD + b"body", LONG, LONG
                )
            await transport.close()

    run(main())


def test_the_next_address_is_tried_when_one_fails() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.3", "127.0.0.1"]

    async def main() -> None:
        transport = Transport(resolve=resolve)
        async with Peer(lambda guest: guest.serve(b"ok")) as peer:
            endpoint = at(peer, "provider.test", Reach.ANY)
            answer = await transport.exchange(endpoint, HEAD + b"body", LONG, LONG)
            assert answer.body == b"ok"
            await transport.close()

    run(main())


def test_every_address_fails() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.3"]

    async def main() -> None:
        transport = Transport(resolve=resolve)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            endpoint = Endpoint(
                "http", "provider.test", taken.getsockname()[1], "/", reach=Reach.ANY
            )
            with pytest.raises(Fault) as caught:
                await transport.exchange(endpoint, HEAD + b"body", LONG, LONG)
            assert caught.value.stage is Stage.CONNECT
        assert transport.connections == 0

    run(main())


def test_an_address_that_hangs_is_overtaken_by_the_next() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.2", 0), backlog=0) as full:
            port = full.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.2", port))

            async def resolve(host: str, port: int) -> list[str]:
                return ["127.0.0.2", "127.0.0.1"]

            transport = Transport(resolve=resolve)
            async with Peer(lambda guest: guest.serve(b"ok"), port=port) as peer:
                endpoint = at(peer, "provider.test", Reach.ANY)
                answer = await transport.exchange(endpoint, HEAD + b"body", LONG, LONG)
                assert answer.body == b"ok"
                assert transport.connections == 1
                await transport.close()
            for filler in fillers:
                filler.close()

    run(main())


class _FakeLink:
    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def _connector(
    monkeypatch: pytest.MonkeyPatch, open_: Callable[[str], Awaitable[_FakeLink]]
) -> Any:
    """A connector whose connections come about as `open_` says, for a name with two addresses."""

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "127.0.0.2"]

    async def opened(self: Connector, endpoint: Endpoint, address: str) -> Any:
        return await open_(address)

    monkeypatch.setattr(Connector, "_open", opened)
    make: Any = None
    return Connector(resolve, None, make)


NAME = Endpoint("http", "provider.test", 80, "/", reach=Reach.ANY)


def test_of_two_connections_at_once_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    links: list[_FakeLink] = []

    async def main() -> None:
        both = asyncio.Event()

        async def open_(address: str) -> _FakeLink:
            links.append(_FakeLink())
            link = links[-1]
            if len(links) == 2:
                both.set()
            await both.wait()
            return link

        chosen = await _connector(monkeypatch, open_).connect(NAME, LONG)
        assert len(links) == 2
        assert [link.aborted for link in links if link is not chosen] == [True]
        assert not chosen.aborted

    run(main())


@pytest.mark.parametrize("obeys", [True, False])
def test_who_loses_the_race_is_closed(monkeypatch: pytest.MonkeyPatch, obeys: bool) -> None:
    slow = _FakeLink()
    cancelled: list[bool] = []

    async def main() -> None:
        async def open_(address: str) -> _FakeLink:
            if address == "127.0.0.2":
                return _FakeLink()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                if obeys:
                    raise
            return slow

        chosen = await _connector(monkeypatch, open_).connect(NAME, LONG)
        await until(lambda: bool(cancelled))
        await until(lambda: slow.aborted or obeys)
        assert chosen is not slow
        assert not chosen.aborted

    run(main())


def test_a_race_that_nobody_wins_in_time_leaves_nobody_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cancelled: list[str] = []

    async def main() -> None:
        async def open_(address: str) -> _FakeLink:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(address)
                raise
            return _FakeLink()

        with pytest.raises(Fault) as caught:
            await _connector(monkeypatch, open_).connect(NAME, SHORT + 0.25)
        assert caught.value.timed_out
        await until(lambda: len(cancelled) == 2)

    run(main())
