"""The reader by itself: what it says, what it leaves, and what it holds."""

from __future__ import annotations

import sys

import pytest

from emr.front.chunked import ChunkedBody, Place
from emr.front.exchange import ServerLimits
from emr.front.framing import CHUNKED, body_length
from emr.front.head import DIFFERED_MAX, DIGITS_MAX, REMEMBERED_BYTES_MAX, Head
from emr.front.target import AnyHost, HostGuard, HostVerdict, Lines
from emr.front.wire import Part, Reader, Signal
from emr.lane.refusal import Refused
from tests.front.cases import chunked, fields, post
from tests.front.cases_body import BAD_CHUNKS, GOOD_CHUNKS

NEXT = b"GET /next HT"


def reader() -> Reader:
    return Reader(ServerLimits(), Lines(16 * 1024), HostGuard(None))


def test_a_request_whole() -> None:
    it = reader()
    assert it.read() is Signal.MORE
    it.feed(post(b"Content-Length: 5", b"X: 1", body=b"hello"))
    assert it.read() is Signal.HEAD
    line = it.head.line
    assert line is not None
    assert (line.method, line.path, line.query) == ("POST", "/", "")
    assert it.head.headers == {b"host": b"a", b"content-length": b"5", b"x": b"1"}
    assert (it.length, it.keeps_alive, it.expects_continue) == (5, True, False)
    assert it.read() is Signal.END
    assert it.body == b"hello"
    assert it.read() is Signal.MORE
    assert it.is_between_requests


def test_a_request_byte_by_byte() -> None:
    data = post(b"Content-Length: 5", body=b"hello")
    it, said = reader(), []
    for at in range(len(data)):
        it.feed(data[at : at + 1])
        signal = it.read()
        if signal is not Signal.MORE:
            said.append((at, signal))
            assert it.read() is Signal.MORE or signal is Signal.HEAD
    assert said == [(len(data) - 6, Signal.HEAD), (len(data) - 1, Signal.END)]
    assert it.body == b"hello"


def test_a_request_with_trailing_bytes() -> None:
    it = reader()
    it.feed(chunked(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n") + NEXT)
    assert it.read() is Signal.HEAD
    assert it.length == CHUNKED
    assert it.read() is Signal.END
    assert it.body == b"hello"
    assert it.read() is Signal.MORE
    assert it.held == NEXT
    assert not it.is_between_requests
    assert it.head.line is None


def test_a_refusal_is_the_end() -> None:
    it = reader()
    it.feed(fields(b"X : 1") + fields())
    for _ in range(3):
        assert it.read() is Signal.REFUSED
        assert it.refusal is not None
        assert it.refusal.status == 400
        assert it.part is Part.OVER
        it.feed(fields())


def test_nothing_of_a_request_is_kept_after_it() -> None:
    it = reader()
    it.feed(post(b"Content-Length: 100000", body=b"x" * 100_000))
    assert it.read() is Signal.HEAD
    assert it.read() is Signal.END
    it.forget()
    assert (it.body, it.head.headers, it.held) == (b"", {}, b"")
    it.feed(fields())
    assert it.read() is Signal.HEAD
    assert it.head.headers == {b"host": b"a"}


def test_a_few_bytes_do_not_hold_many() -> None:
    for rest in (NEXT, b"GET / HTTP/1.1\r\nHost:", b"\r\n\r"):
        it = reader()
        it.feed(post(b"Content-Length: 100000", body=b"x" * 100_000) + rest)
        assert it.read() is Signal.HEAD
        assert it.read() is Signal.END
        it.forget()
        assert it.read() is Signal.MORE
        assert sys.getsizeof(it.held) < 200
    it = reader()
    it.feed(chunked(b"186a0\r\n" + b"x" * 100_000 + b"\r\n1"))
    assert it.read() is Signal.HEAD
    assert it.read() is Signal.MORE
    assert it.held == b"1"


def test_a_reader_that_is_released_reads_no_more() -> None:
    it = reader()
    it.feed(fields())
    it.release()
    assert it.read() is Signal.MORE


def test_llhttp_must_see_the_end_of_the_head_where_it_is_seen_here() -> None:
    class Deaf(Head):
        """Misses the end of the head."""

        __slots__ = ()

        def on_headers_complete(self) -> None:
            pass

    class Hasty(Head):
        """Sees it after a first header."""

        __slots__ = ()

        def on_header(self, name: bytes, value: bytes) -> None:
            self.on_headers_complete()

    for kind, data in ((Deaf, fields()), (Hasty, fields(b"X: 1")[:-2])):
        with pytest.raises(Refused, match="in doubt"):
            kind(ServerLimits(), Lines(1000)).take(data, 0)


def test_both_framings_are_refused_here_too_were_llhttp_to_let_them_pass() -> None:
    with pytest.raises(Refused, match="both"):
        body_length({b"content-length": b"5", b"transfer-encoding": b"chunked"}, 1)


def body() -> ChunkedBody:
    return ChunkedBody(1 << 24, 32 * 1024, 100)


def take_bytewise(it: ChunkedBody, data: bytes) -> bytes:
    """Give it a byte more each time; returns what it left."""
    held = b""
    for at in range(len(data)):
        if it.place is Place.END:
            return data[at:]
        held += data[at : at + 1]
        held = held[it.take(held, 0) :]
    return held


@pytest.mark.parametrize("name", GOOD_CHUNKS)
def test_a_good_chunked_body_three_ways(name: str) -> None:
    data = GOOD_CHUNKS[name]
    whole, bytewise, followed = body(), body(), body()
    assert whole.take(data, 0) == len(data)
    assert take_bytewise(bytewise, data) == b""
    assert followed.take(b"junk" + data + NEXT, 4) == 4 + len(data)
    assert whole.place is bytewise.place is followed.place is Place.END
    assert whole.body == bytewise.body == followed.body


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_bad_chunked_body_two_ways(name: str) -> None:
    for take in (lambda it, data: it.take(data, 0), take_bytewise):
        with pytest.raises(Refused) as refused:
            take(body(), BAD_CHUNKS[name])
        assert refused.value.refusal.status == 400


@pytest.mark.parametrize("name", GOOD_CHUNKS)
def test_a_chunked_body_that_is_cut_short_is_not_complete(name: str) -> None:
    data = GOOD_CHUNKS[name][:300]
    for at in range(min(len(data), len(GOOD_CHUNKS[name]) - 1)):
        it = body()
        it.take(data[:at], 0)
        assert it.place is not Place.END


def test_names_of_hosts_are_compared_in_one_form() -> None:
    guard = HostGuard(frozenset({"Emr.Example", "[::1]", "0:0::2", "10.0.0.1"}))
    for good in (
        b"emr.example",
        b"EMR.EXAMPLE:80",
        b"[::1]",
        b"[0:0:0::1]:1",
        b"[::2]",
        b"10.0.0.1",
    ):
        assert guard.judge(good) is HostVerdict.ALLOWED
        assert guard.judge(good) is HostVerdict.ALLOWED  # as kept
    for foreign in (b"emr.example.", b"[::3]", b"10.0.0.10", b"a", b"167772161", b"0x0a.0.0.1"):
        assert guard.judge(foreign) is HostVerdict.FOREIGN
    for malformed in (b"", b":1", b"a b", b"[::1", b"a:b", b"::1"):
        assert guard.judge(malformed) is HostVerdict.MALFORMED


def test_a_unix_socket_takes_any_host_that_is_one() -> None:
    guard = AnyHost()
    assert guard.judge(b"") is HostVerdict.ALLOWED
    assert guard.judge(b"rebound.example") is HostVerdict.ALLOWED
    assert guard.judge(b"a b") is HostVerdict.MALFORMED


def test_what_a_path_and_a_query_are() -> None:
    lines = Lines(1000)
    line = lines.read(b"GET /v1/models/BAAI%2Fbge-m3%20x?a=%20&b HTTP/1.1\r\n")
    assert (line.path, line.query, line.minor) == ("/v1/models/BAAI/bge-m3 x", "a=%20&b", 1)
    line = lines.read(b"GET /%C3%A9 HTTP/1.0\r\n")
    assert (line.path, line.minor) == ("/é", 0)
    line = lines.read(b"GET http://Host:1?q HTTP/1.1\r\n")
    assert (line.path, line.query, line.authority) == ("/", "q", b"Host:1")
    line = lines.read(b"OPTIONS * HTTP/1.1\r\n")
    assert (line.path, line.authority) == ("*", None)


def heads(*requests: bytes) -> list[tuple[dict[bytes, bytes], bytes]]:
    """The headers and the body of each request, which come whole and one by one."""
    it, seen = reader(), []
    for request in requests:
        it.feed(request)
        assert it.read() is Signal.HEAD
        headers = it.head.headers
        assert it.read() is Signal.END
        seen.append((headers, it.body))
    return seen


def remembers(*requests: bytes) -> bool:
    """Whether the last of these heads is remembered."""
    it = Head(ServerLimits(), Lines(16 * 1024))
    for request in requests:
        it.take(request, 0)
        assert it.is_complete
    return it._remembered is not None


def sized(size: int, *lines: bytes) -> bytes:
    return post(*lines, b"Content-Length: %d" % size, b"X: y", body=b"z" * size)


def test_a_head_that_comes_again_says_the_same() -> None:
    sizes = [5, 5, 5, 0, 12, 3, 100_000, 1]
    for (headers, data), size in zip(heads(*map(sized, sizes)), sizes, strict=True):
        assert headers == {b"host": b"a", b"content-length": b"%d" % size, b"x": b"y"}
        assert data == b"z" * size
    for headers, _ in heads(*[fields(b"X: 1")] * 4):
        assert headers == {b"host": b"a", b"x": b"1"}
        headers[b"x"] = b"changed by who handled it"


def test_a_head_that_nearly_comes_again_is_read() -> None:
    again = [sized(5)] * 3
    other = heads(*again, sized(5, b"Z: 1"), sized(5), fields(), sized(7).replace(b"POST", b"PUT"))
    assert [headers.get(b"z") for headers, _ in other[3:]] == [b"1", None, None, None]
    assert [len(data) for _, data in other] == [5, 5, 5, 5, 5, 0, 7]


def test_what_is_remembered_of_heads_is_bounded() -> None:
    assert not remembers(fields())
    assert remembers(fields(), fields())
    fits = fields(b"X: " + b"a" * (REMEMBERED_BYTES_MAX - len(fields(b"X: "))))
    assert len(fits) == REMEMBERED_BYTES_MAX
    assert remembers(fits, fits)
    over = fits.replace(b"X: ", b"X: a")
    assert not remembers(over, over)
    for lines, is_kept in ((31, True), (32, False)):  # and Host
        many = fields(*(b"X-%d: 1" % at for at in range(lines)))
        assert remembers(many, many) is is_kept
    spaced = fields(b"Content-Length: 0 ")
    assert not remembers(spaced, spaced)


def test_a_client_whose_heads_always_differ_is_given_up() -> None:
    different = [fields(b"X: %d" % at) for at in range(DIFFERED_MAX + 5)]
    assert remembers(*different[:DIFFERED_MAX])
    assert not remembers(*different[: DIFFERED_MAX + 1])
    assert not remembers(*different, different[-1], different[-1])
    # but not one that changes now and then
    now_and_then = [request for request in different for _ in range(3)]
    assert remembers(*now_and_then)


@pytest.mark.parametrize(("digits", "is_read"), [(DIGITS_MAX, False), (DIGITS_MAX + 1, True)])
def test_a_length_of_too_many_digits_is_read(digits: int, is_read: bool) -> None:
    it = Head(ServerLimits(), Lines(1000))
    for _ in range(2):
        it.take(sized(5), 0)
    it.take(sized(0).replace(b"Length: 0", b"Length: " + b"9" * digits), 0)
    assert it.is_complete
    assert it.headers[b"content-length"] == b"9" * digits
    assert (it._differed == 1) is not is_read


def test_a_head_that_comes_again_has_its_limit() -> None:
    limit = len(sized(9)) - 9
    for size, is_good in ((9, True), (10, False)):
        it = Head(ServerLimits(max_head_bytes=limit), Lines(1000))
        for _ in range(3):
            it.take(sized(5), 0)
        if is_good:
            assert it.take(sized(size), 0) == limit
        else:
            with pytest.raises(Refused, match=f"over {limit} bytes"):
                it.take(sized(size), 0)
    with pytest.raises(Refused, match=f"over {limit} bytes"):  # empty lines count
        it = Head(ServerLimits(max_head_bytes=limit), Lines(1000))
        for _ in range(3):
            it.take(sized(5), 0)
        it.take(b"\r\n", 0)
        it.take(sized(5), 0)


def test_a_host_is_judged_again_for_a_head_that_comes_again() -> None:
    guard = HostGuard(frozenset({"a"}))
    it = Reader(ServerLimits(), Lines(1000), guard)
    for _ in range(3):
        it.feed(fields())
        assert it.read() is Signal.HEAD
        assert it.read() is Signal.END
    guard.allow(frozenset({"b"}))
    it.feed(fields())
    assert it.read() is Signal.REFUSED
