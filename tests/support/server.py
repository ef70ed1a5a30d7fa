"""A server without sockets: a clock that is set, a transport that records, a service that echoes.

A test feeds bytes to a real Connection and looks at what it wrote, and at what it did to its
transport. Time is a number; nothing sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from emr.front.connection import Connection, Guarded
from emr.front.exchange import Exchange, Headers, ServerLimits
from emr.front.register import Register
from emr.lane.refusal import Refusal

START_OF_TIME = 1_000_000.0
WALL = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = START_OF_TIME

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        """The time of day that goes with it."""
        return WALL + self.now - START_OF_TIME


class RecordingSocket:
    """What `get_extra_info("socket")` gives: it remembers the options that were set."""

    def __init__(self) -> None:
        self.options: list[tuple[Any, ...]] = []

    def setsockopt(self, *option: Any) -> None:
        """Remember an option."""
        self.options.append(option)


class FakeTransport(asyncio.Transport):
    """A transport whose client takes everything at once, or nothing until it is told to.

    Its water marks are uvloop's. As there, `connection_lost` comes later: by `settle`.
    """

    HIGH_WATER = 64 * 1024
    LOW_WATER = 16

    def __init__(self, protocol: Connection, peer: object = ("127.0.0.1", 5000)) -> None:
        super().__init__()
        self.protocol = protocol
        self.peer = peer
        self.socket = RecordingSocket()
        self.written = bytearray()
        self.writes = 0
        self.unsent = 0
        self.is_client_taking = True
        self.is_read = True
        self.is_closed = False
        self.is_aborted = False
        self.is_eof_written = False
        self.has_half_close = True  # TLS has none
        self.has_client_agreed = True  # to a close, which TLS asks for
        self._is_full = False
        self._is_lost = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self.peer, "socket": self.socket}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closed, "written after close"
        assert not self.is_eof_written, "written after the end of file"
        assert not self._is_lost, "written after the connection was lost"
        self.written += data
        self.writes += 1
        if not self.is_client_taking:
            self.unsent += len(data)
            if self.unsent > self.HIGH_WATER and not self._is_full:
                self._is_full = True
                self.protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def take(self, count: int) -> None:
        """The client reads so many bytes."""
        self.unsent -= count
        assert self.unsent >= 0
        if self._is_full and self.unsent <= self.LOW_WATER:
            self._is_full = False
            if not self.is_closed:
                self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def can_write_eof(self) -> bool:
        return self.has_half_close

    def write_eof(self) -> None:
        assert self.has_half_close, "TLS has no half-close"
        self.is_eof_written = True

    def pause_reading(self) -> None:
        assert self.is_read, "held twice"
        self.is_read = False

    def resume_reading(self) -> None:
        assert not self.is_read, "let go twice"
        self.is_read = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True
        self.unsent = 0

    def is_closing(self) -> bool:
        return self.is_closed

    def settle(self) -> None:
        """Let the loop turn: a closed connection with nothing unsent is lost."""
        if not self.has_client_agreed and not self.is_aborted:
            return
        if self.is_closed and not self.unsent and not self._is_lost:
            self._is_lost = True
            self.protocol.connection_lost(None)

    @property
    def is_lost(self) -> bool:
        """Whether the connection was told that it is lost."""
        return self._is_lost

    @property
    def is_ended(self) -> bool:
        """Whether the server ended the connection, lingering or not."""
        return self.is_closed or self.is_eof_written


@dataclass
class Answer:
    """An answer as a client reads it."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Echo:
    """A service that answers 200 with what it got, at once or when it is told to.

    The path `/refused` is refused by `admit` with 401, `/bug/admit` and `/bug/handle` fail.
    Answers carry the method, so that a reader of them knows which have no body.
    """

    def __init__(self) -> None:
        self.is_holding = False
        self.admitted: list[Exchange] = []
        self.handled: list[Exchange] = []
        self.refusals: list[tuple[Exchange | None, Refusal]] = []
        self.gone: list[Exchange] = []

    def admit(self, exchange: Exchange) -> Refusal | None:
        self.admitted.append(exchange)
        if exchange.path == "/bug/admit":
            raise RuntimeError(f"failed on {exchange.query}")
        if exchange.path == "/refused":
            return Refusal("unauthorized", "no key", status=401)
        return None

    def handle(self, exchange: Exchange) -> None:
        self.handled.append(exchange)
        exchange.on_gone = lambda: self.gone.append(exchange)
        if exchange.path == "/bug/handle":
            raise RuntimeError(f"failed on {exchange.query}")
        if not self.is_holding:
            self.answer(exchange)

    def answer(self, exchange: Exchange, status: int = 200) -> None:
        """Answer with `METHOD path?query:body`."""
        text = f"{exchange.method} {exchange.path}?{exchange.query}:".encode() + exchange.body
        exchange.reply(status, [(b"x-method", exchange.method.encode())], text)

    def render(self, exchange: Exchange | None, refusal: Refusal) -> tuple[int, Headers, bytes]:
        self.refusals.append((exchange, refusal))
        assert refusal.status is not None
        method = b"" if exchange is None else exchange.method.encode()
        headers = [(b"x-method", method), (b"x-type", refusal.type.encode())]
        return refusal.status, headers, refusal.message.encode()


class Server:
    """A register with its service and clock, and connections to it."""

    def __init__(self, limits: ServerLimits | None = None, service: Any = None) -> None:
        self.clock = Clock()
        self.service = Echo() if service is None else service
        self.limits = limits if limits is not None else ServerLimits()
        self.register = Register(Guarded(self.service), self.limits, self.clock, self.clock.wall)

    def connect(self) -> Client:
        """A new connection."""
        return Client(self, Connection(self.register, self.register.hosts))

    def connect_unix(self) -> Client:
        """A new connection on a Unix socket."""
        return Client(self, Connection(self.register, self.register.any_host), peer="")

    def pass_time(self, seconds: float) -> None:
        """Time passes, with the sweeps that fall into it; then the loop turns."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 0.25)
            self.register.sweep()
            for guest in list(self.register.guests):
                assert isinstance(guest, Connection)
                transport = guest._transport
                assert isinstance(transport, FakeTransport)
                transport.settle()


class Client:
    """A client's side of a connection without sockets."""

    def __init__(
        self, server: Server, connection: Connection, peer: object = ("127.0.0.1", 5000)
    ) -> None:
        self.server = server
        self.connection = connection
        self.transport = FakeTransport(connection, peer)
        connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        """Bytes of the client arrive in one read."""
        if not self.transport.is_closed:
            self.connection.data_received(data)

    def send_bytewise(self, data: bytes) -> None:
        """Bytes of the client arrive one by one."""
        for at in range(len(data)):
            self.send(data[at : at + 1])

    def leave(self) -> None:
        """The client closes: end of file, and the connection is lost."""
        if not self.connection.eof_received():
            self.transport.close()
        self.transport.settle()

    @property
    def answers(self) -> list[Answer]:
        """What was written so far; fails on anything that is not a series of answers."""
        return read_answers(bytes(self.transport.written))

    @property
    def statuses(self) -> list[int]:
        """The statuses written so far."""
        return [answer.status for answer in self.answers]


def read_answers(data: bytes) -> list[Answer]:
    """Read a series of answers, strictly; `x-method: HEAD` tells of one without a body."""
    answers = []
    while data:
        head, empty, data = data.partition(b"\r\n\r\n")
        assert empty, f"an unfinished head: {head!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1", first
        answer = Answer(int(status))
        for line in lines:
            name, colon, value = line.partition(": ")
            assert colon, line
            assert name not in answer.headers, f"{name} twice"
            answer.headers[name] = value
        if answer.headers.get("transfer-encoding") == "chunked":
            answer.body, data = _read_chunks(data)
        elif answer.status >= 200 and answer.headers.get("x-method") != "HEAD":
            length = int(answer.headers.get("content-length", "0"))
            if not data and answer.status >= 400 and answer.headers.get("connection") == "close":
                length = 0  # of a HEAD that was refused before it was all read
            assert len(data) >= length, "an unfinished body"
            answer.body, data = data[:length], data[length:]
        answers.append(answer)
    return answers


def _read_chunks(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, line_end, data = data.partition(b"\r\n")
        assert line_end, "an unfinished chunk"
        length = int(size, 16)
        assert data[length : length + 2] == b"\r\n", "a chunk without its end"
        body, data = body + data[:length], data[length + 2 :]
        if not length:
            return body, data
