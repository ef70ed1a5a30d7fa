"""What becomes of the tickets of a call that ended badly: tried again, told, or isolated."""

from __future__ import annotations

from random import Random

import pytest

from emr.lane.account import Account
from emr.lane.effects import Effects
from emr.lane.gate import Reason
from emr.lane.settings import AccountSpec, LaneSettings
from emr.lane.settle import settle
from emr.lane.ticket import Batch, Params
from emr.lane.verdict import Ending, Outcome, Verdict
from tests.lane.support import Answer, Crowd, request_of, text, town
from tests.sim.model import End, Fault, Poison, Provider, Script, Times, Trouble
from tests.sim.world import World

STEADY = Times(sigma=0.0)
POISON = b'"a poisoned text that is refused"'


def kind(answer: Answer) -> str | None:
    return answer.refusal.type if answer.refusal else None


# tried again


@pytest.mark.parametrize("trouble", [Trouble.ERROR, Trouble.RESET, Trouble.WRONG_COUNT])
@pytest.mark.parametrize("retries", [0, 1, 2])
def test_a_broken_call_is_tried_again_so_often(trouble: Trouble, retries: int) -> None:
    for broken in (retries, retries + 1):
        provider = Provider(Script(*[trouble] * broken), times=STEADY)
        world, crowd = town(provider, settings=LaneSettings(max_retries=retries))
        answer = crowd.ask(text(1))
        world.run(30.0)
        assert answer.served is (broken == retries)
        assert len(provider.seen) == retries + 1
        assert answer.request.attempts == retries + 1


def test_who_used_up_its_tries_is_told_for_good_in_the_providers_words() -> None:
    provider = Provider(Script(*[Trouble.ERROR] * 3), times=STEADY)
    world, crowd = town(provider)
    answer = crowd.ask(text(1))
    world.run(30.0)
    assert answer.refusal is not None
    assert (answer.refusal.type, answer.refusal.final) == ("provider_error", True)
    assert answer.refusal.message == "voyage answered 500: internal error"
    assert answer.refusal.retry_after is None


@pytest.mark.parametrize("ending", [Ending.RATE, Ending.OVERLOAD])
def test_waits_are_no_tries_and_cost_no_credit(ending: Ending) -> None:
    script = Script(*[Verdict(ending, 429, retry_after=0.2)] * 4)
    world, crowd = town(Provider(script, times=STEADY))
    answer = crowd.ask(text(1))
    before = crowd.account.credits.balance
    world.run(50.0)
    assert answer.served
    assert answer.request.attempts == 5
    assert crowd.account.credits.balance >= before


def test_the_back_off_is_drawn_and_the_hold_starts_anew() -> None:
    provider = Provider(Script(Trouble.ERROR, Trouble.ERROR), times=STEADY)
    world, crowd = town(provider)
    crowd.ask(text(1))
    world.run(30.0)
    first, second, third = (seen.at for seen in provider.seen)
    assert 0.0 <= second - first - 0.03 <= 0.5
    assert 0.0 <= third - second - 0.03 <= 1.0


def test_a_failed_call_is_one_failure_however_many_it_carried() -> None:
    provider = Provider(Script(Trouble.ERROR), times=STEADY)
    world, crowd = town(provider)
    for number in range(100):
        crowd.ask(text(number), caller=f"c{number}")
    world.run(0.031)
    assert crowd.account.credits.balance == pytest.approx(9.75 + 0.031, abs=0.5)
    world.run(30.0)
    assert all(answer.served for answer in crowd.answers)


def spent(crowd: Crowd) -> None:
    """Leave the account without a credit."""
    while crowd.account.credits.take(crowd.world.now):
        pass


def test_without_a_credit_interactive_is_told_and_bulk_waits_for_one() -> None:
    provider = Provider(Script(Trouble.ERROR), times=STEADY)
    world, crowd = town(provider)
    world.run(1.0)
    interactive = crowd.ask(text("interactive"))
    bulk = [crowd.ask(text(f"bulk {n}"), bulk=True) for n in range(2)]
    world.run(1.01)
    spent(crowd)
    world.run(1.04)
    assert kind(interactive) == "provider_error"
    assert interactive.ended_at == pytest.approx(1.03)
    assert [kind(answer) for answer in bulk] == [None, None]
    world.run(10.0)
    assert provider.sizes() == [3, 2], "one credit carries both"
    assert provider.seen[1].at == pytest.approx(1.26), (
        "three quarters were left, one comes a second"
    )
    assert all(answer.served for answer in bulk)


# a call that may itself be too much


@pytest.mark.parametrize(("texts", "halves"), [(2, 1), (7, 3), (100, 50)])
def test_after_two_failures_only_calls_of_half_the_size(texts: int, halves: int) -> None:
    provider = Provider(Script(Trouble.ERROR, Trouble.ERROR), times=STEADY)
    world, crowd = town(provider)
    answer = crowd.ask(*[text(number) for number in range(texts)])
    world.run(30.0)
    assert answer.served
    assert provider.sizes()[:2] == [texts, texts]
    assert max(provider.sizes()[2:]) == halves
    assert sum(provider.sizes()[2:]) == texts


def test_but_not_when_as_large_a_call_just_succeeded() -> None:
    provider = Provider(Script(None, Trouble.ERROR, Trouble.ERROR), times=STEADY)
    world, crowd = town(provider)
    crowd.ask(*[text(f"before {number}") for number in range(100)])
    world.run(1.0)
    crowd.ask(*[text(number) for number in range(100)])
    world.run(30.0)
    assert provider.sizes() == [100] * 4


# in the sin-bin


def test_a_failed_probe_is_no_try_costs_no_credit_and_goes_behind_the_others() -> None:
    provider = Provider(Fault(Trouble.RESET, 10.0, 20.0), times=STEADY)
    world, crowd = town(provider)
    crowd.trickle(20.0, 9.0, 11.0)
    world.run(12.0)
    assert crowd.account.gate.reason is Reason.BINNED
    balance = crowd.account.credits.balance
    world.run(19.0)
    probes = provider.between(crowd.account.gate.bin.started + 0.4, 19.0)
    assert len(probes) >= 3
    assert {len(seen.texts) for seen in probes} == {8}, "small, it may be lost"
    carried = [name for seen in probes[:2] for name in seen.texts]
    assert len(set(carried)) == len(carried), "a text that kills the server does not stay in front"
    assert crowd.account.credits.balance >= balance
    world.run(40.0)
    assert crowd.share_served(10.5, 11.0) == 1.0


# refused texts


@pytest.mark.parametrize("at", [0, 1, 6, 9])
def test_an_index_tells_whose_text_it_is(at: int) -> None:
    """Ten callers of three texts: one is told its own index, the others never notice."""
    provider = Provider(Poison([POISON], tells_index=True), times=STEADY)
    world, crowd = town(provider)
    for caller in range(10):
        texts = [text(f"{caller} {number}") for number in range(3)]
        if caller == at:
            texts[2] = POISON
        crowd.ask(*texts, caller=f"c{caller}")
    world.run(30.0)
    guilty = crowd.answers.pop(at)
    assert guilty.refusal is not None
    assert (guilty.refusal.type, guilty.refusal.param) == ("validation_error", "input[2]")
    assert guilty.refusal.message == "voyage answered 400: input[2] is refused"
    assert all(answer.served for answer in crowd.answers)
    assert provider.sizes() == [30, 27]


@pytest.mark.parametrize("quoted", ["text of their own", "text of both"])
def test_who_waits_for_a_text_of_another_is_not_told_what_else_he_asked(quoted: str) -> None:
    """One call for both; its refusal quotes a text, which perhaps only the holder asked."""
    told = Verdict(Ending.BAD_REQUEST, 400, f"bad: {quoted}")
    again = Verdict(Ending.BAD_REQUEST, 400, "bad again")
    provider = Provider(Script(told, again), times=STEADY)
    world, crowd = town(provider)
    holder = crowd.ask(b'"text of their own"', b'"text of both"', caller="holder")
    waiter = crowd.ask(b'"text of both"', caller="waiter")
    world.run(30.0)
    words = [each.refusal.message if each.refusal else "" for each in (holder, waiter)]
    assert quoted in words[0]
    if quoted == "text of both":
        assert (words[1], len(provider.seen)) == (words[0], 1)
    else:
        assert words[1] == "voyage answered 400: bad again"
        assert len(provider.seen) == 2, "the text went again, and had a refusal of its own"


@pytest.mark.parametrize("tells_index", [True, False])
def test_one_poisoned_text_among_fifty_callers(tells_index: bool) -> None:
    provider = Provider(Poison([POISON], tells_index=tells_index), times=STEADY)
    world, crowd = town(provider)
    for caller in range(50):
        crowd.ask(POISON if caller == 31 else text(caller), caller=f"c{caller}")
    world.run(30.0)
    guilty = crowd.answers.pop(31)
    assert kind(guilty) == "validation_error"
    assert all(answer.served for answer in crowd.answers)
    assert provider.texts().count(POISON) <= 7, "alone at once, or by halves"


def test_several_poisoned_texts_are_each_their_own_callers() -> None:
    poisoned = [b'"poison number %d of the callers"' % number for number in range(3)]
    provider = Provider(Poison(poisoned, tells_index=True), times=STEADY)
    world, crowd = town(provider)
    for caller in range(20):
        crowd.ask(poisoned[caller // 5] if caller % 5 == 0 and caller < 15 else text(caller))
    world.run(30.0)
    kinds = [kind(answer) for answer in crowd.answers]
    assert [n for n, each in enumerate(kinds) if each] == [0, 5, 10]


@pytest.mark.parametrize("index", [-1, 2, 99])
def test_an_index_that_points_nowhere_is_ignored(index: int) -> None:
    provider = Provider(Script(Verdict(Ending.BAD_TEXT, 400, "bad", index=index)), times=STEADY)
    world, crowd = town(provider)
    for number in range(2):
        crowd.ask(text(number))
    world.run(30.0)
    assert all(answer.served for answer in crowd.answers)


def test_parameters_that_are_refused_are_refused_for_all_of_the_call() -> None:
    refused = Verdict(Ending.BAD_REQUEST, 400, "dimensions must be 256 or 512")
    provider = Provider(Script(refused), times=STEADY)
    world, crowd = town(provider)
    for number in range(3):
        crowd.ask(text(number))
    world.run(30.0)
    for answer in crowd.answers:
        assert answer.refusal is not None
        assert answer.refusal.type == "validation_error"
        assert answer.refusal.message.endswith("dimensions must be 256 or 512")
    assert len(provider.seen) == 1
    assert crowd.account.gate.reason is Reason.CLEAR


# the slots after a bin, K, and what the log is told


def test_the_slots_start_from_one_after_a_bin_and_are_back_soon() -> None:
    provider = Provider(Fault(Trouble.RESET, 10.0, 20.0), times=STEADY)
    world, crowd = town(provider)
    crowd.trickle(40.0, 0.0, 40.0)
    first = crowd.account.slots.limit
    limits: list[int] = []

    def look(world: World) -> None:
        if crowd.account.gate.ramping:
            limits.append(crowd.account.slots.limit)

    world.on_step = look
    world.run(60.0)
    assert limits[0] <= 2
    assert limits == sorted(limits), "slow start: it only grows"
    assert crowd.account.slots.limit >= 1
    assert crowd.account.gate.reason in (Reason.CLEAR, Reason.RAMP)
    world.run(200.0)
    crowd.ask(text("much later"))
    world.run(210.0)
    assert crowd.account.slots.limit >= first, "a minute without a failure ends the ramp"
    assert crowd.account.gate.reason is Reason.CLEAR


def test_k_moves_once_an_epoch() -> None:
    provider = Provider(Fault(Trouble.RATE, 0.0, 0.05, retry_after=1.0), times=STEADY)
    world, crowd = town(provider, max_texts=4)
    for number in range(40):
        crowd.ask(text(number))
    world.run(0.5)
    refused = [seen for seen in provider.seen if seen.ending is Ending.RATE]
    assert len(refused) > 3
    assert crowd.account.threshold.value == 2
    assert [note.event for _, note in world.notes].count("K doubled after a rate limit") == 1


def test_a_sin_bin_is_noted_with_its_figures() -> None:
    provider = Provider(Fault(Trouble.RESET, 10.0, 20.0), times=STEADY)
    world, crowd = town(provider)
    crowd.trickle(20.0, 9.0, 12.0)
    world.run(15.0)
    (note,) = [n for _, n in world.notes if n.figures.get("gate") == Reason.BINNED.value]
    failures = note.figures["consecutive_failures"]
    assert isinstance(failures, int)
    assert failures >= 5
    assert note.figures["sinbin_seconds"] == 30.0


def test_a_reset_never_shortens_a_retry_after() -> None:
    provider = Provider(
        Script(End(Verdict(Ending.RATE, 429, retry_after=50.0), 0.02)), times=STEADY
    )
    world, crowd = town(provider)
    answer = crowd.ask(text(1), bulk=True)
    world.run(1.0)
    assert crowd.account.gate.reason is Reason.RATE
    world.at(2.0, lambda: world.roster.reset(crowd.account))
    world.run(50.0)
    assert crowd.account.gate.reason is Reason.RATE
    world.run(60.0)
    assert answer.served
    assert 50.18 <= answer.ended_at <= 51.2


def test_who_waits_for_a_good_text_is_not_told_of_the_bad_one_beside_it() -> None:
    """Even when its holder was cut, and each of its texts travels in a ticket of its own."""
    account = Account(AccountSpec("p", "m"), LaneSettings(), Random(1))
    guilty, innocent = request_of(text(1), POISON), request_of(text(1), caller="b")
    account.enter(guilty, 0.0)
    account.enter(innocent, 0.0)
    (whole,) = account.lanes[guilty.params].take(1)
    rest = whole.cut(1, whole.tag)
    batch = Batch(guilty.params, [whole, rest])
    account.lanes.clear()
    account.pace.charge(0.0, batch)
    account.flying.add(batch)
    settle(account, batch, Outcome(Verdict(Ending.BAD_TEXT, 400, "bad input")), 1.0, Effects())
    assert guilty.refusal is not None
    assert innocent.refusal is None
    assert [ticket.request for ticket in account.waiting()] == [innocent]


def test_a_sharer_of_a_refused_text_is_told_its_own_index() -> None:
    """A parameter of one call: the provider names the place in it, the holder's too."""
    provider = Provider(Poison([POISON], tells_index=True), times=STEADY)
    world, crowd = town(provider)
    holder = crowd.ask(text("x"), text("y"), POISON, caller="holder")
    sharer = crowd.ask(POISON, caller="sharer")
    world.run(30.0)
    told = {each.refusal.param: each.refusal.message for each in (holder, sharer) if each.refusal}
    assert set(told) == {"input[2]", "input[0]"}
    assert "input[0]" in told["input[0]"]
    assert "input[2]" not in told["input[0]"]


def test_a_call_that_was_never_sent_says_nothing_of_the_provider() -> None:
    """What cannot be put into the provider's words is refused by emr's own part."""
    unasked = Verdict(Ending.BAD_REQUEST, None, "it takes no dimensions")
    for verdict, reason in (
        (unasked, Reason.AUTH),
        (Verdict(Ending.BAD_REQUEST, 400), Reason.RAMP),
    ):
        provider = Provider(Script(Trouble.AUTH, verdict), Fault(Trouble.AUTH), times=STEADY)
        world, crowd = town(provider)
        first = crowd.ask(text(1))
        world.run(1.0)
        assert kind(first) == "provider_error"
        world.run(crowd.account.gate.until)
        crowd.ask(text(2))
        while len(provider.seen) < 2 or crowd.account.flying:
            world.run(world.now + 0.05)
        assert crowd.account.gate.reason is reason


def test_a_rate_limit_of_a_lone_call_never_raises_the_cap() -> None:
    big = Verdict(Ending.RATE, 429, "one call is over a minute")
    world, crowd = town(Provider(Script(big), times=STEADY), max_tokens=100)
    before = crowd.account.caps.max_tokens
    crowd.ask(b'"' + b"x" * 4000 + b'"', timeout_s=2.0)
    world.run(1.0)
    assert crowd.account.caps.max_tokens <= before


def test_the_body_of_a_whole_request_is_not_kept() -> None:
    _, crowd = town(Provider(Fault(Trouble.HANG), times=STEADY))
    crowd.ask(text(1), params=Params("m", whole=b"{}" * 1000))
    assert crowd.account.last_params == Params("m")
