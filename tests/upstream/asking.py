"""How the tests of the transport ask a peer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from emr.upstream.addresses import Reach
from emr.upstream.endpoint import Endpoint
from emr.upstream.fault import Fault
from emr.upstream.link import Answer
from emr.upstream.transport import Transport, TransportSettings
from tests.support.peer import Peer, Script

HEAD = b"POST /v1/embeddings HTTP/1.1\r\nHost: provider.test\r\nContent-Length: 4\r\n\r\n"
LONG = 1000.0  # a time that no test waits for: each is ended by its own bound long before
SHORT = 0.08  # a time that a test does wait for


def at(peer: Peer, host: str = "127.0.0.1", reach: Reach = Reach.LOOPBACK) -> Endpoint:
    return Endpoint("http", host, peer.port, "/v1/embeddings", reach=reach)


async def until(happened: Callable[[], bool]) -> None:
    """Let the loop turn until something happened; the test's own bound ends it otherwise."""
    while not happened():
        await asyncio.sleep(0)


async def ask(
    transport: Transport,
    peer: Peer,
    first_byte_s: float = LONG,
    whole_s: float = LONG,
    body: bytes = b"body",
) -> Answer:
    head = HEAD.replace(b": 4", b": %d" % len(body))
    return await transport.exchange(at(peer), head + body, first_byte_s, whole_s)


async def fault_of(
    script: Script, settings: TransportSettings | None = None, **times: float
) -> tuple[Fault, int]:
    """The fault that one exchange with such a peer ends in, and the connections it took."""
    transport = Transport(settings)
    async with Peer(script) as peer:
        with pytest.raises(Fault) as caught:
            await ask(transport, peer, **times)
        assert transport.connections == 0, "a failed connection is not kept"
        await transport.close()
    return caught.value, peer.connections
