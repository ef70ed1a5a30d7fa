"""Requests that are passed on whole: one call each, never cut, never shared, always answered."""

from __future__ import annotations

import pytest

from emr.lane.ticket import Params
from emr.lane.verdict import Ending, Verdict
from tests.lane.support import ignore, text, town
from tests.sim.model import Fault, Provider, Script, TakesAtMost, Trouble

WHOLE = Params("m", whole=b'{"input":"x","late_chunking":true}')


@pytest.mark.parametrize("texts", [0, 1, 2, 300])
def test_it_goes_in_one_call_of_its_own(texts: int) -> None:
    provider = Provider()
    world, crowd = town(provider)
    requests = [
        world.ask(crowd.account, [text(n) for n in range(texts)], ignore, params=WHOLE)
        for _ in range(3)
    ]
    world.run(10.0)
    assert [request.body for request in requests] == [b"{}"] * 3
    assert provider.sizes() == [texts] * 3
    assert world.roster.live == 0


def test_it_goes_whole_through_a_sin_bin() -> None:
    provider = Provider(Fault(Trouble.RESET, 0.0, 5.0))
    world, crowd = town(provider)
    request = world.ask(crowd.account, [text(n) for n in range(20)], ignore, params=WHOLE)
    crowd.trickle(20.0, 0.0, 5.0)
    world.run(30.0)
    assert request.body == b"{}"
    assert {len(seen.texts) for seen in provider.seen if seen.params == WHOLE} == {20}


@pytest.mark.parametrize("ending", [Ending.SIZE_ITEMS, Ending.SIZE_TOKENS, Ending.SIZE_BYTES])
def test_one_that_is_too_large_is_its_callers_fault(ending: Ending) -> None:
    provider = Provider(Script(Verdict(ending, 400, "too large", cap=5)))
    world, crowd = town(provider)
    answer = crowd.ask(*[text(n) for n in range(10)], params=WHOLE)
    world.run(10.0)
    assert answer.refusal is not None
    assert (answer.refusal.type, answer.refusal.param) == ("validation_error", None)
    assert len(provider.seen) == 1
    assert crowd.account.caps.max_texts == 128, "its size says nothing about other calls"


def test_its_provider_may_refuse_it_without_harm_to_others() -> None:
    provider = Provider(TakesAtMost(texts=5))
    world, crowd = town(provider)
    whole = crowd.ask(*[text(n) for n in range(6)], params=WHOLE)
    other = crowd.ask(text("other"))
    world.run(10.0)
    assert whole.refusal is not None
    assert other.served
