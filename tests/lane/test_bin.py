"""The sin-bin and the ramp after it: how a bin begins, how it is tried, how it is forgotten."""

from __future__ import annotations

import pytest

from emr.lane.gate import NO_LIMIT, Reason
from emr.lane.settings import LaneSettings
from emr.lane.verdict import Ending
from tests.lane.gates import ANSWERS, Driver

# BINNED


@pytest.mark.parametrize(("failures", "reason"), [(4, Reason.CLEAR), (5, Reason.BINNED)])
def test_the_threshold_of_failures(failures: int, reason: Reason) -> None:
    driver = Driver()
    for number in range(failures):
        driver.end(Ending.TRANSIENT, 100.0 + number)
    assert driver.gate.reason is reason


@pytest.mark.parametrize(("spread", "reason"), [(0.39, Reason.CLEAR), (0.41, Reason.BINNED)])
def test_failures_within_two_rtt_say_nothing_yet(spread: float, reason: Reason) -> None:
    driver = Driver()
    for number in range(5):
        driver.end(Ending.TRANSIENT, 100.0 + spread * number / 4)
    assert driver.gate.reason is reason


def test_a_long_burst_of_failures_bins_when_two_rtt_are_over() -> None:
    driver = Driver()
    for _ in range(16):
        assert driver.end(Ending.TRANSIENT, 100.0).reason is Reason.CLEAR
    assert driver.end(Ending.TRANSIENT, 100.4).reason is Reason.BINNED


@pytest.mark.parametrize("between", [*ANSWERS, Ending.RATE, Ending.OVERLOAD])
def test_an_answer_between_breaks_the_row(between: Ending) -> None:
    driver = Driver()
    for number in range(4):
        driver.end(Ending.TRANSIENT, 100.0 + number)
    driver.end(between, 104.0)
    assert driver.end(Ending.TRANSIENT, 200.0).reason is not Reason.BINNED


def test_a_wrong_count_neither_breaks_the_row_nor_counts() -> None:
    driver = Driver()
    for number in range(4):
        driver.end(Ending.TRANSIENT, 100.0 + number)
    assert driver.end(Ending.PROTOCOL, 104.0).reason is Reason.CLEAR
    assert driver.end(Ending.TRANSIENT, 105.0).reason is Reason.BINNED


@pytest.mark.parametrize("ending", [Ending.RATE, Ending.BAD_TEXT, Ending.BAD_REQUEST])
def test_rates_and_the_callers_own_faults_never_bin(ending: Ending) -> None:
    driver = Driver()
    for number in range(50):
        driver.end(ending, 100.0 + 10 * number)
    assert driver.gate.reason in (Reason.RATE, Reason.CLEAR)
    assert driver.gate.failures == 0


def test_alone_it_is_never_shut_but_tried_at_most_two_seconds_apart() -> None:
    driver = Driver()
    gate = driver.bin(100.0)
    assert gate.width == 1
    now = 100.0
    waits = [gate.until - now]
    for _ in range(5):
        now = gate.until
        driver.end(Ending.TRANSIENT, now)
        waits.append(gate.until - now)
    assert waits == pytest.approx([0.5, 1.0, 2.0, 2.0, 2.0, 2.0])


def test_the_bin_that_is_shown_grows_and_starts_again_when_a_probe_fails_after_it() -> None:
    driver = Driver(settings=LaneSettings(sinbin_initial_s=30.0, sinbin_max_s=100.0))
    gate = driver.bin(100.0)
    assert (gate.bin.started, gate.bin.ends) == (100.0, 130.0)
    driver.end(Ending.TRANSIENT, 129.9)
    assert gate.bin.ends == 130.0
    ends = []
    for _ in range(3):
        driver.end(Ending.TRANSIENT, gate.bin.ends)
        ends.append(gate.bin.ends)
    assert ends == [190.0, 290.0, 390.0]
    assert gate.bin.started == 100.0, "the bin is as old as its first failure"


@pytest.mark.parametrize("ending", [*ANSWERS, Ending.RATE, Ending.OVERLOAD])
def test_a_probe_that_is_answered_ends_the_bin(ending: Ending) -> None:
    driver = Driver()
    driver.bin(100.0)
    gate = driver.end(ending, 101.0)
    assert gate.ramping
    own = {Ending.RATE: Reason.RATE, Ending.OVERLOAD: Reason.BACKOFF}
    assert gate.reason is own.get(ending, Reason.RAMP)
    assert gate.width == NO_LIMIT
    gate.refresh(110.0)
    assert gate.reason is Reason.RAMP, "a hold over a ramp returns to it"


@pytest.mark.parametrize("ending", [Ending.TRANSIENT, Ending.PROTOCOL])
def test_a_probe_that_fails_sets_the_next_time(ending: Ending) -> None:
    driver = Driver()
    driver.bin(100.0)
    gate = driver.end(ending, 100.6)
    assert (gate.reason, gate.until) == (Reason.BINNED, pytest.approx(101.6))


@pytest.mark.parametrize(
    ("ending", "reason"), [(Ending.AUTH, Reason.AUTH), (Ending.QUOTA, Reason.QUOTA)]
)
def test_a_latch_replaces_any_reason(ending: Ending, reason: Reason) -> None:
    for before in (Ending.OK, Ending.RATE, Ending.OVERLOAD, Ending.AUTH, Ending.QUOTA):
        driver = Driver()
        driver.end(before, 100.0)
        assert driver.end(ending, 101.0).reason is reason
    driver = Driver()
    driver.bin(100.0)
    assert driver.end(ending, 101.0).reason is reason


def test_overload_that_made_the_bin_keeps_it() -> None:
    driver = Driver()
    for now in (100.0, 110.0, 115.0):
        driver.end(Ending.OVERLOAD, now)
    gate = driver.end(Ending.OVERLOAD, 115.5)
    assert (gate.reason, gate.until) == (Reason.BINNED, pytest.approx(116.5))
    driver.end(Ending.TRANSIENT, 116.5)
    assert driver.end(Ending.OVERLOAD, 118.5).reason is Reason.BINNED
    assert driver.end(Ending.OK, 120.5).reason is Reason.RAMP


def test_replies_to_calls_sent_before_the_bin_leave_it_alone() -> None:
    driver = Driver()
    before = driver.gate.epoch
    gate = driver.bin(100.0)
    held = (gate.reason, gate.until, gate.bin.times)
    for ending in Ending:
        driver.end(ending, 100.2, epoch=before)
        assert (gate.reason, gate.until, gate.bin.times) == held
    driver.end(Ending.RATE, 100.2, 9.0, epoch=before)
    assert (gate.reason, gate.until) == (Reason.BINNED, pytest.approx(109.2))


@pytest.mark.parametrize("ending", [Ending.TRANSIENT, Ending.OVERLOAD])
def test_the_call_that_makes_the_bin_is_obeyed_too(ending: Ending) -> None:
    driver = Driver()
    for now in (100.0, 105.0, 110.0, 113.0):
        driver.end(ending, now)
    gate = driver.end(ending, 115.0, 9.0)
    assert (gate.reason, gate.until) == (Reason.BINNED, pytest.approx(124.0))


def test_a_bin_does_not_shorten_what_the_provider_asked_for() -> None:
    driver = Driver()
    for number in range(4):
        driver.end(Ending.TRANSIENT, 100.0 + number)
    driver.end(Ending.RATE, 103.0, 60.0, epoch=0)
    gate = driver.end(Ending.TRANSIENT, 104.0)
    assert (gate.reason, gate.until) == (Reason.BINNED, pytest.approx(163.0))


@pytest.mark.parametrize("ending", [Ending.TRANSIENT, Ending.PROTOCOL, Ending.OK])
def test_nor_does_a_probe_that_was_out_when_it_asked(ending: Ending) -> None:
    driver = Driver()
    before = driver.gate.epoch
    driver.bin(100.0)
    driver.end(Ending.RATE, 101.0, 30.0, epoch=before)
    gate = driver.end(ending, 102.0)
    assert (gate.until, gate.ramping) == (pytest.approx(131.0), ending is Ending.OK)
    if gate.ramping:
        gate.refresh(130.9)
        assert gate.reason is Reason.BACKOFF
        gate.refresh(131.0)
        assert gate.reason is Reason.RAMP


def test_nor_does_the_failed_probe_itself() -> None:
    driver = Driver()
    driver.bin(100.0)
    assert driver.end(Ending.TRANSIENT, 100.5, 20.0).until == pytest.approx(120.5)


def test_a_success_of_an_earlier_epoch_breaks_the_rows_that_lead_to_a_bin() -> None:
    driver = Driver()
    before = driver.gate.epoch
    driver.end(Ending.OVERLOAD, 100.0)
    driver.end(Ending.OK, 107.0, epoch=before)
    assert driver.end(Ending.OVERLOAD, 115.0).reason is Reason.BACKOFF
    for number in range(4):
        driver.end(Ending.TRANSIENT, 120.0 + number)
    driver.end(Ending.OK, 124.0, epoch=before)
    assert driver.end(Ending.TRANSIENT, 125.0).failures == 1


# RAMP


def test_a_ramp_ends_when_the_slots_are_back() -> None:
    driver = Driver()
    driver.bin(100.0)
    gate = driver.end(Ending.OK, 101.0)
    gate.end_ramp()
    assert (gate.reason, gate.ramping) == (Reason.CLEAR, False)


def test_slots_that_are_back_during_a_hold_end_the_ramp_under_it() -> None:
    driver = Driver()
    driver.bin(100.0)
    gate = driver.end(Ending.RATE, 101.0, 5.0)
    gate.end_ramp()
    assert gate.reason is Reason.RATE
    gate.refresh(106.0)
    assert gate.reason is Reason.CLEAR


@pytest.mark.parametrize(("after", "ended"), [(59.9, False), (60.0, True)])
def test_a_ramp_ends_after_a_minute(after: float, ended: bool) -> None:
    driver = Driver()
    driver.bin(100.0)
    gate = driver.end(Ending.OK, 101.0)
    assert gate.refresh(101.0 + after) is ended
    assert gate.reason is (Reason.CLEAR if ended else Reason.RAMP)


@pytest.mark.parametrize("ending", [Ending.TRANSIENT, Ending.OVERLOAD])
def test_trouble_in_a_ramp_begins_its_minute_anew(ending: Ending) -> None:
    driver = Driver()
    driver.bin(100.0)
    driver.end(Ending.OK, 101.0)
    gate = driver.end(ending, 131.0)
    gate.refresh(161.1)
    assert gate.reason is Reason.RAMP
    gate.refresh(191.0)
    assert gate.reason is Reason.CLEAR


@pytest.mark.parametrize(("after", "length"), [(59.9, 60.0), (60.1, 30.0)])
def test_a_bin_is_forgotten_a_minute_after_it(after: float, length: float) -> None:
    driver = Driver()
    driver.bin(100.0)
    gate = driver.end(Ending.OK, 101.0)
    gate.end_ramp()
    gate.refresh(101.0 + after)
    driver.bin(200.0)
    assert gate.bin.ends - gate.bin.started == pytest.approx(length)
