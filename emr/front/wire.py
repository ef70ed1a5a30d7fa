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
_NO_HEADERS: dict[bytes, bytes] = {}  # never written to: a head begins with a dict of its own
_END_IN_DOUBT = "malformed request head: its end is in doubt"

_restart = HttpRequestParser.__init__  # takes 0.2 µs; a new parser for each head takes 1 µs


class Part(Enum):
    """Where in a request the reader is."""

    HEAD = "head"  # in a head, or before one
    SIZED = "sized"  # so many bytes of a body are to come; perhaps none
    CHUNKED = "chunked"  # a chunked body is to come
    OVER = "over"  # after a refusal


class Signal(Enum):
    """What came of `read`."""

    MORE = "more"  # nothing: more bytes are needed
    HEAD = "head"  # a head is complete: the fields that describe the request are set
    END = "end"  # the request is complete, `body` is set
    REFUSED = "refused"  # `refusal` is set; there is nothing more to read


# Reached once a request or more: through its class a member costs 60 ns, through a name 5.
_IN_HEAD, _IN_SIZED, _IN_CHUNKED, _IN_OVER = Part.HEAD, Part.SIZED, Part.CHUNKED, Part.OVER
_MORE, _HEAD, _END, _REFUSED = Signal.MORE, Signal.HEAD, Signal.END, Signal.REFUSED
_ALLOWED = HostVerdict.ALLOWED


class Reader:
    """Reads the requests of one connection.

    After Signal.HEAD: `line`, `headers` (lower-case names; values of a name that stands twice
    joined by `, `), `length` (bytes of the body, CHUNKED for a chunked one), `keeps_alive` and
    `expects_continue`. After Signal.END also `body`. They hold until the next `read`. `line` is
    None while the request line of the next head is not complete.
    """

    __slots__ = (
        "_at", "_chunked", "_empty_line_bytes", "_fed", "_hosts", "_is_head_complete",
        "_left", "_limits", "_lines", "_parser", "_repeats", "_sized", "body",
        "expects_continue", "headers", "held", "keeps_alive", "length", "line", "part", "refusal",
    )  # fmt: skip

    def __init__(self, limits: ServerLimits, lines: Lines, hosts: HostGuard) -> None:
        # shared with other connections
        self._limits = limits
        self._lines = lines
        self._hosts = hosts
        # the bytes that are here (nothing when all were read), and how far they were read
        self.held = b""
        self._at = 0
        # where in a request it is
        self.part = _IN_HEAD
        self.refusal: Refusal | None = None
        # the head
        self._parser: HttpRequestParser | None = None
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
        self.headers = _NO_HEADERS
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
        """Drop what is held; the parser and the reader hold each other."""
        self.held = b""
        self._sized = self._chunked = None
        self.part = _IN_OVER
        self._parser = None

    def forget(self) -> None:
        """Drop the request that was handed over: an idle connection must not keep its body."""
        self.headers = _NO_HEADERS
        self.body = b""

    def feed(self, data: bytes) -> None:
        """Store bytes that came. Nothing is looked at."""
        # A head that comes byte by byte is copied each time: bounded by the limit of a head, and
        # less than what the system takes to bring the byte.
        self.held = self.held[self._at :] + data if self.held else data
        if self._fed >= 0:
            self._fed -= self._at
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

    # The head

    def _read_head(self) -> Signal:
        data = self.held
        if self._fed >= 0:
            searched = self._fed - 3
        else:
            line_end = data.find(b"\n", self._at) + 1
            self.line = self._lines.kept.get(data[self._at : line_end])
            if self.line is None:
                line_end = self._read_line(data)
                if not line_end:
                    return self._need_more()
            self._begin_fields()
            searched = line_end - 2  # its CR LF may begin the empty line
        head_end_max = self._at + self._limits.max_head_bytes - self._empty_line_bytes
        found = data.find(b"\r\n\r\n", searched, head_end_max)
        if found < 0:
            self._parse(data[self._fed : head_end_max])
            if len(data) >= head_end_max:
                raise head_too_large(self._limits.max_head_bytes)
            if self._is_head_complete:
                raise bad_request(_END_IN_DOUBT)
            self._fed = len(data)
            return self._need_more()
        self._parse(data[self._fed : found + 4])
        if not self._is_head_complete:
            raise bad_request(_END_IN_DOUBT)
        self._at = found + 4
        self._frame()
        return _HEAD

    def _read_line(self, data: bytes) -> int:
        """Read a request line that is not among those kept; returns where it ends, or 0 when it
        is not all here.
        """
        at = self._at
        if data[at] in b"\r\n":
            at = self._skip_empty_lines(data, at)
            if at < 0:
                return 0
        head_end_max = at + self._limits.max_head_bytes - self._empty_line_bytes
        line_end = data.find(b"\n", at, head_end_max) + 1
        if line_end:
            self.line = self._lines.read(data[at:line_end])
            return line_end
        self._lines.check_part(data[at:head_end_max])
        if len(data) >= head_end_max:
            raise head_too_large(self._limits.max_head_bytes)
        return 0

    def _begin_fields(self) -> None:
        self._fed = self._at
        self.headers = {}
        self._repeats = 0
        self._is_head_complete = False
        if self._parser is None:
            self._parser = HttpRequestParser(self)
        else:
            _restart(self._parser, self)

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
            return -1
        if data[at] == _LF or (data[at] == _CR and at + 1 < len(data)):
            raise bad_request("malformed request line: a CR or LF alone")
        return -1 if data[at] == _CR else at

    def _parse(self, piece: bytes) -> None:
        assert self._parser is not None, "header lines before a request line: a bug"
        try:
            self._parser.feed_data(piece)
        except HttpParserUpgrade:
            pass  # the head is complete; an offer to upgrade is no reason to take it
        except HttpParserError as error:
            self._check_number()
            raise bad_request(f"malformed request head: {error}") from None
        self._check_number()

    def _check_number(self) -> None:
        if len(self.headers) + self._repeats > self._limits.max_headers:
            raise too_many_headers(self._limits.max_headers)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header line, and only while it is given a head."""
        headers = self.headers
        name = name.lower()
        if name not in headers:
            headers[name] = value.rstrip()
            return
        self._repeats += 1
        if self._repeats <= self._limits.max_headers:  # else refused soon, and not joined
            headers[name] += b", " + value.rstrip()

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
            self._left = CHUNKED
        elif length is None:
            self._left = 0
        elif length.isdigit() and len(length) <= LENGTH_DIGITS_MAX:
            self._left = int(length)
        else:
            raise bad_request("Content-Length is not one number")
        self.length = self._left
        host = headers.get(b"host")
        if host is None or line.authority is not None:
            self._check_hosts(line, host)
        else:
            self._check_host(host)
        connection = headers.get(b"connection")
        if connection is None:
            self.keeps_alive = line.minor == 1
        else:
            self.keeps_alive = _keeps_alive(connection, line.minor)
        self.expects_continue = b"expect" in headers and self._expects_continue(line)
        limits = self._limits
        if self._left > limits.max_body_bytes:
            raise body_too_large(limits.max_body_bytes)
        if self._left >= 0:
            self.part = _IN_SIZED
        else:
            self.part = _IN_CHUNKED
            self._chunked = ChunkedBody(
                limits.max_body_bytes, limits.max_head_bytes, limits.max_headers
            )

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

    def _check_host(self, host: bytes) -> None:
        verdict = self._hosts.kept.get(host) or self._hosts.judge(host)
        if verdict is _ALLOWED:
            return
        if verdict is HostVerdict.MALFORMED:
            raise bad_request("malformed Host, or more than one")
        raise bad_request("this Host is not served here (server.allowed_hosts)", 421)

    def _check_hosts(self, line: Line, host: bytes | None) -> None:
        """When there is none, or also the authority of an absolute target; that goes first."""
        if host is not None:
            self._check_host(host)
        elif line.minor:
            raise bad_request("no Host header")
        if line.authority is not None:
            self._check_host(line.authority)

    def _expects_continue(self, line: Line) -> bool:
        """Whether the body is sent only when it is asked for; HTTP/1.0 has no such thing."""
        if not line.minor:
            return False
        if self.headers[b"expect"].lower() != b"100-continue":
            raise bad_request("the only Expect that is understood is 100-continue", 417)
        return self._left != 0

    # The body

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
        at = self._at
        if at:
            self.held = self.held[at:]
            self._at = 0
            if self._fed >= 0:
                self._fed -= at
        return _MORE

    def _end(self, at: int) -> None:
        """The request ends at `at`; what is behind it belongs to the next."""
        if at == len(self.held):
            self.held, self._at = b"", 0
        else:
            self._at = at
        self.part = _IN_HEAD
        self._fed = -1
        self._empty_line_bytes = 0


def _keeps_alive(connection: bytes, minor: int) -> bool:
    """From the list of Connection's tokens; `close` goes first, 1.0 must ask to be kept."""
    tokens = {token.strip() for token in connection.lower().split(b",")}
    return b"close" not in tokens and (minor == 1 or b"keep-alive" in tokens)
