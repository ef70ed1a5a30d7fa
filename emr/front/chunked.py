"""A chunked body: from the bytes after a head to the body's bytes, and where it ends.

Rules of this file. The grammar of RFC 9112 section 7.1 and nothing beside it: no white space
after a size, no bare CR or LF, no sign, no `0x`, extensions by their grammar. What is not body is
counted: a chunk says how long it is, but nothing bounds how long it takes to say so.

This is not left to llhttp, which tells neither the size of a chunk nor its extensions, hands
trailers out as headers, and does not say where in the given bytes a message ended.
"""

from __future__ import annotations

import re
from enum import Enum

from emr.front.faults import bad_request, body_too_large, head_too_large, too_many_headers
from emr.lane.refusal import Refused

# What the syntax may cost beside the body. A client that sends chunks of one byte needs 5 more
# for each; 64 KiB is room for extensions and trailers that nobody here reads.
OVERHEAD_BYTES_MAX = 64 * 1024
OVERHEAD_BYTES_PER_CHUNK = 16

SIZE_DIGITS_MAX = 16  # 64 bits; more digits can only be zeros

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]++)(?:[ \t]*+;[ \t]*+%b(?:[ \t]*+=[ \t]*+(?:%b|%b))?)*\r\n"
    % (_TOKEN, _TOKEN, _QUOTED)
)
_TRAILER_LINE = re.compile(rb"(?:%b:[\t\x20-\x7e\x80-\xff]*+)?\r\n" % _TOKEN)


class Place(Enum):
    """What comes next in a chunked body."""

    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"  # the CR LF after a chunk's data
    TRAILER = "trailer"
    END = "end"


class ChunkedBody:
    """The body of one request. Its whole state: the place, what is left of a chunk, the counts.

    Trailers are checked, counted and dropped: a field that comes after the head was judged must
    not count as one that was judged (an Authorization would be one).
    """

    __slots__ = (
        "_body_bytes_max", "_chunks", "_left", "_overhead", "_trailer_bytes",
        "_trailer_bytes_max", "_trailers", "_trailers_max", "body", "place",
    )  # fmt: skip

    def __init__(self, body_bytes_max: int, trailer_bytes_max: int, trailers_max: int) -> None:
        # the limits
        self._body_bytes_max = body_bytes_max
        self._trailer_bytes_max = trailer_bytes_max
        self._trailers_max = trailers_max
        # how far it is
        self.place = Place.SIZE
        self.body = bytearray()
        self._left = 0
        # what was counted
        self._chunks = 0
        self._overhead = 0
        self._trailer_bytes = 0
        self._trailers = 0

    @property
    def is_begun(self) -> bool:
        """Whether a size line was read."""
        return self._chunks > 0

    def take(self, data: bytes, at: int) -> int:
        """Read on in `data` from `at`; returns how far it came. What it left is given again,
        with more behind it. Raises Refused: 400 (syntax), 413 (body), 431 (trailers).
        """
        came = -1
        while at != came and self.place is not Place.END:
            came = at
            if self.place is Place.DATA:
                at = self._take_data(data, at)
            elif self.place is Place.DATA_END:
                at = self._take_data_end(data, at)
            elif self.place is Place.SIZE:
                at = self._take_sizes(data, at)
            else:
                at = self._take_trailer(data, at)
        return at

    def _take_data(self, data: bytes, at: int) -> int:
        part = data[at : at + self._left]
        self.body += part
        self._left -= len(part)
        if not self._left:
            self.place = Place.DATA_END
        return at + len(part)

    def _take_data_end(self, data: bytes, at: int) -> int:
        end = data[at : at + 2]
        if end == b"\r\n":
            self.place = Place.SIZE
            return at + 2
        if not b"\r\n".startswith(end):
            raise bad_request("malformed chunk: its data is longer than its size")
        return at

    def _take_sizes(self, data: bytes, at: int) -> int:
        """A size line, and with it every chunk that is here whole: a body may be cut in millions
        (the 43,000 chunks of one byte that one read of 256 KB can bring take 32 ms).
        """
        if data.find(b"\n", at) < 0:
            self._check_unfinished_size_line(data, at)
            return at
        body, room = self.body, self._body_bytes_max - len(self.body)
        allowed = OVERHEAD_BYTES_MAX + OVERHEAD_BYTES_PER_CHUNK * self._chunks - self._overhead
        while (match := _SIZE_LINE.match(data, at)) is not None:
            digits, start = match[1], match.end()
            size = int(digits[:SIZE_DIGITS_MAX], 16)
            self._chunks += 1
            self._overhead += start - at + 2
            allowed -= start - at + 2 - OVERHEAD_BYTES_PER_CHUNK
            room -= size
            if len(digits) > SIZE_DIGITS_MAX:
                raise bad_request("malformed chunk: its size has too many digits")
            if allowed < 0:
                raise _out_of_proportion()
            if room < 0:
                raise body_too_large(self._body_bytes_max)
            at = start + size
            if not size or data[at : at + 2] != b"\r\n":
                self._left = size
                self.place = Place.DATA if size else Place.TRAILER
                return start
            body += data[start:at]
            at += 2
        if data.find(b"\n", at) >= 0:
            raise bad_request("malformed chunk: its size line")
        self._check_unfinished_size_line(data, at)
        return at

    def _check_unfinished_size_line(self, data: bytes, at: int) -> None:
        """More must come, unless it cannot become a size line."""
        if len(data) > at and data[at] not in b"0123456789abcdefABCDEF":
            raise bad_request("malformed chunk: it does not begin with its size")
        self._check_overhead(len(data) - at)

    def _take_trailer(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at) + 1
        length = (end or len(data)) - at
        if self._trailer_bytes + length > self._trailer_bytes_max:
            raise head_too_large(self._trailer_bytes_max)
        if not end:
            return at
        if _TRAILER_LINE.fullmatch(data, at, end) is None:
            raise bad_request("malformed trailer")
        self._trailer_bytes += length
        self._count(length)
        if length == len(b"\r\n"):
            self.place = Place.END
            return end
        self._trailers += 1
        if self._trailers > self._trailers_max:
            raise too_many_headers(self._trailers_max)
        return end

    def _count(self, syntax_bytes: int) -> None:
        self._overhead += syntax_bytes
        self._check_overhead(0)

    def _check_overhead(self, more: int) -> None:
        allowed = OVERHEAD_BYTES_MAX + OVERHEAD_BYTES_PER_CHUNK * self._chunks
        if self._overhead + more > allowed:
            raise _out_of_proportion()


def _out_of_proportion() -> Refused:
    return bad_request("the syntax of the chunks is out of proportion to the body")
