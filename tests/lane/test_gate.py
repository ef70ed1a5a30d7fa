"""The gate: every row of its table, and the rules between the rows."""

from __future__ import annotations

import math
from random import Random

import pytest

from emr.lane.gate import NO_LIMIT, Gate, Reason
from emr.lane.settings import LaneSettings
from emr.lane.verdict import Ending, Verdict

RTT_S = 0.2
INTERVAL_S = 1.5  # of a limit of 40 a minute
ANSWERS = (
    Ending.OK,
    Ending.SIZE_ITEMS,
    Ending.SIZE_TOKENS,
    Ending.SIZE_BYTES,
    Ending.BAD_TEXT,
    Ending.BAD_REQUEST,
)


class Lowest(Random):
    """Draws the least that it may, so that a time is exactly what the law says."""

    def uniform(self, a: float, b: float) -> float:
        return a


class Highest(Random):
    """Draws the most that it may."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Driver:
    """A gate and the verdicts of calls sent now, or in an earlier epoch."""

    def __init__(self, rng: Random | None = None, settings: LaneSettings | None = None) -> None:
        self.gate = Gate(settings or LaneSettings(), rng or Lowest())

    def end(
        self,
        ending: Ending,
        now: float,
        retry_after: float | None = None,
        *,
        epoch: int | None = None,
        rtt_s: float = RTT_S,
        message: str = "",
    ) -> Gate:
        """A call ends; `epoch` is that of its sending, the present one when it is not given."""
        gate = self.gate
        verdict = Verdict(ending, 500, message, retry_after)
        gate.settle(verdict, gate.epoch if epoch is None else epoch, now, rtt_s, INTERVAL_S)
        return gate

    def bin(self, now: float) -> Gate:
        """Five failures in a row, the last of them now."""
        for before in (0.8, 0.6, 0.4, 0.2, 0.0):
            self.end(Ending.TRANSIENT, now - before)
        assert self.gate.reason is Reason.BINNED
        return self.gate


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
    for ending in Ending:
        gate = driver.end(ending, 100.1, epoch=before)
        assert (gate.reason, gate.until) == held
    assert driver.end(Ending.RATE, 101.5).until == pytest.approx(104.5), "it doubled only once"


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
    assert (gate.bin_started, gate.bin_ends) == (100.0, 130.0)
    driver.end(Ending.TRANSIENT, 129.9)
    assert gate.bin_ends == 130.0
    ends = []
    for _ in range(3):
        driver.end(Ending.TRANSIENT, gate.bin_ends)
        ends.append(gate.bin_ends)
    assert ends == [190.0, 290.0, 390.0]
    assert gate.bin_started == 100.0, "the bin is as old as its first failure"


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
    held = (gate.reason, gate.until, gate.bins)
    for ending in Ending:
        driver.end(ending, 100.2, epoch=before)
        assert (gate.reason, gate.until, gate.bins) == held
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
    assert gate.bin_ends - gate.bin_started == pytest.approx(length)


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
        now = max(now + 0.5, gate.until, gate.bin_ends)
