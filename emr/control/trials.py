"""Calls that an operator asks for: `providers test` and `providers probe`.

They go to the provider directly, round lanes, gate, pace and cache, because they ask about the
provider and not for anyone's vectors. A good test clears what is held against the provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from emr.control.accounts import Accounts, Makers
from emr.control.admin import fields_of
from emr.control.catalogue import Catalogue
from emr.control.providers import Providers
from emr.control.rows import Row
from emr.control.views import reply_json
from emr.front.auth import Scope
from emr.front.exchange import Exchange, Stage
from emr.front.refusals import OK
from emr.front.routes import Route
from emr.lane.poison import CANARY
from emr.lane.refusal import Refusal, Refused
from emr.lane.ticket import Params
from emr.lane.verdict import Ending, Outcome
from emr.lane.words import sentence
from emr.upstream.call import Call, Caller

SIZES = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 256)
SAMPLES = 3
SIZE_MAX, SAMPLES_MAX = 10_000, 100
CALL_S = 60.0
FAILED = 502  # a test that failed is the provider's doing
NDJSON: tuple[bytes, bytes] = (b"content-type", b"application/x-ndjson")
# what a cap that was met is of
CAP_OF = {Ending.SIZE_ITEMS: "texts", Ending.SIZE_TOKENS: "tokens", Ending.SIZE_BYTES: "bytes"}


@dataclass(frozen=True, slots=True)
class Tried:
    """A provider as a trial asks it."""

    row: Row
    model: str
    caller: Caller


class Trials:
    """The handlers; each runs as a task, for it waits for the provider."""

    def __init__(
        self, providers: Providers, accounts: Accounts, makers: Makers, catalogue: Catalogue
    ) -> None:
        self._providers = providers
        self._accounts = accounts
        self._makers = makers
        self._catalogue = catalogue
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        """The admin routes that call a provider."""
        return [
            Route(("POST",), "/admin/providers/{name}/test", Scope.ADMIN, self.test),
            Route(("POST",), "/admin/providers/{name}/probe", Scope.ADMIN, self.probe),
        ]

    def test(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """One call with one sentence."""
        tried = self._tried(captured[0])
        self._start(exchange, self._test(exchange, tried))

    def probe(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Calls of rising size: latency by batch size, and the real cap."""
        fields = fields_of(exchange)
        sizes = numbers(fields.get("sizes", list(SIZES)), "sizes", SIZE_MAX)
        samples = numbers([fields.get("samples", SAMPLES)], "samples", SAMPLES_MAX)[0]
        tried = self._tried(captured[0])
        self._start(exchange, self._probe(exchange, tried, sizes, samples))

    def _tried(self, name: str) -> Tried:
        row = self._providers.get(name)
        if row is None:
            raise Refused(Refusal("not_found", f"there is no provider {name[:64]}"))
        kind = self._catalogue.kinds.get(row.provider_type)
        models = self._catalogue.models_of(row) if kind is not None else []
        if not models:
            message = f"{name} has no model to try: set its model"
            raise Refused(Refusal("validation_error", message, param="model"))
        credential = ""
        if row.key_variables:
            found = next(filter(None, map(self._makers.key, row.key_variables)), None)
            if found is None:
                message = f"{' or '.join(row.key_variables)} is not set: {name} has no key"
                raise Refused(Refusal("validation_error", message, param="api_key_env_var"))
            credential = found
        return Tried(row, models[0], self._makers.caller(row, credential))

    def _start(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def gone() -> None:
            task.cancel()

        exchange.on_gone = gone

    async def _call(self, tried: Tried, texts: Sequence[bytes]) -> tuple[Outcome, float]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        call = Call(Params(tried.model), texts, True, None, CALL_S, CALL_S)
        outcome = await tried.caller.call(call)
        return outcome, loop.time() - started

    async def _test(self, exchange: Exchange, tried: Tried) -> None:
        outcome, seconds = await self._call(tried, [CANARY])
        if exchange.stage is not Stage.WAITING:
            return
        name = tried.row.name
        if outcome.reply is None:
            error = sentence(name, outcome.verdict, outcome.verdict.message)
            reply_json(exchange, FAILED, {"name": name, "status": "error", "error": error})
            return
        self._accounts.reset(name)
        told = {
            "name": name,
            "status": "ok",
            "latency_ms": round(seconds * 1000),
            "dimensions": outcome.reply.dimensions,
        }
        reply_json(exchange, OK, told)

    async def _probe(
        self, exchange: Exchange, tried: Tried, sizes: Sequence[int], samples: int
    ) -> None:
        exchange.begin(OK, [NDJSON])
        for size in sizes:
            line = await self._size(tried, size, samples)
            await exchange.send(orjson.dumps(line) + b"\n")
            if "error" in line:
                break
        exchange.finish()

    async def _size(self, tried: Tried, size: int, samples: int) -> dict[str, Any]:
        """The line of one size: the mean of the samples, or why it failed."""
        times: list[float] = []
        for sample in range(samples):
            texts = [b'"probe %d of %d in sample %d"' % (n, size, sample) for n in range(size)]
            outcome, seconds = await self._call(tried, texts)
            verdict = outcome.verdict
            if verdict.ending is not Ending.OK:
                line: dict[str, Any] = {
                    "batch_size": size,
                    "error": sentence(tried.row.name, verdict, verdict.message),
                }
                if verdict.ending in CAP_OF:
                    line |= {"cap": verdict.cap, "cap_of": CAP_OF[verdict.ending]}
                return line
            times.append(seconds)
        mean_ms = sum(times) / len(times) * 1000
        return {
            "batch_size": size,
            "mean_latency_ms": round(mean_ms, 2),
            "latency_per_text_ms": round(mean_ms / size, 3),
        }


def numbers(value: object, name: str, most: int) -> list[int]:
    """A list of whole numbers from 1 to `most`. Raises Refused."""
    if (
        not isinstance(value, list)
        or not value
        or not all(type(each) is int and 1 <= each <= most for each in value)
    ):
        message = f"{name} must be whole numbers from 1 to {most}"
        raise Refused(Refusal("validation_error", message, param=name))
    return value
