"""Merging, in the world: a lone text never waits, many share few calls, large ones are split."""

from __future__ import annotations

import math

import pytest

from emr.lane.fair import PACE_OVER_S, PACE_STEP_S, FairOrder
from emr.lane.settings import LaneSettings
from emr.lane.verdict import Ending, Verdict
from tests.lane.support import Crowd, lane_of, request_of, text, ticket_of, town
from tests.sim.model import End, Provider, Script, Times
from tests.sim.world import World

MEDIAN_S = 0.18
STEADY = Times(sigma=0.0)


# one caller


@pytest.mark.parametrize("first_k", [1, 32])
def test_a_lone_text_goes_in_the_same_step_and_never_waits(first_k: int) -> None:
    provider = Provider(times=STEADY)
    world, crowd = town(provider, settings=LaneSettings(initial_batch_size=first_k))
    for number in range(20):
        crowd.ask_at(1.0 + 0.5 * number, text(number))
    world.run(20.0)
    assert [seen.at for seen in provider.seen] == [1.0 + 0.5 * number for number in range(20)]
    assert [answer.took_s for answer in crowd.answers] == pytest.approx([0.18] * 20)
    assert {answer.request.queue_s for answer in crowd.answers} == {0.0}


@pytest.mark.parametrize("first_k", [1, 32])
def test_a_caller_that_asks_again_at_once_never_waits(first_k: int) -> None:
    provider = Provider(times=STEADY)
    world, crowd = town(provider, settings=LaneSettings(initial_batch_size=first_k))

    def ask(number: int) -> None:
        if number < 50:
            crowd.ask(text(number), then=lambda answer: ask(number + 1))

    ask(0)
    world.run(20.0)
    assert max(answer.took_s for answer in crowd.answers) == pytest.approx(0.18)
    assert provider.sizes() == [1] * 50


# K and the hold


@pytest.mark.parametrize(
    ("first_k", "second_at"), [(1, 0.01), (2, 0.01 + 0.045), (32, 0.01 + 0.045)]
)
def test_k_holds_back_only_while_a_call_is_in_flight(first_k: int, second_at: float) -> None:
    """T/4 of a call of 180 ms is 45 ms, less than the window of 50."""
    provider = Provider(times=STEADY)
    settings = LaneSettings(initial_batch_size=first_k, success_streak_threshold=1000)
    world, crowd = town(provider, settings=settings)
    for number in range(200):  # T is learned
        crowd.ask_at(number, text(f"warm {number}"))
    world.run(300.0)
    before = len(provider.seen)
    crowd.ask(text("first"))
    crowd.ask_at(300.01, text("second"))
    world.run(310.0)
    at = [seen.at - 300.0 for seen in provider.seen[before:]]
    assert at == pytest.approx([0.0, second_at], abs=1e-3)


@pytest.mark.parametrize(("window_s", "second_at"), [(0.0, 0.01), (0.02, 0.03), (0.05, 0.06)])
def test_the_window_bounds_the_hold(window_s: float, second_at: float) -> None:
    provider = Provider(times=Times(a=1.0, sigma=0.0))
    settings = LaneSettings(initial_batch_size=32, batch_window_s=window_s)
    world, crowd = town(provider, settings=settings)
    crowd.ask(text("first"))
    crowd.ask_at(0.01, text("second"))
    world.run(5.0)
    assert [seen.at for seen in provider.seen] == pytest.approx([0.0, second_at])


@pytest.mark.parametrize(("waiting", "at_once"), [(3, False), (4, True), (5, True)])
def test_k_texts_are_enough(waiting: int, at_once: bool) -> None:
    provider = Provider(times=STEADY)
    world, crowd = town(provider, settings=LaneSettings(initial_batch_size=4))
    crowd.ask(text("first"))
    for number in range(waiting):
        crowd.ask_at(0.01, text(number))
    world.run(5.0)
    assert provider.sizes() == [1, waiting]
    assert (provider.seen[1].at == pytest.approx(0.01)) is at_once


def test_a_full_call_goes_whatever_k_says() -> None:
    provider = Provider(times=STEADY)
    settings = LaneSettings(initial_batch_size=1000)
    world, crowd = town(provider, settings=settings, max_texts=8)
    crowd.ask(text("first"))
    for number in range(8):
        crowd.ask_at(0.01, text(number))
    world.run(5.0)
    assert [(seen.at, len(seen.texts)) for seen in provider.seen] == [(0.0, 1), (0.01, 8)]


# many callers


@pytest.mark.parametrize("first_k", [1, 32])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_thousand_in_three_tenths_of_a_second(first_k: int, seed: int) -> None:
    provider = Provider()
    world, crowd = town(provider, seed=seed, settings=LaneSettings(initial_batch_size=first_k))
    for number in range(1000):
        crowd.ask_at(world.rng.uniform(0.0, 0.3), text(number))
    world.run(10.0)
    assert all(answer.served for answer in crowd.answers)
    assert len(provider.seen) <= 20
    assert crowd.median_s() <= 1.3 * MEDIAN_S


def test_a_hundred_callers_who_ask_again_at_once() -> None:
    provider = Provider()
    world, crowd = town(provider)

    def ask(caller: int) -> None:
        name = text(f"{caller} at {world.now}")
        crowd.ask(name, caller=f"c{caller}", then=lambda answer: again(caller))

    def again(caller: int) -> None:
        if world.now < 30.0:
            world.at(world.now, lambda: ask(caller))

    for caller in range(100):
        world.at(world.rng.uniform(0.0, 0.3), lambda caller=caller: ask(caller))
    world.run(40.0)
    assert all(answer.served for answer in crowd.answers)
    assert crowd.median_s() <= 1.25 * MEDIAN_S
    assert len(crowd.answers) >= 10 * len(provider.seen)


# large requests


def large(texts: int, **options: float) -> tuple[World, Crowd, Provider]:
    provider = Provider(times=STEADY)
    world, crowd = town(provider, **options)
    crowd.ask(*[text(number) for number in range(texts)])
    world.run(60.0)
    return world, crowd, provider


@pytest.mark.parametrize("texts", [1, 127, 128, 129, 1000, 2048])
def test_a_request_over_the_cap_is_split_called_in_parallel_and_put_together(texts: int) -> None:
    _, crowd, provider = large(texts)
    assert crowd.answers[0].served, "every vector in its place"
    calls = math.ceil(texts / 128)
    assert provider.sizes() == [128] * (texts // 128) + [texts % 128] * (texts % 128 > 0)
    full = [seen.at for seen in provider.seen if len(seen.texts) == 128]
    assert full == [0.0] * (texts // 128), "16 slots: all at once"
    assert provider.seen[-1].at <= 0.05, "what is left may be held back for others to join"
    assert crowd.answers[0].took_s == pytest.approx(MEDIAN_S + provider.seen[-1].at)
    assert crowd.answers[0].request.attempts == calls


def test_it_is_put_together_in_whatever_order_the_parts_come() -> None:
    parts = [End(Verdict(Ending.OK, 200), wait) for wait in (0.5, 0.1, 0.3, 0.2)]
    provider = Provider(Script(*parts))
    world, crowd = town(provider, max_texts=10)
    crowd.ask(*[text(number) for number in range(40)])
    world.run(60.0)
    assert crowd.answers[0].took_s == pytest.approx(0.5)


def test_more_than_the_slots_go_one_after_the_other_in_order() -> None:
    _, crowd, provider = large(1000, max_texts=10)
    assert crowd.answers[0].served
    assert max(seen.in_flight for seen in provider.seen) <= 32
    assert [seen.texts[0] for seen in provider.seen] == [text(10 * n) for n in range(100)]


def test_single_texts_ride_with_a_large_request() -> None:
    provider = Provider(times=STEADY)
    world, crowd = town(provider, max_concurrency=2)
    crowd.ask(*[text(number) for number in range(1000)])
    crowd.ask_at(0.01, text("single"))
    world.run(60.0)
    assert all(answer.served for answer in crowd.answers)
    assert len(provider.seen) == 8, "1,001 texts in calls of 128: none is burnt for the one"


@pytest.mark.parametrize("size", [10, 3000, 200_000])
def test_tokens_and_bytes_split_too(size: int) -> None:
    provider = Provider(times=STEADY)
    world, crowd = town(provider, max_tokens=10_000, max_bytes=1_000_000)
    crowd.ask(*[b'"%d %s"' % (number, b"x" * size) for number in range(200)])
    world.run(60.0)
    assert crowd.answers[0].served
    for seen in provider.seen:
        assert len(seen.texts) == 1 or (seen.tokens <= 9000 and seen.bytes <= 1_000_000)


def test_marks_of_the_fair_queue_are_forgotten() -> None:
    """Nobody asks how fast V goes while all is well."""
    order = FairOrder()
    for second in range(1000):
        order.served((float(second), False), float(second))
    assert len(order._marks) <= PACE_OVER_S / PACE_STEP_S + 1


def test_who_waits_for_a_text_of_another_keeps_no_copy_of_it() -> None:
    world, crowd = town(Provider(times=Times(sigma=0.0)))
    big = b'"' + b"x" * 1000 + b'"'
    holder = crowd.ask(big)
    sharer = crowd.ask(bytes(bytearray(big)))
    assert sharer.request.texts[0] is holder.request.texts[0]
    world.run(5.0)
    assert holder.served
    assert sharer.served


def test_a_ticket_is_cut_by_the_estimates_of_today() -> None:
    """They rose while its request had another part elsewhere."""
    request = request_of(*[b'"x"'] * 10, tokens=[1] * 10)
    lane = lane_of(ticket_of(request))
    request.tokens = [50] * 10
    lane.cut_first(0, 4, (1.0, False))
    assert [ticket.tokens for ticket in lane.waiting] == [200, 300]
    assert lane.tokens == 500
    assert sum([load.tokens for load in lane.flows.values()]) == 500
