"""The traps of uvloop, httptools and llhttp that are known, one test each."""

from __future__ import annotations

import hmac

import orjson
import pytest
from httptools import HttpParserUpgrade, HttpRequestParser

from emr.front.chunked import OVERHEAD_BYTES_MAX
from emr.front.exchange import Exchange
from tests.front.cases import chunked, fields, line, post
from tests.support.server import Server

GET = fields()


def test_trap_trailers_come_as_headers() -> None:
    client = Server().connect()
    client.send(chunked(b"1\r\nx\r\n0\r\nAuthorization: Bearer emr_x\r\nHost: b\r\n\r\n"))
    (exchange,) = client.server.service.handled
    assert exchange.headers == {b"host": b"a", b"transfer-encoding": b"chunked"}
    assert exchange.body == b"x"
    assert client.statuses == [200]


def test_trap_upgrade_skips_the_body() -> None:
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    head = post(*offer, b"Content-Length: 5")
    with pytest.raises(HttpParserUpgrade):  # the trap is still there
        HttpRequestParser(object.__new__(type("Empty", (), {}))).feed_data(head + b"hello")
    client = Server().connect()
    client.send(head + b"hello")
    client.send(post(*offer, b"Transfer-Encoding: chunked", body=b"5\r\nworld\r\n0\r\n\r\n"))
    assert [exchange.body for exchange in client.server.service.handled] == [b"hello", b"world"]
    assert client.statuses == [200, 200]


def test_trap_error_overtakes_pending_answers() -> None:
    server = Server()
    server.service.is_holding = True
    client = server.connect()
    client.send(GET + GET + b"BROKEN\r\n\r\n")
    first, second = server.service.handled
    assert client.statuses == []
    server.service.answer(second)
    assert client.statuses == []
    server.service.answer(first)
    assert client.statuses == [200, 200, 400]
    assert client.transport.is_eof_written


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET /", 400),
        (b"OPTIONS rtsp://a/ RTSP/1.0", 400),
        (b"GET / ICE/1.0", 400),
        (b"SOURCE / ICE/1.0", 501),
        (b"CONNECT a:443 HTTP/1.1", 501),
    ],
)
def test_trap_other_protocols_are_served(text: bytes, status: int) -> None:
    client = Server().connect()
    client.send(line(text))
    assert client.statuses == [status]
    assert client.server.service.admitted == []


def test_trap_unfinished_header_is_kept_without_a_word() -> None:
    client = Server().connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    sent = 0
    while not client.transport.is_ended:
        client.send(b"a" * 1024)
        sent += 1
        assert sent <= 33, "a head without end is read on and on"
    assert client.statuses == [431]


def test_trap_unfinished_target_is_kept_without_a_word() -> None:
    client = Server().connect()
    client.send(b"GET /")
    sent = 0
    while not client.transport.is_ended:
        client.send(b"a" * 1024)
        sent += 1
        assert sent <= 17, "a target without end is read on and on"
    assert client.statuses == [414]


@pytest.mark.parametrize("filler", [b"1;" + b"a" * 1024, b"0" * 1024, b"1;a=" + b"b" * 1024])
def test_trap_chunk_syntax_without_end(filler: bytes) -> None:
    client = Server().connect()
    client.send(chunked(b""))
    sent = 0
    while not client.transport.is_ended:
        client.send(filler if sent == 0 else filler[-1:] * 1024)
        sent += 1024
        assert sent <= OVERHEAD_BYTES_MAX + 2048, "the syntax of a chunk is read on and on"
    assert client.statuses == [400]


@pytest.mark.parametrize("values", [[], [b"a", b"a"], [b"a", b"b"], [b"a/b"]])
def test_trap_host_is_not_looked_at(values: list[bytes]) -> None:
    client = Server().connect()
    client.send(b"GET / HTTP/1.1\r\n" + b"".join(b"Host: %b\r\n" % v for v in values) + b"\r\n")
    assert client.statuses == [400]


def test_trap_dns_rebinding() -> None:
    server = Server()
    server.register.hosts.allow(frozenset({"localhost"}))
    client = server.connect()
    client.send(b"GET /health HTTP/1.1\r\nHost: rebound.example:3200\r\n\r\n")
    assert client.statuses == [421]
    assert server.service.admitted == []


def test_trap_coded_body_is_taken_for_json() -> None:
    client = Server().connect()
    client.send(post(b"Transfer-Encoding: gzip, chunked", body=b"2\r\n\x1f\x8b\r\n0\r\n\r\n"))
    assert client.statuses == [501]
    assert client.server.service.admitted == []


def test_trap_chunked_in_http_1_0() -> None:
    client = Server().connect()
    client.send(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert client.statuses == [400]
    assert client.transport.is_ended


def test_trap_data_after_close_is_an_error() -> None:
    client = Server().connect()
    client.send(fields(b"Connection: close") + GET + b"\x00\x01")
    assert client.statuses == [200]
    assert client.answers[0].headers["connection"] == "close"
    assert len(client.server.service.handled) == 1


def test_trap_json_depth_and_duplicate_keys_are_the_forms_to_check() -> None:
    # The body goes on as it came: what orjson makes of it is not decided before.
    deep = b"[" * 2000
    client = Server().connect()
    client.send(post(b"Content-Length: 2000", body=deep))
    (exchange,) = client.server.service.handled
    assert exchange.body == deep
    with pytest.raises(orjson.JSONDecodeError):  # the trap is still there: its limit is its own
        orjson.loads(b"[" * 1100 + b"]" * 1100)
    assert orjson.loads(b"[" * 1000 + b"]" * 1000)
    assert orjson.loads(b'{"a":1,"a":2}') == {"a": 2}


def test_trap_continue_for_http_1_0() -> None:
    client = Server().connect()
    client.send(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert client.transport.written == b""
    client.send(b"x")
    assert client.statuses == [200]


def test_trap_continue_beside_a_known_refusal() -> None:
    client = Server().connect()
    client.send(
        b"POST /refused HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    )
    assert client.statuses == [401]
    client = Server().connect()
    client.send(post(b"Expect: 100-continue", b"Content-Length: 99999999"))
    assert client.statuses == [413]


def test_trap_8_bit_key_in_compare_digest() -> None:
    # Values stay bytes, so that they can be compared as bytes.
    client = Server().connect()
    client.send(fields(b"Authorization: Bearer emr_\xff"))
    (exchange,) = client.server.service.handled
    key = exchange.headers[b"authorization"]
    assert key == b"Bearer emr_\xff"
    assert not hmac.compare_digest(key, b"Bearer emr_x")
    with pytest.raises(TypeError):  # the trap is still there
        hmac.compare_digest(key.decode("latin-1"), "Bearer emr_x")


def test_trap_close_with_unread_input_is_a_reset() -> None:
    client = Server().connect()
    client.send(post(b"Content-Length: 99999999", body=b"x" * 100))
    transport = client.transport
    assert client.statuses == [413]
    assert transport.is_eof_written
    assert not transport.is_closed
    assert transport.is_read, "what still comes must be read to be dropped"
    client.send(b"x" * 1000)
    client.server.pass_time(0.25)
    assert not transport.is_closed
    client.server.pass_time(0.5)
    assert transport.is_closed
    assert not transport.is_aborted


def test_the_headers_of_an_exchange_are_plain() -> None:
    client = Server().connect()
    client.send(fields(b"X-One: 1 ", b"x-one:\t2\t", b"Empty:"))
    (exchange,) = client.server.service.handled
    assert isinstance(exchange, Exchange)
    assert exchange.headers == {b"host": b"a", b"x-one": b"1, 2", b"empty": b""}
