"""Each limit of the server at the limit less one, at the limit, and one over."""

from __future__ import annotations

import pytest

from emr.front.chunked import OVERHEAD_BYTES_MAX, OVERHEAD_BYTES_PER_CHUNK, SIZE_DIGITS_MAX
from emr.front.connection import TURNED_AWAY_MAX
from emr.front.exchange import ServerLimits
from emr.front.target import KEPT, METHOD_BYTES_MAX, HostGuard, Lines
from tests.front.cases import chunked, fields, line, post
from tests.support.server import Client, Server

GET = fields()


def ask(data: bytes, limits: ServerLimits | None = None) -> list[int]:
    """The statuses that `data` gets, whole and byte by byte alike."""
    whole, bytewise = Server(limits).connect(), Server(limits).connect()
    whole.send(data)
    bytewise.send_bytewise(data)
    assert whole.statuses == bytewise.statuses
    assert whole.transport.is_ended is bytewise.transport.is_ended
    return whole.statuses


def around(limit: int) -> list[tuple[int, bool]]:
    return [(limit - 1, True), (limit, True), (limit + 1, False)]


def test_the_limits_are_those_promised() -> None:
    limits = ServerLimits()
    assert limits.max_body_bytes == 16 * 1024 * 1024
    assert limits.max_head_bytes == 32 * 1024
    assert limits.max_headers == 100
    assert limits.max_target_bytes == 16 * 1024
    assert limits.max_connections == 12_000
    assert limits.max_pipelined == 32
    assert (limits.head_timeout_s, limits.body_timeout_s, limits.keepalive_s) == (10, 30, 75)
    assert (limits.write_stall_s, limits.linger_s, limits.drain_s) == (30, 0.5, 30)
    assert (OVERHEAD_BYTES_MAX, OVERHEAD_BYTES_PER_CHUNK) == (64 * 1024, 16)


@pytest.mark.parametrize(("size", "is_served"), around(32 * 1024))
def test_head_bytes(size: int, is_served: bool) -> None:
    head = fields(b"X: " + b"a" * (size - len(fields(b"X: "))))
    assert len(head) == size
    assert ask(head) == ([200] if is_served else [431])


@pytest.mark.parametrize(("size", "is_served"), around(1000))
def test_head_bytes_with_empty_lines_before(size: int, is_served: bool) -> None:
    head = b"\r\n" * 100 + fields(b"X: " + b"a" * (size - 200 - len(fields(b"X: "))))
    assert len(head) == size
    assert ask(head, ServerLimits(max_head_bytes=1000)) == ([200] if is_served else [431])


def test_empty_lines_without_end() -> None:
    limits = ServerLimits(max_head_bytes=1000)
    assert ask(b"\r\n" * 500, limits) == []
    assert ask(b"\r\n" * 501, limits) == [431]


@pytest.mark.parametrize(("size", "is_served"), around(16 * 1024))
def test_target_bytes(size: int, is_served: bool) -> None:
    data = line(b"GET /" + b"a" * (size - 1) + b" HTTP/1.1")
    assert ask(data) == ([200] if is_served else [414])


def test_target_over_the_limit_needs_no_end() -> None:
    assert ask(b"GET /" + b"a" * 16 * 1024) == [414]
    assert ask(b"GET /" + b"a" * (16 * 1024 - 1)) == []


def test_line_over_a_small_limit_of_the_head() -> None:
    limits = ServerLimits(max_head_bytes=100)
    assert ask(b"GET /" + b"a" * 94, limits) == []
    assert ask(b"GET /" + b"a" * 95, limits) == [431]
    assert ask(line(b"GET /" + b"a" * 200 + b" HTTP/1.1"), limits) == [431]
    assert ask(line(b"GET /" + b"a" * 60 + b"\x01" + b"a" * 60), limits) == [400]


@pytest.mark.parametrize(("size", "is_known"), around(METHOD_BYTES_MAX))
def test_method_bytes(size: int, is_known: bool) -> None:
    # a method of any length is unknown; one over the limit is so without its end
    assert ask(b"A" * size) == ([] if is_known else [501])
    assert ask(line(b"A" * size + b" / HTTP/1.1")) == [501]


@pytest.mark.parametrize(("count", "is_served"), around(100))
def test_header_lines(count: int, is_served: bool) -> None:
    different = fields(*(b"X-%d: 1" % at for at in range(count - 1)))  # and Host
    repeated = fields(*[b"X: 1"] * (count - 1))
    assert ask(different) == ([200] if is_served else [431])
    assert ask(repeated) == ([200] if is_served else [431])


def test_thousands_of_header_lines_are_not_joined() -> None:
    client = Server().connect()
    client.send(fields(*[b"a: " + b"b" * 5] * 3000))
    assert client.statuses == [431]


@pytest.mark.parametrize(("size", "is_served"), around(16 * 1024 * 1024))
def test_body_bytes_by_length(size: int, is_served: bool) -> None:
    client = Server().connect()
    client.send(post(b"Content-Length: %d" % size))
    if is_served:
        assert client.statuses == []
        client.send(b"x" * size)
        assert client.statuses == [200]
        assert len(client.server.service.handled[0].body) == size
    else:
        assert client.statuses == [413]


@pytest.mark.parametrize(("size", "is_served"), around(1000))
def test_body_bytes_by_chunks(size: int, is_served: bool) -> None:
    limits = ServerLimits(max_body_bytes=1000)
    one = chunked(b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n")
    assert ask(one, limits) == ([200] if is_served else [413])
    parts = b"1f4\r\n" + b"x" * 500 + b"\r\n%x\r\n" % (size - 500) + b"x" * (size - 500) + b"\r\n"
    assert ask(chunked(parts + b"0\r\n\r\n"), limits) == ([200] if is_served else [413])


def test_a_claimed_length_costs_no_memory() -> None:
    client = Server().connect()
    client.send(post(b"Content-Length: 16777216", body=b"x"))
    held = client.connection._intake._reader._sized
    assert held is not None
    assert len(held) == 1


def extended(more: int) -> bytes:
    """A chunk of one byte whose syntax takes what is allowed for it, and `more`."""
    allowed = OVERHEAD_BYTES_MAX + OVERHEAD_BYTES_PER_CHUNK
    return b"1;" + b"a" * (allowed - len(b"1;\r\n\r\n") + more) + b"\r\nx\r\n"


@pytest.mark.parametrize(("more", "is_served"), around(0))
def test_chunk_syntax_bytes(more: int, is_served: bool) -> None:
    client = Server().connect()
    client.send(chunked(extended(more) + b"0\r\n\r\n"))
    assert client.statuses == ([200] if is_served else [400])


@pytest.mark.parametrize(("more", "is_served"), [(-6, True), (0, True), (1, False)])
def test_chunk_syntax_bytes_of_a_line_without_end(more: int, is_served: bool) -> None:
    # of an unfinished line only what is here counts, with what no chunk has yet earned
    client = Server().connect()
    client.send(chunked(b"1;" + b"a" * (OVERHEAD_BYTES_MAX - 2 + more)))
    assert client.statuses == ([] if is_served else [400])


def test_chunk_syntax_bytes_grow_with_the_chunks() -> None:
    client = Server().connect()
    client.send(chunked(b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"))
    assert client.statuses == [200]
    assert client.server.service.handled[0].body == b"x" * 50_000
    client = Server().connect()
    client.send(chunked(b"1;" + b"a" * 16 + b"\r\nx\r\n"))
    client.send((b"1;" + b"a" * 16 + b"\r\nx\r\n") * 20_000)
    assert client.statuses == [400]


@pytest.mark.parametrize(("digits", "is_served"), around(SIZE_DIGITS_MAX))
def test_chunk_size_digits(digits: int, is_served: bool) -> None:
    body = b"0" * (digits - 1) + b"1\r\nx\r\n0\r\n\r\n"
    assert ask(chunked(body)) == ([200] if is_served else [400])


@pytest.mark.parametrize(("size", "is_served"), around(32 * 1024))
def test_trailer_bytes(size: int, is_served: bool) -> None:
    trailers = b"X: " + b"a" * (size - len(b"X: \r\n\r\n")) + b"\r\n\r\n"
    assert len(trailers) == size
    client = Server().connect()
    client.send(chunked(b"0\r\n" + trailers))
    assert client.statuses == ([200] if is_served else [431])


@pytest.mark.parametrize(("count", "is_served"), around(100))
def test_trailer_lines(count: int, is_served: bool) -> None:
    assert ask(chunked(b"0\r\n" + b"X: 1\r\n" * count + b"\r\n")) == ([200] if is_served else [431])


def test_trailers_count_as_syntax() -> None:
    limits = ServerLimits(max_head_bytes=200_000)
    trailer = b"X: " + b"a" * 50_000 + b"\r\n"
    client = Server(limits).connect()
    client.send(chunked(b"0\r\n" + trailer + trailer + b"\r\n"))
    assert client.statuses == [400]


@pytest.mark.parametrize(("count", "read"), [(31, 31), (32, 32), (33, 32), (100, 32)])
def test_pipelined_requests(count: int, read: int) -> None:
    server = Server()
    server.service.is_holding = True
    client = server.connect()
    client.send(GET * count)
    assert len(server.service.handled) == read
    assert client.transport.is_read is (count < 32)
    assert client.statuses == []
    for exchange in server.service.handled:  # grows, as answers make room
        server.service.answer(exchange)
    assert client.statuses == [200] * count
    assert client.transport.is_read


def test_a_body_is_read_at_the_limit_of_pipelined_requests() -> None:
    server = Server()
    server.service.is_holding = True
    client = server.connect()
    client.send(GET * 31 + post(b"Content-Length: 5", body=b"he"))
    assert client.transport.is_read
    client.send(b"llo" + GET)
    assert [e.body for e in server.service.handled][-1] == b"hello"
    assert len(server.service.handled) == 32
    assert not client.transport.is_read


def test_bytes_of_pipelined_bodies() -> None:
    server = Server(ServerLimits(max_body_bytes=1000))
    server.service.is_holding = True
    client = server.connect()
    client.send(post(b"Content-Length: 999", body=b"x" * 999))
    client.send(post(b"Content-Length: 1", body=b"x"))
    assert not client.transport.is_read
    client.send(GET)
    assert len(server.service.handled) == 2
    server.service.answer(server.service.handled[0])
    assert len(server.service.handled) == 3
    assert client.transport.is_read


@pytest.mark.parametrize(("count", "is_served"), around(5))
def test_connections(count: int, is_served: bool) -> None:
    server = Server(ServerLimits(max_connections=5))
    clients = [server.connect() for _ in range(count)]
    last = clients[-1]
    last.send(GET)
    assert last.statuses == ([200] if is_served else [503])
    if not is_served:
        assert last.answers[0].headers["x-type"] == "overloaded"
        assert last.transport.is_eof_written
        assert server.register.refused == {503: 1}
    clients[0].send(GET)
    assert clients[0].statuses == [200]


def test_connections_far_over_the_limit_are_reset() -> None:
    server = Server(ServerLimits(max_connections=1))
    clients = [server.connect() for _ in range(1 + TURNED_AWAY_MAX)]
    assert clients[-1].statuses == [503]
    assert server.connect().transport.is_aborted


def test_a_connection_that_left_makes_room() -> None:
    server = Server(ServerLimits(max_connections=1))
    first = server.connect()
    first.leave()
    second = server.connect()
    second.send(GET)
    assert second.statuses == [200]


def test_what_is_kept_of_lines_and_hosts_is_bounded() -> None:
    lines, hosts = Lines(1000), HostGuard(frozenset({"a"}))
    for at in range(3 * KEPT):
        lines.read(b"GET /%d HTTP/1.1\r\n" % at)
        hosts.judge(b"h%d" % at)
        assert len(lines.kept) <= KEPT
        assert len(hosts.kept) <= KEPT
    lines.read(b"GET /" + b"a" * 300 + b" HTTP/1.1\r\n")
    hosts.judge(b"a" * 300)
    assert max(map(len, lines.kept)) < 300
    assert max(map(len, hosts.kept)) < 300


def test_a_client_is_one_connection() -> None:
    client: Client = Server().connect()
    client.send(GET)
    assert client.server.register.accepted == 1
    assert client.server.register.requests == 1
