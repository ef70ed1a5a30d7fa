"""From the bytes of a connection to the provider's answer; knows HTTP/1.1 and no socket.

`feed` takes what arrived, in pieces of any size; `complete` tells when the answer is whole; `take`
hands it over and makes ready for the next one on the same connection. After a Fault the reader is
of no further use.

What httptools does not check is checked here: the bytes of a head (it keeps an unfinished header
without a callback), the bytes of chunk syntax (neither sizes nor extensions are passed on), header
fields that come as trailers (they arrive by the same callback and are dropped), the version, a
Transfer-Encoding that is not `chunked` alone, both lengths at once, and the end of a body without
a length, which only the close of the connection tells. 1xx answers are read and skipped.

Bytes after a complete answer do not spoil it, but the connection must not be used again: they
would be taken for the answer to the next request.
"""

from __future__ import annotations

from enum import Enum

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from emr.upstream.fault import Fault, Stage

# A head is at most 64 KiB: the largest of a known provider is under 4 KiB, proxies take 8 to 64.
MAX_HEAD = 64 * 1024
SYNTAX_MAX = 64 * 1024  # of chunk sizes, extensions and trailers, which carry nothing for us
SYNTAX_A_CHUNK = 32  # a size, two line ends and a short extension


class Part(Enum):
    """Which part of an answer comes next."""

    HEAD = "head"
    BODY = "body"
    DONE = "done"


class AnswerReader:
    """Reads the answers of one connection, one after the other."""

    __slots__ = (
        "_body_bytes", "_chunks", "_head_bytes", "_headers", "_max_body", "_max_head", "_parser",
        "_part", "_pieces", "_read_bytes", "_until_close", "reusable",
    )  # fmt: skip

    def __init__(self, max_body: int, max_head: int = MAX_HEAD) -> None:
        self._max_body = max_body
        self._max_head = max_head
        self._parser = HttpResponseParser(self)
        self.reusable = True  # whether the connection may carry another exchange
        self._begin()

    def _begin(self) -> None:
        self._part = Part.HEAD
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._head_bytes = self._body_bytes = self._read_bytes = self._chunks = 0
        self._until_close = False

    @property
    def complete(self) -> bool:
        """Whether an answer is there to be taken."""
        return self._part is Part.DONE

    def feed(self, data: bytes) -> None:
        """Take in what arrived. Raises Fault when it is not an answer that emr accepts."""
        try:
            if self._part is Part.HEAD:
                data = self._feed_head(data)
            self._read_bytes += len(data)
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            raise Fault(Stage.PROTOCOL, "the provider wants to change the protocol") from None
        except HttpParserError as error:
            cause = error.__context__
            if self._part is not Part.DONE:
                if isinstance(cause, Fault):
                    raise cause from None
                raise Fault(Stage.PROTOCOL, "the provider's answer is not HTTP/1.1") from None
            self.reusable = False  # it was complete before the junk
        syntax = self._read_bytes - self._body_bytes - self._max_head
        if syntax > SYNTAX_MAX + SYNTAX_A_CHUNK * self._chunks:
            raise Fault(Stage.PROTOCOL, "the provider's answer is more syntax than body")

    def _feed_head(self, data: bytes) -> bytes:
        """Give the parser no more of a head than may be; returns what is left to be fed."""
        room = self._max_head - self._head_bytes
        self._head_bytes += len(data)
        if len(data) <= room:
            return data
        self._read_bytes += room
        self._parser.feed_data(data[:room])
        if self._part is Part.HEAD:
            most = self._max_head
            raise Fault(Stage.PROTOCOL, f"the head of the answer is larger than {most} bytes")
        return data[room:]

    def end(self) -> bool:
        """The connection ended in order: whether that completes the answer."""
        if self._part is Part.BODY and self._until_close:
            self._part = Part.DONE
            self.reusable = False
        return self._part is Part.DONE

    def take(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers and body of the complete answer.

        Header names are in lower case; of a name that stands twice, the values joined by `, `.
        """
        assert self._part is Part.DONE, "an answer taken too early: a bug"
        headers: dict[bytes, bytes] = {}
        for name, value in self._headers:
            name = name.lower()
            headers[name] = headers[name] + b", " + value if name in headers else value
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        status = self._parser.get_status_code()
        self._begin()
        return status, headers, body

    # called by the parser

    def on_message_begin(self) -> None:
        if self._part is Part.DONE:
            raise Fault(Stage.PROTOCOL, "a second answer")  # only ends the parsing, see feed

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._part is Part.HEAD:  # else a trailer
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser.get_http_version() not in ("1.1", "1.0"):
            raise Fault(Stage.PROTOCOL, "the provider's answer is not HTTP/1.1")
        status = parser.get_status_code()
        if 102 <= status < 200 or status == 100:
            return
        if not 200 <= status < 600:
            raise Fault(Stage.PROTOCOL, f"the provider answered with the status {status}")
        self._part = Part.BODY
        lengths = [v for n, v in self._headers if len(n) == 14 and n.lower() == b"content-length"]
        codings = [
            v for n, v in self._headers if len(n) == 17 and n.lower() == b"transfer-encoding"
        ]
        if codings:
            if lengths or len(codings) > 1 or codings[0].strip().lower() != b"chunked":
                raise Fault(Stage.PROTOCOL, "the provider's answer has a length in doubt")
        elif lengths:
            digits = lengths[0].strip(b" \t")
            if not digits.isdigit():
                raise Fault(Stage.PROTOCOL, "the provider's answer has a length in doubt")
            if len(digits) > 18 or int(digits) > self._max_body:
                raise self._too_large()
        else:
            self._until_close = True  # a 204 or 304 is complete all the same

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body:
            raise self._too_large()

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_message_complete(self) -> None:
        if self._part is Part.HEAD:  # a 1xx: the answer is still to come
            self._headers.clear()
            return
        self._part = Part.DONE
        self.reusable = self._parser.should_keep_alive()

    def _too_large(self) -> Fault:
        most = self._max_body
        return Fault(Stage.TOO_LARGE, f"the provider's answer is larger than {most} bytes")
