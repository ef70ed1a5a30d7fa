"""A client that reads slowly, or not at all: memory stays bounded, and it ends."""

from __future__ import annotations

import asyncio

from emr.front.exchange import Exchange, ServerLimits
from emr.front.patience import STALL_BYTES
from tests.front.cases import fields, post
from tests.support.aio import run
from tests.support.server import Client, Echo, FakeTransport, Server

GET = fields()
ANSWER_BYTES = 30_000


class Large(Echo):
    """Answers with 30 KB each, about a vector in JSON."""

    def answer(self, exchange: Exchange, status: int = 200) -> None:
        exchange.reply(status, [], b"x" * ANSWER_BYTES)


def not_reading(limits: ServerLimits | None = None) -> tuple[Server, Client]:
    server = Server(limits, Large())
    client = server.connect()
    client.transport.is_client_taking = False
    return server, client


def test_a_client_that_reads_nothing_while_it_pipelines() -> None:
    server, client = not_reading()
    client.send(GET * 1000)
    transport = client.transport
    assert not transport.is_read
    # what passed the high-water mark was the last that was read
    assert len(server.service.handled) == FakeTransport.HIGH_WATER // ANSWER_BYTES + 1
    assert transport.unsent <= FakeTransport.HIGH_WATER + ANSWER_BYTES + 1000
    server.pass_time(29.75)
    assert not transport.is_aborted
    server.pass_time(0.5)
    assert transport.is_aborted
    assert transport.is_lost
    assert not server.register.guests


def test_answers_to_come_are_bounded_by_the_pipeline() -> None:
    server, client = not_reading()
    server.service.is_holding = True
    client.send(GET * 1000)
    assert len(server.service.handled) == 32
    for exchange in list(server.service.handled):
        server.service.answer(exchange)
    assert len(server.service.handled) == 32 + 3 - 1  # until the transport was full
    assert client.transport.unsent <= 34 * (ANSWER_BYTES + 200)


def test_a_client_that_reads_again_is_read_again() -> None:
    server, client = not_reading()
    client.send(GET * 6)
    assert len(server.service.handled) == 3
    client.transport.take(client.transport.unsent - 16)
    assert len(server.service.handled) == 6
    client.transport.take(client.transport.unsent)
    assert client.transport.is_read
    assert client.statuses == [200] * 6
    server.pass_time(60.0)
    assert not client.transport.is_ended


def test_a_slow_client_is_not_a_stalled_one() -> None:
    server, client = not_reading()
    client.send(GET * 3)
    for _ in range(4):
        server.pass_time(29.0)
        client.transport.take(STALL_BYTES)
        assert not client.transport.is_aborted
    client.transport.take(client.transport.unsent)
    server.pass_time(40.0)
    assert not client.transport.is_ended


def test_a_client_that_drips_its_reading_has_stalled() -> None:
    server, client = not_reading()
    client.send(GET * 3)
    for _ in range(29):
        server.pass_time(1.0)
        client.transport.take(STALL_BYTES // 30)
    assert not client.transport.is_aborted
    server.pass_time(1.5)
    assert client.transport.is_aborted


def test_a_body_is_not_read_while_answers_are_not() -> None:
    server, client = not_reading()
    client.send(GET * 3 + post(b"Content-Length: 5", body=b"he"))
    assert not client.transport.is_read
    client.transport.take(client.transport.unsent)
    assert client.transport.is_read
    client.send(b"llo")
    assert server.service.handled[-1].body == b"hello"


def test_the_time_for_a_body_stands_still_meanwhile() -> None:
    server, client = not_reading(ServerLimits(write_stall_s=100.0))
    server.service.is_holding = True
    client.send(GET * 3 + post(b"Content-Length: 5", body=b"he"))
    for exchange in server.service.handled:
        server.service.answer(exchange)
    assert not client.transport.is_read
    server.pass_time(60.0)
    client.transport.take(client.transport.unsent)
    server.pass_time(29.0)
    assert not client.transport.is_ended
    client.send(b"llo")
    server.service.answer(server.service.handled[-1])
    assert client.transport.written.count(b"HTTP/1.1 200 OK") == 4


def test_a_stream_waits_for_its_reader() -> None:
    async def main() -> None:
        server = Server()
        server.service.is_holding = True
        client = server.connect()
        client.transport.is_client_taking = False
        client.send(GET)
        (exchange,) = server.service.handled
        exchange.begin(200, [])
        await exchange.send(b"x" * 60_000)
        sending = asyncio.ensure_future(exchange.send(b"y" * 60_000))
        await asyncio.sleep(0)
        assert not sending.done()
        more = asyncio.ensure_future(exchange.send(b"z"))
        await asyncio.sleep(0)
        client.transport.take(client.transport.unsent - 10)
        await sending
        await more
        exchange.finish()
        assert len(client.answers[0].body) == 120_001

    run(main())


def test_a_stream_whose_reader_stalls_is_let_go() -> None:
    async def main() -> None:
        server = Server()
        server.service.is_holding = True
        client = server.connect()
        client.transport.is_client_taking = False
        client.send(GET)
        (exchange,) = server.service.handled
        exchange.begin(200, [])
        sending = asyncio.ensure_future(exchange.send(b"x" * 100_000))
        await asyncio.sleep(0)
        server.pass_time(31.0)
        await sending
        assert client.transport.is_aborted
        assert server.service.gone == [exchange]

    run(main())


def test_a_small_answer_that_is_not_taken_is_dropped_after_all() -> None:
    # too small to fill the transport, so nothing says that it is stuck but the idle time
    server, client = not_reading()
    client.send(GET)
    assert client.transport.unsent
    server.pass_time(75.5)
    assert client.transport.is_closed
    assert not client.transport.is_aborted
    server.pass_time(31.0)
    assert client.transport.is_lost


def test_a_last_answer_that_is_not_taken_is_dropped_after_all() -> None:
    server, client = not_reading()
    client.send(fields(b"Connection: close"))
    assert client.transport.is_closed
    server.pass_time(29.0)
    assert not client.transport.is_aborted
    server.pass_time(2.0)
    assert client.transport.is_aborted


def test_a_lingering_close_lets_a_slow_client_have_its_answer() -> None:
    server, client = not_reading()
    client.send(b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n")
    assert client.transport.is_eof_written
    server.pass_time(5.0)
    assert not client.transport.is_closed
    client.transport.take(client.transport.unsent)
    server.pass_time(1.0)
    assert client.transport.is_lost
    assert not client.transport.is_aborted


def test_an_answer_larger_than_the_transport_holds_closes_well() -> None:
    server, client = not_reading()
    server.service.is_holding = True
    client.send(fields(b"Connection: close"))
    server.service.handled[0].reply(200, [], b"x" * 500_000)
    for _ in range(10):
        server.pass_time(10.0)
        client.transport.take(50_000)
    assert not client.transport.is_aborted
    client.transport.take(client.transport.unsent)
    server.pass_time(0.25)
    assert client.transport.is_lost
    assert len(client.answers[0].body) == 500_000
