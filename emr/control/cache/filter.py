"""Which digests may be in a file: a filter in memory that never misses one, and is rarely wrong.

Theory of operation. Bloom's filter: each digest sets five bits of a row of bits, and what has not
all of its five set was never added. Nothing can be taken out of such a row; but what the file lets
go of is what came first. So the filter is in *generations* of consecutive numbers, and one whose
numbers have all gone from the file is forgotten as a whole.

With 32 bits for each number, 6 of 100,000 digests that were never added look as if they had been,
in each generation. A generation is as long as the file has room, so that there are two of them, and
a question costs 0.5 us. It takes 4 to 8 bytes for each vector, where a set of Python takes 75.

Added to by one thread while another asks: a bit more or less is no harm, and the tuple of rows is
replaced, never changed.
"""

from __future__ import annotations

BITS = 32  # for each number of a generation
PROBES = 5


class Filter:
    """Generations of `size` numbers each, a power of two."""

    def __init__(self, size: int) -> None:
        assert size & (size - 1) == 0, "a generation of a size that is no power of two: a bug"
        self._size = size
        self._mask = size * BITS - 1
        self._generations: dict[int, bytearray] = {}
        self._rows: tuple[bytearray, ...] = ()

    def add(self, number: int, digest: int) -> None:
        """The file has a digest (of 64 bits, signed) at this number."""
        generation = number // self._size
        row = self._generations.get(generation)
        if row is None:
            row = self._generations[generation] = bytearray(self._size * BITS // 8)
            self._rows = tuple(self._generations.values())
        first, step = digest & self._mask, (digest >> 32) | 1
        for probe in range(PROBES):
            bit = (first + probe * step) & self._mask
            row[bit >> 3] |= 1 << (bit & 7)

    def has(self, digest: int) -> bool:
        """Whether the file may have a digest; False: it has not."""
        first = digest & self._mask
        place, bit = first >> 3, 1 << (first & 7)
        for row in self._rows:
            if not row[place] & bit:
                continue  # most end here
            if self._all_set(row, digest):
                return True
        return False

    def _all_set(self, row: bytearray, digest: int) -> bool:
        first, step = digest & self._mask, (digest >> 32) | 1
        for probe in range(1, PROBES):
            bit = (first + probe * step) & self._mask
            if not row[bit >> 3] & (1 << (bit & 7)):
                return False
        return True

    def forget_before(self, number: int) -> None:
        """No number under this one is in the file any more."""
        for generation in [each for each in self._generations if each < number // self._size]:
            del self._generations[generation]
        self._rows = tuple(self._generations.values())

    def clear(self) -> None:
        """The file is empty."""
        self._generations.clear()
        self._rows = ()

    @property
    def bytes(self) -> int:
        """What it takes of memory."""
        return sum([len(row) for row in self._rows])
