"""The simulator's callers in real time: a world whose `ask` is a request to a running router.

`tests.sim.callers` is driven as it is. Time is as it was planned: while an action of a given time
runs, `now` is that time, however late the loop got to it; so arrivals keep their rate, and what
this process is late by counts as waiting. Every answer's vectors are held against the fake's own:
small answers at once, large ones in a thread, so that nobody else's answer waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from random import Random
from typing import Any

import orjson

from emr.fake.vectors import maker
from emr.lane.refusal import Refusal
from emr.lane.ticket import Params
from tests.e2e.agreement.plan import DIMENSIONS, MODEL
from tests.e2e.agreement.wire import Answered, Ride, Wire

AT_ONCE = 32  # texts whose vectors are checked on the loop: 0.3 ms

Action = Callable[[], None]


class WrongVectors(Exception):
    """An answer that is not what was asked for."""


class Asking:
    """A request: what the callers read of `emr.lane.ticket.Request`."""

    def __init__(self, texts: Sequence[bytes], done: Callable[[Any], None]) -> None:
        self.texts = texts
        self.done = done
        self.vectors: Sequence[bytes] = []
        self.refusal: Refusal | None = None
        self.ended = False
        self.ride: Ride | None = None


class Departures:
    """The part of the core's border that callers use when they leave."""

    @staticmethod
    def abandon(request: Asking) -> None:
        """Close the connection on which the request waits."""
        if request.ride is not None and not request.ended:
            request.ride.leave()


class SocketWorld:
    """Real time, a wire to a router, and keys by the names of callers."""

    def __init__(self, seed: int, wire: Wire, host: str, keys: Mapping[str, str]) -> None:
        self.rng = Random(seed)
        self.roster = Departures()
        self.lost: list[str] = []  # connections that broke under a request
        self.wrong: list[str] = []  # what callers found wrong
        self._loop = asyncio.get_running_loop()
        self._wire = wire
        self._heads = {name: _head(host, key) for name, key in keys.items()}
        self._started = self._loop.time()
        self._planned: float | None = None
        self._is_over = False
        self._threads = ThreadPoolExecutor(1)
        self._checks: list[Future[None]] = []
        self._loop.set_exception_handler(self._broken)

    def _broken(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error of this tool's own is none to be overlooked."""
        self.wrong.append(f"{context.get('message')}: {context.get('exception')!r}")

    def start(self) -> None:
        """The time is 0 now."""
        self._started = self._loop.time()

    @property
    def now(self) -> float:
        """Seconds since the start: as planned in an action, else as they are."""
        return self._loop.time() - self._started if self._planned is None else self._planned

    def at(self, when: float, action: Action) -> None:
        """Do `action` at that time, or soon if it is past."""
        self._loop.call_at(self._started + when, self._act, max(when, self.now), action)

    def stop(self) -> None:
        """Nothing more is asked, and no answer matters."""
        self._is_over = True
        self._wire.close()

    def _act(self, when: float, action: Action) -> None:
        if self._is_over:
            return
        self._planned = when
        try:
            action()
        except AssertionError as wrong:
            self.wrong.append(str(wrong))
        finally:
            self._planned = None

    def ask(
        self,
        account: object,
        texts: list[bytes],
        done: Callable[[Asking], None],
        *,
        caller: str,
        timeout_s: float,
        params: Params,
        bulk: bool,
        members: object,
    ) -> Asking:
        """Ask the router for the vectors of JSON texts."""
        lane = (params.dimensions or 1) - 1
        asking = Asking(texts, done)
        body = b'{"model":"%b","encoding_format":"base64"%b,"input":[%b]}' % (
            MODEL.encode(),
            b',"dimensions":%d' % (DIMENSIONS + lane) if lane else b"",
            b",".join(texts),
        )
        head = self._heads[caller] % (
            b"bulk" if bulk else b"interactive",
            max(1, round(timeout_s * 1000.0)),
            len(body),
        )
        asking.ride = self._wire.ask(
            head + body, partial(self._answered, asking, DIMENSIONS + lane)
        )
        return asking

    def _answered(self, asking: Asking, dimensions: int, answered: Answered) -> None:
        asking.ended = True
        if answered.status == 200:
            asking.vectors = asking.texts
            check = partial(check_vectors, asking.texts, dimensions, answered.body)
            if len(asking.texts) <= AT_ONCE:
                try:
                    check()
                except WrongVectors as wrong:
                    self.wrong.append(str(wrong))
            else:
                self._checks.append(self._threads.submit(check))
        elif answered.status == 0:
            self.lost.append(answered.body.decode("utf-8", "replace"))
            asking.refusal = Refusal("lost", "")
        else:
            told = orjson.loads(answered.body)["error"]
            asking.refusal = Refusal(told["type"], told["message"], None, answered.retry_after)
        self._act(self.now, partial(asking.done, asking))

    def close(self) -> list[str]:
        """End it; what was wrong with any answer."""
        self._threads.shutdown(wait=True)
        for check in self._checks:
            try:
                check.result()
            except WrongVectors as wrong:
                self.wrong.append(str(wrong))
        return self.wrong


def _head(host: str, key: str) -> bytes:
    return (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nCache-Control: no-store\r\nx-emr-priority: %b\r\n"
        "x-emr-timeout-ms: %d\r\nContent-Length: %d\r\n\r\n"
    ).encode()


def check_vectors(texts: Sequence[bytes], dimensions: int, body: bytes) -> None:
    """Raises WrongVectors unless these are the texts' vectors, in their order."""
    data = orjson.loads(body)["data"]
    if [entry["index"] for entry in data] != list(range(len(texts))):
        raise WrongVectors(f"{len(data)} vectors, or in another order, for {len(texts)} texts")
    one = maker(MODEL, None, dimensions, "float")
    for index, (text, entry) in enumerate(zip(texts, data, strict=True)):
        if entry["embedding"].encode() != one.base64(orjson.loads(text)):
            raise WrongVectors(f"vector {index} of {len(texts)} is somebody else's")
