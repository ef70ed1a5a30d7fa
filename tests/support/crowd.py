"""Many callers at a time over real sockets, each with a connection of its own.

A caller that is not answered in the time that it gives is told apart from one that is refused:
the first must never be. Costs some 100 us a request with making and reading it.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple
from urllib.parse import urlsplit

import orjson

from emr.cli.load.link import Link

PATH = "/v1/embeddings"


class Told(NamedTuple):
    """An answer: its status, the value of its body, and its head."""

    status: int
    body: object
    head: bytes


class NoAnswer(Exception):
    """The connection broke, or nothing came in time."""


class Caller:
    """One caller. `wait_s` is longer than any answer may take."""

    def __init__(self, url: str, key: str, wait_s: float, timeout_ms: int = 0) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._address = (parts.hostname, parts.port)
        self._wait_s = wait_s
        timeout = f"x-emr-timeout-ms: {timeout_ms}\r\n" if timeout_ms else ""
        self._head = (
            f" HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\n{timeout}"
        )
        self._link: Link | None = None
        self._answer: asyncio.Future[Told]

    async def ask(self, body: object, path: str = PATH, head: str = "") -> Told:
        """Ask, with further header lines. Raises NoAnswer."""
        data = orjson.dumps(body)
        line = f"POST {path}{self._head}{head}Content-Length: {len(data)}\r\n\r\n"
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        try:
            if self._link is None:
                _, self._link = await loop.create_connection(
                    lambda: Link(self._done, self._broken), *self._address
                )
            self._link.send(line.encode() + data)
            async with asyncio.timeout(self._wait_s):
                return await self._answer
        except TimeoutError:
            self.close()
            raise NoAnswer(f"nothing in {self._wait_s:g} s") from None
        except OSError as error:
            raise NoAnswer(str(error)) from None

    def close(self) -> None:
        """Hang up."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _done(self, link: Link, status: int, head: bytes, body: bytes) -> None:
        if link.closing:
            self.close()
        if not self._answer.done():
            self._answer.set_result(Told(status, orjson.loads(body), head))

    def _broken(self, link: Link, why: str) -> None:
        self._link = None
        if not self._answer.done():
            self._answer.set_exception(NoAnswer(why))
