"""From the name of a provider's host to the addresses to connect to, anew for each connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from emr.upstream.endpoint import Endpoint
from emr.upstream.fault import Fault, Stage

Resolve = Callable[[str, int], Awaitable[list[str]]]


async def system_resolve(host: str, port: int) -> list[str]:
    """The addresses of `host` as the system's resolver gives them. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys([str(entry[4][0]) for entry in found]))


async def addresses_of(endpoint: Endpoint, resolve: Resolve) -> list[str]:
    """The checked addresses of `endpoint`, IPv6 and IPv4 taking turns as RFC 8305 asks.

    Every one of them is allowed by the endpoint's reach, and the connection goes to one of these
    and to nothing looked up later. Raises Fault.
    """
    literal = endpoint.address
    if literal is not None:
        found = [literal]
    else:
        try:
            found = await resolve(endpoint.host, endpoint.port)
        except (OSError, UnicodeError):
            raise Fault(Stage.CONNECT, f"the name {endpoint.host} has no address") from None
    if not found:
        raise Fault(Stage.CONNECT, f"the name {endpoint.host} has no address")
    bad = endpoint.unwanted(found)
    if bad is not None:
        raise Fault(
            Stage.CONNECT,
            f"{endpoint.host} leads to {bad}, where this provider may not be "
            "(see allow_private and allow_http)",
        )
    return _take_turns(found)


def _take_turns(found: list[str]) -> list[str]:
    """The addresses with their families alternating, beginning with that of the first."""
    first = [a for a in found if (":" in a) == (":" in found[0])]
    other = [a for a in found if (":" in a) != (":" in found[0])]
    turns: list[str] = []
    for i in range(max(len(first), len(other))):
        turns += first[i : i + 1] + other[i : i + 1]
    return turns
