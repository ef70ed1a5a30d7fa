"""Sharing what a call brought: tokens that sum exactly, vectors each to its place."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emr.lane.flight import Flights
from emr.lane.split import give, share
from emr.lane.ticket import Batch, Params, Ticket
from emr.lane.verdict import Reply
from tests.lane.support import PARAMS, batch_of, request_of, tag, ticket_of

weights = st.lists(st.integers(0, 10**6), min_size=1, max_size=40)


@given(st.integers(0, 10**9), weights)
def test_the_parts_are_whole_and_sum_exactly(total: int, parts: list[int]) -> None:
    shares = share(total, parts)
    assert sum(shares) == total
    assert len(shares) == len(parts)
    whole = sum(parts)
    for part, got in zip(parts, shares, strict=True):
        quota = Fraction(total * part, whole) if whole else Fraction(total, len(parts))
        assert abs(got - quota) < 1
        assert got >= 0
    assert shares == share(total, parts)


@given(st.integers(0, 10**6), weights)
def test_more_weight_never_pays_less(total: int, parts: list[int]) -> None:
    shares = share(total, parts)
    for i, a in enumerate(parts):
        for j, b in enumerate(parts):
            if a > b:
                assert shares[i] >= shares[j], "and of equals the first pays"


@pytest.mark.parametrize(
    ("total", "parts", "shares"),
    [
        (10, [1, 1, 1], [4, 3, 3]),
        (11, [1, 1, 1], [4, 4, 3]),
        (1, [1, 1, 1], [1, 0, 0]),
        (0, [3, 4], [0, 0]),
        (7, [5], [7]),
        (5, [0, 0], [3, 2]),
        (3, [0, 1], [0, 3]),
        (100, [41, 17, 1], [69, 29, 2]),
    ],
)
def test_largest_remainder(total: int, parts: list[int], shares: list[int]) -> None:
    assert share(total, parts) == shares


def reply_of(texts: int, tokens: int | None = None) -> Reply:
    return Reply([b"[%d]" % number for number in range(texts)], 1, tokens, "model-2")


def test_vectors_go_to_their_places() -> None:
    request = request_of(b"a", b"b", b"c", b"d", b"e")
    other = request_of(b"x")
    first, rest = Ticket(request, [3, 1], tag(1), 0.0), Ticket(request, [0, 2, 4], tag(1), 0.0)
    assert give(
        Batch(PARAMS, [first, ticket_of(other)]), reply_of(3), 0.5, Flights(shared=True), "p"
    ) == [other]
    assert request.vectors == [b"", b"[1]", b"", b"[0]", b""]
    assert (request.missing, request.ended, other.vectors) == (3, False, [b"[2]"])
    assert give(Batch(PARAMS, [rest]), reply_of(3), 0.2, Flights(shared=True), "p") == [request]
    assert request.vectors == [b"[0]", b"[1]", b"[1]", b"[0]", b"[2]"]
    assert (request.missing, request.provider_s, request.batch_texts) == (0, 0.5, 3)
    assert request.model == "model-2"


def test_the_bill_is_shared_by_estimates_and_is_theirs_who_left_too() -> None:
    left, stays = request_of(b"a", tokens=[30]), request_of(b"b", tokens=[10])
    left.left = True
    assert give(batch_of(left, stays), reply_of(2, tokens=41), 0.1, Flights(shared=True), "p") == [
        stays
    ]
    assert (left.billed, stays.billed) == (31, 10)
    assert left.vectors == [b""]


def test_without_a_bill_the_estimates_are_booked() -> None:
    one, two = request_of(b"a", tokens=[30]), request_of(b"b", tokens=[10])
    give(batch_of(one, two), reply_of(2), 0.1, Flights(shared=True), "p")
    assert (one.billed, two.billed) == (30, 10)


def test_a_wrong_count_that_was_not_checked_is_a_bug() -> None:
    for count in (1, 3):
        with pytest.raises(AssertionError):
            give(batch_of(request_of(b"a", b"b")), reply_of(count), 0.1, Flights(shared=True), "p")


@pytest.mark.parametrize("texts", [[], [b"a"], [b"a", b"b"]])
def test_a_request_passed_on_whole_takes_the_body(texts: list[bytes]) -> None:
    request = request_of(*texts, params=Params("m", whole=b"{}"))
    reply = Reply([], 0, 12, "m", b'{"data":[]}')
    assert not request.ended
    assert give(batch_of(request), reply, 0.1, Flights(shared=True), "p") == [request]
    assert (request.body, request.ended, request.billed) == (b'{"data":[]}', True, 12)
