"""The border of the providers' side: what one call asks, who makes it, and how it lands.

A call costs no task of its own. It is begun by a plain function and lands by a plain function, for
with a task the request would be written a turn of the loop later: behind everything that arrived
at the same moment.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from emr.lane.ticket import Params
from emr.lane.verdict import Outcome

__all__ = ["Call", "Caller", "InTasks", "Landed", "Outcome", "Started", "call_with"]


@dataclass(slots=True)
class Call:
    """One request to a provider: `texts` are JSON texts as bytes, in order.

    `float_text`: every caller of the call wants numbers; else base64 is asked where the provider
    has it. `user` is set only when the call is one caller's. The two times are in seconds and
    count from the start of the call: to the first byte of the reply, and to its end.
    """

    params: Params
    texts: Sequence[bytes]
    float_text: bool = True
    user: str | None = None
    first_byte_s: float = 60.0
    whole_s: float = 60.0


# What is told when a call ended. It gets what makes the outcome, to be asked once: a defect of
# emr's own is raised there and only there, where the call's callers can still be answered.
Landed = Callable[[Callable[[], Outcome]], None]


class Started(Protocol):
    """A call that is under way."""

    def cancel(self) -> object:
        """End it. It may land all the same, and its outcome is then of no meaning."""


class Caller(Protocol):
    """Whatever can make a call for an account: a provider over HTTP, or the embedded model."""

    def begin(self, call: Call, landed: Landed) -> Started:
        """Begin the call. `landed` is told once, after this has returned.

        Every failure is a verdict in the outcome.
        """


class InTasks(ABC):
    """A caller whose calls are coroutines, each a task."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Outcome]] = set()

    @abstractmethod
    async def call(self, call: Call) -> Outcome:
        """Make the call. Raises nothing but on cancellation: every failure is a verdict."""

    def begin(self, call: Call, landed: Landed) -> Started:
        """See Caller."""

        def ended(task: asyncio.Task[Outcome]) -> None:
            self._tasks.discard(task)
            landed(task.result)

        task = asyncio.get_running_loop().create_task(self.call(call))
        self._tasks.add(task)
        task.add_done_callback(ended)
        return task


async def call_with(caller: Caller, call: Call) -> Outcome:
    """Make a call and wait for it; cancelling ends it."""
    future: asyncio.Future[Callable[[], Outcome]] = asyncio.get_running_loop().create_future()

    def landed(read: Callable[[], Outcome]) -> None:
        if not future.done():
            future.set_result(read)

    started = caller.begin(call, landed)
    try:
        read = await future
    except asyncio.CancelledError:
        started.cancel()
        raise
    return read()
