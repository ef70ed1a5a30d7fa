"""From the bytes of a connection to requests: heads, bodies and where one ends. No I/O, no clock.

Rules of this file. `feed` only stores, `read` works and says what came of it; whoever calls
decides how many requests it wants. The verdict on a request does not depend on how its bytes were
cut into reads. Whatever is doubtful is refused, and after a refusal nothing is read any more: two
readers who differ on where a request ends are how one request hides in another.

Theory of operation. A head is found by its empty line, its request line is read by `target`, and
its header lines go through llhttp, which gets exactly the bytes of one head and never a body. So
the bytes of a head are counted here and not in a parser that keeps an unfinished line without a
word; an `Upgrade`, at which httptools skips the body, skips nothing; and a second request inside
a body never comes near a parser. The framing is then decided from the fields, once, in `_frame`:
nothing, a length, or `chunked`. llhttp judges it too, on its own, and both must agree.

Refused: one parser for the whole stream. It parses on into requests that nobody wants yet (past
the limit of pipelined ones, after `Connection: close`), and it does not say where it stopped.
"""

from __future__ import annotations

from enum import Enum

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from emr.front.chunked import ChunkedBody, Place
from emr.front.exchange import ServerLimits
from emr.front.faults import bad_request, body_too_large, head_too_large, too_many_headers
from emr.front.target import HostGuard, HostVerdict, Line, Lines
from emr.lane.refusal import Refusal, Refused

LENGTH_DIGITS_MAX = 20  # of 2**64; more can only be zeros, or too much
CHUNKED = -1  # in place of a length

_CR, _LF = 0x0D, 0x0A

_restart = HttpRequestParser.__init__  # takes 0.2 µs; a new parser for each head takes 1 µs


class Part(Enum):
    """Where in a request the reader is."""

    HEAD = "head"  # in a head, or before one
    SIZED = "sized"  # so many bytes of a body are to come
    CHUNKED = "chunked"  # a chunked body is to come
    ENDING = "ending"  # there is no body; its end was not yet reported
    OVER = "over"  # after a refusal


class Signal(Enum):
    """What came of `read`."""

    MORE = "more"  # nothing: more bytes are needed
    HEAD = "head"  # a head is complete: the fields that describe the request are set
    END = "end"  # the request is complete, `body` is set
    REFUSED = "refused"  # `refusal` is set; there is nothing more to read


class Reader:
    """Reads the requests of one connection.

    After Signal.HEAD: `line`, `headers` (lower-case names; values of a name that stands twice
    joined by `, `), `length` (bytes of the body, CHUNKED for a chunked one), `keeps_alive` and
    `expects_continue`. After Signal.END also `body`. They hold until the next `read`. `line` is
    None while the request line of the next head is not complete.
    """

    __slots__ = (
        "_at", "_chunked", "_data", "_empty_line_bytes", "_fed", "_hosts", "_is_head_complete",
        "_left", "_limits", "_lines", "_parser", "_repeats", "_sized", "body",
        "expects_continue", "headers", "keeps_alive", "length", "line", "part", "refusal",
    )  # fmt: skip

    def __init__(self, limits: ServerLimits, lines: Lines, hosts: HostGuard) -> None:
        # shared with other connections
        self._limits = limits
        self._lines = lines
        self._hosts = hosts
        # the bytes that are here, and how far they were read
        self._data = b""
        self._at = 0
        # where in a request it is
        self.part = Part.HEAD
        self.refusal: Refusal | None = None
        # the head
        self._parser = HttpRequestParser(self)
        self._fed = -1  # how far the parser got the bytes; -1: the request line is to come
        self._empty_line_bytes = 0  # before the request line
        self._repeats = 0  # header lines with a name that stood before
        self._is_head_complete = False
        # the body
        self._left = 0
        self._sized: bytearray | None = None
        self._chunked: ChunkedBody | None = None
        # the request, for whoever calls
        self.line: Line | None = None
        self.headers: dict[bytes, bytes] = {}
        self.length = 0
        self.keeps_alive = False
        self.expects_continue = False
        self.body = b""

    @property
    def is_between_requests(self) -> bool:
        """Whether nothing of a next request is here; empty lines do not count."""
        return not self._data and self.part is Part.HEAD and self._fed < 0

    @property
    def is_body_begun(self) -> bool:
        """Whether bytes of the body of the request that is being read have come."""
        if self.part is Part.SIZED:
            return bool(self._data) or self._left < self.length
        return bool(self._data) or (self._chunked is not None and self._chunked.is_begun)

    @property
    def has_unread(self) -> bool:
        """Whether bytes are here that were not read: of a body, or of a next request."""
        return bool(self._data) or self.part is not Part.HEAD

    def release(self) -> None:
        """Drop what is held; the parser and the reader hold each other."""
        self._data = b""
        self._sized = self._chunked = None
        self.part = Part.OVER
        if hasattr(self, "_parser"):
            del self._parser

    def feed(self, data: bytes) -> None:
        """Store bytes that came. Nothing is looked at."""
        if not self._data:
            self._data = data
            return
        # A head that comes byte by byte is copied each time: bounded by the limit of a head, and
        # less than what the system takes to bring the byte.
        self._data = self._data[self._at :] + data
        if self._fed >= 0:
            self._fed -= self._at
        self._at = 0

    def read(self) -> Signal:
        """Read on, to the next thing worth telling."""
        part = self.part
        try:
            if part is Part.HEAD:
                return self._read_head() if self._data else Signal.MORE
            if part is Part.SIZED:
                return self._read_sized()
            if part is Part.ENDING:
                self.body = b""
                return self._end(self._at)
            if part is Part.CHUNKED:
                return self._read_chunked()
        except Refused as refused:
            self.refusal = refused.refusal
            self.part = Part.OVER
            self._data = b""
        return Signal.REFUSED if self.refusal is not None else Signal.MORE

    # The head

    def _read_head(self) -> Signal:
        data = self._data
        if self._fed < 0:
            line_end = self._read_line(data)
            if line_end < 0:
                return Signal.MORE
            searched = line_end - 1  # the CR of the request line may begin the empty line
        else:
            searched = self._fed - 3
        head_end_max = self._at + self._limits.max_head_bytes - self._empty_line_bytes
        found = data.find(b"\r\n\r\n", searched, head_end_max)
        if found < 0:
            self._parse(data[self._fed : head_end_max])
            if len(data) >= head_end_max:
                raise head_too_large(self._limits.max_head_bytes)
            self._fed = len(data)
        else:
            self._parse(data[self._fed : found + 4])
        if self._is_head_complete is not (found >= 0):
            raise bad_request("malformed request head: its end is in doubt")
        if found < 0:
            return Signal.MORE
        self._at = found + 4
        self._frame()
        return Signal.HEAD

    def _read_line(self, data: bytes) -> int:
        """Read the request line; returns where its LF is, or -1 when it is not here yet."""
        self.line = None
        at = self._at
        if data[at] == _CR or data[at] == _LF:
            at = self._skip_empty_lines(data, at)
            if at < 0:
                return -1
        head_end_max = at + self._limits.max_head_bytes - self._empty_line_bytes
        line_end = data.find(b"\n", at, head_end_max)
        if line_end < 0:
            self._lines.check_part(data[at:head_end_max])
            if len(data) >= head_end_max:
                raise head_too_large(self._limits.max_head_bytes)
            return -1
        if data[line_end - 1] != _CR:
            self._lines.check_part(data[at:line_end])
            raise bad_request("malformed request line: it ends in LF without CR")
        self.line = self._lines.read(data[at : line_end - 1])
        self._fed = at
        self.headers = {}
        self._repeats = 0
        self._is_head_complete = False
        _restart(self._parser, self)
        return line_end

    def _skip_empty_lines(self, data: bytes, at: int) -> int:
        """RFC 9112 section 2.2 wants at least one skipped: old clients end a body with one.
        Returns where the request line begins, -1 when that is not here yet.
        """
        while data.startswith(b"\r\n", at):
            at += 2
            self._empty_line_bytes += 2
        if self._empty_line_bytes > self._limits.max_head_bytes:
            raise head_too_large(self._limits.max_head_bytes)
        self._at = at
        if at == len(data):
            self._data, self._at = b"", 0
            return -1
        if data[at] == _LF or (data[at] == _CR and at + 1 < len(data)):
            raise bad_request("malformed request line: a CR or LF alone")
        return -1 if data[at] == _CR else at

    def _parse(self, piece: bytes) -> None:
        fault = None
        try:
            self._parser.feed_data(piece)
        except HttpParserUpgrade:
            pass  # the head is complete; an offer to upgrade is no reason to take it
        except HttpParserError as error:
            fault = str(error)
        if len(self.headers) + self._repeats > self._limits.max_headers:
            raise too_many_headers(self._limits.max_headers)
        if fault is not None:
            raise bad_request(f"malformed request head: {fault}")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header line, and only while it is given a head."""
        name = name.lower()
        if name in self.headers:
            self._repeats += 1
            if self._repeats <= self._limits.max_headers:  # else refused soon, and not joined
                self.headers[name] += b", " + value.rstrip()
        else:
            self.headers[name] = value.rstrip()

    def on_headers_complete(self) -> None:
        """Called by the parser at what it takes for the end of the head."""
        self._is_head_complete = True

    # The framing

    def _frame(self) -> None:
        line, headers = self.line, self.headers
        assert line is not None, "a head without a request line: a bug"
        length = headers.get(b"content-length")
        if b"transfer-encoding" in headers:
            self._check_coding(headers[b"transfer-encoding"].lower(), line.minor)
            if length is not None:
                raise bad_request("both Content-Length and Transfer-Encoding")
            self.length = CHUNKED
        elif length is None:
            self.length = 0
        elif length.isdigit() and len(length) <= LENGTH_DIGITS_MAX:
            self.length = int(length)
        else:
            raise bad_request("Content-Length is not one number")
        self._check_host(line, headers.get(b"host"))
        self.keeps_alive = _keeps_alive(headers.get(b"connection"), line.minor)
        self.expects_continue = False
        if b"expect" in headers and line.minor:
            if headers[b"expect"].lower() != b"100-continue":
                raise bad_request("the only Expect that is understood is 100-continue", 417)
            self.expects_continue = self.length != 0
        if self.length > self._limits.max_body_bytes:
            raise body_too_large(self._limits.max_body_bytes)
        self._begin_body()

    @staticmethod
    def _check_coding(codings: bytes, minor: int) -> None:
        if not minor:
            raise bad_request("Transfer-Encoding in HTTP/1.0")
        if codings == b"chunked":
            return
        named = [coding.strip() for coding in codings.split(b",")]
        if b"" in named or named[-1] != b"chunked" or named.count(b"chunked") > 1:
            raise bad_request("Transfer-Encoding does not end in chunked, once")
        raise bad_request("the only Transfer-Encoding that is understood is chunked", 501)

    def _check_host(self, line: Line, host: bytes | None) -> None:
        if host is None:
            if line.minor:
                raise bad_request("no Host header")
            verdict = HostVerdict.ALLOWED
        else:
            verdict = self._hosts.judge(host)
        if line.authority is not None and verdict is HostVerdict.ALLOWED:
            verdict = self._hosts.judge(line.authority)
        if verdict is HostVerdict.MALFORMED:
            raise bad_request("malformed Host, or more than one")
        if verdict is HostVerdict.FOREIGN:
            raise bad_request("this Host is not served here (server.allowed_hosts)", 421)

    # The body

    def _begin_body(self) -> None:
        if self.length == 0:
            self.part = Part.ENDING
        elif self.length > 0:
            self.part = Part.SIZED
            self._left = self.length
        else:
            self.part = Part.CHUNKED
            limits = self._limits
            self._chunked = ChunkedBody(
                limits.max_body_bytes, limits.max_head_bytes, limits.max_headers
            )

    def _read_sized(self) -> Signal:
        data, at = self._data, self._at
        end = at + self._left
        if end <= len(data):
            if self._sized is None:
                self.body = data[at:end]
            else:
                self._sized += data[at:end]
                self.body = bytes(self._sized)
                self._sized = None
            return self._end(end)
        if at < len(data):
            # grown as it comes: a length that is only claimed must not cost memory
            if self._sized is None:
                self._sized = bytearray()
            self._sized += data[at:]
            self._left = end - len(data)
        self._data, self._at = b"", 0
        return Signal.MORE

    def _read_chunked(self) -> Signal:
        chunked = self._chunked
        assert chunked is not None, "a chunked body without its decoder: a bug"
        self._at = chunked.take(self._data, self._at)
        if chunked.place is Place.END:
            self.body = bytes(chunked.body)
            self._chunked = None
            return self._end(self._at)
        if self._at == len(self._data):
            self._data, self._at = b"", 0
        return Signal.MORE

    def _end(self, at: int) -> Signal:
        """The request ends at `at`; what is behind it belongs to the next."""
        if at == len(self._data):
            self._data, self._at = b"", 0
        else:
            self._at = at
        self.part = Part.HEAD
        self._fed = -1
        self._empty_line_bytes = 0
        return Signal.END


def _keeps_alive(connection: bytes | None, minor: int) -> bool:
    """From the list of Connection's tokens; `close` goes first, 1.0 must ask to be kept."""
    if connection is None:
        return minor == 1
    tokens = {token.strip() for token in connection.lower().split(b",")}
    return b"close" not in tokens and (minor == 1 or b"keep-alive" in tokens)
