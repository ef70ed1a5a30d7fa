"""Filling and cutting: which tickets go together, where one is cut, and what K holds back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emr.lane.caps import Caps
from emr.lane.fill import Room, Threshold, fill, may_be_full
from emr.lane.lane import Lane
from emr.lane.settings import AccountSpec
from emr.lane.ticket import Params, Ticket
from tests.lane.support import lane_of, request_of, sized, tag, ticket_of

WIDE = 1 << 30
Found = tuple[int, int, bool]


def waiting(*texts: int, tokens: int = 1, size: int = 4) -> Lane:
    """A lane of tickets with so many equal texts, in that order."""
    return lane_of(*[ticket_of(sized(n, tokens=tokens, size=size), i) for i, n in enumerate(texts)])


def found(lane: Lane, texts: int = WIDE, tokens: int = WIDE, size: int = WIDE) -> Found:
    """What would go: whole tickets, texts of the next one, whether nothing more fits."""
    filling = fill(lane, Room(texts, tokens, size))
    return filling.tickets, filling.cut_texts, filling.full


# the limits at their edges, by texts, tokens and bytes


@pytest.mark.parametrize(
    ("room", "expected"), [(9, (1, 4, True)), (10, (2, 0, True)), (11, (2, 0, False))]
)
def test_texts(room: int, expected: Found) -> None:
    assert found(waiting(5, 5), texts=room) == expected


@pytest.mark.parametrize(
    ("room", "expected"), [(29, (1, 4, True)), (30, (2, 0, False)), (31, (2, 0, False))]
)
def test_tokens(room: int, expected: Found) -> None:
    assert found(waiting(5, 5, tokens=3), tokens=room) == expected


@pytest.mark.parametrize(
    ("room", "expected"), [(69, (1, 4, True)), (70, (2, 0, False)), (71, (2, 0, False))]
)
def test_bytes(room: int, expected: Found) -> None:
    assert found(waiting(5, 5, size=7), size=room) == expected


@pytest.mark.parametrize(("room", "expected"), [(4, (0, 4, True)), (5, (1, 0, True))])
def test_the_first_is_cut_to_fit(room: int, expected: Found) -> None:
    assert found(waiting(5), texts=room) == expected


@pytest.mark.parametrize("limit", ["tokens", "size"])
def test_of_the_first_one_text_goes_whatever_its_size(limit: str) -> None:
    assert found(waiting(5, tokens=100, size=100), **{limit: 99}) == (0, 1, True)
    assert found(waiting(1, tokens=100, size=100), **{limit: 1}) == (0, 1, True)


def test_texts_are_cut_by_their_own_weights() -> None:
    request = request_of(b"x", b"x", b"x", b"x", tokens=[1, 50, 9, 1])
    lane = lane_of(ticket_of(request))
    assert [found(lane, tokens=room)[1] for room in (1, 50, 51, 59, 60)] == [1, 1, 2, 2, 3]


# an eighth


@pytest.mark.parametrize(
    ("first", "expected"), [(55, (1, 9, True)), (56, (1, 8, True)), (57, (1, 0, True))]
)
def test_a_cut_must_be_worth_an_eighth_of_the_texts(first: int, expected: Found) -> None:
    assert found(waiting(first, 20), texts=64) == expected


@pytest.mark.parametrize(("first", "cut"), [(55, 9), (56, 8), (57, 0)])
def test_of_the_tokens(first: int, cut: int) -> None:
    assert found(waiting(first, 20, tokens=2), tokens=128) == (1, cut, True)


@pytest.mark.parametrize(("first", "cut"), [(55, 9), (56, 8), (57, 0)])
def test_of_the_bytes(first: int, cut: int) -> None:
    assert found(waiting(first, 20, size=3), size=192) == (1, cut, True)


def test_a_text_that_does_not_fit_stops_the_filling() -> None:
    lane = lane_of(ticket_of(sized(1, tokens=10), 0), ticket_of(sized(2, tokens=95), 1))
    assert found(lane, tokens=100) == (1, 0, True)


# tickets that may not be cut, or not travel in any call


def test_behind_the_first_a_retried_ticket_is_never_cut() -> None:
    lane = waiting(5, 5)
    lane.waiting[1].tries = 1
    assert found(lane, texts=9) == (1, 0, True)
    assert found(lane, texts=10) == (2, 0, True)


def test_the_first_is_cut_retried_or_not() -> None:
    lane = waiting(5, 5)
    lane.waiting[0].tries = 2
    assert found(lane, texts=4) == (0, 4, True)


def limited(lane: Lane, at: int, *, alone: bool = False, most_texts: int = 0) -> Lane:
    """The same lane, with one ticket that may not travel in any call."""
    tickets = list(lane.waiting)
    tickets[at].alone, tickets[at].most_texts = alone, most_texts
    return lane_of(*tickets)


def test_alone_means_alone() -> None:
    assert found(limited(waiting(1, 1, 1), 0, alone=True)) == (1, 0, True)
    assert found(limited(waiting(1, 1, 1), 1, alone=True)) == (1, 0, True)
    assert found(limited(waiting(1, 1, 1), 2, alone=True)) == (2, 0, True)


@pytest.mark.parametrize(
    ("most", "expected"),
    [(4, (0, 4, True)), (5, (1, 0, True)), (6, (1, 1, True)), (10, (2, 0, True))],
)
def test_the_first_bounds_its_call(most: int, expected: Found) -> None:
    assert found(limited(waiting(5, 5), 0, most_texts=most)) == expected


@pytest.mark.parametrize(
    ("most", "expected"),
    [(5, (1, 0, True)), (9, (1, 0, True)), (10, (2, 0, True)), (11, (2, 0, False))],
)
def test_one_behind_bounds_it_too_and_is_not_cut(most: int, expected: Found) -> None:
    assert found(limited(waiting(5, 5), 1, most_texts=most)) == expected


def test_a_request_passed_on_whole_is_neither_cut_nor_joined() -> None:
    params = Params("m", whole=b"{}")
    lane = lane_of(*[ticket_of(request_of(*[b"x"] * 9, params=params), n) for n in range(2)])
    assert found(lane, texts=4, tokens=4, size=1) == (1, 0, True)
    assert lane.bytes == 2 * len(b"{}"), "its body is what waits"


def test_a_call_that_one_bounds_takes_no_more_behind_it() -> None:
    assert found(limited(waiting(5, 2, 9), 1, most_texts=7)) == (2, 0, True)


# may_be_full: never no when filling would stop


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 2), st.booleans()), min_size=1),
    st.integers(1, 20),
    st.integers(1, 40),
    st.integers(4, 100),
)
def test_the_cheap_question_never_misses_a_full_call(
    tickets: Sequence[tuple[int, int, bool]], texts: int, tokens: int, size: int
) -> None:
    lane = Lane(Params("m"), "a")
    for number, (count, most, alone) in enumerate(tickets):
        ticket = ticket_of(sized(count, tokens=2), number)
        ticket.most_texts, ticket.alone = 3 * most, alone
        lane.put(ticket)
    caps = Caps(AccountSpec("voyage", "m", max_texts=texts, max_bytes=size))
    caps.max_tokens = tokens
    if fill(lane, Room(texts, tokens, size)).full and len(lane.waiting) > 1:
        assert may_be_full(lane, caps)


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 1), st.integers(0, 9)), min_size=1),
    st.integers(1, 20),
    st.integers(1, 40),
    st.integers(4, 100),
)
def test_a_filling_keeps_every_limit_and_takes_the_first(
    tickets: Sequence[tuple[int, int, int]], texts: int, tokens: int, size: int
) -> None:
    lane = Lane(Params("m"), "a")
    for number, (count, tries, most) in enumerate(tickets):
        ticket = ticket_of(sized(count, tokens=2), number)
        ticket.tries, ticket.most_texts = tries, most
        lane.put(ticket)
    whole, cut, full = found(lane, texts, tokens, size)
    taken = lane.waiting[:whole]
    count = sum([len(ticket.places) for ticket in taken]) + cut
    assert count >= 1
    assert count <= texts
    assert count == 1 or (2 * count <= tokens and 4 * count <= size)
    riding: list[Ticket] = [*taken, *lane.waiting[whole : whole + (1 if cut else 0)]]
    for ticket in riding:
        assert not ticket.most_texts or count <= ticket.most_texts
    if cut and whole:
        assert riding[-1].tries == 0
    assert full or whole == len(lane.waiting)


# K


def test_k_doubles_up_to_the_cap_and_comes_down_by_one() -> None:
    threshold = Threshold(1, 3)
    values = []
    for _ in range(9):
        threshold.rate_limited(128)
        values.append(threshold.value)
    assert values == [2, 4, 8, 16, 32, 64, 128, 128, 128]
    assert [threshold.clean() for _ in range(7)] == [False, False, True, False, False, True, False]
    assert threshold.value == 126


def test_k_never_goes_below_one() -> None:
    threshold = Threshold(2, 1)
    assert [threshold.clean() for _ in range(3)] == [True, False, False]
    assert threshold.value == 1


def test_a_rate_limit_begins_the_streak_anew() -> None:
    threshold = Threshold(8, 3)
    for _ in range(2):
        threshold.clean()
    threshold.rate_limited(128)
    assert [threshold.clean() for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(("cap", "value"), [(31, 31), (32, 32), (33, 32), (1, 1)])
def test_k_is_never_over_the_cap_in_texts(cap: int, value: int) -> None:
    threshold = Threshold(16, 3)
    threshold.rate_limited(cap)
    assert threshold.value == value


# the lane


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4))))
def test_tickets_wait_in_the_order_of_their_tags_and_equal_ones_as_they_came(
    tickets: Sequence[tuple[int, int]],
) -> None:
    lane = Lane(Params("m"), "a")
    put = [ticket_of(sized(texts, tokens=3), number) for number, texts in tickets]
    for ticket in put:
        lane.put(ticket)
    assert lane.waiting == sorted(put, key=lambda ticket: ticket.tag)
    assert lane.texts == sum([len(ticket.places) for ticket in put])
    assert (lane.tokens, lane.bytes) == (3 * lane.texts, 4 * lane.texts)
    assert lane.take(len(put)) == sorted(put, key=lambda ticket: ticket.tag)
    assert (lane.texts, lane.tokens, lane.bytes, lane.limited) == (0, 0, 0, 0)


def test_a_cut_keeps_texts_weights_and_what_was_learned() -> None:
    request = request_of(b"a", b"bb", b"ccc", tokens=[1, 20, 300])
    ticket = ticket_of(request, 1, now=7.0)
    ticket.tries, ticket.most_texts = 2, 4
    lane = lane_of(ticket, ticket_of(sized(1), 2), ticket_of(sized(1), 4))
    lane.cut_first(0, 1, tag(3))
    first, _, rest, _ = lane.waiting
    assert (list(first.places), first.tokens, first.bytes) == ([0], 1, 1)
    assert (list(rest.places), rest.tokens, rest.bytes) == ([1, 2], 320, 5)
    assert (rest.tries, rest.most_texts, rest.tag) == (2, 4, tag(3))
    assert (rest.held_at, rest.waited_from) == (7.0, 7.0)
    assert (lane.texts, lane.tokens, lane.bytes, lane.limited) == (5, 323, 14, 2)


def test_sifting_keeps_the_sums() -> None:
    lane = waiting(1, 2, 3)
    lane.waiting[1].request.left = True
    out = lane.sift(lambda ticket: not ticket.request.ended)
    assert [len(ticket.places) for ticket in out] == [2]
    assert (lane.texts, lane.tokens, lane.bytes) == (4, 4, 16)
