"""The fake's vectors: each a function of its text, model, input type, dimensions and dtype.

Rules of this file. The same arguments give the same float32 numbers on every machine, for ever:
only hashes, `Random.random()` and correctly rounded arithmetic go into them. Two texts never
share a vector (64 bits of their hash stand in it), and nor do two models, input types, sizes or
dtypes, so that any mix-up shows. Every vector has norm 1 within float32's precision.

Theory of operation. Making 1,024 random numbers and writing them as decimals costs 1 ms in
Python; a load test wants microseconds. So the numbers are made once for each size. A vector is a
*head* of 8 triples, each one of 256 points on a small sphere picked by a byte of the hash, and a
*tail*: one of a few fixed sequences, turned by a multiple of three places that the hash picks. A
turned sequence keeps its norm, and in a sequence written twice in a row every turn is one slice,
of its JSON text as of its bytes. Three float32 are twelve bytes, sixteen characters of base64
without padding: so the base64 of a turn is a slice too, but for its last group.

Refused: a memo of texts seen before (a vector from the tables costs about as much as a look-up
that holds its text), and numpy (a plain installation has none).
"""

from __future__ import annotations

import struct
from binascii import b2a_base64
from functools import lru_cache
from hashlib import blake2b, shake_128
from math import sqrt
from random import Random
from typing import Any

Text = str | list[int]

DIMENSIONS = 1024  # what most hosted models give when nothing else is asked
DIMENSIONS_MAX = 16_384  # four times the largest of the models known to us
TRIPLES = 8  # bytes of the hash that stand in a vector: 64 bits keep two texts apart
HEAD = 3 * TRIPLES
SHORT = 2 * HEAD  # below it a turned tail would have too few places; the hash makes all of it
TAILS = 8  # fixed sequences a size: 8 x 333 turns for 1,024 dimensions, 25 ms to make
SMALLEST = 0.02  # of a number before scaling: keeps exponents out of the decimals
DTYPES = ("float", "int8", "uint8", "binary", "ubinary")


def key_of(text: Text) -> bytes:
    """What is hashed of a text, or of a list of token ids."""
    if isinstance(text, str):
        return text.encode()
    return b"\x00" + ",".join(map(str, text)).encode()


def decimal(number: float) -> bytes:
    """The shortest usual decimal that reads back as the same float32, without an exponent."""
    for digits in (8, 9):
        text = f"{number:.{digits}g}"
        if to_float32(float(text)) == number:
            break
    return text.encode()


def to_float32(number: float) -> float:
    """`number` rounded to float32."""
    rounded: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return rounded


def raw_of(numbers: list[float]) -> bytes:
    """Little-endian float32 bytes."""
    return struct.pack(f"<{len(numbers)}f", *numbers)


def sequence(rng: Random, length: int, norm: float) -> list[float]:
    """`length` float32 numbers of that norm, none of them tiny."""
    numbers = [draw(rng) for _ in range(length)]
    scale = norm / sqrt(sum(x * x for x in numbers))
    return [to_float32(x * scale) for x in numbers]


def draw(rng: Random) -> float:
    """A number in -1 to 1, not too near to 0."""
    while True:
        number = 2.0 * rng.random() - 1.0
        if abs(number) >= SMALLEST:
            return number


class Tail:
    """A fixed sequence of numbers, written twice in a row as JSON text, bytes and base64."""

    __slots__ = ("base64", "ends", "json", "places", "raw", "whole")

    def __init__(self, numbers: list[float]) -> None:
        twice = [decimal(x) for x in numbers] * 2
        self.json = b",".join(twice)
        self.places = [0]  # where each number begins in `json`
        for text in twice:
            self.places.append(self.places[-1] + len(text) + 1)
        self.raw = raw_of(numbers + numbers)
        self.base64 = b2a_base64(self.raw, newline=False)
        # the last bytes of a turn that fill no group of three, with their padding
        size = 4 * len(numbers)
        self.whole = size // 3 * 4
        rest = size % 3
        self.ends = [
            b2a_base64(self.raw[12 * k + size - rest : 12 * k + size], newline=False)
            for k in range(len(numbers) // 3)
        ]


class Tables:
    """The numbers of all vectors of one size, in every way of writing."""

    __slots__ = ("heads_base64", "heads_json", "heads_raw", "tails", "turns")

    def __init__(self, dimensions: int) -> None:
        rng = Random(dimensions)
        head_norm = sqrt(HEAD / dimensions)
        triples: list[list[float]] = []
        while len(triples) < 256:
            triple = sequence(rng, 3, head_norm / sqrt(TRIPLES))
            if triple not in triples:
                triples.append(triple)
        self.heads_json = [b",".join(map(decimal, t)) + b"," for t in triples]
        self.heads_raw = [raw_of(t) for t in triples]
        self.heads_base64 = [b2a_base64(raw, newline=False) for raw in self.heads_raw]
        rest = dimensions - HEAD
        self.tails = [Tail(sequence(rng, rest, sqrt(1.0 - head_norm**2))) for _ in range(TAILS)]
        self.turns = rest // 3


@lru_cache(maxsize=64)
def tables(dimensions: int) -> Tables:
    """The tables of a size, made at its first use."""
    return Tables(dimensions)


class Maker:
    """Makes the vectors of one model, input type, size and dtype.

    `input_type` is `query`, `document`, another word of a provider's, or None: Cohere's
    `search_query` is the same as `query`, so that the form of the API does not matter.
    """

    __slots__ = ("_hash", "_tables", "dimensions", "dtype")

    def __init__(self, model: str, input_type: str | None, dimensions: int, dtype: str) -> None:
        if not 1 <= dimensions <= DIMENSIONS_MAX:
            raise ValueError(f"dimensions must be 1 to {DIMENSIONS_MAX}, not {dimensions}")
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype}")
        self.dimensions = dimensions
        self.dtype = dtype
        kind = (input_type or "").removeprefix("search_")
        salt = "\n".join((model, kind, str(dimensions), dtype)).encode()
        self._hash = blake2b(digest_size=16, person=blake2b(salt, digest_size=16).digest())
        self._tables = tables(dimensions) if dimensions >= SHORT else None

    def _digest(self, text: Text) -> bytes:
        mine = self._hash.copy()
        mine.update(key_of(text))
        return mine.digest()

    def json(self, text: Text) -> bytes:
        """The vector as the text of a JSON list."""
        if self._tables is None or self.dtype != "float":
            numbers = self.numbers(text)
            return b"[%b]" % b",".join(
                [decimal(x) if isinstance(x, float) else b"%d" % x for x in numbers]
            )
        table = self._tables
        digest = self._digest(text)
        tail, turn = self._tail(table, digest)
        places, k = tail.places, 3 * turn
        end = places[k + self.dimensions - HEAD] - 1
        heads = table.heads_json
        return b"[%b%b]" % (
            b"".join([heads[b] for b in digest[:TRIPLES]]),
            tail.json[places[k] : end],
        )

    def base64(self, text: Text) -> bytes:
        """The vector's bytes as base64, without quotes."""
        if self._tables is None or self.dtype != "float":
            return b2a_base64(self.raw(text), newline=False)
        table = self._tables
        digest = self._digest(text)
        tail, turn = self._tail(table, digest)
        heads, at = table.heads_base64, 16 * turn
        parts = [heads[b] for b in digest[:TRIPLES]]
        parts.append(tail.base64[at : at + tail.whole])
        parts.append(tail.ends[turn])
        return b"".join(parts)

    def raw(self, text: Text) -> bytes:
        """The vector's bytes: little-endian float32, or those of the dtype."""
        if self.dtype == "float":
            return self._floats(text)
        numbers = self.numbers(text)
        return struct.pack(
            f"{len(numbers)}{'b' if self.dtype in ('int8', 'binary') else 'B'}", *numbers
        )

    def numbers(self, text: Text) -> list[Any]:
        """The vector: floats, or the integers of the dtype (packed bits for the binary ones)."""
        raw = self._floats(text)
        floats = list(struct.unpack(f"<{self.dimensions}f", raw))
        if self.dtype == "float":
            return floats
        if self.dtype in ("int8", "uint8"):
            # numbers are even over +-sqrt(3 / dimensions): these fill the range of a byte
            scale, low = 127.0 / sqrt(3.0 / self.dimensions), 128 if self.dtype == "uint8" else 0
            return [max(-127, min(127, round(x * scale))) + low for x in floats]
        low = 128 if self.dtype == "binary" else 0  # offset binary, as the providers do
        bits = [x > 0.0 for x in floats] + [False] * (-len(floats) % 8)
        packed = [sum(128 >> j for j in range(8) if bits[i + j]) for i in range(0, len(bits), 8)]
        return [x - low for x in packed]

    def _floats(self, text: Text) -> bytes:
        digest = self._digest(text)
        table = self._tables
        if table is None:
            return self._short(digest)
        tail, turn = self._tail(table, digest)
        parts = [table.heads_raw[b] for b in digest[:TRIPLES]]
        parts.append(tail.raw[12 * turn : 12 * turn + 4 * (self.dimensions - HEAD)])
        return b"".join(parts)

    def _short(self, digest: bytes) -> bytes:
        """A vector of few dimensions: all of it from the hash."""
        words = struct.unpack(f"<{self.dimensions}I", shake_128(digest).digest(4 * self.dimensions))
        numbers = [(1.0 - SMALLEST) * (w - 2**31) / 2**31 for w in words]
        numbers = [x + SMALLEST if x >= 0 else x - SMALLEST for x in numbers]
        norm = sqrt(sum(x * x for x in numbers))
        return raw_of([x / norm for x in numbers])

    @staticmethod
    def _tail(table: Tables, digest: bytes) -> tuple[Tail, int]:
        number = int.from_bytes(digest[TRIPLES : TRIPLES + 4], "little")
        return table.tails[number & (TAILS - 1)], (number >> 3) % table.turns


@lru_cache(maxsize=256)
def maker(
    model: str, input_type: str | None = None, dimensions: int = DIMENSIONS, dtype: str = "float"
) -> Maker:
    """The maker of these vectors; raises ValueError for a size or dtype that there is not."""
    return Maker(model, input_type, dimensions, dtype)


def vector_of(
    text: Text,
    model: str,
    input_type: str | None = None,
    dimensions: int = DIMENSIONS,
    dtype: str = "float",
) -> list[Any]:
    """The vector that the fake gives for `text`: floats (float32 values), or integers."""
    return maker(model, input_type, dimensions, dtype).numbers(text)


def expected_json(
    text: Text,
    model: str,
    input_type: str | None = None,
    dimensions: int = DIMENSIONS,
    dtype: str = "float",
) -> bytes:
    """The same as the JSON text that the fake writes."""
    return maker(model, input_type, dimensions, dtype).json(text)


def expected_base64(
    text: Text,
    model: str,
    input_type: str | None = None,
    dimensions: int = DIMENSIONS,
    dtype: str = "float",
) -> bytes:
    """The same as the base64 that the fake writes, without quotes."""
    return maker(model, input_type, dimensions, dtype).base64(text)


def tokens_of(text: Text, bytes_per_token: float = 4.0) -> int:
    """What the fake bills for a text: its bytes over `bytes_per_token`, rounded up; at least 1."""
    if isinstance(text, str):
        size = len(text) if text.isascii() else len(text.encode())
        return max(1, -int(-size // bytes_per_token))
    return max(1, len(text))
