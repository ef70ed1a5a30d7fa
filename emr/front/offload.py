"""Work that would hold up the event loop: done in a thread, its result handed back on the loop.

A large body to parse, or many vectors to write anew, take longer than the 50 ms that nothing may
hold the loop for (16 MiB: 40 to 220 ms). The thread gives the interpreter back between its steps
and between vectors; only the parser's own call cannot be interrupted (16 MiB of texts 16 to 27 ms,
of token ids 110).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Protocol, TypeVar

from emr.lane.refusal import Refusal, Refused

T = TypeVar("T")

BROKEN = Refusal("internal_error", "emr failed to prepare the answer; its log says more")


class Offload(Protocol):
    """Does `work` somewhere and calls `then` on the loop, once, perhaps before it returns."""

    def __call__(self, work: Callable[[], T], then: Callable[[T | Refusal], None]) -> None:
        """A Refused that `work` raises becomes its refusal."""


def attempt(work: Callable[[], T]) -> T | Refusal:
    """What `work` gives, or the refusal that it raised."""
    try:
        return work()
    except Refused as refused:
        return refused.refusal


def at_once(work: Callable[[], T], then: Callable[[T | Refusal], None]) -> None:
    """An Offload that does the work here and now."""
    then(attempt(work))


class Threads:
    """An Offload to an executor's threads. `broken` is told of an exception: a bug of emr's."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        executor: Executor,
        broken: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._executor = executor
        self._broken = broken

    def __call__(self, work: Callable[[], T], then: Callable[[T | Refusal], None]) -> None:
        """See Offload."""
        future = self._loop.run_in_executor(self._executor, attempt, work)
        future.add_done_callback(partial(self._done, then))

    def _done(
        self, then: Callable[[T | Refusal], None], future: asyncio.Future[T | Refusal]
    ) -> None:
        if future.cancelled():
            then(BROKEN)  # only at the end of the process
            return
        error = future.exception()
        if error is None:
            then(future.result())
        else:
            self._broken(error)
            then(BROKEN)
