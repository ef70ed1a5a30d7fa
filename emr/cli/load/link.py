"""One client connection of the bench: a request out, a whole answer in, one at a time.

The client must cost less than what it measures. So an answer with a Content-Length is not parsed:
its status and length are read from the head's bytes, and its body is joined once. Any other
answer (chunked, or ended by the close) goes through httptools.

Measured against the fake with 16 callers: 26 us of CPU for an exchange of `emr.upstream`'s
transport, which checks, times out and keeps connections; 19 us here, with making the request and
counting its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import httptools

HEAD_MAX = 65_536  # bytes of an answer's head before it is taken for garbage
BY_CLOSE = -2  # no length: the body is chunked, or ends with the connection
Done = Callable[["Link", int, bytes, bytes], None]
Broken = Callable[["Link", str], None]


class Link(asyncio.Protocol):
    """`done(link, status, head, body)` ends each request, or `broken(link, why)` the link.

    `broken` is called at most once, also while nothing is asked; the link is then of no more use.
    `tag` is the caller's own.
    """

    __slots__ = (
        "_broken", "_chunks", "_complete", "_done", "_expected", "_got", "_head", "_messages",
        "_parser", "_status", "_transport", "busy", "closing", "tag",
    )  # fmt: skip

    def __init__(self, done: Done, broken: Broken) -> None:
        # the connection
        self._done = done
        self._broken: Broken | None = broken
        self._transport: asyncio.Transport | None = None
        self.tag: Any = None
        self.closing = False  # this answer is the last one
        # the answer that comes
        self.busy = False
        self._status = 0
        self._head = b""
        self._chunks: list[bytes] = []
        self._got = 0
        self._expected = -1  # bytes of the body, -1 while the head is not there
        self._parser: httptools.HttpResponseParser | None = None
        self._messages = 0  # begun in the parser's bytes
        self._complete = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> None:
        """Send a request; only after the answer to the last one."""
        assert not self.busy, "a request before the last answer: a bug"
        assert self._transport is not None, "a request before the connection: a bug"
        self.busy = True
        self._transport.write(request)

    def close(self) -> None:
        """Close, and say nothing of it."""
        self._broken = None
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            self._break("answer without a request")
            return
        if self._parser is not None:
            self._feed(data)
            return
        if self._expected < 0:
            if self._head:
                data = self._head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._head = data
                if len(data) > HEAD_MAX:
                    self._break("malformed answer")
                return
            if not self._read_head(data[: end + 2]):
                self._break("malformed answer")
                return
            if self._expected < 0:
                self._expected = BY_CLOSE
                self._messages, self._complete = 0, False
                self._parser = httptools.HttpResponseParser(self)
                self._feed(data)
                return
            data = data[end + 4 :]
        self._got += len(data)
        if self._got < self._expected:
            self._chunks.append(data)
        elif self._got > self._expected:
            self._break("answer longer than it says")
        elif self._chunks:
            self._chunks.append(data)
            self._finish(b"".join(self._chunks))
        else:
            self._finish(data)

    def eof_received(self) -> None:
        chunked = b"\r\ntransfer-encoding:" in self._head.lower()
        if self.busy and self._expected == BY_CLOSE and not chunked:
            self.closing = True
            self._finish(b"".join(self._chunks))

    def connection_lost(self, exc: Exception | None) -> None:
        self._break("connection lost")

    def _read_head(self, head: bytes) -> bool:
        """Take status and length from a head that ends in one line break; False for no head."""
        if not head.startswith(b"HTTP/1.") or not head[9:12].isdigit():
            return False
        self._head = head
        self._status = int(head[9:12])
        lower = head.lower()
        at = lower.find(b"\r\ncontent-length:")
        if at >= 0:
            value = lower[at + 17 : lower.find(b"\r\n", at + 17)].strip()
            if value.isdigit():
                self._expected = int(value)
        self.closing = b"\r\nconnection: close" in lower or head[7:8] == b"0"
        return True

    def _finish(self, body: bytes) -> None:
        status, head = self._status, self._head
        self.busy = False
        self._status, self._head, self._got, self._expected = 0, b"", 0, -1
        self._chunks = []
        self._parser = None
        self._done(self, status, head, body)

    def _break(self, why: str) -> None:
        broken, self._broken = self._broken, None
        self.busy = False
        if self._transport is not None:
            self._transport.abort()
        if broken is not None:
            broken(self, why)

    # the slow way: httptools calls the on_ methods while it is fed

    def _feed(self, data: bytes) -> None:
        parser = self._parser
        assert parser is not None
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._break("malformed answer")
            return
        if self._messages > 1:
            self._break("answer longer than it says")
        elif self._complete:
            self._finish(b"".join(self._chunks))

    def on_message_begin(self) -> None:
        self._messages += 1

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._complete = True
