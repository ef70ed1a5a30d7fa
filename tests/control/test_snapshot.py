"""The snapshot says what the router does, and to look changes nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from emr.control.history import Figures
from emr.control.snapshot import (
    WORST_FIRST,
    AccountView,
    ProviderView,
    Snapshot,
    Status,
    reason_of,
    source_of,
    view_account,
    worst,
)
from emr.lane.account import Account
from emr.lane.gate import Gate, Known, Reason
from emr.lane.learner import Learner
from emr.lane.meter import Meter
from emr.lane.settings import AccountSpec, LaneSettings, LimitSpec
from emr.lane.ticket import Batch, Params, Request, Ticket
from emr.lane.verdict import Dimension, Ending, Verdict
from tests.control.routed import row_of

NOW = 1000.0
CALM = Figures(0.1, 0.2, 0.3, 100, 0, 0, 0.0)


def account_of(**more: Any) -> Account:
    return Account(AccountSpec("p", "m", key="P_API_KEY", **more), LaneSettings(), random.Random(1))


VIEW = view_account(account_of(), NOW)


def view(gate: Reason = Reason.CLEAR, **more: Any) -> AccountView:
    return replace(VIEW, gate=gate, **more)


def provider(
    *accounts: AccountView, figures: Figures = CALM, closing: tuple[AccountView, ...] = ()
) -> ProviderView:
    return ProviderView(row_of("p", "voyage"), figures, accounts, closing, (VIEW,), 5)


def failed(rate: float, in_a_row: int = 0) -> Figures:
    return replace(CALM, failures=round(rate * 100), consecutive_failures=in_a_row)


# a provider's status


@pytest.mark.parametrize("reason", list(Reason))
def test_the_status_that_a_gate_makes(reason: Reason) -> None:
    wanted = {
        Reason.AUTH: Status.DOWN, Reason.QUOTA: Status.DOWN, Reason.BINNED: Status.SINBINNED,
    }  # fmt: skip
    assert provider(view(reason)).status is wanted.get(reason, Status.HEALTHY)


@pytest.mark.parametrize(
    ("rate", "status"),
    [(0.0, Status.HEALTHY), (0.10, Status.HEALTHY), (0.11, Status.DEGRADED),
     (0.50, Status.DEGRADED), (0.51, Status.DOWN), (1.0, Status.DOWN)],
)  # fmt: skip
def test_the_status_that_an_error_rate_makes(rate: float, status: Status) -> None:
    assert provider(VIEW, figures=failed(rate)).status is status


@pytest.mark.parametrize(("in_a_row", "status"), [(4, Status.HEALTHY), (5, Status.DOWN)])
def test_the_status_that_failures_in_a_row_make(in_a_row: int, status: Status) -> None:
    assert provider(VIEW, figures=failed(0.05, in_a_row)).status is status


def test_the_gate_is_the_worst_of_the_open_accounts() -> None:
    assert set(WORST_FIRST) == set(Reason)
    order = [Reason.AUTH, Reason.QUOTA, Reason.BINNED, Reason.RAMP, Reason.RATE, Reason.BACKOFF]
    for place, reason in enumerate(order):
        views = [view(each) for each in (*order[place:], Reason.CLEAR)]
        random.Random(place).shuffle(views)
        assert worst(views) is reason
    assert provider().gate is Reason.CLEAR
    assert provider(VIEW, closing=(view(Reason.AUTH),)).gate is Reason.CLEAR


# whether anything can serve


def health(*providers: ProviderView, storage_ok: bool = True) -> str:
    return Snapshot(
        version="0", uptime_s=0.0, draining=False, storage_ok=storage_ok, active_keys=0,
        connections=0, requests_served=0, texts_served=0, provider_calls=0,
        providers=providers, others=(), answers={}, refusals={}, histories={},
    ).status  # fmt: skip


IN_BIN = view(Reason.BINNED, gate_until_s=1.0, sinbin_left_s=20.0)
LATCHED = view(Reason.AUTH, gate_until_s=20.0)
FINE = provider(VIEW)


def test_it_is_ok_while_all_serve() -> None:
    assert health(FINE) == health(FINE, FINE) == "ok"
    assert health(provider()) == "ok", "nobody has asked it yet"
    assert health(provider(VIEW, figures=failed(0.2))) == "ok", "a degraded provider serves"
    for reason in (Reason.RATE, Reason.BACKOFF, Reason.RAMP):
        assert health(provider(view(reason, gate_until_s=9.0))) == "ok"


def test_it_is_degraded_with_nothing_registered_or_when_writes_fail() -> None:
    assert health() == "degraded"
    assert health(FINE, storage_ok=False) == "degraded"


@pytest.mark.parametrize("bad", [IN_BIN, LATCHED, view(Reason.QUOTA)])
def test_one_in_trouble_degrades_and_all_in_trouble_are_down(bad: AccountView) -> None:
    assert health(FINE, provider(bad)) == "degraded"
    assert health(provider(bad)) == health(provider(bad), provider(bad)) == "down"
    assert health(provider(bad), storage_ok=False) == "down"


def test_failures_in_a_row_are_down_too() -> None:
    assert health(provider(VIEW, figures=failed(0.05, 5))) == "down"
    assert health(provider(VIEW, figures=failed(0.05, 4))) == "ok"


def test_a_provider_that_answers_again_serves_whatever_the_hour_was() -> None:
    recovered = provider(VIEW, figures=failed(0.9, 0))
    assert recovered.status is Status.DOWN
    assert recovered.may_serve
    assert health(recovered) == "degraded"


def test_one_account_of_several_is_enough_to_serve() -> None:
    mixed = provider(LATCHED, VIEW)
    assert mixed.status is Status.DOWN
    assert health(mixed) == "degraded"
    assert health(provider(IN_BIN, LATCHED)) == "down"


@pytest.mark.parametrize(
    "busy", [{}, {"gate_until_s": 1.0}, {"sinbin_left_s": 1.0}, {"in_flight": 1}, {"texts": 1}]
)
def test_a_bin_that_is_over_and_that_nobody_tried_says_nothing(busy: dict[str, Any]) -> None:
    """Without callers nobody tries a lone provider: a 503 would keep them away for ever."""
    rested = provider(view(Reason.BINNED, **busy), figures=failed(1.0, 9))
    assert rested.status is Status.SINBINNED
    assert health(rested) == ("down" if busy else "degraded")


# what an account does


def hold(gate: Gate, ending: Ending, seconds: float) -> None:
    gate.settle(Verdict(ending, retry_after=seconds), gate.epoch, NOW, Known(0.1, 1.0))


@pytest.mark.parametrize("ending", [Ending.RATE, Ending.OVERLOAD])
def test_a_hold_is_shown_until_its_time_has_come_and_is_ended_by_the_step(ending: Ending) -> None:
    account = account_of()
    hold(account.gate, ending, 5.0)
    reason, until = account.gate.reason, account.gate.until
    assert reason is (Reason.RATE if ending is Ending.RATE else Reason.BACKOFF)
    held = view_account(account, until - 0.5)
    assert (held.gate, held.gate_until_s) == (reason, pytest.approx(0.5))
    over = view_account(account, until)
    assert (over.gate, over.gate_until_s) == (Reason.CLEAR, 0.0)
    assert account.gate.reason is reason, "looking changed nothing"
    account.gate.ramping = True
    assert reason_of(account.gate, until) is Reason.RAMP


def test_to_look_does_not_end_a_ramp() -> None:
    """The step that ends it gives the slots back; a look that did would keep them at one."""
    account = account_of()
    gate = account.gate
    gate.settle(Verdict(Ending.AUTH), gate.epoch, NOW, Known(0.1, 1.0))
    gate.settle(Verdict(Ending.OK), gate.epoch, NOW + 40.0, Known(0.1, 1.0))
    account.slots.restart()
    assert gate.reason is Reason.RAMP
    view_account(account, NOW + 4000.0)
    assert gate.refresh(NOW + 4000.0), "it is the step that ends it"


def test_words_of_a_latch_are_shown_while_it_holds() -> None:
    account = account_of()
    gate = account.gate
    gate.settle(Verdict(Ending.AUTH, 401, "bad key"), gate.epoch, NOW, Known(0.1, 1.0))
    shown = view_account(account, NOW)
    assert (shown.gate, shown.message) == (Reason.AUTH, "bad key")
    gate.settle(Verdict(Ending.OK), gate.epoch, NOW + 31.0, Known(0.1, 1.0))
    assert view_account(account, NOW + 31.0).message == ""


def test_the_bin_is_shown_with_both_its_times() -> None:
    account = account_of()
    for n in range(5):
        account.gate.settle(Verdict(Ending.TRANSIENT), account.gate.epoch, NOW + n, Known(0.1, 1.0))
    shown = view_account(account, NOW + 4.0)
    assert shown.gate is Reason.BINNED
    assert shown.consecutive_failures == 5
    assert (shown.gate_until_s, shown.sinbin_left_s) == (0.5, 30.0)


def batch_of(params: Params, texts: int) -> Batch:
    request = Request(params, [b'"a"'] * texts, "k", 9e9, lambda request: None)
    request.tokens = [1] * texts
    return Batch(params, [Ticket(request, range(texts), (0.0, False), NOW)])


def test_lanes_are_shown_with_what_waits_and_what_flies() -> None:
    account = account_of()
    here, there = Params("m", dimensions=256), Params("m", whole=b'{"a":1}', path="/v1/x")
    request = Request(here, [b'"a"', b'"bc"'], "k", 9e9, lambda request: None)
    request.tokens = [1, 2]
    account.enter(request, NOW)
    account.flying = {batch_of(here, 3), batch_of(here, 4), batch_of(there, 1)}
    shown = view_account(account, NOW)
    assert (shown.texts, shown.in_flight, shown.key) == (2, 3, "P_API_KEY")
    first, second = shown.lanes
    assert first.params == {"model": "m", "dimensions": 256, "dtype": "float"}
    assert (first.requests, first.texts, first.tokens, first.bytes) == (1, 2, 3, 7)
    assert (first.calls_in_flight, first.texts_in_flight) == (2, 7)
    assert second.params == {"model": "m", "dtype": "float", "whole": True, "path": "/v1/x"}
    assert (second.requests, second.calls_in_flight) == (0, 1)


def test_what_a_limit_has_left_is_that_of_the_last_minute_and_to_look_starts_nothing() -> None:
    account = account_of(limits={Dimension.CALLS: LimitSpec(5.0, True)})
    pace = account.pace
    assert view_account(account, NOW).limits[Dimension.CALLS].used == 0.0
    assert pace.lessons.started is None, "a tiny tier's first minute begins with the first call"
    batch = batch_of(Params("m"), 1)
    pace.charge(NOW, batch)
    half = 2.5  # on a tiny tier the minute before the start counts as half used
    assert pace.used(Dimension.CALLS, NOW + 1.0) == half + 1.0
    pace.landed(NOW + 2.0, batch, 1, refused=False)
    for at, wanted in ((59.9, half + 1.0), (60.1, 1.0), (61.9, 1.0), (62.1, 0.0), (9e3, 0.0)):
        assert view_account(account, NOW + at).limits[Dimension.CALLS].used == wanted
    assert pace.meters[Dimension.CALLS].sum == half + 1.0, "looking took nothing off"
    assert Dimension.TOKENS not in view_account(account, NOW).limits


def test_where_a_limit_comes_from() -> None:
    guessed = Meter(Dimension.CALLS, Learner(guess=100.0), configured=False)
    assert source_of(guessed) == "default"
    guessed.learner.announced(50.0)
    assert source_of(guessed) == "headers"
    guessed.learner.cut(20.0, 20.0)
    assert source_of(guessed) == "learned"
    configured = Meter(Dimension.CALLS, Learner(ceiling=100.0), configured=True)
    assert source_of(configured) == "configured"
    configured.learner.cut(50.0, 50.0)
    assert source_of(configured) == "learned"
