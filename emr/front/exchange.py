"""One request and its answer as the rest of emr sees them, and what the server asks of the rest.

The server (`wire`, `connection`, `listener`) makes an Exchange when the head of a request is
complete, asks `Service.admit` whether the body is wanted, and hands it to `Service.handle` when
the body is complete. Whoever handles it answers by `reply`, now or in a later turn of the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from emr.lane.refusal import Refusal

Headers = list[tuple[bytes, bytes]]


class Stage(Enum):
    """Where an exchange is; it only ever moves down this list."""

    READING = "reading"  # the body is still to come
    WAITING = "waiting"  # with the handler
    REPLYING = "replying"  # a streamed answer has begun
    DONE = "done"  # the answer is written, or queued behind earlier answers
    GONE = "gone"  # the client left, or the connection broke


# Reached several times a request: through its class a member costs 60 ns, through a name 5.
_READING, _WAITING, _REPLYING = Stage.READING, Stage.WAITING, Stage.REPLYING
_DONE, _GONE = Stage.DONE, Stage.GONE


class Writer(Protocol):
    """The connection's side of an exchange."""

    def write_reply(self, exchange: Exchange, status: int, headers: Headers, body: bytes) -> None:
        """Queue a whole answer; answers leave in the order of their requests."""

    def begin_stream(self, exchange: Exchange, status: int, headers: Headers) -> None:
        """Queue the head of an answer of unknown length (chunked, or closed at its end)."""

    async def write_chunk(self, exchange: Exchange, data: bytes) -> None:
        """Send a part of a streamed answer; returns when the client has room for more."""

    def end_stream(self, exchange: Exchange) -> None:
        """Finish a streamed answer."""

    def abort(self, exchange: Exchange) -> None:
        """Break the connection at once (a reset), whatever is still unsent."""


class Exchange:
    """A request and the duty to answer it exactly once.

    `path` is the target's path, percent-decoded; `query` its raw query. `headers` has lower-case
    names; of a name that stands twice, the values joined by `, `. `on_gone` is called at most
    once, when the client leaves before the answer was given. `request_id` is made or taken over
    by the service. `principal` is who asks, set by the service's `admit`.
    """

    __slots__ = (
        "_writer", "body", "context", "headers", "method", "on_gone", "path", "peer", "principal",
        "query", "request_id", "stage",
    )  # fmt: skip

    def __init__(self, writer: Writer, method: str, path: str, query: str) -> None:
        self._writer = writer
        self.method = method
        self.path = path
        self.query = query
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.peer = ""
        self.stage = _READING
        self.request_id = ""
        self.principal: object | None = None
        self.context: object | None = None  # the service's own: the route that admit found
        self.on_gone: Callable[[], None] | None = None

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer with `body`. Content-Length, Date and Connection are added by the server."""
        if self.stage is _GONE:
            return
        assert self.stage is _WAITING or self.stage is _READING, "answered twice: a bug"
        self.stage = _DONE
        self.on_gone = None
        self._writer.write_reply(self, status, headers, body)

    def begin(self, status: int, headers: Headers) -> None:
        """Start a streamed answer (NDJSON lines that come one by one)."""
        if self.stage is _GONE:
            return
        assert self.stage is _WAITING, "answered twice: a bug"
        self.stage = _REPLYING
        self._writer.begin_stream(self, status, headers)

    async def send(self, data: bytes) -> None:
        """Send a part of a streamed answer, waiting while the client does not read."""
        if self.stage is _REPLYING:
            await self._writer.write_chunk(self, data)

    def finish(self) -> None:
        """End a streamed answer."""
        if self.stage is _REPLYING:
            self.stage = _DONE
            self.on_gone = None
            self._writer.end_stream(self)

    def abort(self) -> None:
        """Break the connection: for a streamed answer that cannot be finished."""
        if self.stage is not _GONE:
            self.stage = _DONE
            self.on_gone = None
            self._writer.abort(self)

    def gone(self) -> None:
        """The client left: whoever works on the answer is told, once."""
        told, self.on_gone = self.on_gone, None
        if self.stage is not _DONE:
            self.stage = _GONE
            if told is not None:
                told()


class Service(Protocol):
    """What the server asks of the rest of emr."""

    def admit(self, exchange: Exchange) -> Refusal | None:
        """Called when the head is complete: a refusal answers at once, without the body."""

    def handle(self, exchange: Exchange) -> None:
        """Called when the body is complete; must lead to one `reply` or `begin`."""

    def render(self, exchange: Exchange | None, refusal: Refusal) -> tuple[int, Headers, bytes]:
        """The bytes of a refusal; without an exchange for one of the server's own (framing)."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The limits of the server; every one finite (contract sections 6 and 8). Times in seconds."""

    max_body_bytes: int = 16 * 1024 * 1024
    max_head_bytes: int = 32 * 1024
    max_headers: int = 100
    max_target_bytes: int = 16 * 1024
    max_connections: int = 12_000
    max_pipelined: int = 32
    head_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    keepalive_s: float = 75.0
    write_stall_s: float = 30.0
    linger_s: float = 0.5
    drain_s: float = 30.0
    allowed_hosts: frozenset[str] | None = None  # lower case, no port; None: any
