"""Calls of the embedded model, in one thread of its own and never on the event loop."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from emr.lane.verdict import OK, Ending, Reply, Verdict
from emr.upstream.call import Call, InTasks, Outcome
from emr.upstream.local.model import DIMENSIONS, LocalModel, NotInstalled, Unembeddable
from emr.upstream.self_hosted import LOCAL_MODEL


class LocalCaller(InTasks):
    """Implements emr.upstream.call.Caller. The model is loaded at the first call, or by `warm`."""

    __slots__ = ("_closed", "_model", "_thread")

    def __init__(self) -> None:
        super().__init__()
        self._model: LocalModel | None = None  # touched by the one thread only
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="emr-local")
        self._closed = False

    def __repr__(self) -> str:
        return "<LocalCaller>"

    async def warm(self) -> None:
        """Load the model now. Raises NotInstalled."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._loaded)

    async def call(self, call: Call) -> Outcome:
        """See emr.upstream.call.InTasks. A call given up goes on in its thread to its end."""
        if self._closed:
            return Outcome(Verdict(Ending.TRANSIENT, None, "emr is stopping"))
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(min(call.first_byte_s, call.whole_s)):
                outcome = await loop.run_in_executor(self._thread, self._work, call)
        except TimeoutError:
            verdict = Verdict(
                Ending.TRANSIENT,
                None,
                "the built-in model does not answer in time",
                timed_out=True,
            )
            return Outcome(verdict)
        if outcome.reply is not None:
            outcome.first_byte_s = time.monotonic() - started
        return outcome

    def close(self) -> None:
        """End the thread when the calls that it has are done."""
        self._closed = True
        self._thread.shutdown(wait=False)

    # in the thread

    def _loaded(self) -> LocalModel:
        if self._model is None:
            self._model = LocalModel()
        return self._model

    def _work(self, call: Call) -> Outcome:
        params = call.params
        dimensions = DIMENSIONS[0] if params.dimensions is None else params.dimensions
        if params.whole is not None:
            return _refused("the built-in model only takes requests for embeddings of texts")
        if params.token_ids:
            return _refused(
                "the built-in model does not take token ids: send texts (in LangChain: "
                "check_embedding_ctx_length=False)"
            )
        if dimensions not in DIMENSIONS:
            return _refused("the built-in model has vectors of 64, 128 or 256 numbers")
        if params.dtype != "float":
            return _refused("the built-in model has no other numbers than floats")
        try:
            vectors, tokens = self._loaded().embed(call.texts, dimensions, call.float_text)
        except NotInstalled as error:
            return _refused(str(error))
        except Unembeddable as error:
            return Outcome(Verdict(Ending.BAD_TEXT, None, error.why, index=error.index))
        return Outcome(OK, Reply(vectors, dimensions, tokens, LOCAL_MODEL))


def _refused(why: str) -> Outcome:
    return Outcome(Verdict(Ending.BAD_REQUEST, None, why))
