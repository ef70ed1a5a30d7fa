"""The gate: the rows of its table but for the sin-bin, and the rules between the rows."""

from __future__ import annotations

import math
from random import Random

import pytest

from emr.lane.gate import NO_LIMIT, Gate, Reason
from emr.lane.verdict import Ending
from tests.lane.gates import ANSWERS, INTERVAL_S, Driver, Highest, Lowest


def state(gate: Gate) -> tuple[Reason, float]:
    return gate.reason, pytest.approx(gate.until)


# the first verdict of a clear gate

FIRST = [
    (Ending.OK, None, Reason.CLEAR, 0.0),
    (Ending.SIZE_ITEMS, None, Reason.CLEAR, 0.0),
    (Ending.SIZE_TOKENS, None, Reason.CLEAR, 0.0),
    (Ending.SIZE_BYTES, None, Reason.CLEAR, 0.0),
    (Ending.BAD_TEXT, None, Reason.CLEAR, 0.0),
    (Ending.BAD_REQUEST, None, Reason.CLEAR, 0.0),
    (Ending.PROTOCOL, None, Reason.CLEAR, 0.0),
    (Ending.TRANSIENT, None, Reason.CLEAR, 0.0),
    (Ending.TRANSIENT, 7.0, Reason.BACKOFF, 107.0),
    (Ending.TRANSIENT, 0.0, Reason.CLEAR, 0.0),
    (Ending.OVERLOAD, None, Reason.BACKOFF, 100.1),
    (Ending.OVERLOAD, 7.0, Reason.BACKOFF, 107.0),
    (Ending.OVERLOAD, -7.0, Reason.BACKOFF, 100.1),
    (Ending.RATE, None, Reason.RATE, 100.0 + INTERVAL_S),
    (Ending.RATE, 0.0, Reason.RATE, 100.0 + INTERVAL_S),
    (Ending.RATE, -5.0, Reason.RATE, 100.0 + INTERVAL_S),
    (Ending.RATE, math.nan, Reason.RATE, 100.0 + INTERVAL_S),
    (Ending.RATE, 0.4, Reason.RATE, 100.4),
    (Ending.RATE, 3599.0, Reason.RATE, 3699.0),
    (Ending.RATE, 3600.0, Reason.RATE, 3700.0),
    (Ending.RATE, 3601.0, Reason.RATE, 3700.0),
    (Ending.RATE, 1e9, Reason.RATE, 3700.0),
    (Ending.RATE, math.inf, Reason.RATE, 3700.0),
    (Ending.AUTH, None, Reason.AUTH, 130.0),
    (Ending.QUOTA, None, Reason.QUOTA, 130.0),
]


@pytest.mark.parametrize(("ending", "retry_after", "reason", "until"), FIRST)
def test_what_one_verdict_does(
    ending: Ending, retry_after: float | None, reason: Reason, until: float
) -> None:
    gate = Driver().end(ending, 100.0, retry_after)
    assert (gate.reason, gate.until) == (reason, pytest.approx(until))


@pytest.mark.parametrize(
    ("reason", "width"),
    [(r, 1 if r in (Reason.BINNED, Reason.AUTH, Reason.QUOTA) else NO_LIMIT) for r in Reason],
)
def test_only_a_bin_and_the_latches_narrow(reason: Reason, width: int) -> None:
    driver = Driver()
    driver.gate.reason = reason
    assert driver.gate.width == width


@pytest.mark.parametrize("ending", [Ending.RATE, Ending.OVERLOAD])
def test_time_clears_a_hold(ending: Ending) -> None:
    gate = Driver().end(ending, 100.0, 5.0)
    gate.refresh(104.999)
    assert gate.reason in (Reason.RATE, Reason.BACKOFF)
    gate.refresh(105.0)
    assert gate.reason is Reason.CLEAR


# RATE


def test_rate_without_a_time_doubles_up_to_a_minute() -> None:
    driver, now, waits = Driver(), 100.0, []
    for _ in range(8):
        waits.append(driver.end(Ending.RATE, now).until - now)
        now = driver.gate.until
    assert waits == pytest.approx([1.5, 3.0, 6.0, 12.0, 24.0, 48.0, 60.0, 60.0])


def test_a_success_forgets_the_doubling() -> None:
    driver = Driver()
    for now in (100.0, 110.0, 120.0):
        driver.end(Ending.RATE, now)
    driver.end(Ending.OK, 130.0)
    assert driver.end(Ending.RATE, 140.0).until == pytest.approx(141.5)


@pytest.mark.parametrize(("asked", "wait"), [(0.4, 3.0), (2.9, 3.0), (3.1, 3.1), (30.0, 30.0)])
def test_the_second_in_a_row_waits_at_least_its_own_back_off(asked: float, wait: float) -> None:
    driver = Driver()
    driver.end(Ending.RATE, 100.0, 0.4)
    assert driver.end(Ending.RATE, 101.0, asked).until == pytest.approx(101.0 + wait)


@pytest.mark.parametrize("asked", [None, 0.4, 1.0, 9.0, 30.0, 3600.0])
def test_jitter_comes_after_and_never_shortens(asked: float | None) -> None:
    wait = INTERVAL_S if asked is None else asked
    most = Driver(Highest()).end(Ending.RATE, 100.0, asked).until - 100.0
    assert wait < most <= wait + min(1.0, 0.1 * wait) + 1e-9
    for seed in range(50):
        assert Driver(Random(seed)).end(Ending.RATE, 100.0, asked).until >= 100.0 + wait


def test_a_call_sent_before_the_change_does_not_change_it_again() -> None:
    driver = Driver()
    before = driver.gate.epoch
    driver.end(Ending.RATE, 100.0)
    held = state(driver.gate)
    for ending in [each for each in Ending if each is not Ending.OK]:
        gate = driver.end(ending, 100.1, epoch=before)
        assert (gate.reason, gate.until) == held
    assert driver.end(Ending.RATE, 101.5).until == pytest.approx(104.5), "it doubled only once"


@pytest.mark.parametrize(("epochs_ago", "wait"), [(1, 1.5), (2, 6.0)])
def test_a_call_let_through_beside_the_refused_one_ends_the_doubling(
    epochs_ago: int, wait: float
) -> None:
    """Its answer takes longer than the refusal, and comes when the gate has changed."""
    driver = Driver()
    driver.end(Ending.RATE, 100.0)
    gate = driver.end(Ending.RATE, 101.5)
    held = state(gate)
    driver.end(Ending.OK, 101.6, epoch=gate.epoch - epochs_ago)
    assert state(gate) == held, "the hold itself stays"
    assert driver.end(Ending.RATE, 104.5).until == pytest.approx(104.5 + wait)


@pytest.mark.parametrize("ending", [Ending.RATE, Ending.OVERLOAD, Ending.TRANSIENT])
def test_a_later_retry_after_always_moves_out(ending: Ending) -> None:
    driver = Driver()
    before = driver.gate.epoch
    driver.end(Ending.RATE, 100.0, 5.0)
    assert driver.end(ending, 101.0, 3.9, epoch=before).until == pytest.approx(105.0)
    assert driver.end(ending, 101.0, 4.1, epoch=before).until == pytest.approx(105.1)
    assert driver.end(ending, 102.0, 1e9, epoch=before).until == pytest.approx(3702.0)


def test_a_late_retry_after_holds_a_clear_gate() -> None:
    driver = Driver()
    before = driver.gate.epoch
    driver.end(Ending.OVERLOAD, 100.0)
    driver.gate.refresh(101.0)
    gate = driver.end(Ending.RATE, 102.0, 8.0, epoch=before)
    assert (gate.reason, gate.until) == (Reason.RATE, pytest.approx(110.0))


def test_of_rate_and_backoff_the_later_wins() -> None:
    driver = Driver()
    driver.end(Ending.RATE, 100.0, 10.0)
    assert driver.end(Ending.OVERLOAD, 101.0, 3.0).reason is Reason.RATE
    assert driver.gate.until == pytest.approx(110.0)
    gate = driver.end(Ending.OVERLOAD, 101.0, 12.0)
    assert (gate.reason, gate.until) == (Reason.BACKOFF, pytest.approx(113.0))


# BACKOFF


def test_backoff_is_drawn_under_a_doubling_bound_of_two_seconds() -> None:
    least, most = Driver(Lowest()), Driver(Highest())
    bounds = [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    for number, bound in enumerate(bounds):
        now = 100.0 + number
        assert least.end(Ending.OVERLOAD, now).until - now == pytest.approx(0.1)
        assert most.end(Ending.OVERLOAD, now).until - now == pytest.approx(bound)


@pytest.mark.parametrize(("until", "reason"), [(14.9, Reason.BACKOFF), (15.0, Reason.BINNED)])
def test_nothing_but_overload_for_the_binned_wait_is_a_bin(until: float, reason: Reason) -> None:
    driver = Driver()
    driver.end(Ending.OVERLOAD, 100.0)
    driver.end(Ending.OVERLOAD, 107.0)
    assert driver.end(Ending.OVERLOAD, 100.0 + until).reason is reason


@pytest.mark.parametrize("between", ANSWERS)
def test_any_other_answer_begins_the_overload_anew(between: Ending) -> None:
    driver = Driver()
    driver.end(Ending.OVERLOAD, 100.0)
    driver.end(between, 107.0)
    assert driver.end(Ending.OVERLOAD, 116.0).reason is Reason.BACKOFF


# AUTH and QUOTA


@pytest.mark.parametrize("ending", [Ending.AUTH, Ending.QUOTA])
def test_a_latch_doubles_from_half_a_minute_to_an_hour(ending: Ending) -> None:
    driver, now, waits = Driver(), 100.0, []
    for _ in range(9):
        gate = driver.end(ending, now, message="no")
        waits.append(gate.until - now)
        assert (gate.width, gate.message) == (1, "no")
        now = gate.until
    assert waits == pytest.approx([30, 60, 120, 240, 480, 960, 1920, 3600, 3600])
    driver.end(Ending.OK, now)
    assert gate.reason is Reason.RAMP
    assert driver.end(ending, now + 1.0).until - now == pytest.approx(31.0), "it starts anew"


def test_sixteen_refusals_of_one_credential_are_one() -> None:
    driver = Driver()
    before = driver.gate.epoch
    for _ in range(16):
        driver.end(Ending.AUTH, 100.0, epoch=before)
    assert driver.gate.until == pytest.approx(130.0)


def test_clear_starts_anew_and_ignores_what_was_sent_before() -> None:
    driver = Driver()
    driver.bin(100.0)
    driver.end(Ending.AUTH, 101.0)
    before = driver.gate.epoch
    driver.gate.clear()
    gate = driver.end(Ending.AUTH, 101.0, epoch=before)
    assert (gate.reason, gate.until, gate.width) == (Reason.CLEAR, 0.0, NO_LIMIT)
    assert driver.end(Ending.AUTH, 102.0).until == pytest.approx(132.0)


# what goes on for long


@pytest.mark.parametrize(
    ("ending", "longest_s"),
    [
        (Ending.TRANSIENT, 2.0),
        (Ending.OVERLOAD, 2.0),
        (Ending.RATE, 60.0),
        (Ending.AUTH, 3600.0),
        (Ending.QUOTA, 3600.0),
    ],
)
def test_trouble_without_end_is_borne(ending: Ending, longest_s: float) -> None:
    driver, now = Driver(), 100.0
    for _ in range(3000):
        gate = driver.end(ending, now)
        assert gate.until - now <= longest_s
        now = max(now + 0.5, gate.until, gate.bin.ends)


def test_a_later_retry_after_moves_a_latch_out_too() -> None:
    driver = Driver()
    driver.end(Ending.AUTH, 100.0)
    before = driver.gate.until
    assert driver.end(Ending.TRANSIENT, 101.0, 120.0).until == pytest.approx(221.0)
    assert before < 221.0
    assert driver.end(Ending.RATE, 102.0, 300.0, epoch=0).until == pytest.approx(402.0)
    assert driver.gate.reason is Reason.AUTH
