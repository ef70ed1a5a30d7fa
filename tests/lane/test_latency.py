"""The latency model: what it says of calls by their size, and how long it lets one take."""

from __future__ import annotations

import math
from random import Random

import pytest

from emr.lane.latency import ENOUGH_CALLS, FIRST_GUESS_S, Latency
from emr.lane.settings import LaneSettings
from tests.lane.support import batch_of, sized, ticket_of

SETTINGS = LaneSettings()


def known(tokens: int, seconds: float, calls: int = ENOUGH_CALLS) -> Latency:
    latency = Latency()
    for _ in range(calls):
        latency.took(tokens, seconds)
    return latency


# T and RTT


def test_before_the_first_reply_it_guesses() -> None:
    assert Latency().estimate_s(1) == FIRST_GUESS_S
    assert Latency().estimate_s(100_000) == FIRST_GUESS_S


@pytest.mark.parametrize(
    ("a", "b"), [(0.18, 0.0), (0.18, 1e-4), (0.02, 2e-3), (0.0, 1e-3), (2.0, 1e-5)]
)
def test_the_line_is_found(a: float, b: float) -> None:
    rng, latency = Random(1), Latency()
    for _ in range(500):
        tokens = rng.choice([5, 50, 500, 5000])
        latency.took(tokens, (a + b * tokens) * math.exp(rng.gauss(0.0, 0.05)))
    for tokens in (5, 500, 5000):
        true = a + b * tokens
        assert latency.estimate_s(tokens) == pytest.approx(true, rel=0.25, abs=0.02)


@pytest.mark.parametrize("sizes", [(10,), (1,), (100_000,), (10, 11), (1, 100_000)])
def test_it_stays_right_over_a_day_of_calls(sizes: tuple[int, ...]) -> None:
    rng, latency = Random(1), Latency()
    for _ in range(50_000):
        tokens = rng.choice(sizes)
        latency.took(tokens, (0.18 + 1e-5 * tokens) * math.exp(rng.gauss(0.0, 0.1)))
    for tokens in sizes:
        assert latency.estimate_s(tokens) == pytest.approx(0.18 + 1e-5 * tokens, rel=0.15)


def test_after_a_day_of_one_size_it_learns_another_at_once() -> None:
    latency = known(10, 0.18, 50_000)
    for _ in range(3):
        latency.took(1000, 0.5)
    assert latency.estimate_s(1000) == pytest.approx(0.5, rel=0.05)
    assert latency.estimate_s(10) == pytest.approx(0.18, rel=0.05)


@pytest.mark.parametrize("slope", [0.0, 1e-5, 4e-4])
@pytest.mark.parametrize("sizes", [(380, 430), (1, 3), (9_000, 100_000), (10, 10)])
def test_it_never_runs_away_whatever_the_noise(sizes: tuple[int, int], slope: float) -> None:
    for seed in range(5):
        rng, latency = Random(seed), Latency()
        for number in range(5_000):
            tokens = rng.randint(*sizes)
            true = 0.18 * (slope == 0.0) + slope * tokens
            latency.took(tokens, true * math.exp(rng.gauss(0.0, 0.3)))
            if number > 100:
                assert 0.4 * true <= latency.estimate_s(tokens) <= 2.5 * true


def test_it_follows_a_provider_that_becomes_slower() -> None:
    latency = known(10, 0.2, 500)
    for _ in range(100):
        latency.took(10, 0.6)
    assert latency.estimate_s(10) == pytest.approx(0.6, rel=0.2)
    assert latency.rtt_s == pytest.approx(0.6, rel=0.01)


def test_a_larger_call_never_counts_as_faster() -> None:
    rng, latency = Random(2), Latency()
    for _ in range(2000):
        tokens = rng.choice([1, 10, 100])
        latency.took(tokens, 1.0 / tokens)
        assert latency.estimate_s(1000) >= latency.estimate_s(1) >= 0.0


def test_rtt_is_guessed_too_for_without_it_a_burst_of_failures_would_bin_a_new_account() -> None:
    assert Latency().rtt_s == FIRST_GUESS_S


def test_rtt_is_smoothed_by_three_tenths() -> None:
    latency = Latency()
    latency.took(1, 1.0)
    latency.took(1, 2.0)
    assert latency.rtt_s == pytest.approx(1.3)


# the tail


def test_the_tail_is_of_the_size_and_known_after_ten_calls() -> None:
    latency = known(10, 0.2, ENOUGH_CALLS - 1)
    assert latency.tail_s(10) is None
    latency.took(10, 0.9)
    assert latency.tail_s(10) == 0.9
    assert latency.tail_s(8) == latency.tail_s(15) == 0.9
    assert latency.tail_s(7) is None
    assert latency.tail_s(16) is None


def test_the_tail_leaves_out_the_slowest_hundredth_and_forgets() -> None:
    latency = known(10, 0.2, 198)
    latency.took(10, 7.0)
    latency.took(10, 9.0)
    assert latency.tail_s(10) == 7.0
    for _ in range(199):
        latency.took(10, 0.3)
    assert latency.tail_s(10) == 0.3


# the time to the first byte


def first_byte_s(latency: Latency, deadline_s: float, *, tokens: int = 10, tries: int = 0) -> float:
    batch = batch_of(sized(1, tokens=tokens, deadline=100.0 + deadline_s))
    batch.tickets[0].tries = tries
    return latency.first_byte_s(batch, SETTINGS, 100.0)


@pytest.mark.parametrize(
    ("seconds", "allowed"),
    [(0.2, 5.0), (1.25, 5.0), (1.3, 5.2), (10.0, 40.0), (14.9, 59.6), (15.1, 60.0), (50.0, 60.0)],
)
def test_four_times_the_tail_between_five_seconds_and_the_ceiling(
    seconds: float, allowed: float
) -> None:
    assert first_byte_s(known(10, seconds), 600.0) == pytest.approx(allowed)


def test_an_unknown_size_has_the_ceiling() -> None:
    assert first_byte_s(Latency(), 600.0) == 60.0
    assert first_byte_s(known(10, 0.2, ENOUGH_CALLS - 1), 600.0) == 60.0


@pytest.mark.parametrize(
    ("tokens", "allowed"),
    [
        (16, 5.0),  # 2 x 0.5 s
        (80, 5.0),  # 10 x 0.5 s
        (160, 10.0),
        (800, 50.0),
        (1600, 60.0),
        (1, 5.0),  # a smaller call takes no longer
    ],
)
def test_other_sizes_bound_an_unknown_one_in_proportion(tokens: int, allowed: float) -> None:
    assert first_byte_s(known(8, 0.5), 600.0, tokens=tokens) == pytest.approx(allowed)


def test_the_nearest_size_bounds_best() -> None:
    latency = known(8, 0.5)
    for _ in range(ENOUGH_CALLS):
        latency.took(128, 0.7)
    assert first_byte_s(latency, 600.0, tokens=1280) == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("deadline_s", "tries", "allowed"),
    [
        (60.0, 0, 30.0),
        (60.0, 1, 30.0),
        (60.0, 2, 60.0),  # no retry is left
        (12.0, 0, 6.0),
        (1.0, 0, 5.0),  # the tail is not known, and a cold server needs seconds
    ],
)
def test_half_of_the_deadline_while_a_retry_is_left(
    deadline_s: float, tries: int, allowed: float
) -> None:
    assert first_byte_s(Latency(), deadline_s, tries=tries) == pytest.approx(allowed)


@pytest.mark.parametrize(("deadline_s", "allowed"), [(4.0, 2.0), (1.0, 0.5), (0.1, 0.3)])
def test_but_never_near_the_tail(deadline_s: float, allowed: float) -> None:
    assert first_byte_s(known(10, 0.2), deadline_s) == pytest.approx(allowed)


def test_the_longest_deadline_of_the_batch_counts() -> None:
    batch = batch_of(sized(1, deadline=110.0), sized(1, deadline=140.0))
    assert Latency().first_byte_s(batch, SETTINGS, 100.0) == pytest.approx(20.0)


def test_one_ticket_with_a_retry_left_is_enough() -> None:
    batch = batch_of(sized(1, deadline=140.0))
    batch.tickets.append(ticket_of(sized(1, deadline=140.0)))
    batch.tickets[0].tries = SETTINGS.max_retries
    assert Latency().first_byte_s(batch, SETTINGS, 100.0) == pytest.approx(20.0)


def test_the_ceiling_holds_below_five_seconds_too() -> None:
    settings = LaneSettings(call_timeout_s=2.0)
    batch = batch_of(sized(1, tokens=10, deadline=700.0))
    assert known(10, 0.2).first_byte_s(batch, settings, 100.0) == 2.0
