"""Calls that an operator asks for: `providers test` and `providers probe`.

They go to the provider directly, round lanes, gate, pace and cache, because they ask about the
provider and not for anyone's vectors. A good test clears what is held against the provider; of one
that changed while it was tested nothing is known, and nothing is cleared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson

from emr.control.accounts import KEYLESS, Makers, lengths_of
from emr.control.catalogue import Catalogue
from emr.control.drift import Drift
from emr.control.providers import Providers
from emr.control.replies import fields_of, reply_json
from emr.control.rows import Row
from emr.front.auth import Scope
from emr.front.exchange import Exchange
from emr.front.refusals import OK, STATUS
from emr.front.routes import Route
from emr.front.sure import sure_answer
from emr.lane.lengths import Lengths
from emr.lane.poison import CANARY
from emr.lane.refusal import Refusal, Refused
from emr.lane.ticket import Params
from emr.lane.verdict import Ending, Outcome
from emr.lane.words import sentence
from emr.upstream.call import Call, Caller, call_with

SIZES = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 256)
SAMPLES = 3
SIZE_MAX, SAMPLES_MAX = 10_000, 100  # ten times what any provider takes; enough for a percentile
SIZES_MAX = 64  # lines of a table that somebody reads
CALL_S = 60.0  # as long as a call may take by default
FAILED = STATUS["provider_error"]  # a test that failed is the provider's doing
NDJSON: tuple[bytes, bytes] = (b"content-type", b"application/x-ndjson")
# what a cap that was met is of
CAP_OF = {Ending.SIZE_ITEMS: "texts", Ending.SIZE_TOKENS: "tokens", Ending.SIZE_BYTES: "bytes"}

Cleared = Callable[[Row], None]
Called = Callable[[str, str, int], None]


@dataclass(frozen=True, slots=True)
class After:
    """Who is told: `cleared` of a row that answered well, and `drift` of its vectors.

    `called` is told of every call: the provider, the model, and the tokens that were billed.
    """

    cleared: Cleared
    drift: Drift
    called: Called


@dataclass(frozen=True, slots=True)
class Tried:
    """A provider as a trial asks it: with each of its keys, by the name of its variable."""

    row: Row
    model: str
    callers: Sequence[tuple[str, Caller]]
    accept: bool = False  # its vectors are right, whatever they were before


class Trials:
    """The handlers; each runs as a task, for it waits for the provider."""

    def __init__(
        self, providers: Providers, makers: Makers, catalogue: Catalogue, after: After
    ) -> None:
        self._providers = providers
        self._makers = makers
        self._catalogue = catalogue
        self._after = after
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        """The admin routes that call a provider."""
        return [
            Route(("POST",), "/admin/providers/{name}/test", Scope.ADMIN, self.test),
            Route(("POST",), "/admin/providers/{name}/probe", Scope.ADMIN, self.probe),
        ]

    def test(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """One call with one sentence, with each key. `accept`: its vector is the right one."""
        accept = fields_of(exchange).get("accept")
        if accept is not None and type(accept) is not bool:
            raise _refused("accept must be true or false", "accept")
        tried = self._tried(captured[0])
        self._start(exchange, partial(self._test, exchange, replace(tried, accept=bool(accept))))

    def probe(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Calls of rising size: latency by batch size, and the real cap."""
        fields = fields_of(exchange)
        sizes = numbers(fields.get("sizes"), "sizes", SIZE_MAX, SIZES)
        (samples,) = numbers(_listed(fields.get("samples")), "samples", SAMPLES_MAX, (SAMPLES,))
        tried = self._tried(captured[0])
        self._start(exchange, partial(self._probe, exchange, tried, sizes, samples))

    def _tried(self, name: str) -> Tried:
        row = self._providers.get(name)
        if row is None:
            raise Refused(Refusal("not_found", f"there is no provider {name[:64]}"))
        if row.provider_type not in self._makers.kinds:
            raise _refused(f"{name} cannot be used: {row.note}", "provider_type")
        models = self._catalogue.models_of(row)
        if not models:
            raise _refused(f"{name} has no model to try: set its model", "model")
        callers = []
        for variable in row.key_variables or KEYLESS:
            credential = self._makers.key(variable) if variable else ""
            if credential is None:
                raise _refused(f"{variable} is not set: {name} has no key", "api_key_env_var")
            try:
                callers.append((variable, self._makers.caller(row, credential)))
            except Refused as refused:
                raise _refused(
                    f"{name}: {refused.refusal.message}", refused.refusal.param
                ) from None
        return Tried(row, models[0], callers)

    def _start(self, exchange: Exchange, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def answer() -> None:
            with sure_answer(exchange):
                await work()

        task = asyncio.get_running_loop().create_task(answer())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def gone() -> None:
            task.cancel()

        exchange.on_gone = gone

    async def _call(
        self, tried: Tried, caller: Caller, texts: Sequence[bytes]
    ) -> tuple[Outcome, float]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        call = Call(Params(tried.model), texts, True, None, CALL_S, CALL_S)
        outcome = await call_with(caller, call)
        billed = outcome.reply.tokens if outcome.reply is not None else None
        self._after.called(tried.row.name, tried.model, billed or 0)
        return outcome, loop.time() - started

    async def _test(self, exchange: Exchange, tried: Tried) -> None:
        row, longest_s, dimensions = tried.row, 0.0, 0
        vectors: list[bytes] = []
        for variable, caller in tried.callers:
            outcome, seconds = await self._call(tried, caller, [CANARY])
            error = self._fault(tried, outcome)
            if error:
                error = f"{error} (with {variable})" if len(tried.callers) > 1 else error
                told = {"name": row.name, "status": "error", "error": error}
                reply_json(exchange, FAILED, told)
                return
            assert outcome.reply is not None, "an OK without a reply: a bug"
            longest_s, dimensions = max(longest_s, seconds), outcome.reply.dimensions
            vectors += outcome.reply.vectors
        drift = ""
        if self._providers.get(row.name) == row:
            drift = self._drift(tried, vectors)
            self._catalogue.seen(row.name, tried.model, dimensions)
            self._after.cleared(row)
        answer: dict[str, Any] = {
            "name": row.name,
            "status": "ok",
            "latency_ms": round(longest_s * 1000),
            "dimensions": dimensions,
        }
        reply_json(exchange, OK, answer | ({"drift": drift} if drift else {}))

    def _drift(self, tried: Tried, vectors: Sequence[bytes]) -> str:
        """How the vectors differ from those of the first test, empty when they do not."""
        drift, name = self._after.drift, tried.row.name
        if tried.accept:
            drift.accept(name)
        faults = [drift.look(name, Params(tried.model), vector) for vector in vectors]
        return next(filter(None, faults), "")

    def _fault(self, tried: Tried, outcome: Outcome) -> str:
        """Why a test failed; empty when it did not. Vectors of a wrong length fail it too."""
        row, verdict, reply = tried.row, outcome.verdict, outcome.reply
        if reply is None:
            return sentence(row.name, verdict, verdict.message)
        known = lengths_of(row, self._makers.kinds[row.provider_type])
        fault = Lengths(known).fault(Params(tried.model), reply.dimensions)
        return sentence(row.name, verdict, fault) if fault else ""

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
        _, caller = tried.callers[0]
        for sample in range(samples):
            texts = [b'"probe %d of %d in sample %d"' % (n, size, sample) for n in range(size)]
            outcome, seconds = await self._call(tried, caller, texts)
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


def numbers(value: object, name: str, most: int, default: Sequence[int]) -> Sequence[int]:
    """A list of whole numbers from 1 to `most`; None is the default. Raises Refused."""
    if value is None:
        return default
    if not isinstance(value, list) or not 0 < len(value) <= SIZES_MAX:
        raise _refused(f"{name} must be a list of 1 to {SIZES_MAX} whole numbers", name)
    if not all(type(each) is int and 1 <= each <= most for each in value):
        raise _refused(f"{name} must be whole numbers from 1 to {most}", name)
    return value


def _listed(value: object) -> list[object] | None:
    return None if value is None else [value]


def _refused(message: str, param: str | None) -> Refused:
    return Refused(Refusal("validation_error", message, param=param))
