"""The head of a request: from bytes to its request line and its fields.

Rules of this file. llhttp gets the bytes of one head and no other, as they come, so that what
cannot be a head is refused with its first wrong byte. The bytes are counted and the end is found
here: llhttp keeps an unfinished line without a word, and does not say where a head ended. Where
both see an end they must see the same.

A client sends nearly the same head again and again: all but the digits of Content-Length. So from
its second request on the last head is remembered, and one that equals it byte by byte, but for
those digits, is not read again (0.5 µs instead of 2, or of 5 with the 20 lines of an SDK). What
differs in any other byte is read as if nothing had been remembered.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from emr.front.exchange import ServerLimits
from emr.front.faults import bad_request, head_too_large, too_many_headers
from emr.front.target import Line, Lines

# Of a head that is remembered. Clients of APIs send below 1 KiB and 20 lines; at 12,000 connections
# of the worst kind these are 120 MB.
REMEMBERED_BYTES_MAX = 2048
REMEMBERED_LINES_MAX = 32
# Heads in a row that differed from the one before, until no more are remembered: a client that
# puts a new id into each would pay 0.5 µs for nothing, each time.
DIFFERED_MAX = 8
DIGITS_MAX = 18  # of a length that llhttp does not see, which refuses what passes 64 bits

_NO_HEADERS: dict[bytes, bytes] = {}  # never written to: a head begins with a dict of its own
_END_IN_DOUBT = "malformed request head: its end is in doubt"


class Head:
    """The heads of a connection, one after the other.

    `line` is None while the request line is not complete. `headers` have lower-case names; the
    values of a name that stands twice are joined by `, `. Both are whole once `is_complete`.
    """

    __slots__ = (
        "_differed", "_empty_line_bytes", "_fed", "_is_parsed", "_limits", "_lines", "_parser",
        "_remembered", "_repeats", "headers", "is_complete", "line",
    )  # fmt: skip

    def __init__(self, limits: ServerLimits, lines: Lines) -> None:
        # shared with other connections
        self._limits = limits
        self._lines = lines
        # how far it is
        self._empty_line_bytes = 0  # before the request line
        self._fed = 0  # bytes that the parser got; none before the request line is complete
        self._parser: HttpRequestParser | None = None
        self._is_parsed = False  # by what the parser says
        self._repeats = 0  # header lines with a name that stood before
        # the last head: what is before the digits of its length and behind them, and what it says
        self._remembered: tuple[bytes, bytes, Line, dict[bytes, bytes]] | None = None
        self._differed = 0  # heads that were read since one was the remembered one
        # the head, for whoever calls
        self.is_complete = False
        self.line: Line | None = None
        self.headers = _NO_HEADERS

    def take(self, data: bytes, at: int) -> int:
        """Read on in `data` from `at`; returns how far it came. What it left is given again,
        with more behind it. Raises Refused: 400, 414, 431, 501, 505.
        """
        limits = self._limits
        if self._fed:
            searched = at + self._fed - 3
        else:
            if self._remembered is not None:
                end = self._take_remembered(data, at)
                if end:
                    return end
            self.is_complete = False
            line_end = data.find(b"\n", at) + 1
            self.line = self._lines.kept.get(data[at:line_end])
            if self.line is None:
                at = self._skip_empty_lines(data, at)
                line_end = self._read_line(data, at)
                if not line_end:
                    return at
            self._begin_fields()
            searched = line_end - 2  # its CR LF may begin the empty line
        head_end_max = at + limits.max_head_bytes - self._empty_line_bytes
        end = data.find(b"\r\n\r\n", searched, head_end_max) + 4
        if end == 3:  # not found
            self._parse(data[at + self._fed : head_end_max])
            if len(data) >= head_end_max:
                raise head_too_large(limits.max_head_bytes)
            if self._is_parsed:
                raise bad_request(_END_IN_DOUBT)
            self._fed = len(data) - at
            return at
        self._parse(data[at + self._fed : end])
        if not self._is_parsed:
            raise bad_request(_END_IN_DOUBT)
        self._parser = None
        self._fed = self._empty_line_bytes = 0
        self.is_complete = True
        self._differed += 1
        if self._differed > 1:  # most connections with a first request only have no second
            self._remember(data, at, end)
        return end

    def forget(self) -> None:
        """Drop the fields, which were handed over."""
        self.headers = _NO_HEADERS

    # Called by the parser, and only while it is given a head

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line."""
        headers = self.headers
        name = name.lower()
        if name not in headers:
            headers[name] = value.rstrip()
            return
        self._repeats += 1
        if self._repeats <= self._limits.max_headers:  # else refused soon, and not joined
            headers[name] += b", " + value.rstrip()

    def on_headers_complete(self) -> None:
        """What the parser takes for the end of the head."""
        self._is_parsed = True

    # Helpers

    def _take_remembered(self, data: bytes, at: int) -> int:
        """Where a head ends that is the remembered one again; 0 when it is another, or cut."""
        assert self._remembered is not None
        before, behind, line, headers = self._remembered
        if not data.startswith(before, at):
            return 0
        end = at + len(before)
        headers = headers.copy()
        if behind:
            start, end = end, data.find(b"\r", end, end + DIGITS_MAX + 1)
            digits = data[start:end]
            if end < 0 or not digits.isdigit() or not data.startswith(behind, end):
                return 0
            end += len(behind)
            headers[b"content-length"] = digits
        if end - at + self._empty_line_bytes > self._limits.max_head_bytes:
            return 0
        self.line, self.headers = line, headers
        self._empty_line_bytes = 0
        self.is_complete = True
        self._differed = 1
        return end

    def _remember(self, data: bytes, at: int, end: int) -> None:
        """Remember a head that was read, and that therefore differs from the last one."""
        self._remembered = None
        if (
            end - at > REMEMBERED_BYTES_MAX
            or len(self.headers) > REMEMBERED_LINES_MAX
            or self._differed > DIFFERED_MAX
        ):
            return
        assert self.line is not None, "a head without a request line: a bug"
        before, behind = data[at:end], b""
        length = self.headers.get(b"content-length")
        if length is not None:  # its line is there once, or the head is refused in a moment
            name = before.lower().find(b"\r\ncontent-length:")
            start = before.find(length, name + len(b"\r\ncontent-length:"))
            before, behind = before[:start], before[start + len(length) :]
            if not length.isdigit() or not behind.startswith(b"\r"):
                return
        self._remembered = before, behind, self.line, self.headers.copy()

    def _skip_empty_lines(self, data: bytes, at: int) -> int:
        """RFC 9112 section 2.2 wants at least one skipped: old clients end a body with one."""
        while data.startswith(b"\r\n", at):
            at += 2
            self._empty_line_bytes += 2
        if self._empty_line_bytes > self._limits.max_head_bytes:
            raise head_too_large(self._limits.max_head_bytes)
        first = data[at : at + 2]
        if first[:1] == b"\n" or (first[:1] == b"\r" and first != b"\r"):
            raise bad_request("malformed request line: a CR or LF alone")
        return at

    def _read_line(self, data: bytes, at: int) -> int:
        """Read a request line that is not among those kept; returns where it ends, or 0 when it
        is not all here.
        """
        if data[at : at + 1] in (b"", b"\r"):
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
        self.headers = {}
        self._repeats = 0
        self._is_parsed = False
        self._parser = HttpRequestParser(self)  # 0.15 µs, as much as to make an old one new

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
