"""A family: who is asked of members that are quick, slow, or were slow once."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from emr.lane.account import Account
from emr.lane.family import PASSED, choose
from emr.lane.settings import AccountSpec, LaneSettings
from tests.lane.support import batch_of, sized

CALLS = 40  # enough to know how long they take


def member(name: str, takes_s: float) -> Account:
    """An idle account whose calls took so long."""
    account = Account(AccountSpec(name, name, ""), LaneSettings(), Random(1))
    for _ in range(CALLS):
        account.latency.took(4, takes_s)
    return account


def asked(members: Sequence[Account], requests: int, takes: dict[Account, float]) -> list[Account]:
    """Who is chosen for each of some requests, which come one after the other."""
    chosen = []
    for _ in range(requests):
        best = choose(members, sized(1), 0.0)
        best.taken += 1.0
        best.latency.took(4, takes[best])
        chosen.append(best)
    return chosen


def test_a_slower_twin_is_asked_seldom_and_a_quick_one_never_left() -> None:
    quick, slow = member("quick", 0.1), member("slow", 0.8)
    chosen = asked((quick, slow), 1000, {quick: 0.1, slow: 0.8})
    assert 0 < chosen.count(slow) <= 1000 / (2 * PASSED)
    assert chosen.index(slow) > PASSED


def test_one_that_was_slow_once_gets_its_part_again() -> None:
    one, other = member("one", 0.1), member("other", 0.8)
    chosen = asked((one, other), 2000, {one: 0.1, other: 0.1})
    assert 0.3 < chosen[-500:].count(other) / 500 < 0.7


def test_a_member_that_works_is_known_well_enough() -> None:
    quick, slow = member("quick", 0.1), member("slow", 0.8)
    slow.flying.add(batch_of(sized(1)))
    assert slow not in asked((quick, slow), 1000, {quick: 0.1, slow: 0.8})
