"""The four models of counting, at their edges and against a brute-force count."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emr.fake.limits import (
    Counting,
    FixedMinute,
    Limiter,
    Method,
    SlidingLog,
    TokenBucket,
    Windows,
)

METHODS = [
    Method(Counting.SLIDING),
    Method(Counting.FIXED),
    Method(Counting.BUCKET),
    Method(Counting.BUCKET, burst_s=6.0),
    Method(Counting.WINDOWS, window_s=1.0),
    Method(Counting.WINDOWS, window_s=10.0),
]


def fill(limiter: Limiter, number: int, now: float) -> int:
    """How many of `number` calls fit at `now`, taken."""
    for done in range(number):
        if limiter.wait_s(1.0, now) > 0.0:
            return done
        limiter.take(1.0, now)
    return number


def test_sliding_log_at_its_edges() -> None:
    log = SlidingLog(10.0)
    assert fill(log, 9, 5.0) == 9
    assert log.left(5.0) == 1.0
    assert fill(log, 2, 20.0) == 1
    assert log.wait_s(1.0, 20.0) == 45.0
    assert log.reset_s(20.0) == 60.0
    assert log.wait_s(1.0, 64.999) == pytest.approx(0.001)
    assert fill(log, 20, 65.0) == 9
    assert fill(log, 20, 80.0) == 1


def test_sliding_log_by_weight() -> None:
    log = SlidingLog(100.0)
    log.take(60.0, 0.0)
    log.take(30.0, 10.0)
    assert log.wait_s(10.0, 20.0) == 0.0
    assert log.wait_s(11.0, 20.0) == 40.0
    assert log.wait_s(71.0, 20.0) == 50.0
    assert log.wait_s(100.0, 20.0) == 50.0
    assert log.wait_s(100.1, 20.0) == math.inf


def test_fixed_minute_begins_again_at_the_full_minute() -> None:
    minute = FixedMinute(10.0)
    assert fill(minute, 11, 59.0) == 10
    assert minute.wait_s(1.0, 59.5) == 0.5
    assert minute.left(59.9) == 0.0
    assert minute.reset_s(59.5) == 0.5
    assert fill(minute, 11, 60.0) == 10  # twice the limit within a second: so it counts
    assert minute.wait_s(11.0, 60.0) == math.inf
    assert minute.reset_s(130.0) == 0.0


def test_token_bucket_refills_evenly() -> None:
    bucket = TokenBucket(60.0, 10.0)
    assert fill(bucket, 11, 0.0) == 10
    assert bucket.wait_s(1.0, 0.0) == pytest.approx(1.0)
    assert bucket.reset_s(0.0) == pytest.approx(10.0)
    assert bucket.wait_s(1.0, 0.999) == pytest.approx(0.001)
    assert fill(bucket, 5, 1.0) == 1
    assert fill(bucket, 99, 1000.0) == 10
    assert bucket.wait_s(10.0, 1000.0) == pytest.approx(10.0)
    assert bucket.wait_s(10.1, 1000.0) == math.inf


def test_token_bucket_owes_at_most_as_much_as_it_holds() -> None:
    bucket = TokenBucket(60.0, 60.0)
    bucket.take(70.0, 0.0)
    assert bucket.left(0.0) == 0.0
    assert bucket.wait_s(1.0, 0.0) == pytest.approx(11.0)
    bucket.take(1000.0, 0.0)
    assert bucket.wait_s(1.0, 0.0) == pytest.approx(61.0)


def test_short_windows_share_the_minute() -> None:
    windows = Windows(120.0, 1.0)
    assert fill(windows, 3, 0.9) == 2
    assert windows.wait_s(1.0, 0.9) == pytest.approx(0.1)
    assert fill(windows, 3, 1.0) == 2
    assert windows.left(1.5) == 0.0


def test_short_windows_carry_what_was_too_much() -> None:
    windows = Windows(30.0, 1.0)  # half a call a window
    assert fill(windows, 2, 0.0) == 1
    assert windows.wait_s(1.0, 0.0) == 2.0
    assert fill(windows, 2, 1.0) == 0
    assert fill(windows, 2, 2.0) == 1
    assert windows.reset_s(2.0) == 2.0
    windows = Windows(600.0, 1.0)  # ten a window
    windows.take(25.0, 0.0)
    assert windows.wait_s(1.0, 0.5) == 1.5
    assert windows.wait_s(6.0, 0.5) == 2.5
    assert windows.wait_s(1000.0, 0.5) == 2.5  # an untouched window takes anything


@pytest.mark.parametrize("method", METHODS)
def test_changed_limits_hold_at_once(method: Method) -> None:
    limiter = method.limiter(600.0)
    limiter.limit = 60.0
    now = 120.0
    at_once = fill(limiter, 10_000, now)
    assert 1 <= at_once <= 60
    limiter.limit = 6000.0
    assert limiter.wait_s(1.0, now) == 0.0


@pytest.mark.parametrize("method", METHODS)
def test_a_limit_of_nothing_never_fits(method: Method) -> None:
    limiter = method.limiter(0.0)
    limiter.take(1.0, 0.0)
    assert limiter.wait_s(1.0, 0.0) == math.inf


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 2**32), limit=st.sampled_from([3.0, 60.0, 1000.0]))
def test_waiting_as_told_is_enough_and_no_less(method: Method, seed: int, limit: float) -> None:
    rng = Random(seed)
    limiter = method.limiter(limit)
    now = rng.uniform(0.0, 100.0)
    for _ in range(60):
        now += rng.choice([0.0, rng.uniform(0.0, 120.0 / limit), rng.uniform(0.0, 20.0)])
        amount = rng.uniform(0.1, limit / 20.0)
        wait = limiter.wait_s(amount, now)
        if wait == 0.0:
            limiter.take(amount, now)
        elif math.isfinite(wait):
            early = now + wait - 1e-6
            if early > now:
                assert limiter.wait_s(amount, early) > 0.0
            now += wait
            assert limiter.wait_s(amount, now) == 0.0
        assert limiter.left(now) >= 0.0
        assert limiter.reset_s(now) >= 0.0


@given(seed=st.integers(0, 2**32))
def test_no_minute_holds_more_than_the_sliding_limit(seed: int) -> None:
    rng = Random(seed)
    log, taken, now = SlidingLog(50.0), [], 0.0
    for _ in range(300):
        now += rng.expovariate(2.0)
        amount = rng.choice([1.0, 5.0, 20.0])
        fits = sum(a for t, a in taken if t > now - 60.0) + amount <= 50.0
        assert (log.wait_s(amount, now) == 0.0) == fits
        if fits:
            log.take(amount, now)
            taken.append((now, amount))


@pytest.mark.parametrize("method", METHODS)
def test_a_minute_at_full_load_yields_the_limit(method: Method) -> None:
    limiter = method.limiter(600.0)
    # the burst that some allow first, so long ago that no model but the buckets knows it
    fill(limiter, 10_000, 59.99 if method.counting is Counting.BUCKET else 0.0)
    served = sum(fill(limiter, 1, i * 0.01) for i in range(6000, 36_000))
    assert served == pytest.approx(5 * 600, abs=1 + 0.04 * 600)
