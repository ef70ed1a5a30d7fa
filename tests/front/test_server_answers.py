"""Answers: their order and heads, HEAD and 204, 100-continue, and handlers that fail."""

from __future__ import annotations

import logging

import pytest

from emr.front.answers import JOINED_BYTES_MAX
from emr.front.exchange import Exchange, Headers, Stage
from emr.lane.refusal import Refusal
from tests.front.cases import fields, post
from tests.support.server import Client, Echo, Server, read_answers

GET = fields()
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"


def holding() -> tuple[Server, Client]:
    server = Server()
    server.service.is_holding = True
    return server, server.connect()


def test_the_bytes_of_an_answer() -> None:
    server, client = holding()
    client.send(GET)
    server.service.handled[0].reply(200, [(b"content-type", b"text/plain"), (b"x", b"y")], b"hi")
    assert bytes(client.transport.written) == (
        b"HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        b"content-type: text/plain\r\nx: y\r\ncontent-length: 2\r\n\r\nhi"
    )
    assert client.transport.writes == 1


@pytest.mark.parametrize("size", [0, 1, JOINED_BYTES_MAX, JOINED_BYTES_MAX + 1, 1 << 20])
def test_one_write_an_answer(size: int) -> None:
    server, client = holding()
    client.send(GET)
    server.service.handled[0].reply(200, [], b"x" * size)
    assert client.transport.writes == 1
    assert client.answers[0].body == b"x" * size


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0], [2, 0, 1]])
def test_answers_leave_in_the_order_of_requests(order: list[int]) -> None:
    server, client = holding()
    client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % at for at in range(3)))
    for done, at in enumerate(order):
        server.service.answer(server.service.handled[at])
        given = set(order[: done + 1])
        first_open = next((at for at in range(3) if at not in given), 3)
        assert len(client.answers) == first_open
    assert [a.body for a in client.answers] == [b"GET /%d?:" % at for at in range(3)]


def test_an_unusual_status_has_a_line() -> None:
    server, client = holding()
    client.send(GET)
    server.service.handled[0].reply(299, [], b"")
    assert client.transport.written.startswith(b"HTTP/1.1 299 \r\n")


def test_head_has_the_length_of_get_and_no_body() -> None:
    client = Server().connect()
    client.send(HEAD + GET)
    head, get = client.answers
    assert head.headers["content-length"] == str(len(b"HEAD /?:"))
    assert head.body == b""
    assert get.body == b"GET /?:"


def test_a_refused_head_has_no_body() -> None:
    client = Server().connect()
    client.send(b"HEAD /refused HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
    assert client.statuses == [401, 200]
    client = Server().connect()
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert client.transport.written.endswith(b"\r\nconnection: close\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(status: int) -> None:
    server, client = holding()
    client.send(GET)
    server.service.handled[0].reply(status, [], b"")
    assert b"content-length" not in client.transport.written
    client.send(GET)
    server.service.answer(server.service.handled[1])
    assert client.statuses == [status, 200]


@pytest.mark.parametrize("field", [
    (b"x", b"a\r\nset: b"), (b"x", b"a\nb"), (b"x", b"a\rb"), (b"x\r\n", b"a"), (b"x", b"\r\n\r\n"),
])  # fmt: skip
def test_a_line_break_in_a_field_never_leaves(field: tuple[bytes, bytes]) -> None:
    server, client = holding()
    client.send(GET)
    with pytest.raises(ValueError, match="line break"):
        server.service.handled[0].reply(200, [field], b"")
    assert client.transport.written == b""
    assert client.transport.is_aborted


def test_a_late_answer_to_a_client_that_left_is_dropped() -> None:
    server, client = holding()
    client.send(GET + GET)
    client.leave()
    assert server.service.gone == server.service.handled
    for exchange in server.service.handled:
        assert exchange.stage is Stage.GONE
        server.service.answer(exchange)
    assert client.transport.written == b""
    assert not server.register.guests


def test_a_client_that_left_is_told_of_once() -> None:
    server, client = holding()
    client.send(GET + GET)
    server.service.answer(server.service.handled[1])  # waits behind the first
    client.leave()
    assert server.service.gone == server.service.handled[:1]


def test_a_client_that_leaves_in_a_body() -> None:
    server, client = holding()
    client.send(post(b"Content-Length: 5", body=b"he"))
    client.leave()
    assert server.service.admitted[0].stage is Stage.GONE
    assert server.service.handled == []


def test_a_broken_connection() -> None:
    server, client = holding()
    client.send(GET)
    client.connection.connection_lost(ConnectionResetError())
    assert server.service.gone == server.service.handled


# 100-continue


def test_continue_is_asked_for_once() -> None:
    client = Server().connect()
    client.send(post(b"Expect: 100-continue", b"Content-Length: 5"))
    assert bytes(client.transport.written) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"he")
    client.send(b"llo")
    assert client.statuses == [100, 200]


@pytest.mark.parametrize("body", [b"h", b"hello"])
def test_continue_is_not_asked_for_when_the_body_comes(body: bytes) -> None:
    client = Server().connect()
    client.send(post(b"Expect: 100-continue", b"Content-Length: 5", body=body))
    client.send(b"hello"[len(body) :])
    assert client.statuses == [200]


def test_continue_for_a_chunked_body() -> None:
    client = Server().connect()
    client.send(post(b"Expect: 100-Continue", b"Transfer-Encoding: chunked"))
    client.send(b"1\r\n")
    client.send(b"x\r\n0\r\n\r\n")
    assert client.statuses == [100, 200]
    client = Server().connect()
    client.send(post(b"Expect: 100-continue", b"Transfer-Encoding: chunked", body=b"1"))
    client.send(b"\r\nx\r\n0\r\n\r\n")
    assert client.statuses == [200]


def test_continue_waits_its_turn() -> None:
    server, client = holding()
    client.send(GET + post(b"Expect: 100-continue", b"Content-Length: 1"))
    assert client.transport.written == b""
    server.service.answer(server.service.handled[0])
    assert client.statuses == [200, 100]
    client.send(b"x")
    server.service.answer(server.service.handled[1])
    assert client.statuses == [200, 100, 200]


# Handlers that fail


def test_a_handler_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    client = Server().connect()
    client.send(b"GET /bug/handle?secret HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
    assert client.statuses == [502, 200]
    assert client.answers[0].headers["x-type"] == "internal_error"
    assert "RuntimeError" in caplog.text
    assert "handle" in caplog.text
    assert "secret" not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


def test_an_admission_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    client = Server().connect()
    client.send(b"GET /bug/admit?secret HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
    assert client.statuses == [502, 200]
    assert "secret" not in caplog.text


def test_a_handler_that_fails_in_a_stream(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Echo):
        def handle(self, exchange: Exchange) -> None:
            exchange.begin(200, [])
            raise RuntimeError

    client = Server(service=Failing()).connect()
    client.send(GET)
    assert client.transport.is_aborted
    assert "RuntimeError" in caplog.text


def test_a_handler_that_fails_after_its_answer(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Echo):
        def handle(self, exchange: Exchange) -> None:
            self.answer(exchange)
            raise RuntimeError

    client = Server(service=Failing()).connect()
    client.send(GET + GET)
    assert client.statuses == [200, 200]
    assert not client.transport.is_ended
    assert len(caplog.records) == 2


def test_a_rendering_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Echo):
        def render(self, exchange: Exchange | None, refusal: Refusal) -> tuple[int, Headers, bytes]:
            raise RuntimeError

    client = Server(service=Failing()).connect()
    client.send(b"BROKEN\r\n\r\n")
    assert client.statuses == [400]
    assert "RuntimeError" in caplog.text


def test_a_listener_of_leaving_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    server, client = holding()
    client.send(GET + GET)

    def fail() -> None:
        raise RuntimeError

    server.service.handled[0].on_gone = fail
    client.leave()
    assert server.service.gone == server.service.handled[1:]
    assert caplog.records[0].levelno == logging.ERROR


def test_the_reader_of_answers_is_strict() -> None:
    for bad in (
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\na: b\r\na: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx",
        b"HTTP/1.0 200 OK\r\n\r\n",
    ):
        with pytest.raises(AssertionError):
            read_answers(bad)
