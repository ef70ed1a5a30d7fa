"""The answers of a connection, written in the order of their requests.

Rules of this file. An answer leaves when every earlier one has left; until then it waits in its
turn, uncomposed, because only then is known what its head must say. An answer is one write. What
was promised of a length or a chunk is kept, or the connection is broken.

This is where the house's beauty yields to speed: the head of an answer is joined from pieces that
are made once a second, and written together with its body (0.8 µs for a small answer).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from emr.front.exchange import Exchange, Headers, Stage
from emr.front.register import Register
from emr.front.target import Line

JOINED_BYTES_MAX = 64 * 1024  # above, copying a body behind its head costs more than a second piece

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_WITHOUT_BODY = frozenset({204, 304})  # and without a length, by RFC 9110 section 8.6

_line = b": ".join


class Turn(Exchange):
    """An exchange, and what its connection must know to answer it when it is its turn.

    `closes`: the connection ends with this answer, the last of its turns. `answer` is an answer
    that waits for earlier ones; its body is None for a stream that has begun.
    """

    __slots__ = ("answer", "body_bytes", "closes", "minor", "wants_continue")

    def __init__(self, writer: Answers, line: Line | None) -> None:
        if line is None:  # for a refusal of what could not be read
            super().__init__(writer, "", "", "")
            self.minor = 1
        else:
            super().__init__(writer, line.method, line.path, line.query)
            self.minor = line.minor
        self.closes = False
        self.wants_continue = False
        self.body_bytes = 0
        self.answer: tuple[int, Headers, bytes | None] | None = None


class Owner(Protocol):
    """The connection, as its answers see it."""

    def answered(self, turn: Turn) -> None:
        """An answer was written whole; with `turn.closes` it was the last."""

    def reset(self) -> None:
        """Break the connection at once."""


class Answers:
    """The turns of a connection. Implements `Writer`.

    Its whole state: the turns, whether the transport wants no more for now, and who waits for
    either to change.
    """

    __slots__ = ("_owner", "_register", "_transport", "_waiters", "is_paused", "turns", "written")

    def __init__(self, owner: Owner, register: Register, transport: asyncio.Transport) -> None:
        self._owner = owner
        self._register = register
        self._transport = transport
        self.turns: deque[Turn] = deque()
        self.is_paused = False
        self.written = 0  # bytes given to the transport, ever
        self._waiters: list[asyncio.Future[None]] = []

    # What the exchange calls

    def write_reply(self, exchange: Exchange, status: int, headers: Headers, body: bytes) -> None:
        """Write an answer, or keep it until earlier ones are written."""
        turn = self.turns[0]
        if turn is exchange:
            self._send(turn, status, headers, body)
            self.turns.popleft()
            self._owner.answered(turn)
            if self.turns:
                self._go_on()
        else:
            _turn(exchange).answer = (status, headers, body)

    def begin_stream(self, exchange: Exchange, status: int, headers: Headers) -> None:
        """Write the head of a streamed answer, or keep it until earlier ones are written."""
        turn = _turn(exchange)
        if self.turns[0] is turn:
            self._send_stream_head(turn, status, headers)
        else:
            turn.answer = (status, headers, None)

    async def write_chunk(self, exchange: Exchange, data: bytes) -> None:
        """Write a part of a streamed answer when it is its turn, and wait for room after it."""
        turn = _turn(exchange)
        while turn.stage is Stage.REPLYING and self.turns[0] is not turn:
            await self._change()
        if turn.stage is not Stage.REPLYING or not data or turn.method == "HEAD":
            return
        self._write(b"%x\r\n%b\r\n" % (len(data), data) if turn.minor else data)
        while turn.stage is Stage.REPLYING and self.is_paused:
            await self._change()

    def end_stream(self, exchange: Exchange) -> None:
        """Finish a streamed answer."""
        turn = _turn(exchange)
        if turn.answer is not None:  # its turn never came, so nothing of it was written
            status, headers, _ = turn.answer
            turn.answer = (status, headers, b"")
            return
        if turn.minor and turn.method != "HEAD":
            self._write(b"0\r\n\r\n")
        self.turns.popleft()
        self._owner.answered(turn)
        self._go_on()

    def abort(self, exchange: Exchange) -> None:
        """Break the connection: an unfinished answer must not look like a finished one."""
        self._owner.reset()

    # What the connection calls

    def send_continue(self, turn: Turn) -> None:
        """Ask for the body of a request, once, when every earlier answer is written."""
        if turn.wants_continue and self.turns[0] is turn:
            turn.wants_continue = False
            self._write(_CONTINUE)

    def leave(self) -> list[Turn]:
        """The client is gone: what was not answered, to be told."""
        left = list(self.turns)
        self.turns.clear()
        return left

    def wake(self) -> None:
        """Let the streams that wait look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # Helpers

    def _go_on(self) -> None:
        """A turn is over: write what has waited behind it."""
        turns = self.turns
        while turns and turns[0].answer is not None:
            turn = turns[0]
            (status, headers, body), turn.answer = turns[0].answer, None
            if body is None:
                self._send_stream_head(turn, status, headers)
                break
            self._send(turn, status, headers, body)
            turns.popleft()
            self._owner.answered(turn)
        if turns:
            self.send_continue(turns[0])
            self.wake()

    def _send(self, turn: Turn, status: int, headers: Headers, body: bytes) -> None:
        lines = [self._register.heads.get(status) or self._register.head_of(status)]
        lines += map(_line, headers)
        if status not in _WITHOUT_BODY:
            lines.append(b"content-length: %d" % len(body))
        if turn.closes:
            lines.append(b"connection: close")
        elif not turn.minor:
            lines.append(b"connection: keep-alive")
        lines.append(b"\r\n")
        head = b"\r\n".join(lines)
        if not head.count(b"\n") == head.count(b"\r") == len(lines) + 1:
            self._break_off()
        if turn.method == "HEAD" or status in _WITHOUT_BODY:
            body = b""
        self.written += len(head) + len(body)
        if len(body) <= JOINED_BYTES_MAX:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    def _send_stream_head(self, turn: Turn, status: int, headers: Headers) -> None:
        lines = [self._register.head_of(status), *map(_line, headers)]
        if turn.minor:
            lines.append(b"transfer-encoding: chunked")
        else:
            turn.closes = True  # its end is the end of the connection
        if turn.closes:
            lines.append(b"connection: close")
        lines.append(b"\r\n")
        head = b"\r\n".join(lines)
        if not head.count(b"\n") == head.count(b"\r") == len(lines) + 1:
            self._break_off()
        self._write(head)

    def _break_off(self) -> None:
        """A line break in a field would make two answers of one."""
        self._owner.reset()
        raise ValueError("a field of an answer holds a line break: this is a bug")

    def _write(self, data: bytes) -> None:
        self.written += len(data)
        self._transport.write(data)

    async def _change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter


def _turn(exchange: Exchange) -> Turn:
    assert isinstance(exchange, Turn), "an exchange of another writer: a bug"
    return exchange
