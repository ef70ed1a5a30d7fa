"""The sliding minute: exact at its limit, never over it in any minute, and honest about waiting."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emr.control.window import GRAIN_S, MINUTE_S, Window

ENTRIES_MAX = MINUTE_S / GRAIN_S + 1


def taken(*amounts: int, limit: int = 10, now: float = 1000.0) -> Window:
    """A window of which so much was taken at one moment."""
    window = Window()
    for amount in amounts:
        window.take(amount, limit, now)
    return window


@pytest.mark.parametrize(("used", "fits"), [(8, True), (9, True), (10, False), (11, False)])
def test_one_more_at_the_limit(used: int, fits: bool) -> None:
    assert (taken(used).wait_s(1, 10, 1000.0) == 0.0) is fits


@pytest.mark.parametrize(("amount", "fits"), [(3, True), (4, True), (5, False)])
def test_an_amount_at_the_limit(amount: int, fits: bool) -> None:
    assert (taken(6).wait_s(amount, 10, 1000.0) == 0.0) is fits


def test_it_is_free_again_after_a_minute_and_not_before() -> None:
    window = taken(4, 6)
    wait = window.wait_s(1, 10, 1000.0)
    assert MINUTE_S <= wait <= MINUTE_S + GRAIN_S
    assert window.wait_s(1, 10, 1000.0 + wait - 0.001) > 0.0
    assert window.used(1000.0 + wait - 0.001) == 10
    assert window.wait_s(10, 10, 1000.0 + wait) == 0.0
    assert window.used(1000.0 + wait) == 0


def test_the_wait_is_until_enough_is_free() -> None:
    window = Window()
    for second in range(10):
        window.take(1, 10, 1000.0 + second)
    assert window.wait_s(1, 10, 1010.0) == pytest.approx(50.0, abs=2 * GRAIN_S)
    assert window.wait_s(3, 10, 1010.0) == pytest.approx(52.0, abs=2 * GRAIN_S)


def test_what_is_over_the_whole_limit_goes_alone_and_is_paid_off() -> None:
    window = Window()
    assert window.wait_s(25, 10, 1000.0) == 0.0
    window.take(25, 10, 1000.0)
    assert window.wait_s(1, 10, 1000.0) == pytest.approx(150.0, abs=GRAIN_S)
    assert window.wait_s(25, 10, 1100.0) == pytest.approx(50.0, abs=GRAIN_S)
    assert taken(1).wait_s(25, 10, 1000.0) > 0.0  # not beside anything


def test_what_is_held_counts_and_has_no_end_yet() -> None:
    assert Window().wait_s(1, 10, 1000.0, held=9) == 0.0
    assert Window().wait_s(1, 10, 1000.0, held=10) == MINUTE_S
    assert taken(5).wait_s(1, 10, 1000.0, held=5) == pytest.approx(MINUTE_S, abs=GRAIN_S)
    assert taken(1).wait_s(1, 10, 1000.0, held=12) >= MINUTE_S


def test_what_one_moment_took_is_one_entry() -> None:
    window = Window()
    for _ in range(10_000):
        window.take(1, 1_000_000, 1000.0)
    for step in range(10_000):
        window.take(1, 1_000_000, 1000.0 + step * 0.01)
    assert len(window._log) <= ENTRIES_MAX
    assert window.used(1000.0 + 99.99) <= 6_100


@settings(max_examples=200)
@given(
    limit=st.integers(1, 20),
    asks=st.lists(
        st.tuples(st.floats(0.0, 40.0, allow_nan=False), st.integers(1, 20)), max_size=60
    ),
)
def test_no_minute_holds_more_than_the_limit(limit: int, asks: list[tuple[float, int]]) -> None:
    window, now = Window(), 0.0
    let_in: list[tuple[float, int]] = []
    for pause, amount in asks:
        now += pause
        amount = min(amount, limit)
        wait = window.wait_s(amount, limit, now)
        if wait == 0.0:
            window.take(amount, limit, now)
            let_in.append((now, amount))
        else:  # what it says is enough
            assert deepcopy(window).wait_s(amount, limit, now + wait) == 0.0
            assert wait <= MINUTE_S + GRAIN_S
            window.used(now)
    for at, _ in let_in:
        assert sum(amount for t, amount in let_in if at <= t < at + MINUTE_S) <= limit
