"""The reader of answers: whole, byte by byte and with trailing bytes; made by h11 and by hand."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emr.upstream.answer import SYNTAX_MAX, AnswerReader
from emr.upstream.fault import Fault, Stage

MOST = 1000
Taken = tuple[int, dict[bytes, bytes], bytes]


def read(pieces: list[bytes], max_body: int = MOST, max_head: int = 500) -> AnswerReader:
    reader = AnswerReader(max_body, max_head)
    for piece in pieces:
        reader.feed(piece)
    return reader


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def in_all_ways(data: bytes) -> Taken:
    """Read a complete answer whole, bytewise and with trailing bytes; all must agree."""
    whole = read([data])
    assert whole.complete
    piecewise = AnswerReader(MOST, 500)
    for i, byte in enumerate(bytewise(data)):
        assert not piecewise.complete, f"complete after {i} of {len(data)} bytes"
        piecewise.feed(byte)
    assert piecewise.complete
    trailing = read([data + b"HTTP/1.1 200 OK\r\n"])
    assert trailing.complete
    assert not trailing.reusable, "what follows would be taken for the next answer"
    reusable = whole.reusable
    assert piecewise.reusable is reusable
    taken = whole.take()
    assert piecewise.take() == taken == trailing.take()
    return taken


def made_by_h11(
    headers: list[tuple[bytes, bytes]], chunks: list[bytes], status: int = 200, early: int = 0
) -> bytes:
    """The bytes of an answer as h11 writes it; `early` 1xx answers come before it."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    server.next_event()
    out = b""
    for _ in range(early):
        out += (
            server.send(h11.InformationalResponse(status_code=103, headers=[(b"a", b"b")])) or b""
        )
    out += server.send(h11.Response(status_code=status, headers=headers)) or b""
    for chunk in chunks:
        out += server.send(h11.Data(data=chunk)) or b""
    return out + (server.send(h11.EndOfMessage()) or b"")


def test_a_body_with_a_length() -> None:
    data = made_by_h11([(b"Content-Length", b"5"), (b"X-A", b"1"), (b"x-a", b"2")], [b"he", b"llo"])
    assert in_all_ways(data) == (200, {b"content-length": b"5", b"x-a": b"1, 2"}, b"hello")


def test_a_chunked_body() -> None:
    data = made_by_h11([(b"Transfer-Encoding", b"chunked")], [b"he", b"l" * 300, b"o"], status=503)
    status, _, body = in_all_ways(data)
    assert (status, body) == (503, b"he" + b"l" * 300 + b"o")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body(status: int) -> None:
    data = b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status
    assert in_all_ways(data) == (status, {b"content-length": b"5"}, b"")
    assert read([b"HTTP/1.1 %d X\r\n\r\n" % status]).complete


def test_an_empty_body() -> None:
    assert in_all_ways(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")[2] == b""


def test_early_answers_are_skipped() -> None:
    data = made_by_h11([(b"Content-Length", b"2")], [b"ok"], early=3)
    assert b"103" in data
    assert in_all_ways(data) == (200, {b"content-length": b"2"}, b"ok")
    data = b"HTTP/1.1 100 Continue\r\n\r\n" + data
    assert in_all_ways(data)[2] == b"ok"


def test_trailers_are_no_headers() -> None:
    data = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
        b"Retry-After: 5\r\nContent-Encoding: gzip\r\n\r\n"
    )
    assert in_all_ways(data) == (200, {b"transfer-encoding": b"chunked"}, b"ok")


def test_a_body_that_ends_with_the_connection() -> None:
    head = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"
    reader = read([head, b"he", b"llo"])
    assert not reader.complete
    assert reader.end()
    assert not reader.reusable
    assert reader.take() == (200, {b"server": b"x"}, b"hello")
    empty = read([head])
    assert empty.end()
    assert empty.take()[2] == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nSer",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        b"HTTP/1.1 103 Early\r\n\r\n",
    ],
)
def test_a_connection_that_ends_too_early_completes_nothing(data: bytes) -> None:
    assert not read([data]).end()


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n", True),
    ],
)
def test_whether_the_connection_may_be_used_again(head: bytes, reusable: bool) -> None:
    reader = read([head + b"Content-Length: 2\r\n\r\nok"])
    assert reader.complete
    assert reader.reusable is reusable


def test_one_reader_reads_one_answer_after_the_other() -> None:
    reader = AnswerReader(MOST, 100)
    for i in range(5):
        reader.feed(b"HTTP/1.1 200 OK\r\nX: %d\r\nContent-Length: 60\r\n\r\n" % i + b"b" * 60)
        assert reader.complete
        assert reader.reusable
        assert reader.take() == (200, {b"x": b"%d" % i, b"content-length": b"60"}, b"b" * 60)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"junk\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"SSH-2.0-OpenSSH\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n" + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nNo Colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad\x00Name: x\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    ],
)
def test_what_is_not_an_answer_is_refused(data: bytes) -> None:
    for pieces in ([data], bytewise(data)):
        with pytest.raises(Fault) as fault:
            read(pieces)
        assert fault.value.stage is Stage.PROTOCOL
        assert fault.value.message
        assert not fault.value.timed_out


def test_the_limit_of_a_head() -> None:
    def head(size: int) -> bytes:
        start = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: "
        return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"

    for size in (199, 200):
        for pieces in ([head(size)], bytewise(head(size))):
            assert read(pieces, max_head=200).complete
    for data in (head(201), head(205)[:-4]):
        for pieces in ([data], bytewise(data)):
            with pytest.raises(Fault, match="head of the answer is larger than 200 bytes"):
                read(pieces, max_head=200)


def test_early_answers_count_as_head() -> None:
    early = b"HTTP/1.1 103 Early\r\n\r\n"
    with pytest.raises(Fault, match="head of the answer is larger"):
        read([early * 20], max_head=200)


def test_a_body_does_not_count_as_head() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + b"x" * 900
    for size in (1, 7, 100, 1000):
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        assert read(pieces, max_head=100).take()[2] == b"x" * 900


@pytest.mark.parametrize("size", [MOST - 1, MOST, MOST + 1])
def test_the_limit_of_a_body(size: int) -> None:
    body = b"x" * size
    sized = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % size + body
    closed = b"HTTP/1.1 200 OK\r\n\r\n" + body
    if size <= MOST:
        assert read([sized, body]).complete
        assert read([chunked, b"\r\n0\r\n\r\n"]).complete
        assert read([closed]).end()
        return
    for data in (sized, chunked, closed):
        with pytest.raises(Fault, match="larger than 1000 bytes"):
            read([data])


def test_a_length_of_many_digits() -> None:
    with pytest.raises(Fault):
        read([b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n" % (b"9" * 40)])


def test_chunk_syntax_without_a_body_is_refused() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(Fault, match="more syntax than body"):
        read([head, b"1;" + b"x" * (SYNTAX_MAX + 1000)])
    with pytest.raises(Fault, match="more syntax than body"):
        read([head, b"0" * (SYNTAX_MAX + 1000)])
    with pytest.raises(Fault):
        read([head, b"0\r\n", *[b"A: " + b"b" * 1000 + b"\r\n"] * 70])


def test_small_chunks_are_not_syntax() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader = AnswerReader(100_000, 500)
    reader.feed(head)
    for _ in range(50_000):
        reader.feed(b"1\r\nx\r\n")
    reader.feed(b"0\r\n\r\n")
    assert reader.take()[2] == b"x" * 50_000


@given(
    st.lists(st.binary(min_size=1, max_size=60), max_size=6),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_an_answer_of_h11_split_anywhere(chunks: list[bytes], sized: bool, cuts: list[int]) -> None:
    body = b"".join(chunks)
    length = [(b"Content-Length", b"%d" % len(body))]
    headers = length if sized else [(b"Transfer-Encoding", b"chunked")]
    data = made_by_h11(headers, chunks)
    at = sorted({0, len(data), *[min(c, len(data)) for c in cuts]})
    reader = read([data[i:j] for i, j in pairwise(at)])
    assert reader.complete
    assert reader.reusable
    assert reader.take()[2] == body


@given(
    st.binary(max_size=80),
    st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=3)), max_size=5),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_mutated_answers_end_in_a_fault_or_an_answer(
    body: bytes, edits: list[tuple[int, bytes]], whole: bool
) -> None:
    data = bytearray(made_by_h11([(b"Transfer-Encoding", b"chunked")], [body] if body else []))
    for place, new in edits:
        at = place % (len(data) + 1)
        data[at : at + len(new)] = new
    reader = AnswerReader(MOST, 500)
    refused: Fault | None = None
    try:
        for piece in [bytes(data)] if whole else bytewise(bytes(data)):
            reader.feed(piece)
            if reader.complete:
                break
        reader.end()
    except Fault as fault:
        refused = fault
    assert refused is None or refused.stage is Stage.PROTOCOL
    if refused is None and reader.complete:
        status, _, got = reader.take()
        assert 200 <= status < 600
        assert len(got) <= MOST
