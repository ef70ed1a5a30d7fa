"""What the two threads of the cache on disk do: one writes, one reads; neither waits for the other.

The loop only looks at plain values here (`is_ready`, `trouble`, the filter); each is set by one
thread and never changed in place.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from emr.control.cache.filter import Filter
from emr.control.cache.reader import DiskReader
from emr.control.cache.rows import Digester, DiskError, Numbered, Row, section_bytes
from emr.control.cache.writer import DiskWriter
from emr.front.forms.vectors import length_of, raw_of, written
from emr.lane.cache import Key
from emr.lane.ticket import Origin

log = logging.getLogger("emr.cache")

ROW_GUESS = 4096  # bytes of a row, 1,024 float32, by which the filter is laid out
GENERATION_MIN = 1 << 10  # rows
# A thread that computes holds the interpreter for 5 ms at a time while the loop wants it, and one
# that lets go of it for single calls has it back before the loop's thread is awake. So both threads
# pause by themselves after a little work; this long, the loop wakes up.
PAUSE_S = 0.0001
WRITTEN_AT_ONCE = 32  # rows, 1 ms
LOADED_AT_ONCE = 100  # digests, 0.5 ms
MADE_AT_ONCE = 8  # vectors, 0.4 ms
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
    """Vectors by the place of their text in the request, in the wanted writing.

    `rows` and `bad` are the numbers of rows that were read, and that were not believed.
    """

    vectors: dict[int, bytes]
    origin: Origin
    rows: Sequence[int] = ()
    bad: Sequence[int] = ()


class Figures(NamedTuple):
    """The rows of the file, its size in bytes, and the rows that went for want of room."""

    entries: int
    bytes: int
    evictions: int


NOTHING = Found({}, Origin(0, "", ""))

bytes_of = lru_cache(KEYS_KEPT)(section_bytes)
digester_of = lru_cache(KEYS_KEPT)(Digester)


class DiskWork:
    """The file's connections and its filter.

    `trouble` is why the file is not used, or why its last write failed; empty when all is well.
    `is_ready`: it is open, and all of it is in the filter. `is_off`: it cannot be used any more.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.trouble = ""
        self.is_ready = False
        self.is_off = False
        self.filter = Filter(generation_of(max_bytes))
        self.writer: DiskWriter | None = None
        self._reader: DiskReader | None = None

    def figures(self) -> Figures:
        """What the file has."""
        writer = self.writer
        if writer is None:
            return Figures(0, 0, 0)
        return Figures(writer.entries, writer.bytes, writer.evictions)

    # in the writer's thread

    def open(self) -> None:
        """Open the file, and learn what it has."""
        try:
            self.writer = DiskWriter(self.path, self.max_bytes)
            for place, (number, digest) in enumerate(self.writer.digests(), 1):
                self.filter.add(number, digest)
                if place % LOADED_AT_ONCE == 0:
                    time.sleep(PAUSE_S)
        except DiskError as error:
            self._turn_off(error)
        else:
            self.is_ready = True

    def write(self, kept: Sequence[Kept], read: Sequence[int], bad: Sequence[int]) -> None:
        """Write vectors; `read` are the rows that were read since, `bad` those to take out."""
        rows = []
        for place, (key, model, text, vector) in enumerate(kept, 1):
            if place % MADE_AT_ONCE == 0:
                time.sleep(PAUSE_S)
            with contextlib.suppress(ValueError):  # no numbers that could be written: it is left
                rows.append(Row(bytes_of(key), model, text, raw_of(vector, key[1].dtype)))

        def work(writer: DiskWriter) -> None:
            writer.remove(bad)
            writer.were_read(read)
            for start in range(0, len(rows), WRITTEN_AT_ONCE):
                self._number(writer.write(rows[start : start + WRITTEN_AT_ONCE]))
                time.sleep(PAUSE_S)
            self.filter.forget_before(writer.oldest())

        self._do(work)

    def clear(self) -> str:
        """Take everything out; why that failed, empty when it did not.

        What the file kept all the same is not read by this process, for the filter has it no more.
        """
        self._do(lambda writer: writer.clear())
        self.filter.clear()
        return self.trouble

    def close_writer(self) -> None:
        """Close the connection; the WAL goes into the file."""
        if self.writer is not None:
            self.writer.close()

    def _number(self, numbered: Sequence[Numbered]) -> None:
        for number, digest in numbered:
            self.filter.add(number, digest)

    def _do(self, work: Callable[[DiskWriter], None]) -> None:
        """Let the file do something, and remember how it went."""
        if self.writer is None or self.is_off:
            return
        try:
            work(self.writer)
        except DiskError as error:
            self._refused(error)
        else:
            if self.trouble:
                log.info("The cache on disk, %s, is used again", self.path)
            self.trouble = ""

    # in the reader's thread

    def read(self, key: Key, sought: Sequence[Sought], writing: int) -> Found:
        """What the file has of these texts; nothing when it refuses."""
        section, dtype = bytes_of(key), key[1].dtype
        try:
            if self._reader is None:
                self._reader = DiskReader(self.path)
            read = self._reader.read(section, [(each.digest, each.text) for each in sought])
        except DiskError as error:
            self._refused(error)
            return NOTHING
        vectors, length = {}, 0
        for place, raw in read.vectors.items():
            with contextlib.suppress(ValueError):  # no whole numbers: not of this type
                vectors[sought[place].place] = written(raw, dtype, writing)
                length = length_of(raw, dtype)
        return Found(vectors, Origin(length, read.model, ""), read.rows, read.bad)

    def close_reader(self) -> None:
        """Close the connection."""
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
        if not self.is_off:
            log.warning("The cache on disk, %s, is not used: %s", self.path, error)
        self.is_off = True
        self.trouble = str(error)


def generation_of(max_bytes: int) -> int:
    """The rows of a generation of the filter, a power of two: as many as have room."""
    rows = max_bytes // ROW_GUESS
    return max(GENERATION_MIN, 1 << max(0, rows - 1).bit_length())
