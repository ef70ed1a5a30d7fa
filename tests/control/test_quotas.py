"""The limits of keys: at, below and over each; what is held, billed and given back; months."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from emr.control.quotas import HELD_S, Quotas, month_end, month_start
from emr.front.desk import NO_LIMITS, KeyLimits, Principal
from emr.lane.refusal import Refusal
from emr.lane.ticket import Params, Request

DEC_31 = datetime(2026, 12, 31, 23, 0, tzinfo=UTC).timestamp()


class World:
    """Quotas with clocks of the test's own."""

    def __init__(self, defaults: KeyLimits = NO_LIMITS) -> None:
        self.now, self.wall = 1000.0, DEC_31
        self.quotas = Quotas(lambda: self.now, lambda: self.wall, defaults)
        self.estimates = 0

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    def ask(self, who: Principal, requests: int = 1, tokens: int = 0) -> Refusal | None:
        """Admit requests that are estimated at so many tokens."""

        def estimate() -> int:
            self.estimates += 1
            return tokens

        return self.quotas.admit(who, requests, estimate)

    def start(self, who: Principal, tokens: int) -> Request:
        """Take in a request of one text that was admitted."""
        request = Request(Params("m"), [b'"a"'], who.id, 0.0, lambda request: None)
        request.tokens = [tokens]
        self.quotas.hold(request)
        return request

    def bill(self, request: Request, tokens: int) -> None:
        """A call of it was billed."""
        purse = self.quotas.purse(request.caller)
        purse.tokens_month += tokens  # as the ledger does
        if purse.is_watched:
            self.quotas.billed(purse, request, tokens)

    def use(self, who: Principal, tokens: int, estimate: int | None = None) -> Refusal | None:
        """A request from its begin to its end."""
        refusal = self.ask(who, tokens=tokens if estimate is None else estimate)
        if refusal is None:
            request = self.start(who, tokens if estimate is None else estimate)
            self.bill(request, tokens)
            self.quotas.ended(request)
        return refusal


def key(name: str = "k", **limits: int) -> Principal:
    return Principal(name, name, limits=KeyLimits(**limits))


# requests a minute


@pytest.mark.parametrize("limit", [1, 2, 60])
def test_requests_at_the_limit(limit: int) -> None:
    world, who = World(), key(requests_per_minute=limit)
    assert [world.ask(who) for _ in range(limit - 1)] == [None] * (limit - 1)
    assert world.ask(who) is None
    refusal = world.ask(who)
    assert refusal is not None
    assert (refusal.type, refusal.final) == ("quota_exceeded", False)
    assert f"send {limit} requests a minute" in refusal.message
    assert refusal.retry_after is not None
    assert 60.0 <= refusal.retry_after <= 60.25
    world.later(refusal.retry_after - 0.001)
    assert world.ask(who) is not None
    world.later(0.001)
    assert world.ask(who) is None


def test_a_refused_request_counts_for_nothing() -> None:
    world, who = World(), key(requests_per_minute=2)
    assert world.ask(who, 2) is None
    for _ in range(100):
        assert world.ask(who) is not None
    world.later(60.25)
    assert world.ask(who, 2) is None


@pytest.mark.parametrize(("requests", "fits"), [(2, True), (3, True), (4, False)])
def test_a_batch_call_counts_its_requests(requests: int, fits: bool) -> None:
    world, who = World(), key(requests_per_minute=4)
    assert world.ask(who) is None
    assert (world.ask(who, requests) is None) is fits
    assert (world.ask(who, 4 - 1 - (requests if fits else 0)) is None) is True


@pytest.mark.parametrize(("requests", "fits"), [(3, True), (4, True), (5, False)])
def test_a_batch_call_that_no_minute_lets_through(requests: int, fits: bool) -> None:
    refusal = World().ask(key(requests_per_minute=4), requests)
    assert (refusal is None) is fits
    if refusal is not None:
        assert (refusal.type, refusal.final, refusal.param) == ("quota_exceeded", True, "requests")


def test_keys_do_not_share_a_limit() -> None:
    world = World()
    assert world.ask(key("a", requests_per_minute=1)) is None
    assert world.ask(key("b", requests_per_minute=1)) is None
    assert world.ask(key("a", requests_per_minute=1)) is not None


# tokens a minute


@pytest.mark.parametrize(("tokens", "fits"), [(39, True), (40, True), (41, False)])
def test_tokens_at_the_limit(tokens: int, fits: bool) -> None:
    world, who = World(), key(tokens_per_minute=100)
    assert world.use(who, 60) is None
    refusal = world.use(who, tokens)
    assert (refusal is None) is fits
    if refusal is not None:
        assert refusal.type == "quota_exceeded"
        assert "use 100 tokens a minute" in refusal.message
        assert refusal.retry_after == pytest.approx(60.25, abs=0.25)


@pytest.mark.parametrize(("tokens", "fits"), [(39, True), (40, True), (41, False)])
def test_what_is_under_way_is_held(tokens: int, fits: bool) -> None:
    world, who = World(), key(tokens_per_minute=100)
    assert world.ask(who, tokens=60) is None
    request = world.start(who, 60)
    assert (world.ask(who, tokens=tokens) is None) is fits
    world.quotas.ended(request)  # it failed, and cost nothing
    assert world.ask(who, tokens=100) is None


def test_the_bill_takes_the_place_of_the_estimate() -> None:
    world, who = World(), key(tokens_per_minute=100)
    request = world.start(who, 0)
    assert world.ask(who, tokens=60) is None
    request = world.start(who, 60)
    world.bill(request, 20)  # a first part of it
    assert world.quotas.purse("k").held == 40
    assert world.ask(who, tokens=40) is None
    assert world.ask(who, tokens=41) is not None
    world.bill(request, 50)  # more than was left of the estimate
    assert world.quotas.purse("k").held == 0
    world.quotas.ended(request)
    assert world.ask(who, tokens=30) is None
    assert world.ask(who, tokens=31) is not None


def test_a_request_over_the_whole_limit_goes_alone_and_is_paid_off() -> None:
    world, who = World(), key(tokens_per_minute=100)
    assert world.use(who, 250) is None
    world.later(149)
    assert world.use(who, 1) is not None
    world.later(1.25)
    assert world.use(who, 1) is None
    assert world.use(who, 250) is not None


def test_who_left_pays_for_what_was_sent() -> None:
    world, who = World(), key(tokens_per_minute=100)
    assert world.ask(who, tokens=80) is None
    request = world.start(who, 80)
    request.left = True
    world.quotas.ended(request)
    assert world.quotas.purse("k").held == 0
    world.bill(request, 90)
    assert world.quotas.purse("k").held == 0
    assert world.ask(who, tokens=10) is None
    assert world.ask(who, tokens=11) is not None


def test_both_limits_are_asked_and_neither_is_taken_when_one_refuses() -> None:
    world, who = World(), key(requests_per_minute=2, tokens_per_minute=10)
    assert world.use(who, 10) is None
    refusal = world.ask(who, tokens=1)
    assert refusal is not None
    assert "tokens" in refusal.message
    world.later(60.25)
    assert world.ask(who, 2, tokens=1) is None  # neither of the two was used by the refusal


def test_tokens_are_estimated_only_where_they_are_limited() -> None:
    world = World()
    assert world.ask(key(requests_per_minute=1)) is None
    assert world.ask(key(tokens_per_month=1)) is None
    assert world.ask(Principal("x", "x")) is None
    assert world.estimates == 0


# tokens a month


@pytest.mark.parametrize(("used", "fits"), [(99, True), (100, False), (101, False)])
def test_tokens_of_the_month_at_the_limit(used: int, fits: bool) -> None:
    world, who = World(), key(tokens_per_month=100)
    assert world.use(who, used) is None
    refusal = world.ask(who, tokens=50)
    assert (refusal is None) is fits
    if refusal is not None:
        assert refusal.type == "quota_exceeded"
        assert "100 tokens a month" in refusal.message
        assert "2027-01-01T00:00:00Z" in refusal.message
        assert refusal.retry_after == 3600.0


def test_what_is_under_way_counts_to_the_month() -> None:
    world, who = World(), key(tokens_per_month=100)
    assert world.ask(who) is None
    request = world.start(who, 99)
    assert world.ask(who) is None
    more = world.start(who, 1)
    refusal = world.ask(who)
    assert refusal is not None
    assert refusal.retry_after == HELD_S, "a call's time, not the rest of the month"
    assert "what waits may take the rest" in refusal.message
    world.quotas.ended(more)
    world.quotas.ended(request)
    assert world.ask(who) is None


def test_a_month_ends() -> None:
    world, who = World(), key(tokens_per_month=100)
    assert world.use(who, 100) is None
    world.later(3599.999)
    assert world.ask(who) is not None
    world.later(0.001)
    assert world.ask(who) is None
    assert world.use(who, 100) is None
    refusal = world.ask(who)
    assert refusal is not None
    assert refusal.retry_after == pytest.approx(31 * 86_400)


def test_a_restart_knows_what_was_used_of_the_month() -> None:
    world, who = World(), key(tokens_per_month=100)
    world.quotas.begin({"k": 60, "other": 40})
    assert world.use(who, 39) is None
    assert world.use(who, 1) is None
    assert world.ask(who) is not None


@pytest.mark.parametrize(
    ("at", "start", "end"),
    [
        ("2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        ("2027-01-01T00:00:00", "2027-01-01", "2027-02-01"),
        ("2028-02-29T12:00:00", "2028-02-01", "2028-03-01"),
    ],
)
def test_calendar_months(at: str, start: str, end: str) -> None:
    def seconds(text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    assert month_start(seconds(at)) == seconds(start)
    assert month_end(seconds(at)) == seconds(end)


# whose limits


def test_a_key_without_limits_has_those_of_the_configuration() -> None:
    world = World(KeyLimits(requests_per_minute=1, tokens_per_month=5))
    plain, own = Principal("a", "a"), key("b", requests_per_minute=2)
    assert world.ask(plain) is None
    assert world.ask(plain) is not None
    assert [world.ask(own) is None for _ in range(3)] == [True, True, False]
    world.quotas.defaults = NO_LIMITS
    assert world.ask(plain) is None
    assert world.ask(own) is not None


def test_a_changed_limit_holds_at_once_and_what_was_used_stays() -> None:
    world = World()
    for _ in range(3):
        assert world.ask(key(requests_per_minute=3)) is None
    assert world.ask(key(requests_per_minute=4)) is None
    assert world.ask(key(requests_per_minute=4)) is not None
    assert world.ask(key(requests_per_minute=2)) is not None
    assert world.ask(Principal("k", "k")) is None


def test_a_rotated_key_goes_on_where_the_old_one_was() -> None:
    world = World()
    keys: Any = SimpleNamespace(rotations=lambda: [("a", "b")], on_rotate=None)
    world.quotas.heed(keys)
    world.quotas.begin({"a": 40, "b": 30})
    assert world.ask(key("b", requests_per_minute=2, tokens_per_month=100)) is None
    keys.on_rotate("b", "c")
    limits = {"requests_per_minute": 2, "tokens_per_month": 100}
    assert world.use(key("c", **limits), 30) is None
    refusal = world.ask(key("c", **limits))
    assert refusal is not None
    assert "tokens a month" in refusal.message


# headers


def test_the_headers_tell_what_is_left() -> None:
    world = World()
    who = key(requests_per_minute=3, tokens_per_minute=100, tokens_per_month=1000)
    assert world.quotas.headers(Principal("x", "x")) == []
    assert world.use(who, 30) is None
    world.ask(who, tokens=20)
    world.start(who, 20)
    assert dict(world.quotas.headers(who)) == {
        b"x-ratelimit-limit-requests": b"3", b"x-ratelimit-remaining-requests": b"1",
        b"x-ratelimit-limit-tokens": b"100", b"x-ratelimit-remaining-tokens": b"50",
        b"x-ratelimit-limit-tokens-month": b"1000", b"x-ratelimit-remaining-tokens-month": b"950",
    }  # fmt: skip
    world.bill(world.start(who, 0), 2000)
    assert dict(world.quotas.headers(who))[b"x-ratelimit-remaining-tokens"] == b"0"
