"""Streamed answers: chunks, HTTP/1.0, HEAD, their turn, and clients that leave."""

from __future__ import annotations

import asyncio

import pytest

from emr.front.exchange import Stage
from tests.front.cases import fields
from tests.support.aio import run
from tests.support.server import Client, Server

GET = fields()
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
RESET = (1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # SOL_SOCKET, SO_LINGER, on for 0 s


def holding() -> tuple[Server, Client]:
    server = Server()
    server.service.is_holding = True
    return server, server.connect()


def test_a_streamed_answer() -> None:
    async def main() -> None:
        server, client = holding()
        client.send(GET + GET)
        exchange, after = server.service.handled
        server.service.answer(after)
        exchange.begin(200, [(b"content-type", b"application/x-ndjson")])
        await exchange.send(b"one\n")
        await exchange.send(b"")  # would be the end, were it written
        await exchange.send(b"two\n")
        exchange.finish()
        first, second = client.answers
        assert first.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in first.headers
        assert first.body == b"one\ntwo\n"
        assert second.body == b"GET /?:"
        assert not client.transport.is_ended

    run(main())


def test_a_streamed_answer_to_http_1_0_ends_with_the_connection() -> None:
    async def main() -> None:
        server, client = holding()
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        (exchange,) = server.service.handled
        exchange.begin(200, [])
        await exchange.send(b"one")
        exchange.finish()
        head, _, body = bytes(client.transport.written).partition(b"\r\n\r\n")
        assert head.endswith(b"connection: close")
        assert b"chunked" not in head
        assert body == b"one"
        assert client.transport.is_closed

    run(main())


def test_a_streamed_answer_to_http_1_0_leaves_those_behind_it() -> None:
    async def main() -> None:
        server, client = holding()
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
        exchange, after = server.service.handled
        exchange.begin(200, [])
        exchange.finish()
        assert client.transport.is_closed
        assert server.service.gone == [after]

    run(main())


def test_a_streamed_answer_to_http_1_0_with_unread_input_lingers() -> None:
    server, client = holding()
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 40)
    assert not client.transport.is_read
    server.service.handled[0].begin(200, [])
    server.service.handled[0].finish()
    assert client.transport.is_eof_written
    assert client.transport.is_read
    assert len(server.service.handled) == 32
    assert server.service.gone == server.service.handled[1:]
    server.pass_time(0.75)
    assert client.transport.is_lost


def test_a_streamed_answer_to_head_has_no_body() -> None:
    async def main() -> None:
        server, client = holding()
        client.send(HEAD + GET)
        exchange, after = server.service.handled
        exchange.begin(200, [])
        await exchange.send(b"one")
        exchange.finish()
        assert client.transport.written.endswith(b"transfer-encoding: chunked\r\n\r\n")
        server.service.answer(after)
        assert client.transport.written.endswith(b"GET /?:")

    run(main())


def test_a_streamed_answer_waits_its_turn() -> None:
    async def main() -> None:
        server, client = holding()
        client.send(GET + GET)
        before, exchange = server.service.handled
        exchange.begin(200, [])
        sending = asyncio.ensure_future(exchange.send(b"one"))
        await asyncio.sleep(0)
        assert client.transport.written == b""
        assert not sending.done()
        server.service.answer(before)
        await sending
        exchange.finish()
        assert [answer.body for answer in client.answers] == [b"GET /?:", b"one"]

    run(main())


def test_a_streamed_answer_that_is_over_before_its_turn() -> None:
    server, client = holding()
    client.send(GET + GET)
    before, exchange = server.service.handled
    exchange.begin(200, [])
    exchange.finish()
    server.service.answer(before)
    assert client.statuses == [200, 200]
    assert client.answers[1].body == b""


def test_a_streamed_answer_whose_client_leaves() -> None:
    async def main() -> None:
        server, client = holding()
        client.send(GET + GET)
        before, exchange = server.service.handled
        exchange.begin(200, [])
        sending = asyncio.ensure_future(exchange.send(b"one"))
        await asyncio.sleep(0)
        client.leave()
        await sending
        await exchange.send(b"two")
        exchange.finish()
        assert client.transport.written == b""
        assert server.service.gone == [before, exchange]

    run(main())


def test_a_streamed_answer_to_a_client_that_left() -> None:
    async def main() -> None:
        server, client = holding()
        client.send(GET)
        client.leave()
        (exchange,) = server.service.handled
        exchange.begin(200, [])
        await exchange.send(b"one")
        exchange.finish()
        exchange.abort()
        assert exchange.stage is Stage.GONE
        assert client.transport.written == b""

    run(main())


def test_an_aborted_stream_is_a_reset() -> None:
    async def main() -> None:
        server, client = holding()
        client.send(GET + GET)
        exchange, after = server.service.handled
        exchange.begin(200, [])
        await exchange.send(b"one")
        exchange.abort()
        assert client.transport.is_aborted
        assert client.transport.socket.options == [RESET]
        assert server.service.gone == [after]
        client.transport.settle()
        await exchange.send(b"two")
        exchange.finish()
        exchange.abort()

    run(main())


def test_a_line_break_in_a_field_of_a_stream_never_leaves() -> None:
    server, client = holding()
    client.send(GET)
    with pytest.raises(ValueError, match="line break"):
        server.service.handled[0].begin(200, [(b"x", b"a\r\nset: b")])
    assert client.transport.written == b""
    assert client.transport.is_aborted
