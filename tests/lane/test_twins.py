"""Twins in one world: what is shared between those who may go elsewhere and those who may not."""

from __future__ import annotations

from typing import Any

import pytest

from emr.lane.account import Account
from emr.lane.gate import Reason
from emr.lane.settings import AccountSpec, LaneSettings
from tests.lane.support import Answer, Crowd, text
from tests.sim.model import Fault, Part, Provider, Script, Times, Trouble
from tests.sim.world import World

STEADY = Times(sigma=0.0)
SHARED = text("shared")


class Twins:
    """Two accounts of one family; `ask` says which of them may answer."""

    def __init__(self, first: Part, second: Part | None = None, **settings: Any) -> None:
        self.world = World(1, LaneSettings(**settings))
        parts = ([first], [] if second is None else [second])
        self.providers = [Provider(*part, times=STEADY) for part in parts]
        self.accounts: tuple[Account, ...] = tuple(
            self.world.open(AccountSpec(name, "m"), provider)
            for name, provider in zip(("first", "second"), self.providers, strict=True)
        )
        self.world.roster.relate(self.accounts)
        self.crowd = Crowd(self.world, self.accounts[0])

    def ask(self, *members: int, **options: Any) -> Answer:
        """Ask for the shared text."""
        accounts = tuple(self.accounts[member] for member in members)
        return self.crowd.ask(SHARED, members=accounts, **options)


@pytest.mark.parametrize("pinned_first", [True, False])
def test_who_named_the_provider_stays_with_it_whoever_asks_for_the_same(pinned_first: bool) -> None:
    """The first call hangs at the first account until its gate is set, and the free one moves."""
    twins = Twins(Script(Trouble.RATE))
    asks = [(0,), (0, 1)] if pinned_first else [(0, 1), (0,)]
    answers = [twins.ask(*members) for members in asks]
    twins.world.run(120.0)
    assert all(answer.served for answer in answers)
    pinned = answers[asks.index((0,))]
    assert pinned.request.answered_by == "first"


def test_who_may_go_elsewhere_does_not_fail_with_who_may_not() -> None:
    twins = Twins(Fault(Trouble.AUTH))
    twins.accounts[1].taken = 10.0  # so that both wait at the first
    pinned, free = twins.ask(0), twins.ask(0, 1)
    twins.world.run(120.0)
    assert pinned.refusal is not None
    assert pinned.refusal.type == "provider_error"
    assert free.served
    assert free.request.answered_by == "second"


def test_requests_of_equal_members_share_a_text() -> None:
    twins = Twins(Script())
    answers = [twins.ask(0, 1) for _ in range(5)]
    twins.world.run(10.0)
    assert all(answer.served for answer in answers)
    assert sum([len(provider.seen) for provider in twins.providers]) <= 2, "one a member"


def test_the_texts_of_a_failed_probe_go_where_another_member_is_well() -> None:
    """Both are sin-binned; one recovers while the other one's probe is out, which fails."""
    twins = Twins(Fault(Trouble.UNAVAILABLE), Fault(Trouble.UNAVAILABLE, until=20.0))
    first, second = twins.accounts
    for number in range(60):
        twins.crowd.ask_at(0.2 * number, text(number), members=twins.accounts, timeout_s=4.0)
    twins.world.run(20.0)
    assert {account.gate.reason for account in twins.accounts} == {Reason.BINNED}
    second.taken = first.taken + 10.0
    late = twins.ask(0, 1)
    while not first.flying:
        twins.world.run(twins.world.now + 0.005)
    second.gate.clear()
    since = twins.world.now
    twins.world.run(since + 60.0)
    assert first.gate.reason is Reason.BINNED
    assert late.served
    assert late.ended_at - since < 1.0
