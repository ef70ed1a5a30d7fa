"""The sixteen checks that a server on httptools must make by itself, one test each, and the five
that belong to them. What the raw cases show in breadth, these show by name.
"""

from __future__ import annotations

import pytest

from emr.front.exchange import ServerLimits
from tests.front.cases import chunked, fields, line, post
from tests.support.server import Server

GET = fields()


def statuses(data: bytes, limits: ServerLimits | None = None) -> list[int]:
    client = Server(limits).connect()
    client.send(data)
    return client.statuses


def test_check_01_bytes_are_counted_outside_the_parser() -> None:
    limits = ServerLimits(max_head_bytes=1000, max_target_bytes=500, max_body_bytes=100)
    assert statuses(fields(b"X: " + b"a" * 1000), limits) == [431]
    assert statuses(line(b"GET /" + b"a" * 500 + b" HTTP/1.1"), limits) == [414]
    assert statuses(chunked(b"65\r\n"), limits) == [413]
    assert statuses(chunked(b"0\r\nX: " + b"a" * 1000), limits) == [431]


def test_check_02_an_ignored_upgrade_keeps_its_framing() -> None:
    offer = (b"Connection: Upgrade", b"Upgrade: h2c")
    client = Server().connect()
    client.send(post(*offer, b"Content-Length: 5", body=b"hello") + GET)
    client.send(post(*offer, b"Transfer-Encoding: chunked", body=b"2\r\nhi\r\n0\r\n\r\n") + GET)
    assert [e.body for e in client.server.service.handled] == [b"hello", b"", b"hi", b""]


def test_check_03_no_header_comes_after_the_head() -> None:
    client = Server().connect()
    client.send(chunked(b"0\r\nX-Late: 1\r\n\r\n"))
    assert b"x-late" not in client.server.service.handled[0].headers


def test_check_04_the_version_is_1_0_or_1_1() -> None:
    versions = [f"{major}.{minor}" for major in range(10) for minor in range(10)]
    good = [v for v in versions if statuses(line(b"GET / HTTP/" + v.encode())) == [200]]
    assert good == ["1.0", "1.1"]
    assert statuses(line(b"GET / HTTP/1.2")) == [505]


def test_check_05_the_raw_request_line() -> None:
    assert statuses(line(b"GET / RTSP/1.0")) == [400]
    assert statuses(line(b"GET / ICE/1.0")) == [400]
    assert statuses(line(b"GET  / HTTP/1.1")) == [400]
    assert statuses(line(b"GET /  HTTP/1.1")) == [400]


def test_check_06_methods_of_other_servers() -> None:
    for method in (b"CONNECT", b"PRI", b"SOURCE"):
        assert statuses(line(method + b" / HTTP/1.1")) == [501]


def test_check_07_the_host() -> None:
    def get(target: bytes, *hosts: bytes) -> bytes:
        lines = b"".join(b"Host: %b\r\n" % host for host in hosts)
        return b"GET %b HTTP/1.1\r\n%b\r\n" % (target, lines)

    assert statuses(get(b"/", b"a")) == [200]
    assert statuses(get(b"/")) == [400]
    assert statuses(get(b"/", b"a", b"a")) == [400]
    assert statuses(get(b"/", b"a/b")) == [400]
    assert statuses(get(b"http://a b/", b"a")) == [400]
    assert statuses(get(b"http://u@a/", b"a")) == [400]
    assert statuses(b"GET / HTTP/1.0\r\n\r\n") == [200]
    assert statuses(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n") == [400]


def test_check_08_the_transfer_coding() -> None:
    end = b"0\r\n\r\n"
    assert statuses(post(b"Transfer-Encoding: chunked", body=end)) == [200]
    assert statuses(post(b"Transfer-Encoding: gzip, chunked", body=end)) == [501]
    assert statuses(post(*[b"Transfer-Encoding: chunked"] * 2, body=end)) == [400]
    assert statuses(post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=end)) == [400]
    assert statuses(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + end) == [400]


def test_check_09_the_length_is_one_line_of_digits() -> None:
    assert statuses(post(b"Content-Length: 1", body=b"x")) == [200]
    for value in (b"+1", b"1, 1", b"0x1", b"", b"1 1"):
        assert statuses(post(b"Content-Length: " + value, body=b"x")) == [400]
    assert statuses(post(b"Content-Length: 1", b"Content-Length: 1", body=b"x")) == [400]


@pytest.mark.parametrize("byte", [b"\r", b"\n", b"\0"])
def test_check_10_no_cr_lf_nul_in_values(byte: bytes) -> None:
    for value in (byte, b"a" + byte, byte + b"a", b"a" + byte + b"b"):
        assert statuses(fields(b"X: " + value)) == [400]


def test_check_11_keep_alive_is_decided_by_the_tokens() -> None:
    def ends(data: bytes) -> tuple[bool, str | None]:
        client = Server().connect()
        client.send(data)
        return client.transport.is_ended, client.answers[0].headers.get("connection")

    assert ends(GET) == (False, None)
    assert ends(fields(b"Connection: keep-alive, close")) == (True, "close")
    assert ends(fields(b"Connection: closed")) == (False, None)
    assert ends(b"GET / HTTP/1.0\r\n\r\n") == (True, "close")
    assert ends(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n") == (False, "keep-alive")
    assert ends(b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n") == (True, "close")


def test_check_12_an_early_refusal_with_body_to_come_ends_the_connection() -> None:
    head = b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    client = Server().connect()
    client.send(head + b"hel")
    assert client.statuses == [401]
    assert client.answers[0].headers["connection"] == "close"
    assert client.transport.is_eof_written
    client.send(b"lo" + GET)
    assert client.statuses == [401]
    # with the body at hand there is no need
    client = Server().connect()
    client.send(head + b"hello" + GET)
    assert client.statuses == [401, 200]
    assert not client.transport.is_ended
    # and a body that cannot be read to its end ends it too
    client = Server().connect()
    client.send(head.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"x\r\n" + GET)
    assert client.statuses == [401]
    assert client.transport.is_ended


def test_check_13_the_target() -> None:
    for target in (b"/a%20b?c", b"http://a/b", b"/"):
        assert statuses(line(b"GET " + target + b" HTTP/1.1")) == [200]
    assert statuses(line(b"OPTIONS * HTTP/1.1")) == [200]
    for target in (b"*", b"/a#b", b"/%", b"/%0g", b"/%00", b"/\xc3\xa9", b"a", b"a:80"):
        assert statuses(line(b"GET " + target + b" HTTP/1.1")) == [400]


def test_check_14_a_close_in_a_trailer_does_not_stop_the_reading() -> None:
    client = Server().connect()
    client.send(chunked(b"0\r\nConnection: close\r\n\r\n"))
    client.send(GET)
    assert client.statuses == [200, 200]
    assert not client.transport.is_ended


def test_check_15_nothing_is_read_after_the_last_answer() -> None:
    server = Server()
    server.service.is_holding = True
    client = server.connect()
    client.send(fields(b"Connection: close") + GET)
    client.send(GET + b"\x00 broken")
    (exchange,) = server.service.handled
    server.service.answer(exchange)
    client.send(GET)
    assert client.statuses == [200]
    assert len(server.service.admitted) == 1


def test_check_16_a_lingering_close() -> None:
    server = Server()
    client = server.connect()
    client.send(b"BROKEN\r\n\r\n")
    transport = client.transport
    assert (transport.is_eof_written, transport.is_closed) == (True, False)
    client.send(b"more of it")  # dropped
    server.pass_time(0.75)
    assert transport.is_lost
    assert not transport.is_aborted
    # a client that leaves meanwhile ends it at once
    client = server.connect()
    client.send(b"BROKEN\r\n\r\n")
    client.leave()
    assert client.transport.is_lost


def test_check_17_date_allow_and_authenticate_pass_through() -> None:
    client = Server().connect()
    client.send(GET)
    assert client.answers[0].headers["date"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    client.server.pass_time(1.0)
    client.send(GET)
    assert client.answers[1].headers["date"] == "Sun, 06 Nov 1994 08:49:38 GMT"
