"""A provider's figures over the rolling window, against a count by hand."""

from __future__ import annotations

import random

import pytest

from emr.control.history import (
    BLAMELESS,
    BUCKETS_S,
    RECENT_CALLS,
    SLICES,
    History,
    bucket_of,
    percentile,
)
from emr.lane.verdict import OK, Ending, Outcome, Reply, Verdict

HOUR = 3600.0
FAILURES = sorted(set(Ending) - BLAMELESS, key=lambda ending: ending.value)


def told(*calls: tuple[Ending, float, float]) -> History:
    """A history of calls: their ending, seconds, and when they ended."""
    history = History(HOUR)
    for ending, seconds, now in calls:
        history.judge(ending, seconds, now)
    return history


# percentiles


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_right_within_two_and_a_half_percent(seed: int) -> None:
    rng = random.Random(seed)
    times = [rng.lognormvariate(-2.0, 1.0) for _ in range(rng.choice([1, 7, 100, 3000]))]
    history = told(*[(Ending.OK, seconds, 100.0) for seconds in times])
    figures = history.figures(100.0)
    times.sort()
    for share, got in ((0.50, figures.p50_s), (0.95, figures.p95_s), (0.99, figures.p99_s)):
        exact = times[-(-int(share * 100) * len(times) // 100) - 1]
        assert got == pytest.approx(exact, rel=0.0255)


def test_percentiles_are_over_all_calls_failed_ones_too() -> None:
    history = told((Ending.OK, 0.1, 0.0), (Ending.TRANSIENT, 9.0, 0.0), (Ending.RATE, 9.0, 0.0))
    assert history.figures(0.0).p50_s == pytest.approx(9.0, rel=0.03)


def test_without_calls_every_figure_is_zero_and_the_provider_well() -> None:
    figures = History(HOUR).figures(1e6)
    assert (figures.p50_s, figures.p99_s, figures.calls, figures.failures) == (0, 0, 0, 0)
    assert (figures.error_rate, figures.availability, figures.health_score) == (0.0, 1.0, 1.0)
    assert (figures.recent_429_rate, figures.consecutive_failures) == (0.0, 0)
    assert percentile([], 0, 0.5) == 0.0


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e-6])
def test_times_too_short_to_tell(seconds: float) -> None:
    assert bucket_of(seconds) == 0
    assert told((Ending.OK, seconds, 0.0)).figures(0.0).p50_s < 2e-6


# failures


@pytest.mark.parametrize("ending", FAILURES)
def test_what_is_the_providers_doing_is_a_failure(ending: Ending) -> None:
    figures = told((Ending.OK, 0.1, 0.0), (ending, 0.1, 0.0)).figures(0.0)
    assert (figures.calls, figures.failures, figures.consecutive_failures) == (2, 1, 1)
    assert (figures.error_rate, figures.availability) == (0.5, 0.5)


@pytest.mark.parametrize("ending", sorted(BLAMELESS, key=lambda ending: ending.value))
def test_what_is_not_shows_that_it_answers(ending: Ending) -> None:
    figures = told((Ending.TRANSIENT, 0.1, 0.0), (ending, 0.1, 0.0)).figures(0.0)
    assert (figures.failures, figures.consecutive_failures) == (1, 0)


def test_all_failures_are_of_the_closed_set() -> None:
    assert set(FAILURES) == {
        Ending.AUTH, Ending.QUOTA, Ending.OVERLOAD, Ending.TRANSIENT, Ending.PROTOCOL,
    }  # fmt: skip


def test_failures_in_a_row_end_with_an_answer_a_test_and_the_window() -> None:
    history = told(*[(Ending.TRANSIENT, 0.1, 10.0)] * 7)
    assert history.figures(10.0).consecutive_failures == 7
    assert history.figures(10.0 + HOUR).consecutive_failures == 7
    assert history.figures(10.1 + HOUR).consecutive_failures == 0
    history.answered()
    assert history.figures(10.0).consecutive_failures == 0
    assert history.figures(10.0).failures == 7, "the window keeps what was"


@pytest.mark.parametrize(
    ("p99_s", "score"), [(0.0, 1.0), (5.0, 0.5), (9.9, 0.01), (10.0, 0.0), (60.0, 0.0)]
)
def test_the_health_score_is_availability_less_what_a_slow_tail_takes(
    p99_s: float, score: float
) -> None:
    figures = told((Ending.OK, p99_s, 0.0)).figures(0.0)
    assert figures.health_score == pytest.approx(score, abs=0.03)
    half = told((Ending.OK, p99_s, 0.0), (Ending.TRANSIENT, p99_s, 0.0)).figures(0.0)
    assert half.health_score == pytest.approx(score / 2, abs=0.03)


@pytest.mark.parametrize("calls", [1, RECENT_CALLS - 1, RECENT_CALLS, RECENT_CALLS + 1, 50])
def test_the_rate_of_429_is_of_the_last_twenty_calls(calls: int) -> None:
    history = told((Ending.RATE, 0.1, 0.0), *[(Ending.OK, 0.1, 0.0)] * (calls - 1))
    wanted = 1 / calls if calls <= RECENT_CALLS else 0.0
    assert history.figures(0.0).recent_429_rate == pytest.approx(wanted)


# the window


@pytest.mark.parametrize("window_s", [60.0, HOUR, 86_400.0])
def test_a_call_counts_for_the_whole_window_and_hardly_longer(window_s: float) -> None:
    for at in (0.0, 12_345.6, window_s * 7.77):
        history = History(window_s)
        history.judge(Ending.TRANSIENT, 0.1, at)
        assert history.figures(at + window_s).calls == 1
        over = window_s / SLICES + 1e-6
        assert history.figures(at + window_s + over).calls == 0


def test_the_window_holds_what_a_count_of_all_calls_in_it_gives() -> None:
    rng = random.Random(3)
    history, calls, now = History(HOUR), [], 0.0
    for _ in range(2000):
        now += rng.expovariate(1 / 10.0)
        ending = rng.choice([Ending.OK, Ending.OK, Ending.TRANSIENT, Ending.RATE])
        seconds = rng.lognormvariate(-2.0, 1.0)
        history.judge(ending, seconds, now)
        calls.append((now, ending, seconds))
        if rng.random() < 0.05:
            figures = history.figures(now)
            first = int(now // 60.0) - SLICES  # whole minutes
            inside = [call for call in calls if call[0] // 60.0 >= first]
            assert figures.calls == len(inside)
            assert figures.failures == sum(call[1] is Ending.TRANSIENT for call in inside)
            times = sorted(call[2] for call in inside)
            exact = times[-(-len(times) // 2) - 1]
            assert figures.p50_s == pytest.approx(exact, rel=0.03)
    assert len(history._slices) <= SLICES + 1
    assert sum(history._window.latencies.values()) == history._window.calls


def test_a_long_pause_forgets_everything() -> None:
    history = told(*[(Ending.OK, 0.1, now) for now in (0.0, 60.0, 120.0)])
    assert history.figures(1e9).calls == 0
    assert history._slices == type(history._slices)()
    assert not history._window.latencies
    history.judge(Ending.OK, 0.1, 1e9)
    assert history.figures(1e9).calls == 1


def test_another_provider_by_the_same_name_starts_anew() -> None:
    history = told(*[(Ending.RATE, 0.1, 0.0)] * 5, *[(Ending.TRANSIENT, 0.1, 0.0)] * 5)
    history.count(Outcome(Verdict(Ending.RATE)), 1, 0.1)
    history.start_anew()
    figures = history.figures(0.0)
    assert (figures.calls, figures.failures, figures.consecutive_failures) == (0, 0, 0)
    assert figures.recent_429_rate == 0.0
    assert history.calls.total() == 1, "totals only grow"


# totals since the start


def test_totals_for_the_exposition() -> None:
    history = History(HOUR)
    history.count(Outcome(OK, Reply([b"[1]", b"[2]"], 1, 7, "m")), 2, 0.05)
    history.count(Outcome(OK, Reply([b"[1]"], 1, None, "m")), 1, 0.3)
    history.count(Outcome(Verdict(Ending.TRANSIENT)), 5, 70.0)
    assert history.calls == {Ending.OK: 2, Ending.TRANSIENT: 1}
    assert (history.texts, history.tokens) == (3, 7)
    assert history.seconds == pytest.approx(70.35)
    assert sum(history.by_bucket) == 3
    assert history.by_bucket[-1] == 1, "longer than any bucket"


@pytest.mark.parametrize("number", range(len(BUCKETS_S)))
def test_a_time_on_the_edge_of_a_bucket_is_in_it(number: int) -> None:
    for seconds, bucket in ((BUCKETS_S[number], number), (BUCKETS_S[number] * 1.001, number + 1)):
        history = History(HOUR)
        history.count(Outcome(Verdict(Ending.RATE)), 1, seconds)
        assert history.by_bucket.index(1) == bucket
