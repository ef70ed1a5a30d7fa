"""Requests and answers on keep-alive connections: as little work as the comparison can bear.

A request takes an idle connection or a new one. Who leaves closes his. An answer is read whole; of
its head only the status, the length and when to come again matter.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
AGAIN = re.compile(rb"\r\nretry-after-ms: *(\d+)", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer. `status` 0: the connection was lost, `body` says how."""

    status: int
    retry_after: float | None
    body: bytes


Done = Callable[[Answered], None]


class Connection(asyncio.Protocol):
    """One connection; at most one request at a time is on it."""

    def __init__(self, idle: list[Connection]) -> None:
        self._idle = idle
        self._transport: asyncio.WriteTransport | None = None
        self._done: Done | None = None
        self._data = b""
        self._missing = -1  # bytes of the answer still to come; below 0: its head is not there
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is no subclass

    def ask(self, data: bytes, done: Done) -> None:
        """Send a request; `done` is called once, or never after `leave`."""
        assert self._transport is not None
        self._done = done
        self._data = b""
        self._missing = -1
        self._transport.write(data)

    def leave(self) -> None:
        """Go away without the answer."""
        self._done = None
        self.lost = True
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        self._data += data
        if self._missing < 0:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            length = LENGTH.search(self._data, 0, end)
            self._missing = end + 4 + (int(length.group(1)) if length else 0)
        if len(self._data) >= self._missing:
            self._is_whole()

    def _is_whole(self) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        end = self._data.index(b"\r\n\r\n")
        head, body = self._data[: end + 2], self._data[end + 4 :]
        status, again = STATUS.match(head), AGAIN.search(head)
        if CLOSES.search(head):
            self.leave()
        else:
            self._idle.append(self)
        wait = int(again.group(1)) / 1000.0 if again else None
        done(Answered(int(status.group(1)) if status else 0, wait, body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self.lost = True
        done, self._done = self._done, None
        if done is not None:
            done(Answered(0, None, repr(exc).encode()))


class Ride:
    """A request under way: on a connection, or while one is opened for it."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._left = False

    def take(self, connection: Connection) -> bool:
        """Ride on this connection; False when the rider has left."""
        self._connection = connection
        return not self._left

    def leave(self) -> None:
        """Go away without the answer."""
        self._left = True
        if self._connection is not None:
            self._connection.leave()


class Wire:
    """Connections to one router."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: list[Connection] = []
        self._all: list[Connection] = []
        self._opening: set[asyncio.Task[None]] = set()

    def ask(self, data: bytes, done: Done) -> Ride:
        """Send a request on a connection of its own."""
        ride = Ride()
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost:
                ride.take(connection)
                connection.ask(data, done)
                return ride
        task = asyncio.get_running_loop().create_task(self._open(data, done, ride))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return ride

    async def _open(self, data: bytes, done: Done, ride: Ride) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._idle), self._host, self._port
            )
        except OSError as error:
            done(Answered(0, None, str(error).encode()))
            return
        self._all.append(connection)
        if ride.take(connection):
            connection.ask(data, done)
        else:
            connection.leave()

    def close(self) -> None:
        """Close every connection."""
        for task in self._opening:
            task.cancel()
        for connection in self._all:
            connection.leave()
