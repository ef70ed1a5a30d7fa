"""The cache on disk as the event loop sees it: asked only for what it may have, written behind.

Rules of this file
- The loop never waits for the file. Two threads of its own do: one reads, one writes.
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
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from emr.control.disk_file import (
    DiskError,
    DiskReader,
    DiskWriter,
    Numbered,
    Row,
    digest_of,
    section_bytes,
)
from emr.control.filters import Filter
from emr.front.forms.vectors import length_of, raw_of, written
from emr.lane.cache import Key

log = logging.getLogger("emr.cache")

FLUSH_S = 0.5  # what a kill may lose
FLUSH_BYTES = 4 << 20  # of texts and vectors on the list: a commit of 10 to 50 ms
BEHIND_BYTES = 64 << 20  # that wait for the writer; beyond it new ones are left out
READ_S = 2.0  # a provider's call takes less: without the file the text is embedded by then
ROW_GUESS = 4096  # bytes of a row, 1,024 float32, by which the filter is laid out
GENERATIONS = 8
GENERATION_MIN = 1 << 10  # rows
LOADED_AT_ONCE = 1000  # digests; then the loop may run
KEYS_KEPT = 256  # sections whose bytes are at hand


class Kept(NamedTuple):
    """A vector to be written: as its JSON text, as the reply had it."""

    key: Key
    model: str
    text: bytes
    vector: bytes


class Sought(NamedTuple):
    """A text that the file may have: its place in the request, and its digest."""

    place: int
    digest: int
    text: bytes


class Found(NamedTuple):
    """Vectors by the place of their text in the request, in the wanted writing."""

    vectors: dict[int, bytes]
    length: int
    model: str


NOTHING = Found({}, 0, "")
Then = Callable[[Found], None]

_bytes_of = lru_cache(KEYS_KEPT)(section_bytes)


class Disk:
    """The cache on disk. Made for a loop and used there; `open` starts it.

    `trouble` is why it is not used, or why its last write failed; empty when all is well.
    """

    def __init__(self, path: Path, max_bytes: int, loop: asyncio.AbstractEventLoop) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.trouble = ""
        self.dropped = 0  # vectors that were left out, for the disk could not keep up
        self._loop = loop
        self._writes = ThreadPoolExecutor(1, thread_name_prefix="emr-cache-write")
        self._reads = ThreadPoolExecutor(1, thread_name_prefix="emr-cache-read")
        self._filter = Filter(generation_of(max_bytes))
        self._is_ready = False  # the file is open, and all of it is in the filter
        self._is_off = False  # it cannot be used any more
        self._writer: DiskWriter | None = None  # of its thread
        self._reader: DiskReader | None = None  # of its thread
        # of the loop
        self._kept: list[Kept] = []
        self._kept_bytes = 0
        self._read_rows: list[int] = []
        self._damaged_rows: list[int] = []
        self._behind = 0  # bytes that the writer was given and has not written yet
        self._timer: asyncio.TimerHandle | None = None
        self._late = 0  # reads that took too long, and are still out
        self._clears = 0  # that are under way
        self._epoch = 0  # how often it was cleared

    @property
    def entries(self) -> int:
        """The vectors in the file."""
        return 0 if self._writer is None else self._writer.entries

    @property
    def bytes(self) -> int:
        """The size of the file."""
        return 0 if self._writer is None else self._writer.bytes

    @property
    def evictions(self) -> int:
        """The vectors that went from the file for want of room."""
        return 0 if self._writer is None else self._writer.evictions

    def open(self) -> Future[None]:
        """Open the file; done when it is in use, or is known not to be."""
        return self._writes.submit(self._open)

    def may_have(self, key: Key, places: Sequence[int], texts: Sequence[bytes]) -> list[Sought]:
        """Those of the texts at `places` that are worth a read."""
        if not self._is_ready or self._is_off or self._late or self._clears:
            return []
        section, has = _bytes_of(key), self._filter.has
        sought = []
        for place in places:
            digest = digest_of(section, texts[place])
            if has(digest):
                sought.append(Sought(place, digest, texts[place]))
        return sought

    def read(
        self, key: Key, sought: Sequence[Sought], writing: int, within_s: float, then: Then
    ) -> None:
        """Read vectors; `then` gets them, in a later turn and within the time, on the loop."""
        read = _Reading(self, then)
        read.timer = self._loop.call_later(min(READ_S, max(0.0, within_s)), read.give_up)
        future = self._reads.submit(self._read, key, sought, writing)
        future.add_done_callback(partial(self._post, read.came))

    def keep(self, kept: Kept) -> None:
        """Write a vector, some time soon."""
        size = len(kept.text) + len(kept.vector)
        if self._is_off or self._kept_bytes + self._behind + size > BEHIND_BYTES:
            self.dropped += not self._is_off
            return
        self._kept.append(kept)
        self._kept_bytes += size
        if self._kept_bytes >= FLUSH_BYTES:
            self._flush()
        else:
            self._flush_soon()

    def clear(self) -> Future[None]:
        """Forget everything, what is to be written and what is being read too.

        The Future has DiskError when the file refused.
        """
        self._kept.clear()
        self._kept_bytes = 0
        self._epoch += 1
        self._clears += 1
        future = self._writes.submit(self._clear)
        future.add_done_callback(partial(self._post, self._cleared))
        return future

    def resize(self, max_bytes: int) -> None:
        """Take so many bytes at the most from now on."""
        self.max_bytes = max_bytes
        self._writes.submit(self._resize, max_bytes)

    def close(self) -> None:
        """Write what is to be written, and close."""
        self._flush()
        self._reads.submit(self._close_reader)
        self._writes.submit(self._close_writer)
        self._reads.shutdown()
        self._writes.shutdown()

    # on the loop

    def _post(self, then: Callable[[Future[T]], None], future: Future[T]) -> None:
        """Have the loop look at what a thread did."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(then, future)

    def _flush_soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not (self._kept or self._read_rows or self._damaged_rows):
            return
        size, self._kept_bytes = self._kept_bytes, 0
        self._behind += size
        work = partial(self._write, self._kept, self._read_rows, self._damaged_rows)
        self._kept, self._read_rows, self._damaged_rows = [], [], []
        future = self._writes.submit(work)
        future.add_done_callback(partial(self._post, partial(self._written, size)))

    def _written(self, size: int, future: Future[None]) -> None:
        self._behind -= size

    def _cleared(self, future: Future[None]) -> None:
        self._clears -= 1

    # in the writer's thread

    def _open(self) -> None:
        try:
            self._writer = DiskWriter(self.path, self.max_bytes)
            for place, (number, digest) in enumerate(self._writer.digests(), 1):
                self._filter.add(number, digest)
                if place % LOADED_AT_ONCE == 0:
                    time.sleep(0)  # the loop's turn
        except DiskError as error:
            self._turn_off(error)
        else:
            self._is_ready = True

    def _write(self, kept: Sequence[Kept], read: Sequence[int], damaged: Sequence[int]) -> None:
        rows = []
        for key, model, text, vector in kept:
            with contextlib.suppress(ValueError):  # no numbers that could be written: it is left
                rows.append(Row(_bytes_of(key), model, text, raw_of(vector, key[1].dtype)))

        def work(writer: DiskWriter) -> None:
            writer.remove(damaged)
            writer.were_read(read)
            self._number(writer, writer.write(rows))

        self._do(work)

    def _resize(self, max_bytes: int) -> None:
        self._do(lambda writer: self._number(writer, writer.resize(max_bytes)))

    def _number(self, writer: DiskWriter, numbered: Sequence[Numbered]) -> None:
        for number, digest in numbered:
            self._filter.add(number, digest)
        self._filter.forget_before(writer.oldest())

    def _clear(self) -> None:
        if self._writer is not None and not self._is_off:
            self._writer.clear()
            self._filter.clear()

    def _do(self, work: Callable[[DiskWriter], None]) -> None:
        """Let the file do something, and remember how it went."""
        if self._writer is None or self._is_off:
            return
        try:
            work(self._writer)
        except DiskError as error:
            self._refused(error)
        else:
            self.trouble = ""

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()

    # in the reader's thread

    def _read(self, key: Key, sought: Sequence[Sought], writing: int) -> tuple[Read, Found]:
        section, dtype = _bytes_of(key), key[1].dtype
        try:
            if self._reader is None:
                self._reader = DiskReader(self.path)
            read = self._reader.read(section, [(each.digest, each.text) for each in sought])
        except DiskError as error:
            self._refused(error)
            return NOT_READ, NOTHING
        vectors, length = {}, 0
        for place, raw in read.vectors.items():
            with contextlib.suppress(ValueError):  # no whole numbers: not of this type
                vectors[sought[place].place] = written(raw, dtype, writing)
                length = length_of(raw, dtype)
        return read, Found(vectors, length, read.model)

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()

    # in either

    def _refused(self, error: DiskError) -> None:
        if not error.passes:
            self._turn_off(error)
            return
        if not self.trouble:
            log.warning("The cache on disk, %s, refused: %s", self.path, error)
        self.trouble = str(error)

    def _turn_off(self, error: DiskError) -> None:
        self._is_off = True
        self.trouble = str(error)
        log.warning("The cache on disk, %s, is not used: %s", self.path, error)


class _Reading:
    """A read that is out: `then` is called once, with what it brought or with nothing."""

    __slots__ = ("_disk", "_epoch", "_then", "timer")

    def __init__(self, disk: Disk, then: Then) -> None:
        self._disk = disk
        self._epoch = disk._epoch
        self._then: Then | None = then
        self.timer: asyncio.TimerHandle

    def give_up(self) -> None: ...
