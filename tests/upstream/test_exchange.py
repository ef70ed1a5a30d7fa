"""Exchanges with peers that behave, and with peers that do everything else."""

from __future__ import annotations

import asyncio
import gzip
import time

import pytest

from emr.upstream.fault import Fault, Stage
from emr.upstream.transport import Transport, TransportSettings
from tests.support.aio import run
from tests.support.peer import Guest, Peer
from tests.upstream.asking import LONG, SHORT, ask, fault_of


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
    ("data", "stage"),
    [
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2000, Stage.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000, Stage.TOO_LARGE),
    ],
)
def test_too_much_is_a_fault(data: bytes, stage: Stage) -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.write(data)
        await guest.gone()

    settings = TransportSettings(max_head_bytes=1000, max_body_bytes=4000)
    fault, _ = run(fault_of(script, settings))
    assert fault.stage is stage
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
                assert caught.value.stage in (Stage.PROTOCOL, Stage.TOO_LARGE)
            else:
                assert (await ask(transport, peer)).body == outcome
            await transport.close()

    run(main())
