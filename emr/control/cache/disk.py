"""The cache on disk as the event loop sees it: asked only for what it may have, written behind.

Rules of this file
- The loop never waits for the file. Two threads of its own do (`emr.control.cache.work`).
- A text that the file does not have is not asked for: a filter in memory knows. One that it may
  have is waited for, but not for longer than `READ_S`; and while a read takes that long, nothing
  else is asked.
- Trouble with the file is told once in the log and shown by `trouble`; the router goes on without.

Theory of operation. What is to be kept is put on a list; every half a second, or when the list is
long, the writer takes it as a whole, turns vectors into the bytes of their numbers, and commits.
A kill loses that list and nothing else. When the disk cannot keep up, new vectors are left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from emr.control.cache.work import NOTHING, DiskWork, Found, Kept, Sought, bytes_of, digester_of
from emr.lane.cache import Key

log = logging.getLogger("emr.cache")

FLUSH_S = 0.5  # what a kill may lose
FLUSH_BYTES = 4 << 20  # of texts and vectors on the list: a commit of 10 to 50 ms
BEHIND_BYTES = 64 << 20  # that wait for the writer; beyond it new ones are left out
READ_S = 2.0  # a provider's call takes less: without the file the text is embedded by then
CLOSE_S = 10.0  # for what is to be written at the end; a disk that hangs does not hold emr

T = TypeVar("T")
Then = Callable[[Found], None]


class Disk:
    """The cache on disk. Made for a loop and used there; `open` starts it.

    `dropped` counts vectors that were left out, for the disk could not keep up. `late` are the
    reads that took too long and are still out, `clears` how often it was cleared.
    """

    def __init__(self, path: Path, max_bytes: int, loop: asyncio.AbstractEventLoop) -> None:
        self.work = DiskWork(path, max_bytes)
        self.dropped = 0
        self._loop = loop
        self._writes = ThreadPoolExecutor(1, thread_name_prefix="emr-cache-write")
        self._reads = ThreadPoolExecutor(1, thread_name_prefix="emr-cache-read")
        # what the writer is to be given next, and what it has not done yet
        self._kept: list[Kept] = []
        self._kept_bytes = 0
        self._read_rows: list[int] = []
        self._bad_rows: list[int] = []
        self._behind = 0
        self._timer: asyncio.TimerHandle | None = None
        self.late = 0
        self.clears = 0
        self._clearing = 0  # clears that are under way

    def open(self) -> Future[None]:
        """Open the file; done when it is in use, or is known not to be."""
        return self._writes.submit(self.work.open)

    def may_have(self, key: Key, places: Sequence[int], texts: Sequence[bytes]) -> list[Sought]:
        """Those of the texts at `places` that are worth a read."""
        work = self.work
        if not work.is_ready or work.is_off or self.late or self._clearing:
            return []
        digest_of, has = digester_of(bytes_of(key)), work.filter.has
        sought = []
        for place in places:
            digest = digest_of(texts[place])
            if has(digest):
                sought.append(Sought(place, digest, texts[place]))
        return sought

    def read(
        self, key: Key, sought: Sequence[Sought], writing: int, within_s: float, then: Then
    ) -> None:
        """Read vectors; `then` gets them, in a later turn and within the time, on the loop."""
        read = _Reading(self, then)
        read.timer = self._loop.call_later(min(READ_S, max(0.0, within_s)), read.give_up)
        future = self._reads.submit(self.work.read, key, sought, writing)
        future.add_done_callback(partial(self._post, read.came))

    def keep(self, kept: Kept) -> None:
        """Write a vector, some time soon."""
        if self.work.is_off:
            return
        size = len(kept.text) + len(kept.vector)
        if self._kept_bytes + self._behind + size > BEHIND_BYTES:
            self.dropped += 1
            return
        self._kept.append(kept)
        self._kept_bytes += size
        if self._kept_bytes >= FLUSH_BYTES:
            self.flush()
        else:
            self._flush_soon()

    def took(self, rows: Sequence[int], bad: Sequence[int]) -> None:
        """These rows were read, and those not believed."""
        self._read_rows += rows
        self._bad_rows += bad
        self._flush_soon()

    def flush(self) -> Future[None] | None:
        """Give the writer what is to be written; done when it is, None if there is nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not (self._kept or self._read_rows or self._bad_rows):
            return None
        size, self._kept_bytes = self._kept_bytes, 0
        self._behind += size
        given = (self._kept, self._read_rows, self._bad_rows)
        self._kept, self._read_rows, self._bad_rows = [], [], []
        future = self._writes.submit(self.work.write, *given)
        future.add_done_callback(partial(self._post, partial(self._written, size)))
        return future

    def clear(self) -> Future[str]:
        """Forget everything, what is to be written and what is being read too.

        The future has why the file refused, empty when it did not.
        """
        self._kept.clear()
        self._kept_bytes = 0
        self.clears += 1
        self._clearing += 1
        future = self._writes.submit(self.work.clear)
        future.add_done_callback(partial(self._post, self._cleared))
        return future

    async def close(self) -> None:
        """Write what is to be written, and close."""
        self.flush()
        ends = [
            asyncio.wrap_future(self._reads.submit(self.work.close_reader)),
            asyncio.wrap_future(self._writes.submit(self.work.close_writer)),
        ]
        await asyncio.wait(ends, timeout=CLOSE_S)
        self._reads.shutdown(wait=False, cancel_futures=True)
        self._writes.shutdown(wait=False, cancel_futures=True)

    def _post(self, then: Callable[[Future[T]], None], future: Future[T]) -> None:
        """Have the loop look at what a thread did."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(then, future)

    def _flush_soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self.flush)

    def _written(self, size: int, future: Future[None]) -> None:
        self._behind -= size
        tell_of_bug(future)

    def _cleared(self, future: Future[str]) -> None:
        self._clearing -= 1
        tell_of_bug(future)


class _Reading:
    """A read that is out: `then` is called once, with what it brought or with nothing."""

    __slots__ = ("_clears", "_disk", "_then", "timer")

    def __init__(self, disk: Disk, then: Then) -> None:
        self._disk = disk
        self._clears = disk.clears
        self._then: Then | None = then
        self.timer: asyncio.TimerHandle

    def came(self, future: Future[Found]) -> None:
        """The thread has read."""
        disk, then = self._disk, self._then
        if then is None:
            disk.late -= 1
            return
        self._then = None
        self.timer.cancel()
        found = NOTHING
        if not tell_of_bug(future) and disk.clears == self._clears:
            found = future.result()
            disk.took(found.rows, found.bad)
        then(found)

    def give_up(self) -> None:
        """It took too long."""
        then, self._then = self._then, None
        if then is not None:
            self._disk.late += 1
            then(NOTHING)


def tell_of_bug(future: Future[T]) -> bool:
    """Log what a thread should not have raised; whether there was any."""
    error = future.exception()
    if error is not None:
        log.error("The cache on disk met an error of emr's own", exc_info=error)
    return error is not None
