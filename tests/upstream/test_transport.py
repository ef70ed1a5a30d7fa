"""Exchanges with peers that behave, and with peers that do everything else."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from collections.abc import Callable

import pytest

from emr.upstream.addresses import Reach
from emr.upstream.endpoint import Endpoint
from emr.upstream.fault import Fault, Stage
from emr.upstream.link import Answer
from emr.upstream.transport import Transport, TransportSettings
from tests.support.aio import run
from tests.support.peer import Guest, Peer, Script

HEAD = b"POST /v1/embeddings HTTP/1.1\r\nHost: provider.test\r\nContent-Length: 4\r\n\r\n"
LONG = 20.0  # a time that no test waits for
SHORT = 0.08  # a time that a test does wait for


def at(peer: Peer, host: str = "127.0.0.1", reach: Reach = Reach.LOOPBACK) -> Endpoint:
    return Endpoint("http", host, peer.port, "/v1/embeddings", reach=reach)


async def until(happened: Callable[[], bool]) -> None:
    """Let the loop turn until something happened; the test's own bound ends it otherwise."""
    while not happened():
        await asyncio.sleep(0)


async def ask(
    transport: Transport,
    peer: Peer,
    first_byte_s: float = LONG,
    whole_s: float = LONG,
    body: bytes = b"body",
) -> Answer:
    head = HEAD.replace(b": 4", b": %d" % len(body))
    return await transport.exchange(at(peer), head, body, first_byte_s, whole_s)


async def fault_of(
    script: Script, settings: TransportSettings | None = None, **times: float
) -> tuple[Fault, int]:
    """The fault that one exchange with such a peer ends in, and the connections it took."""
    transport = Transport(settings)
    async with Peer(script) as peer:
        with pytest.raises(Fault) as caught:
            await ask(transport, peer, **times)
        assert transport.connections == 0, "a failed connection is not kept"
        await transport.close()
    return caught.value, peer.connections


def test_an_exchange() -> None:
    async def script(guest: Guest) -> None:
        request = await guest.request()
        assert request is not None
        head, body = request
        assert (bytes(head.method), bytes(head.target), body) == (
            b"POST", b"/v1/embeddings", b"body",
        )  # fmt: skip
        await guest.answer(b"answer", 201, [("X-A", "1"), ("x-a", "2")])
        await guest.gone()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            answer = await ask(transport, peer)
            assert (answer.status, answer.body) == (201, b"answer")
            assert answer.headers == {b"content-length": b"6", b"x-a": b"1, 2"}
            assert 0.0 <= answer.first_byte_s < LONG
            assert transport.idle == transport.connections == 1
            await transport.close()
            assert transport.idle == transport.connections == 0

    run(main())


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


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_fresh_connection_that_closes_is_a_fault(how: str) -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        getattr(guest, how)()

    fault, connections = run(fault_of(script))
    assert fault.stage is Stage.FIRST_BYTE
    assert connections == 1
    assert not fault.timed_out


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_an_answer_that_breaks_off(data: bytes, how: str) -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.write(data)
        getattr(guest, how)()

    fault, _ = run(fault_of(script))
    # a reset may overtake what was sent before it
    assert fault.stage is Stage.BODY or (how == "reset" and fault.stage is Stage.FIRST_BYTE)


def test_a_body_that_ends_with_the_connection() -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        guest.close()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            assert (await ask(transport, peer)).body == b"hello"
            assert transport.idle == 0
            await transport.close()

    run(main())


def test_an_answer_byte_by_byte() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"

    async def script(guest: Guest) -> None:
        await guest.request()
        for i in range(len(data)):
            await guest.write(data[i : i + 1])
            await asyncio.sleep(0)
        await guest.serve(b"again")

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            assert (await ask(transport, peer)).body == b"abcde"
            assert (await ask(transport, peer)).body == b"again"
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


def test_bad_framing_is_a_fault() -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok"
        )
        await guest.gone()

    fault, connections = run(fault_of(script))
    assert fault.stage is Stage.PROTOCOL
    assert connections == 1


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2000, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000],
)
def test_too_much_is_a_fault(data: bytes) -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.write(data)
        await guest.gone()

    settings = TransportSettings(max_head_bytes=1000, max_body_bytes=4000)
    fault, _ = run(fault_of(script, settings))
    assert fault.stage is Stage.PROTOCOL
    assert "larger than" in fault.message


@pytest.mark.parametrize(
    ("before", "stage"),
    [
        (b"", Stage.FIRST_BYTE),
        (b"HTTP/1.1 200", Stage.BODY),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Stage.BODY),
    ],
)
def test_a_peer_that_hangs_is_given_up(before: bytes, stage: Stage) -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        if before:
            await guest.write(before)
        await guest.gone()

    first, whole = (SHORT, LONG) if stage is Stage.FIRST_BYTE else (LONG, SHORT)
    fault, _ = run(fault_of(script, first_byte_s=first, whole_s=whole))
    assert fault.stage is stage
    assert fault.timed_out


def test_the_first_byte_in_time_leaves_the_rest_its_own_time() -> None:
    proceed = asyncio.Event()

    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        await proceed.wait()
        await guest.write(b"k")
        await guest.gone()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            loop = asyncio.get_running_loop()
            loop.call_later(2 * SHORT, proceed.set)
            answer = await ask(transport, peer, first_byte_s=SHORT, whole_s=LONG)
            assert answer.body == b"ok"
            assert answer.first_byte_s < SHORT
            await transport.close()

    run(main())


def test_a_slow_drip_does_not_outlive_the_whole() -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await guest.write(b"x")
            await asyncio.sleep(SHORT / 20)

    started = time.monotonic()
    fault, _ = run(fault_of(script, whole_s=SHORT))
    assert fault.stage is Stage.BODY
    assert fault.timed_out
    assert SHORT * 0.9 <= time.monotonic() - started < LONG


def test_a_peer_that_does_not_take_the_request() -> None:
    async def script(guest: Guest) -> None:
        await asyncio.Event().wait()  # reads nothing more than its buffers

    async def main() -> None:
        transport = Transport(TransportSettings(write_s=SHORT))
        async with Peer(script) as peer:
            with pytest.raises(Fault) as caught:
                await ask(transport, peer, body=b"x" * 32_000_000)
            assert caught.value.stage is Stage.WRITE
            assert caught.value.timed_out
            with pytest.raises(Fault) as caught:
                await ask(transport, peer, body=b"x" * 32_000_000, first_byte_s=SHORT / 2)
            assert caught.value.stage is Stage.WRITE
            await transport.close()

    run(main())


def test_a_peer_that_takes_the_request_slowly_is_waited_for() -> None:
    body = b"x" * 16_000_000

    async def script(guest: Guest) -> None:
        head = await guest.read_slowly(SHORT / 4, 2_000_000)
        assert head.startswith(b"POST ")
        await guest.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await guest.gone()

    async def main() -> None:
        transport = Transport(TransportSettings(write_s=SHORT))
        async with Peer(script) as peer:
            answer = await ask(transport, peer, body=body)
            assert answer.body == b"ok"
            await transport.close()

    run(main())


def test_an_answer_before_the_request_is_out_is_taken() -> None:
    async def script(guest: Guest) -> None:
        await guest.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
        await guest.gone()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            answer = await ask(transport, peer, body=b"x" * 32_000_000)
            assert (answer.status, answer.body) == (413, b"too large")
            assert transport.idle == 0, "what the peer reads next is not known"
            await transport.close()

    run(main())


def test_a_cancelled_exchange_closes_its_connection() -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def script(guest: Guest) -> None:
        await guest.request()
        arrived.set()
        await guest.gone()
        gone.set()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            task = asyncio.create_task(ask(transport, peer))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await gone.wait()
            assert transport.idle == transport.connections == 0
            await transport.close()

    run(main())


def test_close_ends_exchanges_under_way() -> None:
    arrived = asyncio.Event()

    async def script(guest: Guest) -> None:
        await guest.request()
        arrived.set()
        await guest.gone()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            task = asyncio.create_task(ask(transport, peer))
            await arrived.wait()
            await transport.close()
            with pytest.raises(Fault, match="stopping"):
                await task
            assert transport.connections == 0
            with pytest.raises(Fault, match="stopping"):
                await ask(transport, peer)

    run(main())


def test_a_redirect_is_an_answer_like_any_other() -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.answer(b"", 307, [("Location", "http://169.254.169.254/")])
        await guest.gone()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            assert (await ask(transport, peer)).status == 307
            assert peer.connections == 1
            await transport.close()

    run(main())


@pytest.mark.parametrize(
    ("coding", "body", "outcome"),
    [
        ("gzip", gzip.compress(b"hello"), b"hello"),
        ("x-gzip", gzip.compress(b"hello"), b"hello"),
        ("GZIP", gzip.compress(b"hello"), b"hello"),
        ("identity", b"hello", b"hello"),
        ("gzip", gzip.compress(b"x" * 3999), b"x" * 3999),
        ("gzip", gzip.compress(b"x" * 4000), b"x" * 4000),
        ("gzip", gzip.compress(b"x" * 4001), None),
        ("gzip", gzip.compress(bytes(3_000_000)), None),  # 3 KB that stand for 3 MB
        ("gzip", gzip.compress(b"hello")[:-3], None),
        ("gzip", gzip.compress(b"hello") + b"tail", None),
        ("gzip", b"hello", None),
        ("br", b"hello", None),
        ("gzip, gzip", gzip.compress(b"hello"), None),
    ],
)
def test_a_compressed_answer(coding: str, body: bytes, outcome: bytes | None) -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.answer(body, 200, [("Content-Encoding", coding)])
        await guest.gone()

    async def main() -> None:
        transport = Transport(TransportSettings(max_body_bytes=4000))
        async with Peer(script) as peer:
            if outcome is None:
                with pytest.raises(Fault) as caught:
                    await ask(transport, peer)
                assert caught.value.stage is Stage.PROTOCOL
            else:
                assert (await ask(transport, peer)).body == outcome
            await transport.close()

    run(main())


# making connections


def test_a_port_where_nobody_listens() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        transport = Transport()
        endpoint = Endpoint("http", "127.0.0.1", port, "/", reach=Reach.LOOPBACK)
        with pytest.raises(Fault) as caught:
            await transport.exchange(endpoint, HEAD, b"body", LONG, LONG)
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
                await transport.exchange(endpoint, HEAD, b"body", LONG, LONG)
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
            await transport.exchange(endpoint, HEAD, b"body", first_byte_s, whole_s)
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
                await transport.exchange(endpoint, HEAD, b"body", LONG, LONG)
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
            good = await transport.exchange(endpoint, HEAD, b"body", LONG, LONG)
            assert good.body == b"ok"
            for _ in range(2):
                with pytest.raises(Fault) as caught:
                    await transport.exchange(endpoint, HEAD, b"body", LONG, LONG)
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
                    at(peer, "provider.test", Reach.PUBLIC), HEAD, b"body", LONG, LONG
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
                at(peer, "provider.test", Reach.ANY), HEAD, b"body", LONG, LONG
            )
            with pytest.raises(Fault):
                await transport.exchange(
                    at(peer, "provider.test", Reach.PUBLIC), HEAD, b"body", LONG, LONG
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
            answer = await transport.exchange(endpoint, HEAD, b"body", LONG, LONG)
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
                await transport.exchange(endpoint, HEAD, b"body", LONG, LONG)
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
                answer = await transport.exchange(endpoint, HEAD, b"body", LONG, LONG)
                assert answer.body == b"ok"
                assert transport.connections == 1
                await transport.close()
            for filler in fillers:
                filler.close()

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
