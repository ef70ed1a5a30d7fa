"""A caller that answers as a test says, at once or when it is let go, and remembers its calls."""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import Callable, Sequence

import orjson

from emr.lane.settings import AccountSpec
from emr.lane.ticket import Params, Request
from emr.lane.verdict import OK, Ending, Outcome, Reply, Verdict
from emr.upstream.call import Call, InTasks

DIMENSIONS = 8
PARAMS = Params("m")
BROKEN = Outcome(Verdict(Ending.TRANSIENT, 500, "it is broken"))


def vector_of(text: bytes, dimensions: int = DIMENSIONS) -> bytes:
    """The vector of a JSON text, as JSON: a function of the text alone."""
    out: list[float] = []
    block = text
    while len(out) < dimensions:
        block = hashlib.sha256(block).digest()
        out += [number / 2**31 for number in struct.unpack("<8i", block)]
    return orjson.dumps(out[:dimensions])


def good(call: Call, dimensions: int = DIMENSIONS) -> Outcome:
    """A good answer: three tokens a text."""
    if call.params.whole is not None:
        return Outcome(OK, Reply([], 0, 3, call.params.model, call.params.whole), 0.001)
    wanted = call.params.dimensions or dimensions
    vectors = [vector_of(text, wanted) for text in call.texts]
    return Outcome(OK, Reply(vectors, wanted, 3 * len(vectors), call.params.model), 0.001)


Answer = Callable[[Call], Outcome]


class Scripted(InTasks):
    """Implements emr.upstream.call.Caller. With `holds`, calls wait until `let_go`."""

    def __init__(self, answer: Answer = good, *, holds: bool = False) -> None:
        super().__init__()
        self.answer = answer
        self.holds = holds
        self.calls: list[Call] = []
        self.cancelled = 0
        self._held: list[asyncio.Future[None]] = []
        self._came = asyncio.Condition()

    async def call(self, call: Call) -> Outcome:
        self.calls.append(call)
        async with self._came:
            self._came.notify_all()
        if self.holds:
            held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._held.append(held)
            try:
                await held
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return self.answer(call)

    async def called(self, times: int) -> None:
        """Return when it was called so often in all."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.calls) >= times)

    def let_go(self) -> None:
        """Answer what is held, and hold nothing from now on."""
        self.holds = False
        held, self._held = self._held, []
        for future in held:
            if not future.done():
                future.set_result(None)

    @property
    def texts(self) -> list[bytes]:
        """The texts of all its calls, in order."""
        return [text for call in self.calls for text in call.texts]


def spec_of(provider: str = "p", scope: str = "m", max_texts: int = 128) -> AccountSpec:
    """An account without limits a minute."""
    return AccountSpec(provider, scope, max_texts=max_texts)


class Asked:
    """A request with its end to wait for."""

    def __init__(
        self, *texts: str, params: Params = PARAMS, deadline: float = float("inf")
    ) -> None:
        self.ended = asyncio.Event()
        self.times = 0
        as_json: Sequence[bytes] = [orjson.dumps(text) for text in texts]
        self.request = Request(params, as_json, "caller", deadline, self._done)

    def _done(self, request: Request) -> None:
        self.times += 1
        self.ended.set()

    async def vectors(self) -> list[bytes]:
        """The vectors, once it has ended well."""
        await self.ended.wait()
        assert self.request.refusal is None, self.request.refusal
        return self.request.vectors

    async def refusal(self) -> str:
        """The type of its refusal, once it has ended."""
        await self.ended.wait()
        assert self.request.refusal is not None
        return self.request.refusal.type


async def turns(count: int) -> None:
    """Let the loop turn so often."""
    for _ in range(count):
        await asyncio.sleep(0)
