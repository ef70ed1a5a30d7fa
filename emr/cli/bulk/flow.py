"""Many batches in flight, their results in the order of the batches.

Theory of operation. One thread pulls batches (a read from a pipe may take for ever), some do the
work, and whoever iterates gets the results. A future for each batch stands in a line of bounded
length before its work begins, so that no more batches are read than results are taken. The threads
are daemons: when the one who iterates is interrupted, nobody waits for what is still under way.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

B = TypeVar("B")
R = TypeVar("R")


def in_order(batches: Iterable[B], work: Callable[[B], R], workers: int) -> Iterator[R]:
    """`work` of each batch, `workers` at a time. Raises what `work` or `batches` raises."""
    order: queue.Queue[Future[R] | None] = queue.Queue(workers)
    handed: queue.SimpleQueue[tuple[B, Future[R]]] = queue.SimpleQueue()

    def pull() -> None:
        failed: Future[R] = Future()
        try:
            for batch in batches:
                future: Future[R] = Future()
                order.put(future)
                handed.put((batch, future))
        except BaseException as error:
            failed.set_exception(error)
            order.put(failed)
        order.put(None)

    def run() -> None:
        while True:
            batch, future = handed.get()
            try:
                future.set_result(work(batch))
            except BaseException as error:
                future.set_exception(error)

    for target in (pull, *[run] * workers):
        threading.Thread(target=target, daemon=True).start()
    while (future := order.get()) is not None:
        yield future.result()
