"""The filter: it never misses a digest, is rarely wrong, and forgets what the file let go of."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emr.control.cache.filter import Filter
from emr.control.cache.work import GENERATION_MIN, ROW_GUESS, generation_of

DIGESTS = st.integers(-(2**63), 2**63 - 1)


@given(st.dictionaries(st.integers(0, 400), DIGESTS), st.integers(0, 400))
def test_what_is_in_the_file_is_never_missed(numbered: dict[int, int], oldest: int) -> None:
    kept = Filter(64)
    for number, digest in numbered.items():
        kept.add(number, digest)
    assert all(kept.has(digest) for digest in numbered.values())
    kept.forget_before(oldest)
    assert all(kept.has(digest) for number, digest in numbered.items() if number >= oldest)


def test_what_was_never_added_is_rarely_there() -> None:
    rng = Random(1)
    kept = Filter(1024)
    for number in range(8 * 1024):
        kept.add(number, rng.getrandbits(64) - 2**63)
    wrong = sum([kept.has(rng.getrandbits(64) - 2**63) for _ in range(20_000)])
    assert wrong < 40, "of 20,000, over eight generations"
    assert kept.bytes == 8 * 1024 * 4


def test_an_empty_one_has_nothing() -> None:
    kept = Filter(64)
    assert not kept.has(0)
    kept.add(0, 5)
    kept.clear()
    assert not kept.has(5)
    assert kept.bytes == 0


@pytest.mark.parametrize(("oldest", "there"), [(63, True), (64, False), (65, False)])
def test_a_generation_is_forgotten_when_all_of_it_has_gone(oldest: int, there: bool) -> None:
    kept = Filter(64)
    kept.add(10, 7)
    kept.add(64, 8)
    kept.forget_before(oldest)
    assert kept.has(7) is there
    assert kept.has(8)


def test_the_size_of_a_generation_is_a_power_of_two() -> None:
    with pytest.raises(AssertionError):
        Filter(100)


@pytest.mark.parametrize(
    ("rows", "generation"),
    [(0, GENERATION_MIN), (GENERATION_MIN - 1, GENERATION_MIN), (GENERATION_MIN, GENERATION_MIN),
     (GENERATION_MIN + 1, 2 * GENERATION_MIN), (1 << 15, 1 << 15)],
)  # fmt: skip
def test_a_generation_is_as_long_as_there_is_room(rows: int, generation: int) -> None:
    assert generation_of(rows * ROW_GUESS) == generation
