"""C alone: where it begins, what makes it grow, what cuts it, and the latency law."""

from __future__ import annotations

import pytest

from emr.lane.settings import AccountSpec, Home
from emr.lane.slots import (
    DIP_EVERY_S,
    LEAST_FOR_S,
    MOST,
    OVERLOADED,
    SLOW,
    TIMED_OUT,
    SizeClass,
    Slots,
)

RTT_S = 0.2


def slots_of(home: Home = Home.HOSTED, most: int | None = None) -> Slots:
    return Slots(AccountSpec("p", "m", home=home, max_concurrency=most))


class Clock:
    """Calls that end well, one a window, while as many are out as may be."""

    def __init__(self, slots: Slots, most: int = MOST) -> None:
        self.slots, self.most, self.now, self.number = slots, most, 0.0, 0

    def succeed(self, times: int = 1, *, short_of: int = 0, window_s: float = RTT_S) -> int:
        for _ in range(times):
            self.now += window_s
            self.slots.success(self.slots.limit - short_of, RTT_S, self.most, self.now)
        return self.slots.limit

    def cut(self, factor: float) -> int:
        self.number += 1
        self.slots.cut(factor, self.number, self.number, self.now)
        return self.slots.limit


# the beginning


@pytest.mark.parametrize(
    ("home", "most", "first"),
    [
        (Home.HOSTED, None, 16), (Home.HOSTED, 15, 15), (Home.HOSTED, 17, 16),
        (Home.SELF_HOSTED, None, 4), (Home.SELF_HOSTED, 3, 3), (Home.SELF_HOSTED, 5, 4),
        (Home.LOCAL, None, 1), (Home.LOCAL, 8, 1),
    ],
)  # fmt: skip
def test_where_it_begins(home: Home, most: int | None, first: int) -> None:
    slots = slots_of(home, most)
    assert slots.limit == slots.first == first


@pytest.mark.parametrize(("rate_calls", "most"), [(0.0, 32), (21.9, 32), (22.0, 33), (100.0, 150)])
def test_the_most_follows_a_known_rate(rate_calls: float, most: int) -> None:
    assert slots_of().most(rate_calls) == most
    assert slots_of(most=8).most(rate_calls) == 8, "what was configured holds"
    assert slots_of(Home.LOCAL).most(rate_calls) == 1


# growth


def test_it_grows_by_one_a_window_up_to_the_most() -> None:
    clock = Clock(slots_of())
    assert [clock.succeed() for _ in range(3)] == [17, 18, 19]
    assert clock.succeed(100) == MOST


def test_one_that_was_not_reached_does_not_grow() -> None:
    clock = Clock(slots_of())
    assert clock.succeed(100, short_of=1) == 16


def test_once_reached_in_the_window_is_enough() -> None:
    clock = Clock(slots_of())
    clock.succeed()
    clock.succeed(window_s=RTT_S / 4)  # reached, in the window
    assert clock.succeed(short_of=5) == 18, "its end"
    assert clock.succeed(short_of=5) == 18, "not in the next"


@pytest.mark.parametrize(
    ("rtt_s", "after", "grown"),
    [(0.2, 0.199, 17), (0.2, 0.201, 18), (0.01, 0.099, 17), (0.01, 0.101, 18)],
)
def test_a_window_is_a_call_or_a_tenth_of_a_second(rtt_s: float, after: float, grown: int) -> None:
    slots = slots_of()
    slots.success(16, rtt_s, MOST, 10.0)
    slots.success(17, rtt_s, MOST, 10.0 + after)
    assert slots.limit == grown


def test_where_a_rate_keeps_more_in_flight_it_begins_slowly_up_to_that() -> None:
    clock = Clock(slots_of(), most=60)
    for aim in range(17, 41):
        assert clock.succeed(window_s=0.001) == aim, "one a success"
    assert clock.succeed(10, window_s=0.001) <= 41, "then one a window"


def test_but_not_after_a_cut() -> None:
    clock = Clock(slots_of(), most=60)
    clock.cut(OVERLOADED)
    clock.succeed(window_s=0.001)
    assert clock.succeed(5, window_s=0.001) == 9


# cuts


@pytest.mark.parametrize(("factor", "left"), [(OVERLOADED, 8), (TIMED_OUT, 11), (SLOW, 14)])
def test_each_signal_has_its_factor(factor: float, left: int) -> None:
    assert Clock(slots_of()).cut(factor) == left


def test_never_below_one() -> None:
    clock = Clock(slots_of())
    for _ in range(100):
        clock.cut(OVERLOADED)
    assert clock.slots.limit == 1


def test_only_calls_sent_since_the_last_cut_can_cut_again() -> None:
    slots = slots_of()
    assert slots.cut(OVERLOADED, 3, 10, 0.0)
    assert not slots.cut(OVERLOADED, 10, 12, 0.0)
    assert slots.limit == 8
    assert slots.cut(OVERLOADED, 11, 12, 0.0)
    assert slots.limit == 4


def test_cuts_in_a_row_are_one_event_for_the_way_back() -> None:
    clock = Clock(slots_of())
    for _ in range(3):
        clock.cut(OVERLOADED)
    assert clock.slots.limit == 2
    assert clock.succeed(6, window_s=0.001) == 8, "one a success up to what the first left"
    clock.succeed(window_s=0.001)
    assert clock.succeed(3, window_s=0.001) == 9, "then one a window"


def test_a_success_between_two_cuts_makes_them_two() -> None:
    clock = Clock(slots_of())
    clock.cut(OVERLOADED)
    clock.succeed(short_of=1)
    clock.cut(OVERLOADED)
    assert clock.slots.limit == 4
    assert clock.succeed(5, window_s=0.001) <= 5, "no slow start up to the first"


def test_a_cut_begins_the_window_anew() -> None:
    slots = slots_of()
    slots.success(16, RTT_S, MOST, 10.0)
    slots.success(17, RTT_S, MOST, 10.1)  # reached
    slots.cut(SLOW, 1, 1, 10.1)
    slots.success(1, RTT_S, MOST, 10.3)
    assert slots.limit == 15


# after a sin-bin or a latch


def test_a_slow_start_from_one() -> None:
    clock = Clock(slots_of())
    clock.slots.restart()
    assert clock.slots.limit == 1
    assert [clock.succeed(window_s=0.001) for _ in range(3)] == [2, 3, 4]
    assert clock.succeed(window_s=0.001, short_of=1) == 4, "only when it was reached"


def test_it_tells_when_it_is_back() -> None:
    slots = slots_of(Home.SELF_HOSTED)
    slots.restart()
    told = [slots.success(slots.limit, RTT_S, MOST, 10.0 + 0.001 * n) for n in range(4)]
    assert told == [False, False, True, True]


def test_a_minute_without_trouble_ends_it() -> None:
    slots = slots_of()
    slots.restart()
    slots.finish()
    assert slots.limit == 16


def test_a_cut_ends_the_slow_start() -> None:
    clock = Clock(slots_of())
    clock.slots.restart()
    clock.succeed(7, window_s=0.001)
    assert clock.cut(OVERLOADED) == 4
    clock.succeed(window_s=0.001)
    assert clock.succeed(5, window_s=0.001) == 5


# the latency law


def test_a_mean_is_smoothed_and_held_against_the_least() -> None:
    size = SizeClass(1.0, 0.0)
    assert size.took(2.0, 1.0) == pytest.approx(1.2)
    assert size.took(2.0, 2.0) == pytest.approx(1.36)
    assert size.took(0.5, 3.0) == pytest.approx(1.188)
    size.took(0.0, 4.0)
    assert size.took(0.0, 5.0) == pytest.approx(1.0), "it is the least itself"


@pytest.mark.parametrize(("later", "forgotten"), [(LEAST_FOR_S, False), (LEAST_FOR_S + 0.1, True)])
def test_the_least_is_of_this_minute_and_the_one_before(later: float, forgotten: bool) -> None:
    size = SizeClass(1.0, 0.0)
    for number in range(100):
        size.took(2.0, 1.0 + number / 1000)
    size.took(2.0, LEAST_FOR_S + 0.1)  # a new minute
    assert size.took(2.0, LEAST_FOR_S + 0.2) == pytest.approx(2.0), "the one before holds"
    assert (size.took(2.0, LEAST_FOR_S + 0.1 + later) < 1.01) is forgotten


def too_slow_at(slots: Slots, seconds: float, calls: int, tokens: int = 100) -> bool:
    slow = False
    for number in range(calls):
        slow = slots.too_slow(tokens, seconds, 1.0 + number / 1000)
    return slow


def test_calls_slower_than_the_least_by_six_tenths_are_too_slow() -> None:
    slots = slots_of(Home.SELF_HOSTED)
    assert not too_slow_at(slots, 1.0, 50)
    assert not too_slow_at(slots, 1.59, 50)
    assert too_slow_at(slots, 1.62, 50)


def test_a_size_of_its_own_is_not_held_against_another() -> None:
    slots = slots_of(Home.SELF_HOSTED)
    assert not too_slow_at(slots, 0.1, 50, tokens=100)
    assert not too_slow_at(slots, 1.0, 50, tokens=128)
    assert too_slow_at(slots, 1.0, 50, tokens=127)


@pytest.mark.parametrize("home", [Home.HOSTED, Home.LOCAL])
def test_only_servers_of_the_operator_are_judged_by_it(home: Home) -> None:
    slots = slots_of(home)
    too_slow_at(slots, 1.0, 50)
    assert not too_slow_at(slots, 9.0, 50)
    slots.too_slow(100, 9.0, 1000.0)
    assert slots.limit == slots.first, "nor do they dip"


def test_a_dip_each_minute_from_the_first_call_on() -> None:
    slots = slots_of(Home.SELF_HOSTED)
    slots.too_slow(100, 1.0, 10.0)
    slots.too_slow(100, 1.0, 10.0 + DIP_EVERY_S - 0.01)
    assert slots.limit == 4
    slots.too_slow(100, 1.0, 10.0 + DIP_EVERY_S)
    assert slots.limit == 2
    slots.too_slow(100, 1.0, 10.0 + 2 * DIP_EVERY_S - 0.01)
    assert slots.limit == 2
    for number in range(2, 6):
        slots.too_slow(100, 1.0, 10.0 + number * DIP_EVERY_S)
    assert slots.limit == 1, "never below one"
