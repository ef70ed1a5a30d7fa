"""The roster: who lives, whose deadlines are kept, and what is left of those that went."""

from __future__ import annotations

import gc
import math

import pytest

from emr.lane.roster import DEAD_DEADLINES
from emr.lane.settings import AccountSpec
from emr.lane.ticket import Params, Request
from emr.lane.verdict import Ending, Verdict
from tests.lane.support import Crowd, ignore, text, town
from tests.sim.model import End, Fault, Provider, Script, Times, Trouble

STEADY = Times(sigma=0.0)


def test_an_idle_roster_waits_for_nothing() -> None:
    world, crowd = town(Provider())
    assert world.roster.next_deadline() == math.inf
    crowd.ask(text(1))
    world.run(5.0)
    assert world.roster.next_deadline() == math.inf
    assert (world.roster.live, crowd.account.idle, crowd.account.lanes) == (0, True, {})


def test_the_heap_of_deadlines_does_not_grow_with_the_dead() -> None:
    world, crowd = town(Provider(times=STEADY))
    longest = 0
    for number in range(3000):
        crowd.ask_at(0.01 * number, text(number), timeout_s=600.0)
    while world.now < 31.0:
        world.run(world.now + 0.1)
        longest = max(longest, len(world.roster._deadlines))
    assert len([answer for answer in crowd.answers if answer.served]) == 3000
    most_alive = 40  # 0.18 s at a hundred a second, and the hold
    assert 0 < longest <= 2 * most_alive + DEAD_DEADLINES
    assert world.roster.next_deadline() == math.inf
    assert world.roster._deadlines == []


def test_one_far_deadline_keeps_no_dead_ones_behind_it() -> None:
    provider = Provider(Script(End(Verdict(Ending.OK, 200), 50.0)), times=STEADY)
    world, crowd = town(provider)
    crowd.ask(text("hangs on"), timeout_s=59.0)
    for number in range(2000):
        crowd.ask_at(0.01 * number, text(number), timeout_s=600.0)
    world.run(30.0)
    assert len(world.roster._deadlines) <= 2 * 40 + DEAD_DEADLINES


@pytest.mark.parametrize("texts", [1, 5])
def test_who_leaves_before_sending_is_never_sent(texts: int) -> None:
    provider = Provider(times=STEADY)
    world, crowd = town(provider, max_concurrency=1)
    crowd.ask(text("first"))
    world.run(0.05)
    gone = crowd.ask(*[text(f"gone {number}") for number in range(texts)])
    stays = crowd.ask(text("stays"))
    crowd.leave(gone)
    world.run(5.0)
    assert provider.texts() == [text("first"), text("stays")]
    assert (gone.times, stays.served) == (0, True)


def test_who_leaves_in_the_turn_in_which_it_came_is_never_sent() -> None:
    provider = Provider(times=STEADY)
    world, crowd = town(provider)
    crowd.leave(crowd.ask(text("gone")))
    world.run(5.0)
    assert provider.seen == []


def test_who_leaves_after_sending_harms_nobody() -> None:
    provider = Provider(times=STEADY)
    world, crowd = town(provider)
    answers = [crowd.ask(text(number)) for number in range(3)]
    world.run(0.05)
    assert provider.sizes() == [3]
    crowd.leave(answers[1])
    world.run(5.0)
    assert [answer.times for answer in answers] == [1, 0, 1]
    assert [answers[0].served, answers[2].served] == [True, True]
    assert answers[1].request.billed > 0, "its share of the bill stays its own"
    assert provider.sizes() == [3]


@pytest.mark.parametrize(
    "end",
    [Verdict(Ending.TRANSIENT, 500), Verdict(Ending.RATE, 429), Verdict(Ending.SIZE_ITEMS, 400)],
)
def test_what_comes_back_to_nobody_does_not_go_again(end: Verdict) -> None:
    provider = Provider(Script(End(end, 0.1)), times=STEADY)
    world, crowd = town(provider)
    gone = crowd.ask(text("gone"), text("gone too"))
    crowd.ask_at(10.0, text("later"))
    world.run(0.05)
    crowd.leave(gone)
    world.run(20.0)
    assert provider.sizes() == [2, 1]
    assert crowd.answers[-1].served


def test_who_leaves_in_back_off_does_not_come_back() -> None:
    provider = Provider(Script(Trouble.ERROR), times=STEADY)
    world, crowd = town(provider, seed=3)
    gone = crowd.ask(text("gone"))
    world.run(0.031)
    assert [ticket.request for ticket in crowd.account.resting.tickets] == [gone.request]
    crowd.leave(gone)
    world.run(5.0)
    assert provider.sizes() == [1]
    assert crowd.account.idle


def test_leaving_twice_or_after_the_answer_does_nothing() -> None:
    world, crowd = town(Provider(times=STEADY))
    answer = crowd.ask(text(1))
    world.run(5.0)
    crowd.leave(answer)
    crowd.leave(answer)
    world.run(6.0)
    assert (answer.times, world.roster.live) == (1, 0)


def test_an_error_of_one_part_ends_the_request_and_drops_its_waiting_parts() -> None:
    refused = Verdict(Ending.BAD_TEXT, 400, "bad", index=0)
    provider = Provider(Script(None, refused), times=STEADY)
    world, crowd = town(provider, max_texts=2, max_concurrency=2)
    answer = crowd.ask(*[text(number) for number in range(10)])
    world.run(0.05)
    assert answer.refusal is not None
    assert (answer.refusal.type, answer.refusal.param) == ("validation_error", "input[2]")
    world.run(5.0)
    assert provider.sizes() == [2, 2], "the part in flight finishes, the others are not sent"


# accounts that are closed


def test_a_closed_account_sends_what_waits_and_goes() -> None:
    provider = Provider(times=STEADY)
    world, crowd = town(provider, max_concurrency=1)
    crowd.ask(text("flies"))
    world.run(0.05)
    crowd.ask(text("waits"))
    world.roster.close(crowd.account)
    world.run(0.06)
    assert world.roster.accounts == [crowd.account]
    world.run(5.0)
    assert [answer.served for answer in crowd.answers] == [True, True]
    assert world.roster.accounts == []


def test_a_closed_account_that_is_idle_goes_at_the_next_step() -> None:
    world, crowd = town(Provider())
    other = Crowd(world, world.open(AccountSpec("cohere", "m"), Provider()))
    world.roster.close(crowd.account)
    world.roster.step(world.now)
    assert world.roster.accounts == [other.account]


@pytest.mark.parametrize("trouble", [Trouble.RESET, Trouble.HANG])
def test_a_closed_account_in_trouble_goes_when_its_callers_are_gone(trouble: Trouble) -> None:
    world, crowd = town(Provider(Fault(trouble), times=STEADY))
    crowd.trickle(10.0, 0.0, 3.0)
    world.run(3.0)
    world.roster.close(crowd.account)
    world.run(200.0)
    assert world.roster.accounts == []
    assert all(answer.times == 1 for answer in crowd.answers)


# many things in one turn


def test_arrivals_of_one_turn_cost_one_step_and_share_a_call() -> None:
    provider = Provider(times=STEADY)
    world, crowd = town(provider)
    for number in range(100):
        crowd.ask(text(number), caller=f"c{number}")
    world.run(5.0)
    assert provider.sizes() == [100]
    assert {answer.request.batch_texts for answer in crowd.answers} == {100}


def test_lanes_do_not_mix() -> None:
    provider = Provider(times=STEADY)
    world, crowd = town(provider)
    lanes = [Params("m"), Params("m", input_type="query"), Params("m", dimensions=256)]
    for number in range(30):
        crowd.ask(text(number), params=lanes[number % 3])
    world.run(5.0)
    assert sorted(provider.sizes()) == [10, 10, 10]
    assert {seen.params for seen in provider.seen} == set(lanes)
    assert all(answer.served for answer in crowd.answers), "each vector is of its own parameters"


def test_what_a_request_is_told_about_its_way() -> None:
    provider = Provider(Script(Trouble.ERROR), times=STEADY)
    world, crowd = town(provider)
    request: Request = world.ask(crowd.account, [text(1), text(2)], ignore)
    world.run(5.0)
    assert request.answered_by == "voyage"
    assert (request.attempts, request.batch_texts, request.model) == (2, 2, "m")
    assert request.provider_s == pytest.approx(0.18)
    assert request.billed == provider.seen[1].tokens


def test_a_request_that_ended_is_not_kept_for_its_deadline() -> None:
    """Behind one that waits with an earlier deadline it would stay, with texts and vectors."""
    world, crowd = town(Provider(Script(Trouble.HANG), times=STEADY))
    crowd.ask(b'"waits"', timeout_s=60.0)
    world.run(0.5)
    held = crowd.ask(b'"of a moment"', timeout_s=600.0)
    world.run(5.0)
    assert held.served
    assert all(each[1:] != (held.request,) for each in world.roster._deadlines)
    held_by = [each for each in gc.get_referrers(held.request) if type(each) in (tuple, list)]
    assert held_by == []
