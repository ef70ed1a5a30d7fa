"""What an answer says of the cache, and who asks to be left out of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emr.front.answer import facts
from emr.front.desk import Principal
from emr.front.forms.vectors import BASE64, NUMBERS, length_of, raw_of, written
from emr.front.terms import terms_of
from emr.lane.ticket import Origin, Params, Request
from tests.front.double import DeskDouble

ORIGIN = Origin(8, "m", "p")


def request_of(texts: int, cached: int) -> Request:
    request = Request(Params("m"), [b'"a"'] * texts, "key", 0.0, print)
    if cached:
        request.recall(range(cached, texts), ORIGIN)
    return request


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([(1, 0)], b"miss"), ([(1, 1)], b"hit"),
        ([(3, 0)], b"miss"), ([(3, 1)], b"partial"), ([(3, 2)], b"partial"), ([(3, 3)], b"hit"),
        ([(1, 1), (2, 2)], b"hit"), ([(1, 1), (1, 0)], b"partial"), ([(1, 0), (2, 0)], b"miss"),
        ([(0, 0)], b"miss"),
    ],
)  # fmt: skip
def test_an_answer_says_how_much_of_it_was_found(parts: list[tuple[int, int]], said: bytes) -> None:
    requests = [request_of(texts, cached) for texts, cached in parts]
    assert dict(facts(requests))[b"x-emr-cache"] == said


@pytest.mark.parametrize(
    ("header", "no_store"),
    [
        (None, False), (b"", False), (b"no-store", True), (b"No-Store", True),
        (b"max-age=0, no-store", True), (b"no-store,private", True), (b" no-store ", True),
        (b"private ,no-store, max-age=1", True),
        (b"no-cache", False), (b"x-no-store", False), (b"no-stores", False), (b"no-store=1", False),
        (b"no store", False), (b'private="no-store"', False),
    ],
)  # fmt: skip
def test_no_store_is_a_word_of_cache_control(header: bytes | None, no_store: bool) -> None:
    headers = {} if header is None else {b"cache-control": header}
    principal = Principal("key", "app")
    assert terms_of(headers, 1, principal, DeskDouble(), 0.0).no_store is no_store


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_any_writing_of_any_vector_has_the_same_bytes(numbers: list[float]) -> None:
    text = b"[%b]" % b",".join([repr(number).encode() for number in numbers])
    raw = raw_of(text, "float")
    assert length_of(raw, "float") == len(numbers)
    assert raw_of(written(raw, "float", BASE64), "float") == raw
    again = raw_of(written(raw, "float", NUMBERS), "float")
    assert again == raw


@pytest.mark.parametrize("raw", [b"123", b"12345"])
def test_bytes_that_are_no_whole_numbers_are_no_vector(raw: bytes) -> None:
    with pytest.raises(ValueError, match="bytes length"):
        written(raw, "float", NUMBERS)
