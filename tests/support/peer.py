"""A server on loopback whose connections do what a script says, well or badly.

A script is a coroutine that gets each new connection as a `Guest`. Requests are read by h11, so a
client's request that is not HTTP/1.1 fails the test. The failure of a script fails the test too.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import h11


class Guest:
    """The server's side of one connection; `number` counts the connections from 1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int):
        self.number = number
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.SERVER)

    async def request(self) -> tuple[h11.Request, bytes] | None:
        """The next request with its body, None when the client left."""
        if self._h11.our_state is not h11.IDLE:  # the last answer may have been raw bytes
            rest, _ = self._h11.trailing_data
            self._h11 = h11.Connection(h11.SERVER)
            if rest:
                self._h11.receive_data(rest)
        head: h11.Request | None = None
        body = b""
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                self._h11.receive_data(await self._reader.read(65536))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return head, body
            else:
                return None

    async def answer(
        self, body: bytes, status: int = 200, headers: list[tuple[str, str]] | None = None
    ) -> None:
        """A whole answer as h11 writes it."""
        fields = [("Content-Length", str(len(body))), *(headers or [])]
        data = self._h11.send(h11.Response(status_code=status, headers=fields)) or b""
        data += self._h11.send(h11.Data(data=body)) or b""
        data += self._h11.send(h11.EndOfMessage()) or b""
        await self.write(data)

    async def write(self, data: bytes) -> None:
        """Raw bytes, for what h11 would refuse to send."""
        self._writer.write(data)
        await self._writer.drain()

    async def serve(self, body: bytes) -> None:
        """Answer every request with `body` until the client leaves."""
        while await self.request() is not None:
            await self.answer(body)

    async def gone(self) -> None:
        """Wait until the client has closed or reset the connection, reading what it sends."""
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionError:
            pass

    async def read_slowly(self, pause_s: float, step: int) -> bytes:
        """Read a request with a Content-Length, so many bytes at a time; returns its start."""
        start = await self._reader.readuntil(b"\r\n\r\n")
        left = int(start.lower().split(b"content-length: ")[1].split(b"\r")[0])
        while left:
            left -= len(await self._reader.readexactly(min(step, left)))
            await asyncio.sleep(pause_s)
        return start

    def reset(self) -> None:
        """Break the connection: the client sees a reset."""
        sock: Any = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        """Close the connection in order."""
        self._writer.close()


Script = Callable[[Guest], Awaitable[None]]


class Peer:
    """The server. `async with Peer(script) as peer` listens at `peer.port`."""

    def __init__(
        self, script: Script, context: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        self._script = script
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: BaseException | None = None
        self.connections = 0
        self.port = port

    async def __aenter__(self) -> Peer:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(
            self._accept, sock=listener, ssl=self._context, backlog=1024
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._failed is not None:
            raise self._failed

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        guest = Guest(reader, writer, self.connections)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._script(guest)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        except BaseException as error:
            self._failed = error
        finally:
            self._tasks.discard(task)
            writer.close()
