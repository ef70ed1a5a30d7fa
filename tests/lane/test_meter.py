"""One limit's meter alone: the log's wait, the virtual clock, what a header left."""

from __future__ import annotations

import math

import pytest

from emr.lane.learner import Learner
from emr.lane.meter import CALLS, TOKENS, Entry, Meter

UNIT_S = 1.0  # of a limit of 60 a minute, calls of no time


def meter_of(limit: float = 60.0) -> Meter:
    return Meter(CALLS, Learner(ceiling=limit), configured=True)


def landed(meter: Meter, *costs: tuple[float, float]) -> list[Entry]:
    """Calls of so much that ended at those times, booked."""
    entries = []
    for cost, at in costs:
        entry = Entry({CALLS: cost})
        entry.landed_at = at
        meter.book(cost)
        entries.append(entry)
    return entries


# the log


def test_what_is_not_known_has_all_the_room() -> None:
    assert Meter(CALLS, Learner(), configured=False).room == math.inf


@pytest.mark.parametrize(("cost", "wait"), [(9.0, 0.0), (10.0, 0.0), (11.0, 55.0), (30.0, 55.0),
                                            (31.0, 57.0), (60.0, 57.0)])  # fmt: skip
def test_the_log_has_room_when_enough_has_left(cost: float, wait: float) -> None:
    meter = meter_of()
    log = landed(meter, (20.0, 95.0), (30.0, 97.0))
    assert meter.room == 10.0
    assert meter.wait(cost, 100.0, UNIT_S, log, 100.0) == pytest.approx(wait)


def test_more_than_the_limit_goes_when_the_log_is_empty() -> None:
    meter = meter_of()
    log = landed(meter, (1.0, 95.0))
    assert meter.wait(61.0, 0.0, UNIT_S, log, 100.0) == pytest.approx(55.0)
    assert meter_of().wait(61.0, 0.0, UNIT_S, [], 100.0) == 0.0


def test_while_only_calls_in_flight_fill_it_a_reply_is_waited_for() -> None:
    meter = meter_of()
    meter.book(60.0)
    assert meter.wait(1.0, 100.0, UNIT_S, [], 100.0) == math.inf


def test_it_is_held_against_the_cap_not_the_pace() -> None:
    meter = Meter(CALLS, Learner(), configured=False)
    meter.learner.cut(60.0, 60.0)
    assert meter.learner.w == pytest.approx(42.0)
    meter.book(50.0)
    assert meter.room == 10.0
    assert meter.wait(10.0, 100.0, UNIT_S, [], 100.0) == 0.0


# the virtual clock


@pytest.mark.parametrize(("rtt_s", "unit_s"), [(0.0, 1.0), (3.0, 1.05)])
def test_it_runs_a_little_slower_than_the_log_empties(rtt_s: float, unit_s: float) -> None:
    assert meter_of().unit_s(rtt_s) == pytest.approx(unit_s)


@pytest.mark.parametrize(("cost", "wait"), [(1.0, 3.0), (2.0, 4.0), (2.1, 4.0), (9.0, 4.0)])
def test_up_to_the_burst_may_go_before_it_is_paid_for(cost: float, wait: float) -> None:
    """More than the burst goes when nothing is owed."""
    meter = meter_of()
    meter.due = 104.0
    assert meter.wait(cost, 2.0, UNIT_S, [], 100.0) == pytest.approx(wait)


def test_nothing_owed_is_no_credit_for_more_than_the_burst() -> None:
    meter = meter_of()
    for _ in range(2):
        assert meter.wait(1.0, 2.0, UNIT_S, [], 100.0) == 0.0
        meter.owe(1.0, UNIT_S, 100.0, made_up=False)
    assert meter.wait(1.0, 2.0, UNIT_S, [], 100.0) == pytest.approx(1.0)


def test_charges_add_up_from_now_on() -> None:
    meter = meter_of()
    meter.owe(3.0, UNIT_S, 100.0, made_up=True)
    assert meter.due == 103.0
    meter.owe(2.0, UNIT_S, 101.0, made_up=True)
    assert meter.due == 105.0
    meter.owe(-1.0, UNIT_S, 101.0, made_up=True)
    assert meter.due == 104.0


@pytest.mark.parametrize(
    ("made_up", "held", "due"), [(True, True, 200.0), (True, False, 203.0), (False, True, 203.0)]
)
def test_time_in_which_the_log_held_is_made_up_for(made_up: bool, held: bool, due: float) -> None:
    meter = meter_of()
    meter.due = 194.0
    meter.held_by_log = held
    meter.owe(3.0, UNIT_S, 200.0, made_up=made_up)
    assert meter.due == due


@pytest.mark.parametrize(
    ("late", "due"), [(0.0, 104.0), (0.3, 104.0), (0.39, 104.0), (0.41, 104.41), (9.0, 113.0)]
)
def test_what_a_timer_was_late_is_made_up_for_and_no_more(late: float, due: float) -> None:
    meter = meter_of()
    meter.due = 103.0
    meter.owe(1.0, UNIT_S, 103.0 + late, made_up=False, late_s=0.4)
    assert meter.due == pytest.approx(due)


def test_up_to_the_calls_own_time() -> None:
    meter = meter_of()
    meter.due, meter.held_by_log = 199.0, True
    meter.owe(3.0, UNIT_S, 200.0, made_up=True)
    assert meter.due == 202.0


def test_it_is_known_which_of_the_two_held() -> None:
    meter = meter_of()
    log = landed(meter, (60.0, 95.0))
    meter.wait(1.0, 2.0, UNIT_S, log, 100.0)
    assert meter.held_by_log
    assert meter_of().wait(1.0, 2.0, UNIT_S, [], 100.0) == 0.0
    meter.sum = 0.0
    meter.wait(1.0, 2.0, UNIT_S, [], 155.0)
    assert meter.held_by_log, "kept until the call goes"
    meter.due = 160.0
    meter.wait(1.0, 2.0, UNIT_S, [], 155.0)
    assert not meter.held_by_log


# room, and headers


@pytest.mark.parametrize(
    ("due", "room"), [(99.0, 10.0), (100.0, 10.0), (101.0, 4.0), (106.0, -1.0)]
)
def test_what_may_go_now(due: float, room: float) -> None:
    meter = meter_of()
    meter.book(50.0)
    meter.due = due
    assert meter.room_now(5.0, UNIT_S, 100.0) == pytest.approx(room)
    assert meter.room_now(500.0, UNIT_S, 100.0) == pytest.approx(10.0), "at most the log's room"


@pytest.mark.parametrize(("cost", "wait"), [(3.0, 0.0), (4.0, 0.0), (5.0, 0.0), (6.0, 1.0)])
def test_what_a_header_left_is_obeyed_and_grows(cost: float, wait: float) -> None:
    """Seven were left a second ago; three were sent since, and one came back."""
    meter = meter_of()
    meter.charged = 110.0
    meter.left = (99.0, 7.0, 107.0)
    assert meter.wait(cost, 100.0, UNIT_S, [], 100.0) == pytest.approx(wait)


def test_every_entry_counts_in_its_own_dimension() -> None:
    meter = Meter(TOKENS, Learner(ceiling=100.0), configured=True)
    entry = Entry({CALLS: 1.0, TOKENS: 80.0})
    entry.landed_at = 90.0
    meter.book(80.0)
    assert meter.wait(30.0, 100.0, 0.6, [entry], 100.0) == pytest.approx(50.0)
    assert (meter.sum, meter.charged) == (80.0, 80.0)
