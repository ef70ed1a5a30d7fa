"""A new connection to a provider: its name, its addresses, the handshake; within a time."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from emr.upstream.endpoint import Endpoint
from emr.upstream.fault import Fault, Stage
from emr.upstream.link import Link
from emr.upstream.resolve import Resolve, addresses_of

STAGGER_S = 0.25  # before the next address is tried beside the last: RFC 8305's recommendation


def default_context() -> ssl.SSLContext:
    """Verification on, HTTP/1.1 only; the roots of certifi where it is installed, else the
    system's. Takes some tens of milliseconds: make one and keep it."""
    try:
        import certifi
    except ImportError:
        context = ssl.create_default_context()
    else:
        context = ssl.create_default_context(cafile=certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connector:
    """Makes connections. `context` is for https, default_context at the first use when None;
    `make` makes the protocol of a new connection."""

    __slots__ = ("_context", "_make", "_resolve")

    def __init__(
        self, resolve: Resolve, context: ssl.SSLContext | None, make: Callable[[], Link]
    ) -> None:
        self._resolve = resolve
        self._context = context
        self._make = make

    async def connect(self, endpoint: Endpoint, within_s: float) -> Link:
        """A connection to one of the endpoint's addresses, all of which were checked.

        Raises Fault.
        """
        try:
            async with asyncio.timeout(within_s):
                addresses = await addresses_of(endpoint, self._resolve)
                if len(addresses) == 1:
                    return await self._open(endpoint, addresses[0])
                return await self._race(endpoint, addresses)
        except TimeoutError:
            raise Fault(
                Stage.CONNECT,
                f"no connection to {endpoint.host} within {max(0.0, within_s):.3g} s",
                timed_out=True,
            ) from None

    async def _race(self, endpoint: Endpoint, addresses: list[str]) -> Link:
        """The first connection that comes about; each address starts a moment after the last, or
        at once when one failed."""
        waiting = deque(addresses)
        trying: set[asyncio.Task[Link]] = set()
        last = Fault(Stage.CONNECT, f"no connection to {endpoint.host}")
        try:
            while waiting or trying:
                if waiting:
                    trying.add(asyncio.create_task(self._open(endpoint, waiting.popleft())))
                done, trying = await asyncio.wait(
                    trying,
                    timeout=STAGGER_S if waiting else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                links: list[Link] = []
                for task in done:
                    try:
                        links.append(task.result())
                    except Fault as fault:
                        last = fault
                for link in links[1:]:
                    link.abort()
                if links:
                    return links[0]
            raise last
        finally:
            for task in trying:
                task.add_done_callback(_drop)
                task.cancel()

    async def _open(self, endpoint: Endpoint, address: str) -> Link:
        """A connection to `address`. Raises Fault."""
        loop = asyncio.get_running_loop()
        host, port = endpoint.host, endpoint.port
        try:
            if endpoint.tls:
                if self._context is None:
                    self._context = default_context()
                _, link = await loop.create_connection(
                    self._make, address, port, ssl=self._context, server_hostname=host
                )
            else:
                _, link = await loop.create_connection(self._make, address, port)
        except ssl.SSLCertVerificationError as error:
            why = f"the certificate of {host} is not accepted: {error.verify_message}"
            raise Fault(Stage.TLS, why) from None
        except ssl.SSLError as error:
            reason = (error.reason or "unknown").replace("_", " ").lower()
            raise Fault(Stage.TLS, f"the TLS handshake with {host} failed: {reason}") from None
        except OSError as error:
            reason = (error.strerror or "no connection").lower()
            raise Fault(Stage.CONNECT, f"{host} port {port}: {reason}") from None
        return link


def _drop(task: asyncio.Task[Link]) -> None:
    """A connection that lost the race but came about all the same."""
    if not task.cancelled() and task.exception() is None:
        task.result().abort()
