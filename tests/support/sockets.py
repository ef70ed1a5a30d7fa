"""A listener on real sockets for the length of a test, and a client that asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from emr.front.exchange import ServerLimits
from emr.front.listener import Listener
from tests.support.server import Echo, read_answers

CLOSING_GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def listening(
    *binds: str, limits: ServerLimits | None = None, service: Echo | None = None
) -> AsyncIterator[Listener]:
    listener = Listener(service or Echo(), limits)
    await listener.start(binds)
    try:
        yield listener
    finally:
        listener.close()
        await asyncio.sleep(0)


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.startswith("unix:"):
        return await asyncio.open_unix_connection(address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))


async def ask(address: str, data: bytes = CLOSING_GET) -> list[int]:
    """The statuses that `data` gets from `address`, until it closes."""
    reader, writer = await connect(address)
    writer.write(data)
    got = await reader.read()
    writer.close()
    return [answer.status for answer in read_answers(got)]
