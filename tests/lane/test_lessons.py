"""What refusals and headers teach, by hand: entries of calls, and the meters that they move."""

from __future__ import annotations

import math

import pytest

from emr.lane.learner import Learner
from emr.lane.lessons import Lessons
from emr.lane.meter import CALLS, ITEMS, TOKENS, Entry, Meter
from emr.lane.verdict import Dimension, Ending, Limits, Verdict

RATE = Verdict(Ending.RATE, 429)
LONG = Verdict(Ending.RATE, 429, retry_after=30.0)


class Town:
    """An account's meters and lessons. `send` books a call of so many tokens and texts."""

    def __init__(self, **learners: Learner) -> None:
        self.meters = {
            dimension: Meter(dimension, learners.get(dimension.value, Learner()), configured=False)
            for dimension in Dimension
        }
        self.lessons = Lessons(self.meters)
        self.lessons.started = 0.0
        self.number = 0

    def send(self, times: int = 1, *, tokens: float = 10.0, texts: float = 2.0) -> Entry:
        for _ in range(times):
            self.number += 1
            entry = Entry({CALLS: 1.0, TOKENS: tokens, ITEMS: texts})
            for dimension, meter in self.meters.items():
                meter.book(entry.cost[dimension])
                entry.mark[dimension] = meter.charged
            self.lessons.newest = self.number
        return entry

    def refused(self, now: float, verdict: Verdict = LONG, *, number: int = 0) -> None:
        """The call sent last, or one of that number, was refused."""
        entry = Entry({CALLS: 1.0, TOKENS: 10.0, ITEMS: 2.0})
        self.lessons.refused(now, entry, number or self.number, verdict)
        self.lessons.refused_calls += 1

    def let_through(self) -> None:
        self.send()
        self.lessons.let_through(self.number)

    def w_max(self, dimension: Dimension = CALLS) -> float:
        return self.meters[dimension].learner.w_max


# what a refusal is about


def test_what_it_names_is_cut() -> None:
    town = Town(calls=Learner(guess=100.0), tokens=Learner(guess=1000.0))
    town.send(50)
    town.refused(100.0, Verdict(Ending.RATE, 429, retry_after=30.0, dimension=ITEMS))
    assert [town.meters[d].learner.cuts for d in (CALLS, TOKENS, ITEMS)] == [0, 0, 1]
    assert town.w_max(ITEMS) == 98.0, "what was let through of 100 texts"


def test_where_nothing_is_known_the_calls_are() -> None:
    town = Town()
    town.send(50)
    town.refused(100.0)
    assert [town.meters[d].learner.cuts for d in (CALLS, TOKENS, ITEMS)] == [1, 0, 0]
    assert town.w_max() == 49.0, "without the refused one"


def test_else_what_is_nearest_to_its_limit() -> None:
    town = Town(calls=Learner(guess=100.0), tokens=Learner(guess=600.0))
    town.send(51)
    town.refused(100.0)
    assert [town.meters[d].learner.cuts for d in (CALLS, TOKENS, ITEMS)] == [0, 1, 0]
    assert town.w_max(TOKENS) == 500.0


@pytest.mark.parametrize(("calls", "cuts"), [(50, [1, 0]), (49, [1, 1])])
def test_everything_when_all_are_far_below_theirs(calls: int, cuts: list[int]) -> None:
    """Somebody else shares the credential."""
    town = Town(calls=Learner(guess=100.0), tokens=Learner(guess=10_000.0))
    town.send(calls)
    town.refused(100.0)
    assert [town.meters[d].learner.cuts for d in (CALLS, TOKENS)] == cuts


# once an epoch


def test_calls_that_were_out_belong_to_the_same_event() -> None:
    town = Town()
    town.send(50)
    town.refused(100.0, number=48)
    town.refused(100.1, number=50)
    learner = town.meters[CALLS].learner
    assert (learner.cuts, learner.w_max) == (1, 48.0)


def test_nothing_let_through_since_is_no_lower_limit() -> None:
    town = Town()
    town.send(50)
    town.refused(100.0)
    town.send()
    town.refused(130.0)
    assert town.meters[CALLS].learner.cuts == 1


@pytest.mark.parametrize("when", ["before the cut", "beside the refused", "after it"])
def test_let_through_is_only_what_was_sent_after_the_cut(when: str) -> None:
    town = Town()
    town.send(50)
    town.refused(100.0, number=49)
    if when == "before the cut":
        town.lessons.let_through(50)
    town.send(2)  # 51 and 52
    town.refused(130.0, number=52)  # the gate's row goes on
    if when != "before the cut":
        town.lessons.let_through(51)
    town.send(10)
    town.refused(160.0)
    assert town.meters[CALLS].learner.cuts == (1 if when == "before the cut" else 2)


# limits by the second


@pytest.mark.parametrize(("retry_after", "w_max"), [(None, 294.0), (0.5, 294.0), (10.0, 294.0),
                                                    (10.1, 49.0)])  # fmt: skip
def test_with_a_short_wait_a_young_log_is_scaled_to_a_minute(
    retry_after: float | None, w_max: float
) -> None:
    town = Town()
    town.send(50)
    town.refused(10.0, Verdict(Ending.RATE, 429, retry_after=retry_after))
    assert town.w_max() == pytest.approx(w_max)


@pytest.mark.parametrize(("now", "scale"), [(0.1, 60.0), (1.0, 60.0), (1.1, 60.0 / 1.1),
                                            (60.0, 1.0), (600.0, 1.0)])  # fmt: skip
def test_by_its_age_of_one_second_to_a_minute(now: float, scale: float) -> None:
    town = Town()
    town.send(50)
    town.refused(now, RATE)
    assert town.w_max() == pytest.approx(49.0 * scale)


def test_held_back_by_the_gate_nothing_could_go() -> None:
    town = Town()
    town.lessons.held(10.0, 30.0)
    town.lessons.held(20.0, 40.0)  # moved out: one hold, from 10 to 40
    town.lessons.held(50.0, 95.0)  # of which 15 s are over
    town.send(50)
    town.refused(65.0, RATE)
    assert town.w_max() == pytest.approx(49.0 * 60.0 / (60.0 - 30.0 - 15.0))


def test_holds_of_another_minute_are_forgotten() -> None:
    town = Town()
    town.lessons.held(10.0, 30.0)
    town.send(50)
    town.refused(90.0, RATE)
    assert town.w_max() == pytest.approx(49.0)
    town.lessons.held(90.1, 91.0)
    assert len(town.lessons._holds) == 1


@pytest.mark.parametrize(("after", "cuts"), [(10.0, 1), (10.1, 2)])
def test_a_limit_that_stays_full_for_longer_is_none_by_the_second(after: float, cuts: int) -> None:
    town = Town()
    town.send(300)
    town.refused(2.0, RATE)
    assert town.w_max() == pytest.approx(299.0 * 30.0)
    town.send()
    town.refused(2.0 + after, RATE)
    assert town.meters[CALLS].learner.cuts == cuts
    if cuts == 2:
        assert town.w_max() == pytest.approx(299.0), "that went through in a minute, not in 2 s"
        town.send()
        town.refused(40.0, RATE)
        assert town.meters[CALLS].learner.cuts == 2, "once is enough"


def test_one_that_was_not_scaled_is_not_cut_again() -> None:
    town = Town()
    town.send(300)
    town.refused(2.0, LONG)
    town.send()
    town.refused(40.0, LONG)
    assert town.meters[CALLS].learner.cuts == 1


# two at once


def test_bunched_calls_go_one_by_one_from_then_on() -> None:
    town = Town(calls=Learner(guess=100.0))
    entry = town.send(50)
    entry.bunched = True
    town.lessons.refused(100.0, entry, town.number, LONG)
    assert town.lessons.burst_one
    assert town.meters[CALLS].learner.cuts == 0, "the limit may be right"
    town.let_through()
    entry = town.send()
    entry.bunched = True
    town.lessons.refused(101.0, entry, town.number, LONG)
    assert town.meters[CALLS].learner.cuts == 1


def test_but_where_nothing_is_known_it_is_the_limit() -> None:
    town = Town()
    entry = town.send(50)
    entry.bunched = True
    town.lessons.refused(100.0, entry, town.number, LONG)
    assert not town.lessons.burst_one
    assert town.meters[CALLS].learner.cuts == 1


# what cannot teach


@pytest.mark.parametrize(("calls", "cuts"), [(1, 0), (2, 1)])
def test_where_nothing_was_let_through_it_teaches_nothing(calls: int, cuts: int) -> None:
    town = Town()
    town.send(calls)
    town.refused(100.0)
    assert town.meters[CALLS].learner.cuts == cuts


def test_refused_calls_of_the_log_were_not_let_through() -> None:
    town = Town()
    town.send(50)
    town.lessons.refused_calls = 40
    town.refused(100.0)
    assert town.w_max() == 9.0


@pytest.mark.parametrize(("calls", "w_max"), [(91, 100.0), (90, 89.0)])
def test_near_a_ceiling_the_pace_itself_is_what_was_refused(calls: int, w_max: float) -> None:
    town = Town(calls=Learner(ceiling=100.0))
    town.send(calls)
    town.refused(100.0)
    assert town.w_max() == w_max


# what is told


def test_numbers_in_the_words_are_taken_at_their_word() -> None:
    town = Town(calls=Learner(guess=2000.0))
    town.send(50)
    told = Limits(calls=3.0, tokens=10_000.0)
    town.refused(100.0, Verdict(Ending.RATE, 429, limits=told))
    assert (town.w_max(), town.w_max(TOKENS), town.w_max(ITEMS)) == (3.0, 10_000.0, math.inf)


@pytest.mark.parametrize("told", [2000.0, 2001.0, 0.0, -1.0])
def test_but_only_lower_ones_that_are_any(told: float) -> None:
    town = Town(calls=Learner(guess=2000.0))
    town.send(1500)
    town.refused(100.0, Verdict(Ending.RATE, 429, limits=Limits(calls=told), retry_after=30.0))
    assert town.w_max() == 1499.0, "cut as if nothing was told"


@pytest.mark.parametrize("number", [0.0, -1.0])
def test_a_header_of_nothing_says_nothing(number: float) -> None:
    town = Town(calls=Learner(guess=100.0))
    town.lessons.observe(5.0, town.send(), Limits(calls=number, calls_left=number))
    assert town.meters[CALLS].learner.announced_limit is None
    assert town.meters[CALLS].left is None


def test_a_header_tells_the_limit_and_what_is_left_after_the_call() -> None:
    town = Town()
    entry = town.send(3)
    town.send(2)
    told = Limits(calls=100.0, calls_left=50.0, tokens_left=7.0, items=40.0, items_left=1.0)
    town.lessons.observe(5.0, entry, told)
    assert town.meters[CALLS].learner.w == 100.0
    assert town.meters[CALLS].left == (5.0, 50.0, 3.0)
    assert town.meters[TOKENS].left is None, "without a limit it means nothing"
    assert town.meters[ITEMS].left == (5.0, 1.0, 6.0)


def test_what_the_operator_configured_stands_over_a_header() -> None:
    town = Town(calls=Learner(ceiling=60.0))
    town.meters[CALLS].configured = True
    town.lessons.observe(5.0, town.send(), Limits(calls=100.0, calls_left=30.0))
    assert town.meters[CALLS].learner.w == 60.0
    assert town.meters[CALLS].left == (5.0, 30.0, 1.0)
