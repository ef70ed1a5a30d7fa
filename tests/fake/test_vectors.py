"""Vectors are a function of all that they should depend on, and of nothing else."""

from __future__ import annotations

import base64
import math
import struct
from hashlib import sha256

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emr.fake.vectors import (
    DIMENSIONS_MAX,
    SHORT,
    decimal,
    expected_base64,
    expected_json,
    maker,
    to_float32,
    tokens_of,
    vector_of,
)

SIZES = [3, SHORT - 1, SHORT, SHORT + 1, 256, 384, 512, 1024, 1536, 2048, 3072, DIMENSIONS_MAX]


@pytest.mark.parametrize("dimensions", SIZES)
def test_every_writing_is_the_same_unit_vector(dimensions: int) -> None:
    for text in ("", "a", "hello world", "é" * 99, "\n"):
        numbers = vector_of(text, "m", None, dimensions)
        assert len(numbers) == dimensions
        assert abs(math.sqrt(sum(x * x for x in numbers)) - 1.0) < 1e-6
        raw = struct.pack(f"<{dimensions}f", *numbers)
        assert list(struct.unpack(f"<{dimensions}f", raw)) == numbers
        text_json = expected_json(text, "m", None, dimensions)
        assert b"e" not in text_json
        assert struct.pack(f"<{dimensions}f", *orjson.loads(text_json)) == raw
        assert base64.b64decode(expected_base64(text, "m", None, dimensions), validate=True) == raw


def test_vectors_never_change() -> None:
    raw = maker("voyage-code-3", "query", 1024).raw("hello")
    assert sha256(raw).hexdigest() == (
        "d4c07c8d8c29520ef3ee0b998e1f44670f9c97760254dfdd799b6f853b3cb339"
    )


def test_each_part_of_the_question_counts() -> None:
    seen = {
        bytes(maker(model, kind, size, dtype).raw(text)[:24])
        for model in ("a", "b")
        for kind in (None, "query", "document")
        for size in (256, 1024)
        for dtype in ("float", "int8", "binary")
        for text in ("x", "y", [1, 2], [12], "1,2")
    }
    assert len(seen) == 2 * 3 * 2 * 3 * 5


def test_the_words_of_the_apis_for_a_query_are_one() -> None:
    assert vector_of("x", "m", "search_query") == vector_of("x", "m", "query")
    assert vector_of("x", "m", "search_document") == vector_of("x", "m", "document")
    assert vector_of("x", "m", "classification") != vector_of("x", "m")


def test_no_two_of_many_texts_share_a_vector() -> None:
    one = maker("m")
    assert len({one.json(str(i))[:200] for i in range(50_000)}) == 50_000


@pytest.mark.parametrize("dimensions", [0, -1, DIMENSIONS_MAX + 1])
def test_sizes_out_of_range_are_refused(dimensions: int) -> None:
    with pytest.raises(ValueError, match="dimensions must be 1 to"):
        maker("m", None, dimensions)


def test_unknown_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match="dtype must be one of"):
        maker("m", None, 1024, "int4")


@pytest.mark.parametrize(
    ("dtype", "letter", "low", "high"),
    [("int8", "b", -127, 127), ("uint8", "B", 1, 255), ("binary", "b", -128, 127),
     ("ubinary", "B", 0, 255)],
)  # fmt: skip
def test_whole_number_types(dtype: str, letter: str, low: int, high: int) -> None:
    numbers = vector_of("x", "m", None, 1024, dtype)
    assert len(numbers) == (1024 if dtype.endswith("int8") else 128)
    assert all(isinstance(x, int) and low <= x <= high for x in numbers)
    assert len(set(numbers)) > 60
    assert orjson.loads(expected_json("x", "m", None, 1024, dtype)) == numbers
    raw = base64.b64decode(expected_base64("x", "m", None, 1024, dtype))
    assert list(struct.unpack(f"{len(numbers)}{letter}", raw)) == numbers


@given(st.floats(2**-10, 1.0, width=32) | st.floats(-1.0, -(2**-10), width=32))
def test_decimals_read_back_as_the_same_float32(number: float) -> None:
    text = decimal(number)
    assert to_float32(float(text)) == number
    assert len(text) <= 14


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 1), ("abcd", 1), ("abcde", 2), ("é" * 4, 2), ("é" * 5, 3), ([], 1), ([7] * 9, 9)],
)
def test_tokens(text: str | list[int], tokens: int) -> None:
    assert tokens_of(text) == tokens


def test_tokens_by_another_ratio() -> None:
    assert [tokens_of("x" * n, 2.5) for n in (2, 3, 5, 6)] == [1, 2, 2, 3]
