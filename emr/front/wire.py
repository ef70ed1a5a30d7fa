"""From the bytes of a connection to requests: heads, bodies and where one ends. No I/O, no clock.

Rules of this file. `feed` only stores, `read` works and says what came of it; whoever calls
decides how many requests it wants. The verdict on a request does not depend on how its bytes were
cut into reads. Whatever is doubtful is refused, and after a refusal nothing is read any more: two
readers who differ on where a request ends are how one request hides in another.

Theory of operation. A head (`head`) is found by its empty line, its request line is read by
`target`, and its header lines go through llhttp, which gets exactly the bytes of one head and
never a body. An `Upgrade`, at which httptools skips the body, then skips nothing, and a second
request inside a body never comes near a parser. The framing is decided from the fields, once
(`framing`): nothing, a length, or `chunked` (`chunked`).

Refused: one parser for the whole stream. It parses on into requests that nobody wants yet (past
the limit of pipelined ones, after `Connection: close`), and it does not say where it stopped.
"""

from __future__ import annotations

from enum import Enum

from emr.front.chunked import ChunkedBody, Place
from emr.front.exchange import ServerLimits
from emr.front.faults import body_too_large
from emr.front.framing import CHUNKED, body_length, check_host, expects_continue, keeps_alive
from emr.front.head import Head
from emr.front.target import HostGuard, Lines
from emr.lane.refusal import Refusal, Refused


class Part(Enum):
    """Where in a request the reader is."""

    HEAD = "head"  # in a head, or before one
    SIZED = "sized"  # so many bytes of a body are to come; perhaps none
    CHUNKED = "chunked"  # a chunked body is to come
    OVER = "over"  # after a refusal


class Signal(Enum):
    """What came of `read`."""

    MORE = "more"  # nothing: more bytes are needed
    HEAD = "head"  # a head is complete: what describes the request is set
    END = "end"  # the request is complete, `body` is set
    REFUSED = "refused"  # `refusal` is set; there is nothing more to read


# Reached once a request or more: through its class a member costs 60 ns, through a name 5.
_IN_HEAD, _IN_SIZED, _IN_CHUNKED, _IN_OVER = Part.HEAD, Part.SIZED, Part.CHUNKED, Part.OVER
_MORE, _HEAD, _END, _REFUSED = Signal.MORE, Signal.HEAD, Signal.END, Signal.REFUSED


class Reader:
    """Reads the requests of one connection.

    After Signal.HEAD: `head`, `length` (bytes of the body, CHUNKED for a chunked one),
    `keeps_alive` and `expects_continue`. After Signal.END also `body`. They hold until the next
    `read`, or until `forget`.
    """

    __slots__ = (
        "_at", "_chunked", "_hosts", "_left", "_limits", "_sized", "body", "expects_continue",
        "head", "held", "keeps_alive", "length", "part", "refusal",
    )  # fmt: skip

    def __init__(self, limits: ServerLimits, lines: Lines, hosts: HostGuard) -> None:
        # shared with other connections
        self._limits = limits
        self._hosts = hosts
        # the bytes that are here (nothing when all were read), and how far they were read
        self.held = b""
        self._at = 0
        # where in a request it is
        self.part = Part.HEAD
        self.refusal: Refusal | None = None
        self._left = 0
        self._sized: bytearray | None = None
        self._chunked: ChunkedBody | None = None
        # the request, for whoever calls
        self.head = Head(limits, lines)
        self.length = 0
        self.keeps_alive = False
        self.expects_continue = False
        self.body = b""

    @property
    def is_between_requests(self) -> bool:
        """Whether nothing of a next request is here; empty lines do not count."""
        return not self.held and self.part is _IN_HEAD

    @property
    def is_body_begun(self) -> bool:
        """Whether bytes of the body of the request that is being read have come."""
        if self.part is _IN_SIZED:
            return bool(self.held) or self._left < self.length
        return bool(self.held) or (self._chunked is not None and self._chunked.is_begun)

    @property
    def has_unread(self) -> bool:
        """Whether bytes are here that were not read: of a body, or of a next request."""
        return bool(self.held) or self.part is not _IN_HEAD

    def release(self) -> None:
        """Drop what is held, and read no more."""
        self.held = b""
        self._sized = self._chunked = None
        self.part = _IN_OVER
        self.forget()

    def forget(self) -> None:
        """Drop the request that was handed over: an idle connection must not keep its body."""
        self.head.forget()
        self.body = b""

    def feed(self, data: bytes) -> None:
        """Store bytes that came. Nothing is looked at."""
        # A head that comes byte by byte is copied each time: bounded by the limit of a head, and
        # less than what the system takes to bring the byte.
        self.held = self.held[self._at :] + data if self.held else data
        self._at = 0

    def read(self) -> Signal:
        """Read on, to the next thing worth telling."""
        part = self.part
        try:
            if part is _IN_HEAD:
                return self._read_head() if self.held else _MORE
            if part is _IN_SIZED:
                return self._read_sized()
            if part is _IN_CHUNKED:
                return self._read_chunked()
        except Refused as refused:
            self.refusal = refused.refusal
            self.part = _IN_OVER
            self.held = b""
        return _REFUSED if self.refusal is not None else _MORE

    def _read_head(self) -> Signal:
        head = self.head
        self._at = head.take(self.held, self._at)
        if not head.is_complete:
            return self._need_more()
        line, headers, limits = head.line, head.headers, self._limits
        assert line is not None, "a head without a request line: a bug"
        self.length = self._left = length = body_length(headers, line.minor)
        check_host(line, headers, self._hosts)
        self.keeps_alive = keeps_alive(headers, line.minor)
        self.expects_continue = expects_continue(headers, line.minor) and length != 0
        if length > limits.max_body_bytes:
            raise body_too_large(limits.max_body_bytes)
        if length != CHUNKED:
            self.part = _IN_SIZED
        else:
            self.part = _IN_CHUNKED
            self._chunked = ChunkedBody(
                limits.max_body_bytes, limits.max_head_bytes, limits.max_headers
            )
        return _HEAD

    def _read_sized(self) -> Signal:
        data, at = self.held, self._at
        end = at + self._left
        if end <= len(data):
            if self._sized is None:
                self.body = data[at:end]
            else:
                self._sized += data[at:end]
                self.body = bytes(self._sized)
                self._sized = None
            self._end(end)
            return _END
        if at < len(data):
            # grown as it comes: a length that is only claimed must not cost memory
            if self._sized is None:
                self._sized = bytearray()
            self._sized += data[at:]
            self._left = end - len(data)
        self.held, self._at = b"", 0
        return _MORE

    def _read_chunked(self) -> Signal:
        chunked = self._chunked
        assert chunked is not None, "a chunked body without its decoder: a bug"
        self._at = chunked.take(self.held, self._at)
        if chunked.place is Place.END:
            self.body = bytes(chunked.body)
            self._chunked = None
            self._end(self._at)
            return _END
        return self._need_more()

    def _need_more(self) -> Signal:
        """What was read is dropped, not only passed over: a few bytes must not hold many."""
        if self._at:
            self.held = self.held[self._at :]
            self._at = 0
        return _MORE

    def _end(self, at: int) -> None:
        """The request ends at `at`; what is behind it belongs to the next."""
        if at == len(self.held):
            self.held, self._at = b"", 0
        else:
            self._at = at
        self.part = _IN_HEAD
