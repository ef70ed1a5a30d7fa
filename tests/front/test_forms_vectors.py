"""Vectors from one writing to the other: every float32 comes out as it went in."""

from __future__ import annotations

import base64
import json
import math
import struct
from contextlib import suppress

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emr.front.forms.vectors import (
    BASE64,
    NUMBERS,
    as_base64,
    as_numbers,
    to_convert,
    vectors_of,
)
from emr.lane.refusal import Refused
from emr.lane.ticket import Params, Request

bits = st.integers(0, 2**32 - 1)
# an exponent of ones: infinities, and every kind of NaN
not_finite = st.builds(
    lambda sign, rest: sign << 31 | 0xFF << 23 | rest, st.integers(0, 1), st.integers(0, 2**23 - 1)
)


def finite(pattern: int) -> bool:
    return (pattern >> 23) & 0xFF != 0xFF


def request_with(vectors: list[bytes], dtype: str = "float") -> Request:
    request = Request(Params("m", dtype=dtype), [b'"a"'] * len(vectors), "key", 0.0, print)
    request.vectors = vectors
    request.answered_by = "voyage"
    return request


@settings(deadline=None, max_examples=300)
@given(st.lists(bits.filter(finite), min_size=1, max_size=50))
def test_any_finite_bits_come_back_through_any_reader(patterns: list[int]) -> None:
    raw = struct.pack(f"<{len(patterns)}I", *patterns)
    written = as_numbers(orjson.dumps(base64.b64encode(raw).decode()), "float")
    for reader in (orjson.loads, json.loads):
        numbers = reader(written)
        assert {type(number) for number in numbers} == {float}
        assert struct.pack(f"<{len(numbers)}f", *numbers) == raw
    assert as_base64(written, "float") == b'"' + base64.b64encode(raw) + b'"'


@settings(deadline=None)
@given(st.lists(bits, max_size=50), not_finite, st.data())
def test_a_number_that_is_not_finite_never_comes_out(
    patterns: list[int], bad: int, data: st.DataObject
) -> None:
    patterns.insert(data.draw(st.integers(0, len(patterns))), bad)
    raw = struct.pack(f"<{len(patterns)}I", *patterns)
    with pytest.raises(ValueError, match="not finite"):
        as_numbers(orjson.dumps(base64.b64encode(raw).decode()), "float")


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_doubles_become_the_nearest_float32_or_an_error(numbers: list[float]) -> None:
    try:
        raw = struct.pack(f"<{len(numbers)}f", *numbers)
    except OverflowError:
        with pytest.raises(ValueError, match="not finite"):
            as_base64(orjson.dumps(numbers), "float")
    else:
        assert as_base64(orjson.dumps(numbers), "float") == b'"' + base64.b64encode(raw) + b'"'


@pytest.mark.parametrize(
    "number", ["0", "-0.0", "1", "-1", "1e-45", "1.17549435e-38", "3.4028234663852886e38", "0.1"]
)
def test_the_ends_of_float32(number: str) -> None:
    encoded = as_base64(f"[{number}]".encode(), "float")
    raw = base64.b64decode(encoded)
    assert raw == struct.pack("<f", float(number))
    assert as_base64(as_numbers(encoded, "float"), "float") == encoded


@pytest.mark.parametrize("number", ["3.4028236e38", "-3.5e38", "1e300"])
def test_beyond_the_ends(number: str) -> None:
    with pytest.raises(ValueError, match="not finite"):
        as_base64(f"[0.5,{number}]".encode(), "float")


def test_two_infinities_do_not_hide_each_other() -> None:
    with pytest.raises(ValueError, match="not finite"):
        as_base64(b"[1e39,-1e39]", "float")


def test_many_large_numbers_are_still_finite() -> None:
    encoded = as_base64(b"[" + b",".join([b"3.4028234663852886e38"] * 4096) + b"]", "float")
    assert all(map(math.isfinite, orjson.loads(as_numbers(encoded, "float"))))


@settings(deadline=None)
@given(st.sampled_from(["int8", "binary", "uint8", "ubinary"]), st.binary(min_size=1, max_size=80))
def test_any_bytes_of_a_small_dtype(dtype: str, raw: bytes) -> None:
    code = "b" if dtype in ("int8", "binary") else "B"
    encoded = b'"' + base64.b64encode(raw) + b'"'
    numbers = as_numbers(encoded, dtype)
    assert orjson.loads(numbers) == list(struct.unpack(f"{len(raw)}{code}", raw))
    assert as_base64(numbers, dtype) == encoded


@pytest.mark.parametrize(
    ("dtype", "fits", "not_"),
    [("int8", [-128, 127], [-129, 128]), ("uint8", [0, 255], [-1, 256])],
)
def test_the_limits_of_a_small_dtype(dtype: str, fits: list[int], not_: list[int]) -> None:
    for number in fits:
        as_base64(b"[%d]" % number, dtype)
    for number in not_:
        with pytest.raises(ValueError, match=f"list of {dtype} numbers"):
            as_base64(b"[%d]" % number, dtype)
    with pytest.raises(ValueError, match=f"list of {dtype} numbers"):
        as_base64(b"[1.0]", dtype)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_converted_or_refused(vector: bytes) -> None:
    for convert in (as_numbers, as_base64):
        for each in (vector, b'"' + vector + b'"', b"[" + vector + b"]"):
            with suppress(ValueError):
                assert convert(each, "float")[:1] in (b'"', b"[")


def test_a_vector_as_wanted_is_the_same_object() -> None:
    numbers, encoded = [b"[1.50]", b"[2E0]"], [b'"AACAPw=="']
    assert vectors_of(request_with(numbers), NUMBERS) is numbers
    assert vectors_of(request_with(encoded), BASE64) is encoded
    mixed = vectors_of(request_with([b"[1.50]", b'"AACAPw=="']), NUMBERS)
    assert mixed[0] is numbers[0] or mixed[0] == b"[1.50]"
    assert mixed[1] == b"[1.0]"


def test_what_must_be_converted_is_counted() -> None:
    assert to_convert([b"[1.50]"], NUMBERS) == 0
    assert to_convert([b"[1.50]"], BASE64) == 6
    assert to_convert([b"[1.50]", b'"AACAPw=="', b'"AACAPw=="'], NUMBERS) == 20
    assert to_convert([b"[1.50]", b"[1]"], NUMBERS) == 0


def test_a_bad_vector_names_its_provider() -> None:
    with pytest.raises(Refused, match="voyage: a vector is not base64") as caught:
        vectors_of(request_with([b'"@"']), NUMBERS)
    assert caught.value.refusal.type == "provider_error"
    assert caught.value.refusal.final
