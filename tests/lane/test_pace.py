"""Pace: when a call may go and how large it is, by hand: charges, replies, and a clock."""

from __future__ import annotations

import math

import pytest

from emr.lane.fill import Filling
from emr.lane.meter import CALLS, ITEMS, TOKENS
from emr.lane.pace import Pace
from emr.lane.settings import AccountSpec, LimitSpec
from emr.lane.ticket import Batch
from emr.lane.verdict import Dimension, Ending, Limits, Verdict
from tests.lane.support import batch_of, sized

RATE = Verdict(Ending.RATE, 429, retry_after=30.0)


class Account:
    """A pace, and the calls that go through it."""

    def __init__(self, *, configured: bool = True, **limits: float) -> None:
        told = {Dimension(d): LimitSpec(limit, configured) for d, limit in limits.items()}
        self.pace = Pace(AccountSpec("p", "m", limits=told))
        self.number = 0

    def send(self, now: float, *, texts: int = 1, tokens: int = 1) -> Batch:
        """A call of so many texts, each of so many tokens."""
        self.number += 1
        batch = batch_of(sized(texts, tokens=tokens))
        batch.number = self.number
        self.pace.charge(now, batch)
        return batch

    def call(self, sent: float, landed: float | None = None, **size: int) -> None:
        """A call that ended well, at once when nothing else is said."""
        batch = self.send(sent, **size)
        self.pace.landed(sent if landed is None else landed, batch, None, refused=False)

    def wait(self, now: float, tokens: float = 1.0, items: float = 1.0) -> float:
        return self.pace.wait(now, tokens, items)


def filling(*, bulk: bool) -> Filling:
    return Filling(1, 0, False, 1, 1, bulk)


# what is known


def test_without_limits_all_goes_at_once() -> None:
    account = Account()
    for _ in range(1000):
        account.send(0.0, tokens=100_000)
    assert account.wait(0.0, 1e9, 1e9) == 0.0
    assert account.pace.calls_per_minute is None
    assert account.pace.interval_s == 1.0
    assert account.pace.evenly(TOKENS, 5000.0) == 5000.0
    assert account.pace.room_now(TOKENS, 0.5, 0.0) == math.inf


def test_with_one_the_interval_is_known() -> None:
    pace = Account(calls=300.0).pace
    assert (pace.calls_per_minute, pace.interval_s) == (300.0, pytest.approx(0.2))


def test_a_share_needs_both_limits() -> None:
    assert Account(calls=300.0, tokens=60_000.0).pace.share(TOKENS) == pytest.approx(200.0)
    assert Account(calls=300.0).pace.share(TOKENS) == 0.0
    assert Account(tokens=60_000.0).pace.share(TOKENS) == 0.0


def test_a_guess_is_learned_and_a_configured_limit_is_not() -> None:
    guessed = Account(configured=False, calls=300.0).pace.meters[CALLS]
    told = Account(calls=300.0).pace.meters[CALLS]
    assert (guessed.configured, guessed.learner.ceiling) == (False, math.inf)
    assert (told.configured, told.learner.ceiling) == (True, 300.0)


# bursts


@pytest.mark.parametrize(("limit", "burst"), [(60.0, 2), (240.0, 2), (359.0, 2), (360.0, 3),
                                              (6000.0, 50)])  # fmt: skip
def test_two_calls_or_half_a_second_go_at_once(limit: float, burst: int) -> None:
    account = Account(calls=limit)
    for _ in range(burst):
        assert account.wait(0.0) == 0.0
        account.send(0.0)
    assert account.wait(0.0) > 0.0


def test_then_one_an_interval() -> None:
    account = Account(calls=60.0)
    account.send(0.0)
    account.send(0.0)
    assert account.wait(0.0) == pytest.approx(1.0)
    assert account.wait(0.4) == pytest.approx(0.6)


def test_one_by_one_after_two_at_once_were_refused() -> None:
    account = Account(calls=60.0)
    account.pace.lessons.burst_one = True
    account.send(0.0)
    assert account.wait(0.0) == pytest.approx(1.0)


def test_the_pace_is_slower_by_the_time_of_a_call() -> None:
    account = Account(calls=60.0)
    account.pace.rtt_s = 6.0
    account.send(0.0)
    account.send(0.0)
    assert account.wait(0.0) == pytest.approx(1.1)


@pytest.mark.parametrize(("dimension", "key"), [(TOKENS, "tokens"), (ITEMS, "items")])
def test_half_a_second_of_tokens_and_texts_goes_at_once(dimension: Dimension, key: str) -> None:
    account = Account(**{key: 6000.0})
    account.send(0.0, texts=20, tokens=1)
    waits = [account.pace.wait(0.0, cost, cost) for cost in (30.0, 31.0, 50.0, 51.0)]
    assert waits == pytest.approx([0.0, 0.01, 0.2, 0.2]), "more than a burst: when all is paid"


def test_or_the_share_of_one_call() -> None:
    account = Account(calls=60.0, tokens=6000.0)
    account.send(0.0, tokens=20)
    assert account.wait(0.0, 80.0) == 0.0
    assert account.wait(0.0, 81.0) == pytest.approx(0.01)


def test_interactive_texts_may_take_more_at_once() -> None:
    pace = Account(tokens=6000.0).pace
    assert (pace.burst_s(filling(bulk=True)), pace.burst_s(filling(bulk=False))) == (0.5, 6.0)
    pace.lessons.burst_one = True
    assert pace.burst_s(filling(bulk=False)) == 0.5, "not where short windows were met"
    assert pace.wait(0.0, 600.0, 1.0, 6.0) == 0.0
    assert pace.room_now(TOKENS, 6.0, 0.0) == 6000.0


@pytest.mark.parametrize(("one_by_one", "due"), [(True, 3.0), (False, 3.2)])
def test_calls_one_by_one_lose_nothing_of_what_timers_are_late(
    one_by_one: bool, due: float
) -> None:
    account = Account(calls=60.0)
    account.pace.lessons.burst_one = one_by_one
    for sent_at in (0.0, 1.1, 2.2):
        account.send(sent_at)
    assert account.pace.meters[CALLS].due == pytest.approx(due)


def test_the_longest_wait_of_all_limits_counts() -> None:
    account = Account(calls=60.0, tokens=600.0, items=6000.0)
    account.send(0.0, tokens=100)
    assert account.wait(0.0, 100.0, 1.0) == pytest.approx(10.0)
    assert account.wait(10.0, 100.0, 1.0) == 0.0


def test_a_limit_that_holds_back_is_reached() -> None:
    account = Account(configured=False, calls=60.0)
    account.send(0.0)
    account.send(0.0)
    account.wait(0.0)
    account.pace.refresh(0.5)
    assert account.pace.meters[CALLS].learner.w > 60.0, "it may grow"
    idle = Account(configured=False, calls=60.0)
    idle.send(0.0)
    idle.wait(0.0)
    idle.pace.refresh(0.5)
    assert idle.pace.meters[CALLS].learner.w == 60.0


# the log


@pytest.mark.parametrize(("now", "goes"), [(63.999, False), (64.0, True)])
def test_an_entry_lives_until_a_minute_after_its_reply(now: float, goes: bool) -> None:
    account = Account(tokens=100.0)
    account.call(0.0, 4.0, tokens=100)
    account.pace.meters[TOKENS].due = 0.0
    assert (account.wait(now, 1.0) == 0.0) is goes


def test_while_it_is_out_a_reply_is_waited_for() -> None:
    account = Account(tokens=100.0)
    account.send(0.0, tokens=100)
    account.pace.meters[TOKENS].due = 0.0
    assert account.wait(500.0, 1.0) == math.inf


def test_what_was_billed_replaces_the_estimate() -> None:
    account = Account(tokens=1000.0)
    batch = account.send(0.0, tokens=100)
    account.pace.landed(1.0, batch, 40, refused=False)
    meter = account.pace.meters[TOKENS]
    assert (meter.sum, meter.charged, meter.due) == (40.0, 40.0, pytest.approx(2.4))


def test_an_unknown_bill_leaves_it() -> None:
    account = Account(tokens=1000.0)
    account.call(0.0, tokens=100)
    assert account.pace.meters[TOKENS].sum == 100.0


def test_a_refused_call_stays_as_a_call_and_gives_the_rest_back() -> None:
    account = Account(calls=60.0, tokens=1000.0, items=50.0)
    batch = account.send(0.0, texts=10, tokens=10)
    account.pace.landed(1.0, batch, None, refused=True)
    assert [account.pace.meters[d].sum for d in (CALLS, TOKENS, ITEMS)] == [1.0, 0.0, 0.0]
    assert account.pace.lessons.refused_calls == 1
    account.pace.refresh(61.0)
    assert account.pace.meters[CALLS].sum == 0.0
    assert account.pace.lessons.refused_calls == 0


def test_a_view_changes_nothing() -> None:
    account = Account(calls=60.0)
    account.call(0.0)
    account.call(30.0)
    used = [account.pace.used(CALLS, now) for now in (30.0, 59.9, 60.0, 90.0)]
    assert used == [2.0, 2.0, 1.0, 0.0]
    assert account.pace.meters[CALLS].sum == 2.0


@pytest.mark.parametrize(("now", "kept"), [(60.0, True), (60.1, False)])
def test_what_a_header_left_is_forgotten_after_a_minute(now: float, kept: bool) -> None:
    account = Account(calls=60.0)
    batch = account.send(0.0)
    account.pace.observe(0.0, batch, Limits(calls_left=1.0))
    account.pace.landed(0.0, batch, None, refused=False)
    account.pace.refresh(now)
    assert (account.pace.meters[CALLS].left is not None) is kept


# tiny tiers


@pytest.mark.parametrize(("limit", "used"), [(3.0, 1.5), (10.0, 5.0), (10.1, 0.0)])
def test_on_a_tiny_tier_the_minute_before_counts_as_half_used(limit: float, used: float) -> None:
    account = Account(calls=limit, tokens=10_000.0)
    account.pace.refresh(100.0)
    assert account.pace.meters[CALLS].sum == used
    assert account.pace.meters[TOKENS].sum == (5000.0 if used else 0.0)
    assert account.pace.meters[ITEMS].sum == 0.0
    account.pace.refresh(160.0)
    assert account.pace.meters[CALLS].sum == account.pace.meters[TOKENS].sum == 0.0


# how large


@pytest.mark.parametrize(("cap", "even"), [(6000.0, 5000.0), (5000.0, 5000.0), (4999.0, 10_000 / 3),
                                           (10_000.0, 10_000.0), (20_000.0, 10_000.0)])  # fmt: skip
def test_whole_calls_use_the_limit_up(cap: float, even: float) -> None:
    assert Account(tokens=10_000.0).pace.evenly(TOKENS, cap) == pytest.approx(even)


@pytest.mark.parametrize(("used", "cap"), [(3999, 5000.0), (4000, 6000.0), (5500, 4500.0),
                                           (5501, 5000.0)])  # fmt: skip
def test_what_is_left_of_a_minute_is_one_call(used: int, cap: float) -> None:
    """From nine tenths of an even call up to the cap of 6,000."""
    account = Account(tokens=10_000.0)
    account.call(0.0, tokens=used)
    assert account.pace.evenly(TOKENS, 6000.0) == pytest.approx(cap)


def test_what_may_go_now_is_what_the_burst_leaves() -> None:
    account = Account(tokens=6000.0)
    account.send(0.0, tokens=20)
    assert account.pace.room_now(TOKENS, 0.5, 0.0) == pytest.approx(30.0)
    assert account.pace.room_now(TOKENS, 6.0, 0.0) == pytest.approx(580.0)


# beside interactive texts


@pytest.mark.parametrize(("now", "due"), [(60.0, 60.5), (60.1, 60.1)])
def test_time_is_not_made_up_for_beside_interactive_texts(now: float, due: float) -> None:
    account = Account(tokens=6000.0)
    account.pace.interactive_came(0.0)
    meter = account.pace.meters[TOKENS]
    meter.held_by_log = True
    account.send(now, tokens=50)
    assert meter.due == pytest.approx(due)
    assert not meter.held_by_log, "it went: the next one is judged anew"


# bunched calls


@pytest.mark.parametrize(("gap_s", "bunched"), [(0.0, True), (0.49, True), (0.5, False)])
def test_calls_nearer_than_half_an_interval_are_bunched(gap_s: float, bunched: bool) -> None:
    """Both are: which of the two the provider refuses is chance."""
    for refused in (0, 1):
        account = Account(calls=60.0)
        calls = [account.send(1000.0), account.send(1000.0 + gap_s)]
        account.pace.refused(1001.0, calls[refused], RATE)
        assert account.pace.lessons.burst_one is bunched


# what replies teach


def test_a_call_is_alone_when_the_log_holds_no_other() -> None:
    account = Account(calls=60.0)
    first = account.send(0.0)
    assert account.pace.alone(first)
    second = account.send(1.0)
    assert not account.pace.alone(first)
    account.pace.landed(2.0, second, None, refused=False)
    assert not account.pace.alone(first)
    assert not account.pace.alone(second), "it is not under way"
    account.pace.refresh(62.0)
    assert account.pace.alone(first)


def test_a_reply_that_was_let_through_lets_the_next_refusal_cut() -> None:
    account = Account(configured=False, calls=600.0)
    for number in range(100):
        account.call(float(number) / 2)
    for now, cuts in ((51.0, 1), (52.0, 1)):
        batch = account.send(now)
        account.pace.refused(now, batch, RATE)
        account.pace.landed(now, batch, None, refused=True)
        assert account.pace.meters[CALLS].learner.cuts == cuts
    account.call(53.0)
    account.pace.refused(54.0, account.send(54.0), RATE)
    assert account.pace.meters[CALLS].learner.cuts == 2


# what is billed


def test_a_count_of_no_tokens_is_none() -> None:
    account = Account(tokens=6000.0)
    account.pace.landed(0.1, account.send(0.0, tokens=100), 0, refused=False)
    assert account.pace.used(TOKENS, 0.2) == 100.0


@pytest.mark.parametrize("billed", [6000, 6001, 10**9, 2**53 - 1])
def test_an_absurd_count_is_taken_up_to_a_minute_of_the_limit(billed: int) -> None:
    account = Account(tokens=6000.0)
    account.pace.landed(0.1, account.send(0.0, tokens=100), billed, refused=False)
    assert account.pace.used(TOKENS, 0.2) == 6000.0
    assert account.wait(0.2, 100.0) <= 61.0


def test_a_count_under_that_is_taken_as_it_is() -> None:
    account = Account(tokens=6000.0)
    account.pace.landed(0.1, account.send(0.0, tokens=100), 5999, refused=False)
    assert account.pace.used(TOKENS, 0.2) == 5999.0
