"""One vector's JSON text: what is let through, and everything that is not."""

from __future__ import annotations

import base64
import math
import struct

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emr.upstream.vector import (
    DTYPES,
    MAX_DIMENSIONS,
    Unfit,
    check_base64,
    check_list,
    check_values,
)

FLOAT = DTYPES["float"]
LARGEST = 3.4028234663852886e38  # of float32


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (b"[0.5]", 1),
        (b"[-0.5,0.25]", 2),
        (b"[1,-1,0]", 3),
        (b"[-0,0.0,-0.0]", 3),
        (b"[1e-05,2E-5,1.5e+3,1e3]", 4),
        (b"[1e-999]", 1),  # zero, and a good number
        (b"[123456789012345678901234567890]", 1),
        (b"[3.4028234663852886e38,-3.4028234663852886e38]", 2),
    ],
)
def test_a_good_list_is_kept_as_it_is(text: bytes, count: int) -> None:
    assert check_list(text, FLOAT) == (text, count)


def test_white_space_is_taken_out() -> None:
    text = b"[\n        -0.5,\r\n\t0.25 , 1e-05\n      ]"
    assert check_list(text, FLOAT) == (b"[-0.5,0.25,1e-05]", 3)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"[ ]", b"[0.1", b"0.1]", b"0.1", b"{}", b"null", b'"0.1"',
        b"[NaN]", b"[nan]", b"[-NaN]", b"[Infinity]", b"[-Infinity]", b"[inf]",
        b"[1e999]", b"[-1e999]", b"[1e39]", b"[-3.5e38]", b"[0.1,1e39,-1e39]",
        b"[null]", b"[0.1,null]", b"[true]", b"[false,0.1]", b"[0.1,true]",
        b'["0.1"]', b'[0.1,"x"]', b"[[0.1]]", b"[[0.1],[0.2]]", b"[{}]", b"[0.1,{}]",
        b"[0.1,]", b"[,0.1]", b"[0.1,,0.2]", b"[0.1 0.2]", b"[0.1;0.2]",
        b"[01]", b"[00.1]", b"[.1]", b"[1.]", b"[-]", b"[--1]", b"[+1]", b"[1-1]", b"[1.2.3]",
        b"[1e]", b"[1e+]", b"[e1]", b"[0x1]", b"[1_0]", b"[0.1]]", b"[0.1],", b"[0.1]x",
        b"[0.1\x00]", b"[0.1\xff]", b"[\xef\xbb\xbf0.1]", b"\xef\xbb\xbf[0.1]", b"[0.1//x\n]",
    ],
)  # fmt: skip
def test_what_is_no_vector_is_refused(text: bytes) -> None:
    with pytest.raises(Unfit):
        check_list(text, FLOAT)


@pytest.mark.parametrize("count", [MAX_DIMENSIONS - 1, MAX_DIMENSIONS, MAX_DIMENSIONS + 1])
def test_the_longest_vector(count: int) -> None:
    text = b"[" + b",".join([b"0.5"] * count) + b"]"
    encoded = base64.b64encode(b"\0\0\0?" * count)
    if count <= MAX_DIMENSIONS:
        assert check_list(text, FLOAT)[1] == count
        assert check_base64(encoded, FLOAT) == count
        return
    with pytest.raises(Unfit):
        check_list(text, FLOAT)
    with pytest.raises(Unfit):
        check_base64(encoded, FLOAT)


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("int8", [b"[-128,0,127]"], [b"[-129]", b"[128]", b"[0.5]", b"[1.0]", b"[true]"]),
        ("uint8", [b"[0,255]"], [b"[-1]", b"[256]", b"[1e2]", b"[null]"]),
        ("binary", [b"[-128,127]"], [b"[128]"]),
        ("ubinary", [b"[0,255]"], [b"[-1]"]),
    ],
)
def test_whole_numbers_have_their_range(dtype: str, good: list[bytes], bad: list[bytes]) -> None:
    for text in good:
        assert check_list(text, DTYPES[dtype])[0] == text
    for text in bad:
        with pytest.raises(Unfit):
            check_list(text, DTYPES[dtype])


def test_how_long_a_packed_vector_is() -> None:
    assert DTYPES["ubinary"].length(1024) == 128
    assert DTYPES["float"].length(1024) == 1024


@pytest.mark.parametrize("value", [None, 1, "x", {}, (), [], [None], ["0.1"], [[0.1]], [1e39]])
def test_values_that_are_no_vector(value: object) -> None:
    with pytest.raises(Unfit):
        check_values(value, FLOAT)


# base64


def encoded(*numbers: float) -> bytes:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers))


@pytest.mark.parametrize(
    "numbers",
    [(0.5,), (0.1, 0.2), (0.1, -0.2, 0.3), (LARGEST, -LARGEST), (0.0, -0.0), (1e-45,), (2e38,)],
)
def test_good_base64(numbers: tuple[float, ...]) -> None:
    assert check_base64(encoded(*numbers), FLOAT) == len(numbers)


@pytest.mark.parametrize(
    "text",
    [
        b"", encoded(math.nan), encoded(0.1, math.inf), encoded(-math.inf, 0.1),
        base64.b64encode(b"\1\0\x80\x7f"),  # a signalling NaN
        base64.b64encode(b"\1\0\x80\xff"),
        base64.b64encode(b"abc"), base64.b64encode(b"abcde"),
        encoded(0.1)[:-1], encoded(0.1)[:-2], encoded(0.1) + b"=", encoded(0.1) + b"AAAA",
        b" " + encoded(0.1), encoded(0.1) + b"\n", b"=" + encoded(0.1)[1:],
        encoded(0.1, 0.2).replace(b"P", b"-"), b"_" + encoded(0.1)[1:], b"\xff" + encoded(0.1)[1:],
        b"AA\\/AAA==", b"AAAA AAA",
    ],
)  # fmt: skip
def test_bad_base64(text: bytes) -> None:
    with pytest.raises(Unfit):
        check_base64(text, FLOAT)


def test_base64_of_bytes() -> None:
    assert check_base64(base64.b64encode(b"\x7f\xff\x80"), DTYPES["int8"]) == 3
    assert check_base64(base64.b64encode(b"\x7f" * 128), DTYPES["ubinary"]) == 128


@given(st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=40))
@settings(max_examples=300, deadline=None)
def test_base64_agrees_with_struct(numbers: list[float]) -> None:
    if all(map(math.isfinite, numbers)):
        assert check_base64(encoded(*numbers), FLOAT) == len(numbers)
    else:
        with pytest.raises(Unfit):
            check_base64(encoded(*numbers), FLOAT)


def decoded_count(text: bytes) -> int:
    """What the check is to say, by decoding and looking at each number; 0 for unfit."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return 0
    if len(raw) % 4 or not all(map(math.isfinite, struct.unpack(f"<{len(raw) // 4}f", raw))):
        return 0
    return len(raw) // 4


def checked_count(text: bytes) -> int:
    try:
        return check_base64(text, FLOAT)
    except Unfit:
        return 0


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("after", range(4))
def test_a_number_that_is_not_finite_is_seen_wherever_it_stands(before: int, after: int) -> None:
    """All of them: each sign, each byte of the fraction; and their neighbours, which are finite."""
    for fraction in (0, 1, 0x7F, 0x80, 0x8000, 0x400000, 0x7FFFFF):
        for sign in (0, 1 << 31):
            for exponent, count in ((0xFF, 0), (0xFE, before + 1 + after), (0x7F, None)):
                bits = sign | exponent << 23 | fraction
                raw = b"".join(
                    (struct.pack("<f", 0.03) * before, struct.pack("<I", bits),
                     struct.pack("<f", -0.7) * after)
                )  # fmt: skip
                text = base64.b64encode(raw)
                assert checked_count(text) == decoded_count(text)
                assert count is None or checked_count(text) == count


@given(st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=50))
@settings(max_examples=500, deadline=None)
def test_base64_of_any_bits_is_judged_as_decoded(bits: list[int]) -> None:
    text = base64.b64encode(struct.pack(f"<{len(bits)}I", *bits))
    assert checked_count(text) == decoded_count(text)


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=9),
    st.integers(0, 50),
    st.sampled_from(
        [b"", b"=", b"-", b"_", b" ", b"\n", b"A", b"/", b"+", b"\xc3", b"==", b"AAAA"]
    ),
    st.integers(0, 2),
)
@settings(max_examples=500, deadline=None)
def test_a_changed_text_is_judged_as_decoded(
    numbers: list[float], at: int, put: bytes, less: int
) -> None:
    text = encoded(*numbers)
    text = text[:at] + put + text[at + less :]
    if not text.endswith(b"===="):  # which `b64decode` lets through
        assert checked_count(text) == decoded_count(text)


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_vector_or_unfit(text: bytes) -> None:
    for check in (check_list, check_base64):
        try:
            check(text, FLOAT)
        except Unfit:
            continue
        assert text


@given(
    st.lists(
        st.sampled_from(
            ["0.1", "-0.5", "1e-05", "2E+3", "7", "-0", "NaN", "1e999", "1e39", "null", "true",
             '"x"', "[1]", "01", "1.", ".5", "", " ", "\n0.25 ", "1 2", "-", "0.1e", "{}"]
        ),
        max_size=6,
    ),
    st.sampled_from(["[", "[ ", "[\n  ", ""]),
    st.sampled_from(["]", " ]", "]]", ""]),
)  # fmt: skip
@settings(max_examples=500, deadline=None)
def test_lists_agree_with_orjson(tokens: list[str], start: str, end: str) -> None:
    text = (start + ",".join(tokens) + end).encode()
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        values = None
    good = (
        type(values) is list
        and len(values) > 0
        and all(type(v) in (int, float) and abs(v) <= LARGEST for v in values)
    )
    if good:
        kept, count = check_list(text, FLOAT)
        assert orjson.loads(kept) == values
        assert count == len(values)
    else:
        with pytest.raises(Unfit):
            check_list(text, FLOAT)
