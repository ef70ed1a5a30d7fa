"""Patience: how long callers wait for a provider in trouble, and what they are told."""

from __future__ import annotations

import pytest

from emr.lane.effects import Effects
from emr.lane.gate import Reason
from emr.lane.patience import run_out
from emr.lane.settings import LaneSettings
from emr.lane.verdict import Ending, Verdict
from tests.lane.support import Answer, Crowd, text, town
from tests.sim.model import End, Fault, Provider, Script, Times, Trouble
from tests.sim.world import World

STEADY = Times(sigma=0.0)


def kind(answer: Answer) -> str | None:
    return answer.refusal.type if answer.refusal else None


def retry_after(answer: Answer) -> float:
    assert answer.refusal is not None
    assert answer.refusal.retry_after is not None
    return answer.refusal.retry_after


# behind the sin-bin


def in_the_bin(**options: float) -> tuple[World, Crowd]:
    """Shortly after a sin-bin began."""
    provider = Provider(Fault(Trouble.RESET, 10.0, 1000.0), times=STEADY)
    world, crowd = town(provider, settings=LaneSettings(**options))
    crowd.trickle(20.0, 9.0, 12.0)
    world.run(12.0)
    assert crowd.account.gate.reason is Reason.BINNED
    return world, crowd


@pytest.mark.parametrize("wait_s", [3.0, 15.0])
def test_interactive_waits_so_long_from_the_later_of_arrival_and_bin(wait_s: float) -> None:
    world, crowd = in_the_bin(binned_wait_s=wait_s)
    began = crowd.account.gate.bin.started
    before = [answer for answer in crowd.between(10.5, began) if kind(answer) is None]
    after = crowd.between(began + 0.01, 12.0)
    assert before
    assert after
    world.run(60.0)
    for answer in before:
        assert answer.ended_at == pytest.approx(began + wait_s)
    for answer in after:
        assert answer.took_s == pytest.approx(wait_s)
    for answer in (*before, *after):
        assert kind(answer) == "provider_unavailable"
        assert retry_after(answer) <= 2.0


def test_bulk_waits_to_its_deadline_and_is_served_when_the_provider_is_back() -> None:
    provider = Provider(Fault(Trouble.RESET, 10.0, 100.0), times=STEADY)
    world, crowd = town(provider)
    crowd.trickle(20.0, 9.0, 12.0)
    world.run(12.0)
    short, long = (crowd.ask(text(s), bulk=True, timeout_s=s) for s in (50.0, 600.0))
    world.run(120.0)
    assert (kind(short), short.took_s) == ("deadline_exceeded", pytest.approx(50.0))
    assert long.served


def test_a_call_in_flight_does_not_lose_patience() -> None:
    """Only what waits is told; what the hung probe carries has its call's time."""
    provider = Provider(
        Fault(Trouble.RESET, 10.0, 12.0), Fault(Trouble.HANG, 12.0, 1000.0), times=STEADY
    )
    world, crowd = town(provider, settings=LaneSettings(binned_wait_s=3.0))
    crowd.trickle(20.0, 9.0, 13.0)
    world.run(16.5)
    (probe,) = crowd.account.flying
    flying = {ticket.request for ticket in probe.tickets}
    for answer in crowd.answers:
        if answer.request in flying:
            assert kind(answer) is None
            assert world.now - answer.asked_at > 3.0


# after the first failure


@pytest.mark.parametrize(
    ("ending", "expected"), [(Ending.RATE, "rate_limited"), (Ending.OVERLOAD, "overloaded")]
)
@pytest.mark.parametrize("cap_s", [5.0, 45.0])
def test_interactive_waits_so_long_after_its_first_failure(
    ending: Ending, expected: str, cap_s: float
) -> None:
    # now and then a success of another caller, or nothing but OVERLOAD would be a sin-bin
    provider = Provider(Script(*([Verdict(ending, 429)] * 500)), times=STEADY)
    settings = LaneSettings(cumulative_cap_s=cap_s, binned_wait_s=1000.0)
    world, crowd = town(provider, settings=settings)
    answer = crowd.ask(text("waits"))
    bulk = crowd.ask(text("bulk"), bulk=True)
    world.run(50.0)
    assert kind(answer) == expected
    assert 0.0 < answer.took_s <= 0.02 + cap_s + 1e-6
    assert retry_after(answer) > 0.0
    assert kind(bulk) is None, "bulk waits to its deadline"


def test_who_cannot_wait_for_the_gate_is_told_at_once() -> None:
    provider = Provider(Script(None, Verdict(Ending.RATE, 429, retry_after=50.0)), times=STEADY)
    world, crowd = town(provider, max_concurrency=1)
    crowd.ask(text("first"))
    world.run(0.01)
    refused = crowd.ask(text("refused"))  # may wait 45 s from its failure
    world.run(0.19)
    fresh = crowd.ask(text("fresh"), timeout_s=60.0)  # it has not failed: its deadline counts
    hurried = crowd.ask(text("hurried"), timeout_s=40.0)
    bulk = crowd.ask(text("bulk"), bulk=True)
    world.run(0.3)
    assert [kind(answer) for answer in (refused, hurried)] == ["rate_limited", "rate_limited"]
    for answer in (refused, hurried):
        assert answer.ended_at == pytest.approx(0.2)
        assert retry_after(answer) >= 50.0
    assert [kind(answer) for answer in (fresh, bulk)] == [None, None]


def test_a_retry_after_that_fits_is_waited_out_unseen() -> None:
    provider = Provider(Script(Verdict(Ending.RATE, 429, retry_after=30.0)), times=STEADY)
    world, crowd = town(provider)
    answer = crowd.ask(text("waits"))
    world.run(40.0)
    assert answer.served
    assert 30.2 <= answer.took_s <= 31.3
    assert len(provider.seen) == 2


# deadlines


@pytest.mark.parametrize("timeout_s", [0.1, 0.5, 2.0])
def test_a_deadline_is_exact_in_flight_too_and_the_call_goes_on(timeout_s: float) -> None:
    provider = Provider(Script(End(Verdict(Ending.OK, 200), 3.0)), times=STEADY)
    world, crowd = town(provider)
    late = crowd.ask(text("late"), timeout_s=timeout_s)
    shared = crowd.ask(text("shares the call"))
    world.run(10.0)
    assert (kind(late), late.took_s) == ("deadline_exceeded", pytest.approx(timeout_s))
    assert provider.sizes() == [2]
    assert (shared.served, shared.took_s) == (True, pytest.approx(3.0))


def test_a_deadline_in_a_lane_in_back_off_and_behind_the_gate() -> None:
    cases = {
        "slots": Script(End(Verdict(Ending.OK, 200), 30.0)),
        "back-off": Script(*[Verdict(Ending.TRANSIENT, 500)] * 3),
        "gate": Script(Verdict(Ending.RATE, 429, retry_after=5.0)),
    }
    for name, script in cases.items():
        world, crowd = town(Provider(script, times=STEADY), max_concurrency=1)
        first = crowd.ask(text("first"), timeout_s=20.0, bulk=True)
        second = crowd.ask(text("second"), timeout_s=0.07, bulk=True)
        world.run(20.0)
        if name == "slots":
            assert kind(first) is None
        assert (name, kind(second)) == (
            name,
            "rate_limited" if name == "gate" else "deadline_exceeded",
        )
        assert second.took_s == pytest.approx(0.02 if name == "gate" else 0.07)


def test_who_lost_patience_does_not_hide_when_the_next_one_does() -> None:
    """A failed call has everyone's patience looked at, and some of it is over in that very step."""
    _, crowd = in_the_bin(binned_wait_s=15.0)
    account = crowd.account
    late = crowd.ask(text("late"), timeout_s=600.0)
    first = min([ticket.request.arrived for ticket in account.waiting()])
    account.look_at_patience()
    now = max(first, account.gate.bin.started) + 15.0
    ends = run_out(account, now, Effects())
    assert kind(late) is None
    assert now < ends <= late.asked_at + 15.0
    assert account.patience_ends > now
