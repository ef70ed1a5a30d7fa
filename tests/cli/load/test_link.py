"""Answers are taken whole however they are cut, and broken ones end in a word, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from emr.cli.load.link import HEAD_MAX, Link

SIZED = b"HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-LENGTH:  5 \r\n\r\nhello"
EMPTY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
CLOSED = b"HTTP/1.1 200 OK\r\n\r\nhello"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        self.aborted = True


class World:
    """A link on a wire, and what it said."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes, bool]] = []
        self.broken: list[str] = []
        self.wire = Wire()
        self.link = Link(self._done, lambda link, why: self.broken.append(why))
        self.link.connection_made(self.wire)

    def _done(self, link: Link, status: int, head: bytes, body: bytes) -> None:
        assert head.startswith(b"HTTP/1.")
        assert head.endswith(b"\r\n")
        self.answers.append((status, body, link.closing))

    def ask(self, answer: bytes, size: int = 0) -> None:
        self.link.send(b"ask")
        for start in range(0, len(answer), size or len(answer)):
            self.link.data_received(answer[start : start + (size or len(answer))])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 40])
@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [(SIZED, 200, b"hello"), (EMPTY, 503, b""), (CHUNKED, 200, b"hello")],
)
def test_answers_in_any_pieces(answer: bytes, status: int, body: bytes, size: int) -> None:
    world = World()
    for _ in range(3):
        world.ask(answer, size)
    assert world.answers == [(status, body, False)] * 3
    assert world.wire.written == b"ask" * 3
    assert (world.broken, world.wire.aborted) == ([], False)


@pytest.mark.parametrize("answer", [SIZED, EMPTY, CHUNKED])
def test_bytes_after_an_answer_break_the_link(answer: bytes) -> None:
    world = World()
    world.ask(answer)
    world.link.data_received(b"H")
    assert (len(world.answers), world.broken) == (1, ["answer without a request"])
    assert world.wire.aborted
    world = World()
    world.ask(answer + b"H")
    assert len(world.broken) == 1
    assert world.wire.aborted


@pytest.mark.parametrize("size", [0, 1])
def test_a_body_that_ends_with_the_connection(size: int) -> None:
    world = World()
    world.ask(CLOSED, size)
    assert world.answers == []
    world.link.eof_received()
    world.link.connection_lost(None)
    assert world.answers == [(200, b"hello", True)]


@pytest.mark.parametrize("cut", range(1, len(SIZED)))
def test_a_cut_answer_is_none(cut: int) -> None:
    world = World()
    world.ask(SIZED[:cut])
    world.link.eof_received()
    world.link.connection_lost(None)
    assert (world.answers, world.broken) == ([], ["connection lost"])


def test_a_cut_chunked_answer_is_none() -> None:
    world = World()
    world.ask(CHUNKED[:-6])
    world.link.eof_received()
    world.link.connection_lost(None)
    assert (world.answers, world.broken) == ([], ["connection lost"])


@pytest.mark.parametrize(
    ("answer", "closing"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nconnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", True),
    ],
)
def test_the_last_answer_of_a_connection(answer: bytes, closing: bool) -> None:
    world = World()
    world.ask(answer)
    assert world.answers == [(200, b"", closing)]


@pytest.mark.parametrize(
    "answer",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_MAX,
    ],
)
def test_malformed_answers(answer: bytes) -> None:
    world = World()
    world.ask(answer)
    assert (world.answers, world.broken) == ([], ["malformed answer"])
    assert world.wire.aborted
    world.link.connection_lost(None)
    assert len(world.broken) == 1


def test_a_head_of_just_the_size_allowed() -> None:
    world = World()
    start = b"HTTP/1.1 200 OK\r\nX: "
    world.ask(start + b"x" * (HEAD_MAX - len(start)))
    assert world.broken == []


def test_more_than_was_said_is_refused() -> None:
    world = World()
    world.ask(SIZED + b"!")
    assert world.broken == ["answer longer than it says"]


def test_one_request_at_a_time() -> None:
    world = World()
    world.link.send(b"a")
    with pytest.raises(AssertionError, match="a bug"):
        world.link.send(b"b")


@pytest.mark.parametrize("then", [Link.close, lambda link: link.connection_lost(None)])
def test_the_end_of_an_idle_link(then: Callable[[Link], None]) -> None:
    world = World()
    world.ask(SIZED)
    then(world.link)
    world.link.connection_lost(None)
    assert len(world.broken) == (0 if then is Link.close else 1)
