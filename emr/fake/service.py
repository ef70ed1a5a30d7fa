"""The fake provider as a service of emr's own HTTP server, and its control routes.

Control routes, without a key: `GET /_fake/settings`, `POST` to it with the settings to change (a
JSON object; 400 with the reason changes nothing), `GET /_fake/stats`, `GET /_fake/calls` (the last
`record` calls), `GET /_fake/journal` (a line about each call), `POST /_fake/reset`.

An answer that is due later waits in a timer, not in a task. Only the faults that send a reply in
parts take a task each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import time as wall_time
from typing import Any, Protocol

import orjson

from emr.fake.forms.words import JSON
from emr.fake.provider import Answer, Incoming, Manner, Provider
from emr.fake.settings import FakeSettings, changed, plain
from emr.front.exchange import Exchange, Headers
from emr.lane.refusal import Refusal

CONTROL = "/_fake/"
DRIP_S = 10.0  # longer than a client waits between bytes, shorter than it waits for a reply
DRIPS = 20
GIANT_BYTES = 96 * 1024 * 1024  # more than anybody takes for a reply
GIANT_CHUNK = b" " * 65536  # white space: legal JSON that fills memory
# the server's own refusals, by their types; others say their status themselves
STATUSES = {"timeout": 408, "too_large": 413, "overloaded": 503, "method_not_allowed": 405}


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Not any more."""


class Clock(Protocol):
    """What the service takes of an event loop."""

    def time(self) -> float:
        """Seconds; never goes back."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call it after `delay` seconds."""

    def create_task(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it beside everything else."""


class Pending:
    """A call whose answer is not sent yet."""

    __slots__ = ("_answer", "_exchange", "_service", "_task", "_timer")

    def __init__(self, service: FakeService, exchange: Exchange) -> None:
        self._service = service
        self._exchange = exchange
        self._answer: Answer | None = None  # None: it is on its way
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        exchange.on_gone = self.gone
        way = service.provider.way_s(service.clock.time())
        if way > 0.0:
            self._timer = service.clock.call_later(way, self.arrive)
        else:
            self.arrive()

    def arrive(self) -> None:
        """The call is where it is decided about."""
        self._timer = None
        service, exchange = self._service, self._exchange
        call = Incoming(
            exchange.method, exchange.path, exchange.query, exchange.headers, exchange.body
        )
        answer = self._answer = service.provider.answer(call, service.clock.time())
        if answer.manner is Manner.HANG:
            return
        if answer.delay_s > 0.0:
            self._timer = service.clock.call_later(answer.delay_s, self.send)
        else:
            self.send()

    def gone(self) -> None:
        """The client left; a call that was on its way never came."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        if self._answer is not None:
            self._service.provider.left(self._answer, self._service.clock.time())

    def send(self) -> None:
        """The answer is due."""
        answer, exchange, service = self._answer, self._exchange, self._service
        assert answer is not None, "an answer to a call that is on its way: a bug"
        manner = answer.manner
        if manner is Manner.WHOLE:
            headers, body = answer.body()
            exchange.reply(answer.status, headers, body)
            service.provider.replied(answer, service.clock.time())
        elif manner is Manner.RESET:
            exchange.abort()
            service.provider.left(answer, service.clock.time())
        else:
            self._task = service.clock.create_task(self._send_parts())

    async def _send_parts(self) -> None:
        """A reply that comes in parts, or only in part."""
        answer, exchange = self._answer, self._exchange
        assert answer is not None, "parts of an answer to a call that is on its way: a bug"
        headers, body = answer.body()
        exchange.begin(answer.status, headers)
        if answer.manner is Manner.DRIP:
            step = -(-len(body) // DRIPS)
            for start in range(0, len(body), step):
                await exchange.send(body[start : start + step])
                await asyncio.sleep(DRIP_S / DRIPS)
        elif answer.manner is Manner.GIANT:
            await exchange.send(body[:1])
            for _ in range(GIANT_BYTES // len(GIANT_CHUNK)):
                await exchange.send(GIANT_CHUNK)
            await exchange.send(body[1:])
        else:
            await exchange.send(body[: len(body) // 2])
            if answer.manner is Manner.STALL:
                await asyncio.Event().wait()  # until the client gives up
            exchange.abort()
        exchange.finish()
        self._service.provider.replied(answer, self._service.clock.time())


class FakeService:
    """Answers the exchanges of a listener."""

    def __init__(self, settings: FakeSettings, clock: Clock) -> None:
        """Raises ValueError, naming the setting, for one that cannot be read."""
        self.clock = clock
        self.provider = Provider(settings, clock.time(), wall_time)

    def admit(self, exchange: Exchange) -> Refusal | None:
        """Every body is wanted."""
        return None

    def handle(self, exchange: Exchange) -> None:
        """Answer a call, now or when its time has come; or a control route, at once."""
        if exchange.path.startswith(CONTROL):
            self._control(exchange)
            return
        Pending(self, exchange)

    def render(self, exchange: Exchange | None, refusal: Refusal) -> tuple[int, Headers, bytes]:
        """The server's own refusals: bad framing, limits, timeouts."""
        status = refusal.status or STATUSES.get(refusal.type, 400)
        body = orjson.dumps({"error": {"type": refusal.type, "message": refusal.message}})
        return status, [JSON], body

    def _control(self, exchange: Exchange) -> None:
        what = (exchange.method, exchange.path.removeprefix(CONTROL))
        provider = self.provider
        if what == ("GET", "stats"):
            reply_json(exchange, 200, provider.plain(self.clock.time()))
        elif what == ("GET", "settings"):
            reply_json(exchange, 200, plain(provider.settings))
        elif what == ("GET", "calls"):
            reply_json(exchange, 200, list(provider.recent))
        elif what == ("GET", "journal"):
            exchange.reply(200, [JSON], orjson.dumps(provider.journal.plain()))
        elif what == ("POST", "reset"):
            provider.reset(self.clock.time())
            reply_json(exchange, 200, {})
        elif what == ("POST", "settings"):
            try:
                provider.configure(changed(provider.settings, read_object(exchange.body)))
            except ValueError as wrong:
                reply_json(exchange, 400, {"error": str(wrong)})
            else:
                reply_json(exchange, 200, plain(provider.settings))
        else:
            known = "GET stats, GET or POST settings, GET calls, GET journal, POST reset"
            reply_json(exchange, 404, {"error": f"below {CONTROL} there are {known}"})


def read_object(body: bytes) -> dict[str, object]:
    """A JSON object; raises ValueError."""
    value = orjson.loads(body)
    if not isinstance(value, dict):
        raise ValueError("the settings to change are a JSON object")
    return value


def reply_json(exchange: Exchange, status: int, value: object) -> None:
    """Answer with JSON, indented for people."""
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    exchange.reply(status, [JSON], body)
