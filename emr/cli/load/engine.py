"""When the bench sends its requests: as callers who wait for their answers, or at a rate.

A closed loop has a number of callers, each with a connection of its own, each asking again as
soon as it was answered. An open loop asks at random times (Poisson) whatever became of earlier
requests, and counts each latency from the time when the request was *meant* to be sent: a stall
of the server then shows in all the requests that it held up, not in one alone. The loop's timers
have a grain of one millisecond; how late requests left because of that is shown as `lag`.

No task a request: a link's answer is counted, and the next request sent, in one callback.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from random import Random

from emr.cli.load.check import Checker, Wrong
from emr.cli.load.link import Link
from emr.cli.load.results import Results
from emr.cli.load.work import Requests

SWEEP_S = 0.1  # how often timeouts are looked for: a tenth of the shortest that makes sense
CONNECT_S = 10.0
AGAIN_S = 0.1  # a caller that could not connect waits so long: it must not spin
EXAMPLE_BYTES = 300
MODEL_HEADER = b"\r\nx-emr-model:"


@dataclass(frozen=True, slots=True)
class Target:
    """Where the load goes: TCP, with or without TLS, or a Unix socket."""

    host: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = None
    socket: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """How much, for how long. Times in seconds.

    `callers` has the callers of each key of a closed loop. With a `rate`, requests a second, the
    loop is open and `most_links` bounds its connections. `count` requests, 0: any number.
    """

    callers: tuple[int, ...] = (10,)
    rate: float = 0.0
    seconds: float = inf
    count: int = 0
    warmup_s: float = 0.0
    timeout_s: float = 60.0
    most_links: int = 2000
    seed: int = 1


class Shot:
    """One request on its way."""

    __slots__ = ("due", "key", "numbers", "request", "sent")

    def __init__(self, key: int, due: float, request: bytes, numbers: list[int]) -> None:
        self.key = key
        self.due = due  # when it was meant to be sent
        self.sent = due
        self.request = request
        self.numbers = numbers


class Engine(ABC):
    """Sends a load and collects what comes of it."""

    def __init__(
        self,
        target: Target,
        load: Load,
        requests: Requests,
        checker: Checker | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.results = Results(requests.keys)
        self._target = target
        self._load = load
        self._requests = requests
        self._checker = checker
        self._clock = clock
        # the run
        self._started = 0.0
        self._counted_from = 0.0
        self._ends = inf
        self._launched = 0
        self._running: set[Link] = set()  # links with a request on its way
        self._links: set[Link] = set()  # connected, or about to be
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._crash: BaseException | None = None
        self._over = asyncio.Event()

    async def run(self) -> Results:
        """Send the whole load; returns when every request has ended."""
        load, results = self._load, self.results
        cpu = time.process_time()
        self._started = self._clock()
        self._counted_from = self._started + load.warmup_s
        self._ends = self._counted_from + load.seconds
        self._begin()
        self._sweep()
        await self._over.wait()
        for timer in self._timers.values():
            timer.cancel()
        for link in self._links:
            link.close()  # uvloop does not end while a connection is open
        await asyncio.sleep(0)
        if self._crash is not None:
            raise self._crash
        results.cpu_s = time.process_time() - cpu
        results.seconds = max(0.0, min(self._clock(), self._ends) - self._counted_from)
        return results

    def stop(self) -> None:
        """Send nothing more, and end when what was sent has ended."""
        self._ends = min(self._ends, self._clock())
        self._check_over()

    @abstractmethod
    def _begin(self) -> None:
        """Send the first requests."""

    @abstractmethod
    def _next(self, shot: Shot, link: Link | None) -> None:
        """`shot` has ended; `link` is free for another, or there is none any more."""

    # sending

    def _may_send(self, now: float) -> bool:
        return now < self._ends and not 0 < self._load.count <= self._launched

    def _shot(self, key: int, due: float) -> Shot:
        self._launched += 1
        request, numbers = self._requests.make(key)
        return Shot(key, due, request, numbers)

    def _send(self, link: Link, shot: Shot) -> None:
        shot.sent = self._clock()
        link.tag = shot
        self._running.add(link)
        link.send(shot.request)

    def _open(self, shot: Shot) -> None:
        """Connect, and send when connected."""
        link = Link(self._done, self._broken)
        self._links.add(link)
        task = asyncio.get_running_loop().create_task(self._connect(link, shot))
        self._tasks.add(task)
        task.add_done_callback(self._connected)

    async def _connect(self, link: Link, shot: Shot) -> None:
        loop, target = asyncio.get_running_loop(), self._target
        try:
            async with asyncio.timeout(CONNECT_S):
                if target.socket:
                    await loop.create_unix_connection(lambda: link, target.socket)
                else:
                    host, port = target.host, target.port
                    await loop.create_connection(lambda: link, host, port, ssl=target.tls)
        except (OSError, TimeoutError) as wrong:
            self._links.discard(link)
            self._failed(shot, "connect", str(wrong) or type(wrong).__name__)
            await asyncio.sleep(AGAIN_S)
            self._next(shot, None)
        else:
            self._send(link, shot)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._crash = self._crash or task.exception()
        self._check_over()

    # endings

    def _done(self, link: Link, status: int, head: bytes, body: bytes) -> None:
        now = self._clock()
        shot: Shot = link.tag
        self._running.discard(link)
        self._count(shot, status, head, body, now)
        if link.closing:
            self._drop(link)
            self._next(shot, None)
        else:
            self._next(shot, link)

    def _broken(self, link: Link, why: str) -> None:
        self._links.discard(link)
        if link in self._running:
            self._running.discard(link)
            self._failed(link.tag, why)
            self._next(link.tag, None)

    def _drop(self, link: Link) -> None:
        link.close()
        self._links.discard(link)

    def _sweep(self) -> None:
        """Give up what takes too long."""
        late = self._clock() - self._load.timeout_s
        for link in [x for x in self._running if x.tag.sent < late]:
            self._running.discard(link)
            self._drop(link)
            self._failed(link.tag, "timeout")
            self._next(link.tag, None)
        self._check_over()
        self._come_again("sweep", SWEEP_S, self._sweep)

    def _come_again(self, name: str, after_s: float, what: Callable[[], None]) -> None:
        self._timers[name] = asyncio.get_running_loop().call_later(after_s, what)

    def _check_over(self) -> None:
        if self._crash is not None or not (
            self._running or self._tasks or self._may_send(self._clock())
        ):
            self._over.set()

    # counting

    def _count(self, shot: Shot, status: int, head: bytes, body: bytes, now: float) -> None:
        results = self.results
        model = find_model(head)
        right = self._checker is None or status != 200 or self._check(shot, model, body)
        results.total += 1
        if shot.due < self._counted_from:
            return
        results.statuses[status] += 1
        if status != 200:
            results.refused.append(now - shot.due)
            kind = f"status {status}"
            results.examples.setdefault(kind, body[:EXAMPLE_BYTES].decode("utf-8", "replace"))
        elif right:
            results.good[shot.key].append(now - shot.due)
            if now <= self._ends:
                results.in_time += 1
                results.texts_in_time += len(shot.numbers)
            if model:
                results.models[model] += 1

    def _check(self, shot: Shot, model: str, body: bytes) -> bool:
        """Whether the vectors are right; a wrong one counts even while warming up."""
        assert self._checker is not None
        texts = [self._requests.texts.text(number) for number in shot.numbers]
        try:
            self._checker.check(model, texts, body)
        except Wrong as wrong:
            self.results.fail("wrong vector", str(wrong))
            return False
        self.results.checked += len(texts)
        return True

    def _failed(self, shot: Shot, kind: str, example: str = "") -> None:
        self.results.total += 1
        if shot.due >= self._counted_from:
            self.results.fail(kind, example)


class ClosedLoop(Engine):
    """Callers who ask again as soon as they are answered."""

    def _begin(self) -> None:
        for key, callers in enumerate(self._load.callers):
            for _ in range(callers):
                if self._may_send(self._clock()):
                    self._open(self._shot(key, self._clock()))

    def _next(self, shot: Shot, link: Link | None) -> None:
        now = self._clock()
        if self._may_send(now):
            following = self._shot(shot.key, now)
            if link is not None:
                self._send(link, following)
            else:
                self._open(following)
            return
        if link is not None:
            self._drop(link)
        self._check_over()


class OpenLoop(Engine):
    """Requests at random times, whatever became of earlier ones."""

    def _begin(self) -> None:
        self._rng = Random(self._load.seed)
        self._idle: list[Link] = []
        self._waiting: deque[Shot] = deque()  # due, and no link is free
        self._next_due = self._started
        self._tick()

    def _tick(self) -> None:
        """Send what is due, and come again for the next."""
        load = self._load
        while self._next_due <= self._clock():
            if not self._may_send(self._next_due):
                return
            shot = self._shot(self._launched % self._requests.keys, self._next_due)
            self._next_due += self._rng.expovariate(load.rate)
            if self._idle:
                self._send(self._idle.pop(), shot)
            elif len(self._links) < load.most_links:
                self._open(shot)
            else:
                self._waiting.append(shot)
        self._come_again("tick", max(0.0, self._next_due - self._clock()), self._tick)

    def _send(self, link: Link, shot: Shot) -> None:
        super()._send(link, shot)
        if shot.due >= self._counted_from:
            self.results.lag.append(shot.sent - shot.due)

    def _next(self, shot: Shot, link: Link | None) -> None:
        if self._waiting:
            following = self._waiting.popleft()
            if link is not None:
                self._send(link, following)
            else:
                self._open(following)
        elif link is not None:
            self._idle.append(link)
        self._check_over()

    def _broken(self, link: Link, why: str) -> None:
        if link in self._idle:
            self._idle.remove(link)
        super()._broken(link, why)

    def stop(self) -> None:
        self._waiting.clear()
        super().stop()


def find_model(head: bytes) -> str:
    """The model that emr's answer names, empty when it names none."""
    lower = head.lower()
    at = lower.find(MODEL_HEADER)
    if at < 0:
        return ""
    start = at + len(MODEL_HEADER)
    return head[start : head.find(b"\r\n", start)].strip().decode("latin-1")
