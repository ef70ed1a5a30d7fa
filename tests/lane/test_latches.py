"""AUTH and QUOTA: everyone is answered at once in the provider's words, then one ticket tries."""

from __future__ import annotations

import pytest

from emr.lane.gate import Reason
from emr.lane.verdict import Ending, Verdict
from tests.lane.support import Answer, text, town
from tests.sim.model import End, Fault, Provider, Script, Times, Trouble

STEADY = Times(sigma=0.0)
LATCHES = [(Trouble.AUTH, Reason.AUTH), (Trouble.QUOTA, Reason.QUOTA)]


def words_of(answer: Answer) -> str:
    assert answer.refusal is not None
    assert answer.refusal.type == "provider_error"
    assert answer.refusal.final, "SDKs must not multiply it"
    return answer.refusal.message


@pytest.mark.parametrize(("trouble", "reason"), LATCHES)
def test_all_are_told_at_once_until_the_next_try(trouble: Trouble, reason: Reason) -> None:
    provider = Provider(Fault(trouble, 10.0, 45.0), times=STEADY)
    world, crowd = town(provider)
    crowd.trickle(10.0, 0.0, 80.0)
    world.run(100.0)
    said = trouble.value[0]
    for answer in crowd.between(10.0, 40.0):
        assert words_of(answer) == f"voyage answered {said.status}: {said.message}"
    late = crowd.between(10.1, 40.0)
    assert max(answer.took_s for answer in late) == 0.0
    # 30 s after the refusal one ticket tries and is refused; a minute later the next one is served
    assert len(provider.between(10.1, 45.0)) == 1
    assert crowd.account.gate.reason is reason
    assert not [answer for answer in crowd.between(40.2, 80.0) if answer.served]
    crowd.trickle(10.0, 101.0, 120.0)
    world.run(130.0)
    assert crowd.share_served(101.0, 120.0) == 1.0


@pytest.mark.parametrize(("trouble", "reason"), LATCHES)
def test_what_comes_while_the_try_is_out_waits_for_its_verdict(
    trouble: Trouble, reason: Reason
) -> None:
    provider = Provider(Script(trouble), times=STEADY)
    world, crowd = town(provider)
    crowd.ask(text("first"))
    world.run(40.0)
    assert crowd.account.gate.reason is reason
    tries = crowd.ask(text("tries"))
    crowd.ask_at(40.1, text("waits"))
    world.run(50.0)
    assert (tries.took_s, crowd.answers[-1].took_s) == pytest.approx((0.18, 0.26))
    assert provider.sizes() == [1, 1, 1]


@pytest.mark.parametrize(
    "next_end", [Verdict(Ending.TRANSIENT, 500), Verdict(Ending.PROTOCOL, 200), None]
)
def test_a_try_that_breaks_leaves_nobody_waiting(next_end: Verdict | None) -> None:
    end = Trouble.AUTH.end() if next_end is None else End(next_end, 0.05)
    provider = Provider(Script(Trouble.AUTH, end), times=STEADY)
    world, crowd = town(provider)
    crowd.ask(text("first"))
    world.run(40.0)
    tries = crowd.ask(text("tries"))
    crowd.ask_at(40.01, text("waits"))
    world.run(41.0)
    for answer in (tries, crowd.answers[-1]):
        assert words_of(answer) == "voyage answered 401: invalid api key"
        assert answer.ended_at < 40.1
    assert crowd.account.gate.until > 60.0


@pytest.mark.parametrize(
    "broken",
    [
        Verdict(Ending.TRANSIENT, 500),
        Verdict(Ending.RATE, 429, retry_after=1.0),
        Verdict(Ending.OVERLOAD, 503),
        Verdict(Ending.PROTOCOL, 200),
        Verdict(Ending.SIZE_ITEMS, 400, cap=1),
        Verdict(Ending.BAD_TEXT, 400),
    ],
)
def test_a_call_that_was_out_when_it_latched_does_not_go_on_waiting(broken: Verdict) -> None:
    provider = Provider(Script(End(broken, 0.5), Trouble.AUTH), times=STEADY)
    world, crowd = town(provider)
    crowd.ask(text(1), text(2))
    crowd.ask_at(0.1, text(3))
    world.run(2.0)
    assert [words_of(answer)[:19] for answer in crowd.answers[1:]] == ["voyage answered 401"]
    first = crowd.answers[0]
    assert first.refusal is not None
    assert first.ended_at == pytest.approx(0.5)


def test_each_is_told_what_its_own_call_was_told() -> None:
    provider = Provider(
        Script(End(Verdict(Ending.QUOTA, 402, "no money"), 0.3), Trouble.AUTH), times=STEADY
    )
    world, crowd = town(provider)
    crowd.ask(text("first"))
    crowd.ask_at(0.1, text("second"))
    world.run(2.0)
    assert [words_of(answer) for answer in crowd.answers] == [
        "voyage answered 402: no money",
        "voyage answered 401: invalid api key",
    ]


def test_a_refusal_after_a_reset_is_told_in_the_providers_words() -> None:
    provider = Provider(Script(End(Verdict(Ending.AUTH, 401, "old key"), 0.3)), times=STEADY)
    world, crowd = town(provider)
    answer = crowd.ask(text("first"))
    world.at(0.1, lambda: world.roster.reset(crowd.account))
    world.run(2.0)
    assert words_of(answer) == "voyage answered 401: old key"
    assert crowd.account.gate.reason is Reason.CLEAR


def test_a_latch_never_tells_others_the_text_that_met_it() -> None:
    blocked = Verdict(Ending.AUTH, 403, "blocked by policy: text of a secret plan")
    provider = Provider(Script(blocked), times=STEADY)
    world, crowd = town(provider)
    secret = crowd.ask(b'"text of a secret plan"')
    crowd.ask_at(1.0, text("other"))
    world.run(2.0)
    assert words_of(secret) == "voyage answered 403: blocked by policy: text of a secret plan"
    assert words_of(crowd.answers[1]) == "voyage answered 403"


@pytest.mark.parametrize(("trouble", "reason"), LATCHES)
def test_a_reset_opens_at_once(trouble: Trouble, reason: Reason) -> None:
    provider = Provider(Fault(trouble, 0.0, 5.0), times=STEADY)
    world, crowd = town(provider)
    crowd.ask(text("first"))
    world.run(5.0)
    assert crowd.account.gate.reason is reason
    world.at(6.0, lambda: world.roster.reset(crowd.account))
    crowd.trickle(20.0, 6.0, 10.0)
    world.run(20.0)
    assert crowd.share_served(6.0, 10.0) == 1.0
