"""One exchange with a provider over HTTP/1.1: a head and a body out, an answer back.

Why not a client library: its objects and its connection pool cost more than the call. Measured
with 64 calls in flight: httpx 6.5 ms of CPU a call, aiohttp 0.4 ms, a protocol on httptools
0.06 ms. What a provider call needs is small: POST, keep-alive, deadlines, TLS, limits.

Rules of this file
- An idle connection is used before a new one is made, the last used first; those that nobody
  used for `idle_s`, and the oldest beyond `max_idle`, are closed. There is no limit on
  connections in use: how many calls go at once is decided by the slots of the accounts.
- A connection is kept for its origin *and* the places that it was allowed to lead to.
- A request that found its idle connection closed, before any byte of an answer, is sent once
  more on a fresh connection. That is safe: asking for embeddings twice changes nothing.
- A cancelled exchange closes its connection. A redirect is an answer like any other.
- On an idle connection the request is written before `begin` returns. Only making a connection
  takes a task.

Refused: HTTP/2 (one connection for all calls makes a loss on it everybody's loss, and providers
limit requests, not connections); a cache of names; a cap on connections.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass

from emr.upstream.addresses import Reach
from emr.upstream.answer import MAX_HEAD, AnswerReader
from emr.upstream.connect import Connector
from emr.upstream.endpoint import Endpoint
from emr.upstream.fault import Fault, Stage
from emr.upstream.link import Answer, Done, Ended, Link
from emr.upstream.resolve import Resolve, system_resolve
from emr.upstream.unpack import unpack

Origin = tuple[str, str, int, Reach]


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """Times in seconds, sizes in bytes.

    `connect_s` covers the name, the connection and the handshake; `write_s` is the longest without
    progress while the provider does not take a request (30 s, as emr allows its own clients).
    `idle_s` is below the 60 s after which common balancers close a connection. `max_idle` holds
    the calls of two busy accounts (32 slots each). `max_body_bytes` bounds what one answer may
    cost: 64 MiB hold 256 vectors of 12,000 numbers of 20 characters.
    """

    connect_s: float = 5.0
    write_s: float = 30.0
    idle_s: float = 55.0
    max_idle: int = 64
    max_head_bytes: int = MAX_HEAD
    max_body_bytes: int = 64 * 1024 * 1024


class Transport:
    """The connections to all providers. One an event loop; close it at the end.

    `resolve` gives the addresses of a name; `context` is for https (default_context when None,
    made at the first use).
    """

    def __init__(
        self,
        settings: TransportSettings | None = None,
        resolve: Resolve = system_resolve,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.settings = settings or TransportSettings()
        self._connector = Connector(resolve, context, self._make_link)
        # the whole mutable state: every link with its origin, and of each origin the idle ones,
        # the longest idle first
        self._links: dict[Link, Origin] = {}
        self._idle: dict[Origin, deque[Link]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return sum(map(len, self._idle.values()))

    @property
    def connections(self) -> int:
        """How many connections there are, idle ones included."""
        return len(self._links)

    def begin(
        self, endpoint: Endpoint, data: bytes, first_byte_s: float, whole_s: float, done: Done
    ) -> Outgoing:
        """Send `data`, a head and a body, to `endpoint`.

        `done` is told once how it ended, after this has returned; not at all when it is cancelled.
        The times are in seconds from now: to the first byte of the answer, and to its end; making
        a connection counts.
        """
        return Outgoing(self, endpoint, data, first_byte_s, whole_s, done)

    async def exchange(
        self, endpoint: Endpoint, data: bytes, first_byte_s: float, whole_s: float
    ) -> Answer:
        """As `begin`; returns the answer. Raises Fault. Cancelling closes the connection."""
        future: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

        def done(ended: Ended) -> None:
            if not future.done():
                future.set_result(ended)

        outgoing = self.begin(endpoint, data, first_byte_s, whole_s, done)
        try:
            ended = await future
        except asyncio.CancelledError:
            outgoing.cancel()
            raise
        if isinstance(ended, Answer):
            return ended
        raise ended

    async def close(self) -> None:
        """Close every connection; exchanges under way fail."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for link in list(self._links):
            link.stop()
        self._idle.clear()
        await asyncio.sleep(0)  # lets the loop close the sockets

    # connections

    async def connect(self, endpoint: Endpoint, most_s: float) -> Link:
        """A fresh connection, for one exchange to begin with. Raises Fault."""
        self._check_open()
        link = await self._connector.connect(endpoint, min(self.settings.connect_s, most_s))
        if self._closed:
            link.abort()
        self._check_open()
        if not link.is_free:
            raise Fault(Stage.FIRST_BYTE, "the provider closed the connection before it answered")
        self._links[link] = _origin(endpoint)
        return link

    def _make_link(self) -> Link:
        s = self.settings
        reader = AnswerReader(s.max_body_bytes, s.max_head_bytes)
        return Link(asyncio.get_running_loop(), reader, s.write_s, self._freed, self._lost)

    def _check_open(self) -> None:
        if self._closed:
            raise Fault(Stage.CONNECT, "emr is stopping")

    def free_link(self, endpoint: Endpoint) -> Link | None:
        """An idle connection that leads where `endpoint` may, no longer idle."""
        idle = self._idle.get(_origin(endpoint))
        while idle:
            link = idle.pop()
            if link.is_free:
                return link
        return None

    def _freed(self, link: Link) -> None:
        """An exchange ended well: the link waits for the next."""
        if self._closed or not self.settings.max_idle:
            link.abort()
            return
        loop = asyncio.get_running_loop()
        link.idle_since = loop.time()
        origin = self._links[link]
        idle = self._idle.get(origin)
        if idle is None:
            idle = self._idle[origin] = deque()
        idle.append(link)
        if len(idle) > self.settings.max_idle:
            idle.popleft().abort()
        if self._sweeper is None:
            self._sweeper = loop.call_later(self.settings.idle_s, self._sweep)

    def _lost(self, link: Link) -> None:
        """A connection is gone, idle or not."""
        origin = self._links.pop(link, None)
        idle = self._idle.get(origin) if origin is not None else None
        if idle is not None:
            if link in idle:
                idle.remove(link)
            if not idle and origin is not None:
                del self._idle[origin]

    def _sweep(self) -> None:
        """Close what was idle too long, and wake again when the next one will have been."""
        loop = asyncio.get_running_loop()
        now, idle_s = loop.time(), self.settings.idle_s
        oldest = now
        for idle in self._idle.values():
            while idle and now - idle[0].idle_since >= idle_s:
                idle.popleft().abort()
            if idle:
                oldest = min(oldest, idle[0].idle_since)
        self._sweeper = None
        if self.idle:
            wait = max(0.05, oldest + idle_s - now)
            self._sweeper = loop.call_later(wait, self._sweep)


class Outgoing:
    """A request on its way: on an idle connection, else or once more on a fresh one."""

    __slots__ = (
        "_data", "_done", "_endpoint", "_first_byte_by", "_link", "_loop", "_task", "_transport",
        "_whole_by",
    )  # fmt: skip

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        data: bytes,
        first_byte_s: float,
        whole_s: float,
        done: Done,
    ) -> None:
        loop = self._loop = asyncio.get_running_loop()
        now = loop.time()
        self._transport = transport
        self._endpoint = endpoint
        self._data = data
        self._first_byte_by, self._whole_by = now + first_byte_s, now + whole_s
        self._done: Done | None = done
        self._task: asyncio.Task[None] | None = None
        self._link = transport.free_link(endpoint)
        if self._link is None:
            self._connect()
        else:
            self._link.send(data, max(0.0, first_byte_s), max(0.0, whole_s), self._answered_warm)

    def cancel(self) -> None:
        """End it and close its connection; nobody is told."""
        self._done = None
        if self._task is not None:
            self._task.cancel()
        if self._link is not None:
            self._link.abort()

    def _answered_warm(self, ended: Ended) -> None:
        self._link = None
        if isinstance(ended, Fault) and ended.stale:
            self._connect()
        else:
            self._answered(ended)

    def _connect(self) -> None:
        self._task = self._loop.create_task(self._send_on_fresh())
        self._task.add_done_callback(self._sent_on_fresh)

    async def _send_on_fresh(self) -> None:
        loop = self._loop
        within_s = min(self._first_byte_by, self._whole_by) - loop.time()
        link = self._link = await self._transport.connect(self._endpoint, within_s)
        now = loop.time()
        first_byte_s, whole_s = self._first_byte_by - now, self._whole_by - now
        link.send(self._data, max(0.0, first_byte_s), max(0.0, whole_s), self._answered)

    def _sent_on_fresh(self, task: asyncio.Task[None]) -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._end(error)

    def _answered(self, ended: Ended) -> None:
        self._link = None
        if isinstance(ended, Answer):
            coding = ended.headers.get(b"content-encoding")
            if coding is not None:
                # in a thread: it is never asked for, so it may as well be an attack
                most = self._transport.settings.max_body_bytes
                work = self._loop.run_in_executor(None, _unpacked, ended, coding, most)
                work.add_done_callback(self._unpacked)
                return
        self._end(ended)

    def _unpacked(self, work: asyncio.Future[Answer]) -> None:
        if not work.cancelled():
            self._end(work.exception() or work.result())

    def _end(self, ended: Ended) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(ended)


def _unpacked(answer: Answer, coding: bytes, most: int) -> Answer:
    answer.body = unpack(answer.body, coding, most)
    return answer


def _origin(endpoint: Endpoint) -> Origin:
    return endpoint.scheme, endpoint.host, endpoint.port, endpoint.reach
