"""Retry credits to their exact bounds, back-off, and the order in which tickets come back."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emr.lane.retry import RESERVE, Credits, Resting, backoff_s
from emr.lane.ticket import Ticket
from tests.lane.support import sized, ticket_of


def spend(purse: Credits, now: float) -> int:
    """Take credits until there is none."""
    taken = 0
    while purse.take(now):
        taken += 1
    return taken


def test_ten_at_the_start() -> None:
    assert spend(Credits(), 100.0) == RESERVE


def test_three_quarters_of_a_credit_a_first_attempt() -> None:
    purse = Credits()
    assert spend(purse, 100.0) == 10
    for _ in range(3):
        purse.first_attempt(100.0)
    assert spend(purse, 100.0) == 2
    purse.first_attempt(100.0)
    assert spend(purse, 100.0) == 1, "the quarter that was left, and three more"


@pytest.mark.parametrize(("attempts", "most"), [(0, 10), (1, 10), (2, 11), (19, 24), (20, 25)])
def test_at_most_ten_and_three_quarters_of_the_first_attempts_of_ten_seconds(
    attempts: int, most: int
) -> None:
    purse = Credits()
    for number in range(attempts):
        purse.first_attempt(100.0 + 0.1 * number)
    assert spend(purse, 100.0 + 0.1 * attempts) == most


@pytest.mark.parametrize(("after", "most"), [(9.9, 25), (10.0, 10)])
def test_an_attempt_counts_for_ten_seconds(after: float, most: int) -> None:
    purse = Credits()
    for _ in range(20):
        purse.first_attempt(100.0)
    assert spend(purse, 100.0 + after) == most


@pytest.mark.parametrize(("after", "taken"), [(0.99, 0), (1.0, 1), (2.5, 2), (9.9, 9)])
def test_one_a_second(after: float, taken: int) -> None:
    purse = Credits()
    spend(purse, 100.0)
    assert purse.next_at(100.0) == pytest.approx(101.0)
    assert spend(purse, 100.0 + after) == taken


@pytest.mark.parametrize("pause", [10.0, 100.0, 1e6])
def test_a_pause_gives_no_more_than_the_reserve(pause: float) -> None:
    purse = Credits()
    for _ in range(100):
        purse.first_attempt(100.0)
    spend(purse, 100.0)
    assert spend(purse, 100.0 + pause) == RESERVE


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(0, 4), st.integers(0, 6)), max_size=80))
def test_never_more_than_the_law_allows(turns: list[tuple[float, int, int]]) -> None:
    """Over any time: retries <= 10 + 0.75 a first attempt + 1 a second; so much, and not less."""
    purse, now, firsts, taken = Credits(), 100.0, 0, 0
    spent_from = now
    for wait, attempts, retries in turns:
        now += wait
        for _ in range(attempts):
            purse.first_attempt(now)
            firsts += 1
        for _ in range(retries):
            taken += purse.take(now)
        assert taken <= RESERVE + 0.75 * firsts + (now - spent_from) + 1e-6
        assert 0.0 <= purse.balance <= RESERVE + 0.75 * firsts


@given(st.floats(0.0, 1e9), st.lists(st.floats(0.0, 3.0), max_size=20))
def test_at_the_time_told_there_is_a_credit(start: float, waits: list[float]) -> None:
    purse = Credits()
    spend(purse, start)
    now = start
    for wait in waits:
        now += wait
        spend(purse, now)
        at = purse.next_at(now)
        assert at >= now
        assert purse.take(at), "else the step would come back at once, for ever"
        now = at


# resting


def rest(*tickets: Ticket) -> Resting:
    resting = Resting()
    for ticket, until in zip(tickets, (103.0, 101.0, 102.0, 101.0), strict=False):
        resting.put(ticket, until)
    return resting


def test_they_come_back_when_their_time_ends_the_first_put_of_equals_first() -> None:
    tickets = [ticket_of(sized(1)) for _ in range(4)]
    resting, purse = rest(*tickets), Credits()
    assert resting.next_at(100.0, purse) == 101.0
    assert resting.over(100.9, purse) == []
    assert resting.over(102.0, purse) == [tickets[1], tickets[3], tickets[2]]
    assert resting.next_at(102.0, purse) == 103.0
    assert resting.over(110.0, purse) == [tickets[0]]
    assert resting.next_at(110.0, purse) == math.inf
    assert resting.tickets == []


def test_who_owes_comes_back_call_by_call_for_a_credit_each() -> None:
    resting, purse = Resting(), Credits()
    calls = [[ticket_of(sized(1)) for _ in range(3)] for _ in range(3)]
    spend(purse, 100.0)
    for call in calls:
        resting.owe(call)
    assert resting.over(100.0, purse) == []
    assert resting.next_at(100.0, purse) == pytest.approx(101.0)
    assert resting.over(101.0, purse) == calls[0]
    purse.first_attempt(101.0)
    purse.first_attempt(101.0)
    assert resting.over(101.0, purse) == calls[1]
    assert resting.tickets == calls[2]


def test_sums_and_sifting() -> None:
    resting = Resting()
    gone, stays = ticket_of(sized(2, size=3)), ticket_of(sized(5, size=7))
    resting.put(gone, 101.0)
    resting.put(stays, 102.0)
    resting.owe([ticket_of(gone.request), ticket_of(stays.request)])
    resting.owe([ticket_of(gone.request)])
    assert len(resting.tickets) == 5
    gone.request.left = True
    resting.sift()
    assert {ticket.request for ticket in resting.tickets} == {stays.request}
    assert len(resting.tickets) == 2
    purse = Credits()
    assert len(resting.over(200.0, purse)) == 2
    assert purse.balance == RESERVE - 1, "a call of which nobody is left costs nothing"


# back-off


@pytest.mark.parametrize(
    ("tries", "cap_s", "most"),
    [(1, 15.0, 0.5), (2, 15.0, 1.0), (5, 15.0, 8.0), (6, 15.0, 15.0), (3, 1.0, 1.0)],
)
def test_full_jitter_under_a_doubling_bound(tries: int, cap_s: float, most: float) -> None:
    rng = Random(1)
    drawn = [backoff_s(tries, cap_s, rng) for _ in range(2000)]
    assert 0.0 <= min(drawn) < 0.01 * most
    assert 0.99 * most < max(drawn) <= most
