"""Connections that are kept: which is used again, when they are closed, and stale ones."""

from __future__ import annotations

import asyncio

import pytest

from emr.upstream.fault import Fault, Stage
from emr.upstream.link import Done, Link
from emr.upstream.transport import Transport, TransportSettings
from tests.support.aio import run
from tests.support.peer import Guest, Peer
from tests.upstream.asking import SHORT, ask, until


def test_connections_are_used_again_the_last_first() -> None:
    freed: list[bytes] = []

    async def script(guest: Guest) -> None:
        await guest.serve(b"%d" % guest.number)

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:

            async def one() -> None:
                freed.append((await ask(transport, peer)).body)

            await asyncio.gather(*[one() for _ in range(3)])
            assert sorted(freed) == [b"1", b"2", b"3"]
            for _ in range(4):
                await one()
            assert freed[3:] == [freed[2]] * 4
            assert transport.idle == peer.connections == 3
            await transport.close()

    run(main())


@pytest.mark.parametrize(("max_idle", "kept"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3)])
def test_how_many_connections_are_kept(max_idle: int, kept: int) -> None:
    async def main() -> None:
        transport = Transport(TransportSettings(max_idle=max_idle))
        async with Peer(lambda guest: guest.serve(b"ok")) as peer:
            await asyncio.gather(*[ask(transport, peer) for _ in range(3)])
            assert transport.idle == kept
            await until(lambda: transport.connections == kept)
            await transport.close()

    run(main())


def test_idle_connections_are_closed_in_time() -> None:
    left = asyncio.Event()

    async def script(guest: Guest) -> None:
        await guest.serve(b"ok")
        left.set()

    async def main() -> None:
        transport = Transport(TransportSettings(idle_s=SHORT))
        async with Peer(script) as peer:
            await ask(transport, peer)
            assert transport.idle == 1
            await left.wait()
            assert transport.idle == transport.connections == 0
            await ask(transport, peer)
            assert peer.connections == 2
            await transport.close()

    run(main())


def test_a_connection_closed_while_idle_is_not_used() -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.answer(b"%d" % guest.number)
        guest.close()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            assert (await ask(transport, peer)).body == b"1"
            await until(lambda: transport.connections == 0)
            assert transport.idle == 0
            assert (await ask(transport, peer)).body == b"2"
            await transport.close()

    run(main())


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_stale_connection_is_tried_again_on_a_fresh_one(how: str) -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.answer(b"%d" % guest.number)
        if guest.number == 1:
            await guest.request()  # the request is sent, and then there is nobody
            getattr(guest, how)()
        else:
            await guest.gone()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            assert (await ask(transport, peer)).body == b"1"
            assert (await ask(transport, peer)).body == b"2"
            assert peer.connections == 2
            await transport.close()

    run(main())


def test_a_stale_connection_is_tried_again_only_once() -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        if guest.number == 1:
            await guest.answer(b"1")
            await guest.request()
        guest.close()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            await ask(transport, peer)
            with pytest.raises(Fault) as caught:
                await ask(transport, peer)
            assert caught.value.stage is Stage.FIRST_BYTE
            assert peer.connections == 2
            await transport.close()

    run(main())


def test_an_answer_that_began_is_not_asked_for_again() -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.answer(b"1")
        await guest.request()
        await guest.write(b"HTTP/1.1 200")
        guest.close()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            await ask(transport, peer)
            with pytest.raises(Fault) as caught:
                await ask(transport, peer)
            assert caught.value.stage is Stage.BODY
            assert peer.connections == 1
            await transport.close()

    run(main())


def test_bytes_that_nobody_asked_for_close_an_idle_connection() -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.answer(b"%d" % guest.number)
        if guest.number == 1:
            await guest.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await guest.gone()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            assert (await ask(transport, peer)).body == b"1"
            await until(lambda: transport.connections == 0)
            assert (await ask(transport, peer)).body == b"2"
            await transport.close()

    run(main())


def test_two_answers_at_once_are_one_and_no_more() -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        one = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
        await guest.write(one + one.replace(b"good", b"evil"))
        await guest.gone()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            assert (await ask(transport, peer)).body == b"good"
            assert transport.idle == 0
            assert (await ask(transport, peer)).body == b"good"
            assert peer.connections == 2
            await transport.close()

    run(main())


def test_many_at_once_get_their_own_answers() -> None:
    async def script(guest: Guest) -> None:
        while (request := await guest.request()) is not None:
            await asyncio.sleep(0)
            await guest.answer(request[1])

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:

            async def worker(name: int) -> None:
                for i in range(10):
                    text = b"%d-%d" % (name, i)
                    assert (await ask(transport, peer, body=text)).body == text

            await asyncio.gather(*[worker(i) for i in range(40)])
            assert peer.connections == transport.connections == 40
            await transport.close()

    run(main())


@pytest.mark.parametrize(("idle_for", "kept"), [(54.9, 1), (55.0, 0), (55.1, 0)])
def test_when_an_idle_connection_is_old(idle_for: float, kept: int) -> None:
    async def main() -> None:
        transport = Transport(TransportSettings(idle_s=55.0))
        async with Peer(lambda guest: guest.serve(b"ok")) as peer:
            await ask(transport, peer)
            (idle,) = transport._idle.values()
            idle[0].idle_since = asyncio.get_running_loop().time() - idle_for
            transport._sweep()
            assert transport.idle == kept
            await transport.close()

    run(main())


def test_the_second_try_has_what_is_left_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[float, float]] = []
    send = Link.send

    def spy(link: Link, data: bytes, first_byte_s: float, whole_s: float, done: Done) -> None:
        given.append((first_byte_s, whole_s))
        send(link, data, first_byte_s, whole_s, done)

    monkeypatch.setattr(Link, "send", spy)

    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.answer(b"ok")
        if guest.number == 1:
            await guest.request()
            await asyncio.sleep(SHORT)  # the time that the first try costs
            guest.close()
        await guest.gone()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            await ask(transport, peer)
            await ask(transport, peer, first_byte_s=50.0, whole_s=100.0)
            await transport.close()

    run(main())
    (_, first, second) = given
    assert first == (50.0, 100.0)
    for before, after in zip(first, second, strict=True):
        assert before - 10.0 < after <= before - SHORT * 0.9
