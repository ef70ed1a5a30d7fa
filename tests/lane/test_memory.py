"""What is remembered of an account, and what a new one makes of it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from typing import Any

import pytest

from emr.lane.account import Account
from emr.lane.learner import Learner, recall_limit, remember_limit
from emr.lane.memory import recall, remember
from emr.lane.settings import AccountSpec, LaneSettings, LimitSpec
from emr.lane.verdict import Dimension

CALLS, TOKENS = Dimension.CALLS, Dimension.TOKENS


def account(limits: Mapping[Dimension, LimitSpec] | None = None) -> Account:
    spec = AccountSpec("p", "m", limits=limits or {})
    return Account(spec, LaneSettings(), random.Random(1))


def learner(of: Account, dimension: Dimension = CALLS) -> Learner:
    return of.pace.meters[dimension].learner


def again(one: Account, **kept: Any) -> Account:
    """A new account like it that is told what it learned, by way of JSON."""
    new = Account(one.spec, one.settings, random.Random(2))
    recall(new, json.loads(json.dumps(remember(one))) | kept)
    return new


def test_who_learned_nothing_remembers_nothing() -> None:
    assert remember(account()) == {}
    assert remember(account({CALLS: LimitSpec(300.0, True), TOKENS: LimitSpec(1e6, False)})) == {}
    new = again(account())
    assert remember(new) == {}
    assert not learner(new).known


def test_a_limit_goes_on_where_it_was() -> None:
    one = account()
    limit = learner(one)
    for at, seen in ((100.0, 400.0), (200.0, 300.0), (300.0, 305.0)):
        limit.cut(seen, seen)
        limit.reached(at + 40.0)
        limit.tick(at + 40.0, 200.0)
    new = learner(again(one))
    assert (new.w, new.cap, new.learned) == (limit.w, limit.cap, True)
    for now in range(400, 1000, 20):  # and the law goes on alike
        for each in (limit, new):
            each.reached(now + 20.0)
            each.tick(float(now), 250.0)
        assert new.w == pytest.approx(limit.w, rel=0.02)
    limit.cut(290.0, 290.0)
    new.cut(290.0, 290.0)
    assert (new.w, new.cap) == (pytest.approx(limit.w), pytest.approx(limit.cap))


def test_a_limit_that_was_told_is_held_exactly() -> None:
    one = account()
    learner(one, TOKENS).told(150_000.0)
    new = learner(again(one), TOKENS)
    assert (new.w, new.learned) == (150_000.0, True)
    new.reached(30.0)
    new.tick(30.0, 149_000.0)
    assert new.w == 150_000.0


def test_a_limit_of_headers_is_not_over_a_configured_one() -> None:
    one = account()
    learner(one).announced(500.0)
    new = learner(again(one))
    assert (new.w, new.announced_limit, new.learned) == (500.0, 500.0, False)
    configured = account({CALLS: LimitSpec(300.0, True)})
    recall(configured, remember(one))
    assert (learner(configured).w, learner(configured).announced_limit) == (300.0, None)


def test_a_learned_limit_is_not_over_a_configured_one() -> None:
    one = account()
    learner(one).cut(400.0, 400.0)
    configured = account({CALLS: LimitSpec(100.0, True)})
    recall(configured, remember(one))
    assert learner(configured).w == 100.0


def test_caps_and_ratio_and_bursts() -> None:
    one = account()
    one.caps.max_texts, one.caps.max_bytes = 48, 5000
    one.caps._ratio.seen(200, 1000)
    one.pace.lessons.burst_one = True
    new = again(one)
    assert (new.caps.max_texts, new.caps.max_tokens, new.caps.max_bytes) == (
        48, one.caps.max_tokens, 5000,
    )  # fmt: skip
    assert new.caps.tokens_a_byte == pytest.approx(one.caps.tokens_a_byte, abs=0.001)
    assert new.pace.lessons.burst_one
    assert new.caps.weigh([b'"' + b"a" * 1000 + b'"'], token_ids=False) == [
        int(1000 * new.caps.tokens_a_byte) + 1
    ]
    assert again(one, max_texts=10_000).caps.max_texts == 128  # never over what is told


def test_the_state_is_plain_numbers() -> None:
    limit = Learner()
    assert remember_limit(limit)["w_max"] is None
    limit.cut(300.0, 300.0)
    state = remember_limit(limit)
    assert json.loads(json.dumps(state, allow_nan=False)) == state


GOOD = {
    "w_max": 300.0, "announced_limit": None, "cuts": 1, "x": -1.0, "tau": 60.0, "beta": 0.7,
    "before": None, "let_through": 0.0, "told_times": 0,
}  # fmt: skip


def test_a_good_state() -> None:
    limit = Learner()
    recall_limit(limit, GOOD, configured=False)
    assert limit.w == pytest.approx(210.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("w_max", 0.0), ("w_max", 0.999), ("w_max", math.nan), ("w_max", "x"), ("w_max", []),
        ("x", -1.001), ("x", math.nan), ("x", None), ("tau", 0.0), ("tau", None), ("beta", 0.0),
        ("beta", 1.001), ("cuts", -1), ("cuts", math.nan), ("told_times", -1),
        ("announced_limit", 0.0), ("before", math.nan), ("let_through", math.nan),
    ],
)  # fmt: skip
def test_what_is_no_state(name: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        recall_limit(Learner(), GOOD | {name: value}, configured=False)
    with pytest.raises(KeyError):
        recall_limit(Learner(), {n: v for n, v in GOOD.items() if n != name}, configured=False)


@pytest.mark.parametrize(
    "kept",
    [
        [], "x", {"limits": []}, {"limits": {"watts": GOOD}}, {"limits": {"calls": 5}},
        {"max_texts": "many"}, {"tokens_a_byte": 0.0}, {"tokens_a_byte": 1.001},
        {"tokens_a_byte": None},
    ],
)  # fmt: skip
def test_what_is_no_memory(kept: Any) -> None:
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        recall(account(), kept)
