"""The law of one limit: what a refusal leaves of it, how it comes back, and what a word does."""

from __future__ import annotations

import math

import pytest

from emr.lane.learner import (
    BETA,
    BETA_CONFIRMED,
    FORGOTTEN_S,
    TAU_BEYOND_S,
    TAU_KNOWN_S,
    TAU_MAX_S,
    TAU_S,
    TOLD_S,
    Learner,
)


class Clock:
    """A learner in time: `hold` lets so many seconds pass in which its limit is what holds."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.now = 1000.0
        learner.tick(self.now, 0.0)

    def hold(self, seconds: float, log: float = 0.0) -> float:
        self.now += seconds
        self.learner.reached(self.now)
        self.learner.tick(self.now, log)
        return self.learner.w

    def idle(self, seconds: float) -> float:
        self.now += seconds
        self.learner.tick(self.now, 0.0)
        return self.learner.w


def cut_once(seen: float = 100.0, calls: float = 300.0) -> Clock:
    clock = Clock(Learner())
    clock.learner.cut(seen, calls)
    return clock


def is_back_in(clock: Clock, seconds: float, beta: float) -> None:
    """After half of the way an eighth of the cut is left, and at its end nothing."""
    w_max = clock.learner.w_max
    assert clock.learner.w == pytest.approx(beta * w_max)
    assert clock.hold(seconds / 2) == pytest.approx(w_max * (1.0 - (1.0 - beta) / 8.0))
    assert clock.hold(seconds / 2) == pytest.approx(w_max)


# before anything is learned


def test_nothing_is_known_at_first() -> None:
    learner = Learner()
    assert (learner.w, learner.cap) == (math.inf, math.inf)
    assert not learner.known
    assert not learner.learned


def test_a_configured_limit_holds_exactly() -> None:
    clock = Clock(Learner(ceiling=300.0))
    assert (clock.learner.w, clock.learner.cap) == (300.0, 300.0)
    assert clock.hold(10_000.0, log=300.0) == 300.0, "it never grows"
    assert clock.learner.known
    assert not clock.learner.learned


def test_a_guess_is_a_limit_that_may_grow() -> None:
    clock = Clock(Learner(guess=300.0))
    assert (clock.learner.w, clock.learner.cap) == (300.0, 300.0)
    assert clock.hold(TAU_BEYOND_S) == pytest.approx(315.0)


def test_a_guess_is_never_over_the_ceiling() -> None:
    learner = Learner(ceiling=200.0, guess=300.0)
    assert (learner.w, learner.cap) == (200.0, 200.0)


# the cut


def test_a_first_cut_leaves_seven_tenths_of_what_went_through() -> None:
    learner = cut_once().learner
    assert (learner.w_max, learner.w) == (100.0, pytest.approx(70.0))
    assert learner.cap == 100.0, "only the pace is cut"
    assert learner.learned
    assert learner.cuts == 1


def test_a_cut_is_never_above_the_limit_in_use() -> None:
    learner = Learner(guess=50.0)
    learner.cut(80.0, 80.0)
    assert (learner.w_max, learner.w) == (50.0, pytest.approx(35.0))
    assert learner.cap == 80.0, "what went through may go through again"


def test_nor_is_its_log_above_the_ceiling() -> None:
    learner = Learner(ceiling=60.0)
    learner.cut(80.0, 80.0)
    assert (learner.w_max, learner.cap) == (60.0, 60.0)


def test_what_was_seen_of_nothing_teaches_nothing() -> None:
    learner = Learner()
    learner.cut(math.inf, 100.0)
    assert (learner.w, learner.cuts) == (math.inf, 0)


@pytest.mark.parametrize(("seen", "w_max"), [(0.0, 1.0), (0.9, 1.0), (1.0, 1.0), (1.1, 1.1)])
def test_never_below_one_a_minute(seen: float, w_max: float) -> None:
    learner = cut_once(seen).learner
    assert (learner.w_max, learner.w) == (w_max, 1.0)


def test_others_of_the_same_event_were_not_let_through_either() -> None:
    learner = cut_once().learner
    learner.refused_too(4.0)
    assert (learner.w_max, learner.cap) == (96.0, 96.0)
    learner.refused_too(1000.0)
    assert (learner.w_max, learner.cap) == (1.0, 1.0)


def test_where_nothing_is_known_others_teach_nothing() -> None:
    learner = Learner()
    learner.refused_too(4.0)
    assert learner.w == math.inf


# growth


def test_it_is_back_after_a_minute() -> None:
    is_back_in(cut_once(), TAU_S, BETA)


def test_it_stops_at_what_it_was_before_it_runs_on() -> None:
    assert cut_once().hold(TAU_S + 30.0) == pytest.approx(100.0)


def test_it_grows_only_while_it_holds_back() -> None:
    clock = cut_once()
    before = clock.learner.w
    assert clock.idle(1000.0) == before
    clock.learner.reached(clock.now + 30.0)
    assert clock.idle(1000.0) == pytest.approx(100.0 * (1.0 - 0.3 / 8.0)), "30 s of it"


@pytest.mark.parametrize(
    ("w_max", "log", "grown"),
    [(100.0, 99.0, 1.05), (100.0, 99.1, 1.4), (1000.0, 990.0, 1.05), (1000.0, 990.1, 1.4),
     (10.0, 9.0, 1.05), (10.0, 9.1, 1.4)],
)  # fmt: skip
def test_beyond_a_twentieth_only_when_a_minute_was_full(
    w_max: float, log: float, grown: float
) -> None:
    clock = cut_once(w_max)
    clock.hold(TAU_S, log)
    assert clock.hold(TAU_BEYOND_S, log) == pytest.approx(1.05 * w_max)
    assert clock.hold(TAU_BEYOND_S, log) == pytest.approx(grown * w_max), "x is 1, or 2"


def test_what_grew_in_a_full_minute_is_not_taken_back_after_it() -> None:
    clock = cut_once()
    clock.hold(TAU_S)
    clock.hold(2 * TAU_BEYOND_S, log=100.0)
    assert clock.hold(TAU_BEYOND_S, log=0.0) == pytest.approx(140.0)


def test_it_grows_up_to_the_ceiling_and_no_further() -> None:
    clock = Clock(Learner(ceiling=110.0))
    clock.learner.cut(80.0, 300.0)
    clock.hold(TAU_S)
    for _ in range(100):
        assert clock.hold(TAU_BEYOND_S, log=110.0) <= 110.0
    assert clock.learner.w == clock.learner.cap == 110.0


# a cut that confirms


@pytest.mark.parametrize(("seen", "beta"), [(90.0, BETA_CONFIRMED), (89.9, BETA)])
def test_a_second_cut_within_a_tenth_is_small(seen: float, beta: float) -> None:
    clock = cut_once()
    clock.hold(TAU_S)
    clock.learner.cut(seen, 300.0)
    assert clock.learner.w == pytest.approx(beta * seen)


@pytest.mark.parametrize(("calls", "tau_s"), [
    (0.0, TAU_MAX_S), (24.0, TAU_MAX_S), (25.0, 240.0), (26.0, 6000.0 / 26.0), (100.0, 60.0),
    (133.0, 6000.0 / 133.0), (134.0, TAU_KNOWN_S), (3000.0, TAU_KNOWN_S),
])  # fmt: skip
def test_and_is_made_up_for_in_the_time_of_a_hundred_calls(calls: float, tau_s: float) -> None:
    clock = cut_once()
    clock.hold(TAU_S)
    clock.learner.cut(95.0, calls)
    is_back_in(clock, tau_s, BETA_CONFIRMED)


@pytest.mark.parametrize(("part", "beta"), [(0.299, BETA), (0.301, BETA_CONFIRMED)])
def test_a_refusal_on_the_way_back_confirms_nothing(part: float, beta: float) -> None:
    clock = cut_once()
    clock.hold(TAU_S)
    clock.learner.cut(95.0, 300.0)
    w = clock.hold(part * TAU_KNOWN_S)
    clock.learner.cut(w, 300.0)
    assert clock.learner.w == pytest.approx(beta * w)


def test_nor_does_the_first_cut_of_all() -> None:
    """Where nothing was known before, no cut is near another."""
    clock = cut_once()
    clock.hold(TAU_S)
    clock.learner.cut(60.0, 300.0)
    assert clock.learner.w == pytest.approx(BETA * 60.0)


def test_nor_does_one_of_a_guess() -> None:
    learner = Learner(guess=100.0)
    learner.cut(95.0, 300.0)
    assert learner.w == pytest.approx(BETA * 95.0)


def grown_to(clock: Clock, w: float) -> None:
    clock.hold(TAU_S)
    while clock.learner.w < w:
        clock.hold(1.0, log=math.inf)


def test_the_cut_before_the_last_confirms_too() -> None:
    clock = cut_once()
    clock.hold(TAU_S)
    clock.learner.cut(50.0, 300.0)
    grown_to(clock, 95.0)
    clock.learner.cut(95.0, 300.0)
    assert clock.learner.w == pytest.approx(BETA_CONFIRMED * 95.0)


def test_but_not_the_one_before_that() -> None:
    clock = cut_once()
    for seen in (50.0, 20.0):
        clock.hold(TAU_S)
        clock.learner.cut(seen, 300.0)
    grown_to(clock, 95.0)
    clock.learner.cut(95.0, 300.0)
    assert clock.learner.w == pytest.approx(BETA * 95.0)


@pytest.mark.parametrize(("calls", "tau_s"), [(100.0, 15.0), (299.0, 1500.0 / 299.0), (301.0, 5.0)])
def test_near_a_ceiling_it_is_back_soon(calls: float, tau_s: float) -> None:
    clock = Clock(Learner(ceiling=100.0))
    clock.learner.cut(90.0, calls)
    is_back_in(clock, tau_s, BETA_CONFIRMED)


def test_under_nine_tenths_of_a_ceiling_it_is_another_limit() -> None:
    clock = Clock(Learner(ceiling=100.0))
    clock.learner.cut(89.9, 301.0)
    is_back_in(clock, TAU_S, BETA)


# limits that are told


def test_a_header_is_a_ceiling() -> None:
    clock = cut_once()
    clock.learner.announced(300.0)
    assert (clock.learner.w, clock.learner.cap) == (300.0, 300.0)
    assert clock.hold(1000.0, log=300.0) == 300.0


def test_the_same_header_again_leaves_what_was_learned_under_it() -> None:
    learner = Learner()
    learner.announced(100.0)
    learner.cut(50.0, 300.0)
    learner.announced(100.0)
    assert learner.w == pytest.approx(35.0)
    learner.announced(101.0)
    assert learner.w == 101.0
    assert learner.cap == 101.0


@pytest.mark.parametrize(("limit", "w"), [(0.1, 1.0), (1.0, 1.0), (1.1, 1.1)])
def test_no_header_and_no_word_is_below_one_a_minute(limit: float, w: float) -> None:
    header, word = Learner(), Learner()
    header.announced(limit)
    word.told(limit)
    assert header.w == word.w == w


def tried_after(clock: Clock, seconds: float) -> None:
    """The told limit is held exactly for so long, and exceeded for the first time then."""
    told = clock.learner.w
    assert clock.hold(seconds - 0.01) == pytest.approx(told, abs=1e-9)
    assert clock.hold(TAU_BEYOND_S) == pytest.approx(told, abs=1e-9), "up to it, and no further"
    assert clock.hold(TAU_BEYOND_S) > 1.04 * told


def test_a_told_limit_is_tried_after_longer_and_longer() -> None:
    clock = Clock(Learner())
    for seconds in (120.0, 240.0, 480.0, 960.0, 1200.0, 1200.0):  # 200 calls of 10 a minute
        clock.learner.told(10.0)
        assert (clock.learner.w, clock.learner.cap) == (10.0, 10.0)
        tried_after(clock, seconds)


@pytest.mark.parametrize(("limit", "longest"), [(1.0, 3600.0), (4.0, 3000.0), (1000.0, TOLD_S)])
def test_but_within_the_time_of_two_hundred_calls_or_an_hour(limit: float, longest: float) -> None:
    clock = Clock(Learner())
    for _ in range(2000):
        clock.learner.told(limit)
    tried_after(clock, longest)


@pytest.mark.parametrize(("again", "seconds"), [(9.1, 240.0), (9.0, 120.0)])
def test_another_number_is_tried_soon(again: float, seconds: float) -> None:
    clock = Clock(Learner())
    clock.learner.told(10.0)
    clock.learner.told(again)
    tried_after(clock, seconds)


@pytest.mark.parametrize(("idle_s", "seconds"), [(FORGOTTEN_S, 240.0), (FORGOTTEN_S + 1, 120.0)])
def test_and_so_is_one_for_which_nobody_asked_for_long(idle_s: float, seconds: float) -> None:
    clock = Clock(Learner())
    clock.learner.told(10.0)
    clock.hold(1.0)
    clock.idle(idle_s)
    clock.learner.told(10.0)
    tried_after(clock, seconds)


def test_a_word_is_learned_and_replaces_what_went_through() -> None:
    learner = cut_once(500.0).learner
    learner.told(100.0)
    assert (learner.w, learner.cap, learner.cuts) == (100.0, 100.0, 2)
