"""The quick answer at the door: no yes where the whole forecast is longer, and kept in a turn."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from emr.lane.account import Account
from emr.lane.forecast import forecast, none_longer
from emr.lane.settings import LimitSpec
from emr.lane.ticket import Request
from emr.lane.verdict import Dimension
from tests.lane.support import Crowd, sized, text, town
from tests.sim.model import Fault, Provider, Trouble
from tests.sim.world import World

HANGS = Fault(Trouble.HANG)
NOW = 0.1


def waiting(limits: dict[Dimension, LimitSpec] | None = None) -> tuple[World, Crowd]:
    """An account whose only slot hangs, so that what is asked waits."""
    world, crowd = town(Provider(HANGS), max_concurrency=1, limits=limits or {})
    crowd.ask(b'"hangs"', timeout_s=3000.0, bulk=True)
    world.run(NOW)
    return world, crowd


def weighed(account: Account, request: Request) -> Request:
    request.tokens = account.caps.weigh(request.texts, token_ids=False)
    return request


@settings(max_examples=60, deadline=None)
@given(
    calls=st.sampled_from([3.0, 60.0, 2000.0]),
    sizes=st.lists(st.integers(1, 400), max_size=12),
    left_s=st.floats(0.01, 300.0),
)
def test_a_yes_is_never_wrong(calls: float, sizes: list[int], left_s: float) -> None:
    _, crowd = waiting({Dimension.CALLS: LimitSpec(calls, configured=True)})
    account = crowd.account
    for number, texts in enumerate(sizes):
        request = weighed(account, sized(texts, tokens=3))
        if none_longer(account, request, left_s, NOW):
            assert forecast(account, request, NOW).wait_s <= left_s
        crowd.ask(*[text((number, each)) for each in range(texts)], timeout_s=3000.0)


def test_an_answer_is_kept_until_more_waits_than_it_was_for() -> None:
    _, crowd = waiting()
    account = crowd.account
    assert none_longer(account, weighed(account, sized(1)), 1e9, NOW)
    kept = account.outlook
    assert kept is not None
    most = int(kept.texts)
    assert none_longer(account, weighed(account, sized(most - account.texts, tokens=1)), 1e9, NOW)
    assert account.outlook is kept
    assert none_longer(account, weighed(account, sized(most + 1 - account.texts)), 1e9, NOW)
    assert account.outlook is not kept


def test_it_is_for_more_tokens_no_more_than_for_more_texts() -> None:
    _, crowd = waiting()
    account = crowd.account
    assert none_longer(account, weighed(account, sized(1)), 1e9, NOW)
    kept = account.outlook
    assert kept is not None
    heavy = weighed(account, sized(1))
    heavy.tokens = [int(kept.tokens) + 1 - account.tokens]
    assert none_longer(account, heavy, 1e9, NOW)
    assert account.outlook is not kept


def test_it_is_dropped_by_the_next_step_and_by_the_end_of_a_call() -> None:
    world, crowd = waiting()
    account = crowd.account
    assert none_longer(account, weighed(account, sized(1)), 1e9, NOW)
    crowd.ask(text("more"))
    world.run(NOW + 0.1)
    assert account.outlook is None


def test_where_the_kept_answer_says_no_the_exact_one_may_say_yes() -> None:
    _, crowd = waiting({Dimension.CALLS: LimitSpec(60.0, configured=True)})
    account = crowd.account
    one = weighed(account, sized(1))
    exact = forecast(account, one, NOW).wait_s
    assert none_longer(account, one, 1e9, NOW)
    assert account.outlook is not None
    between = (account.outlook.wait_s + 2.0 * exact) / 2.0
    assert between < account.outlook.wait_s
    assert none_longer(account, one, between, NOW)


def test_a_gate_that_holds_longer_says_no() -> None:
    _, crowd = waiting()
    account = crowd.account
    account.gate.until = NOW + 5.0
    one = weighed(account, sized(1))
    assert not none_longer(account, one, 4.9, NOW)
    assert none_longer(account, one, 5.1, NOW)


def lone(calls: float = 60.0) -> tuple[World, Crowd]:
    """An account of which nothing waits or flies."""
    limits = {Dimension.CALLS: LimitSpec(calls, configured=True)}
    return town(Provider(HANGS), limits=limits)


def test_a_lone_request_that_goes_at_once_has_no_forecast() -> None:
    _, crowd = lone()
    account = crowd.account
    most = account.caps.max_texts
    assert none_longer(account, weighed(account, sized(most)), 0.001, NOW)
    assert account.outlook is None
    assert forecast(account, weighed(account, sized(most)), NOW).wait_s == 0.0


def test_one_that_takes_two_calls_or_waits_for_a_limit_or_the_gate_has_one() -> None:
    for used, texts_over, held_s in ((9, 0, 0.0), (0, 1, 0.0), (0, 0, 0.5)):
        _, crowd = lone()
        account = crowd.account
        for _ in range(used):
            account.pace.meters[Dimension.CALLS].owe(1.0, 1.0, NOW, made_up=False)
        account.gate.until = NOW + held_s
        request = weighed(account, sized(account.caps.max_texts * texts_over + 1))
        none_longer(account, request, 1.0, NOW)
        assert account.outlook is not None, (used, texts_over, held_s)


def test_beside_others_a_lone_text_has_one() -> None:
    _, crowd = waiting()
    none_longer(crowd.account, weighed(crowd.account, sized(1)), 1.0, NOW)
    assert crowd.account.outlook is not None
