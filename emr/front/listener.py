"""The server: its listening sockets, its connections, and how it stops.

    listener = Listener(service, limits)
    await listener.start(["127.0.0.1:3200", "unix:/run/emr.sock"])
    …
    cut = await listener.drain()

A drain is a ladder: nobody is let in any more (but those whom the system has greeted already);
idle connections are closed, the ones that were busy a moment ago after half a second; requests in
flight are finished and their answers say `Connection: close`; at the limit, or when it is asked
for again, what is left is broken off and named.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping

from emr.front.binds import open_sockets, parse_bind
from emr.front.connection import Connection, Guarded
from emr.front.entrance import Entrance
from emr.front.exchange import ServerLimits, Service
from emr.front.register import SWEEP_S, Register, Unfinished


class Listener:
    """An HTTP server for a service. Made, started and stopped inside one event loop.

    `clock` is monotonic, `wall` the time of day; both in seconds.
    """

    def __init__(
        self,
        service: Service,
        limits: ServerLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits if limits is not None else ServerLimits()
        self._register = Register(Guarded(service), self._limits, clock, wall)
        self._entrances: list[Entrance] = []
        self._timer: asyncio.TimerHandle | None = None
        # the end
        self._drained = asyncio.Event()
        self._drain_ends = 0.0
        self._cut: list[Unfinished] = []

    async def start(
        self,
        binds: Iterable[str],
        tls: ssl.SSLContext | None = None,
        sockets: Iterable[socket.socket] = (),
        socket_mode: int = 0o660,
    ) -> None:
        """Listen on `binds` (`host:port`, `[ipv6]:port`, `unix:/path`) and on inherited `sockets`.

        `tls` is used on TCP, `socket_mode` is of the Unix sockets' files. Raises BindError, and
        then nothing listens.
        """
        try:
            for sock in sockets:
                await self._open(sock, tls)
            for bind in [parse_bind(text) for text in binds]:
                for sock in open_sockets(bind, socket_mode):
                    entrance = await self._open(sock, tls)
                    if bind.path:
                        entrance.own_file(bind.path)
        except BaseException:
            self.close()
            raise
        self._tick()

    @property
    def addresses(self) -> list[str]:
        """Where it listens, each written as a bind, with the port that the system chose for 0."""
        return [entrance.name for entrance in self._entrances]

    @property
    def open_connections(self) -> int:
        """Connections that are open now, lingering ones included."""
        return len(self._register.guests)

    @property
    def accepted(self) -> int:
        """Connections made so far."""
        return self._register.accepted

    @property
    def requests(self) -> int:
        """Requests whose head was read so far; those refused for their form are not among them."""
        return self._register.requests

    @property
    def refused(self) -> Mapping[int, int]:
        """Requests and connections that the server itself refused so far, by status."""
        return self._register.refused

    @property
    def is_draining(self) -> bool:
        """Whether it takes no more work."""
        return self._register.is_draining

    def unfinished(self) -> list[Unfinished]:
        """The requests that have no answer yet."""
        return [left for guest in self._register.guests for left in guest.unfinished()]

    def allow_hosts(self, names: frozenset[str] | None) -> None:
        """Answer these Host names from now on (no ports); None answers any."""
        self._register.hosts.allow(names)

    async def drain(self, seconds: float | None = None) -> list[Unfinished]:
        """Stop: finish what was begun, within `seconds` (`drain_s` of the limits by default).

        Returns the requests that had to be broken off. Asked again, it breaks off at once; the
        first call returns then too.
        """
        register = self._register
        if register.is_draining:
            self.close()
            return self._cut
        register.is_draining = True
        limit = self._limits.drain_s if seconds is None else seconds
        self._drain_ends = register.clock() + limit
        register.on_empty = self._drained.set
        for entrance in self._entrances:
            entrance.close()
        for guest in list(register.guests):
            guest.drain()
        register.tell_if_empty()
        await self._drained.wait()
        self.close()
        return self._cut

    def close(self) -> None:
        """Stop at once: whatever is open is broken."""
        register = self._register
        if not register.is_draining:
            register.is_draining = True
            for entrance in self._entrances:
                entrance.close()
        for entrance in self._entrances:
            entrance.abort()
        self._cut += self.unfinished()
        for guest in list(register.guests):
            guest.reset()
        if self._timer is not None:
            self._timer.cancel()
        self._drained.set()

    def sweep(self) -> None:
        """Look at all deadlines once; done each quarter of a second while it is started."""
        self._register.sweep()
        for entrance in self._entrances:
            entrance.watch()
        if self.is_draining and self._register.now >= self._drain_ends:
            self._drained.set()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._tick)
        self.sweep()

    async def _open(self, sock: socket.socket, tls: ssl.SSLContext | None) -> Entrance:
        register = self._register
        is_unix = sock.family == socket.AF_UNIX
        hosts = register.any_host if is_unix else register.hosts
        entrance = Entrance(sock, register, lambda: Connection(register, hosts), tls)
        self._entrances.append(entrance)
        await entrance.open()
        return entrance
