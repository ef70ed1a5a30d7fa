"""The door: who is refused before it takes any room, at each limit, below it and above it."""

from __future__ import annotations

import pytest

from emr.lane.door import TEXT_BYTES
from emr.lane.gate import Reason
from emr.lane.settings import LaneSettings
from emr.lane.ticket import Params
from emr.lane.verdict import Ending, Verdict
from tests.lane.support import Answer, Crowd, text, town
from tests.sim.model import Fault, Provider, Script, Trouble
from tests.sim.world import World

HANGS = Fault(Trouble.HANG)


def refused(answer: Answer) -> tuple[str, float | None] | None:
    """The type of the refusal and its Retry-After, None while it waits or was answered."""
    refusal = answer.refusal
    return None if refusal is None else (refusal.type, refusal.retry_after)


def busy(settings: LaneSettings, **spec: int) -> tuple[World, Crowd]:
    """An account whose only slot hangs, so that everything else waits."""
    world, crowd = town(Provider(HANGS), settings=settings, max_concurrency=1, **spec)
    crowd.ask(b'"hangs"', timeout_s=3000.0, bulk=True)
    world.run(0.1)
    return world, crowd


# room


@pytest.mark.parametrize("capacity", [1, 2, 5])
def test_requests_a_lane(capacity: int) -> None:
    _, crowd = busy(LaneSettings(channel_capacity=capacity))
    answers = [crowd.ask(text(number)) for number in range(capacity + 1)]
    assert [refused(answer) for answer in answers] == [None] * capacity + [("overloaded", 1.0)]
    other = crowd.ask(text("other lane"), params=Params("m", input_type="query"))
    assert refused(other) is None


@pytest.mark.parametrize(("size", "expected"), [(99, None), (100, None), (101, "overloaded")])
def test_waiting_bytes(size: int, expected: str | None) -> None:
    _, crowd = busy(LaneSettings(max_queue_bytes=300 + 3 * TEXT_BYTES))
    for caller in ("one", "two"):
        crowd.ask(b'"%s"' % caller.encode().ljust(98, b"x"), caller=caller)
    answer = crowd.ask(b'"%s"' % (b"y" * (size - 2)), caller="three")
    assert (answer.refusal.type if answer.refusal else None) == expected


@pytest.mark.parametrize(("texts", "expected"), [(9, None), (10, None), (11, "overloaded")])
def test_short_texts_count_with_what_is_kept_of_each(texts: int, expected: str | None) -> None:
    _, crowd = busy(LaneSettings(max_queue_bytes=2 * 10 * (3 + TEXT_BYTES)))
    answers = [crowd.ask(b'"%x"' % number, caller="greedy") for number in range(texts)]
    assert [each for each in answers[:10] if refused(each) is not None] == []
    assert (answers[-1].refusal.type if answers[-1].refusal else None) == expected


@pytest.mark.parametrize(("size", "expected"), [(49, None), (50, None), (51, "overloaded")])
def test_half_of_the_waiting_bytes_may_be_of_one_key(size: int, expected: str | None) -> None:
    _, crowd = busy(LaneSettings(max_queue_bytes=300 + 4 * TEXT_BYTES))
    crowd.ask(b'"%s"' % (b"x" * 98), caller="greedy")
    answer = crowd.ask(b'"%s"' % (b"y" * (size - 2)), caller="greedy")
    assert (answer.refusal.type if answer.refusal else None) == expected
    other = crowd.ask(b'"%s"' % (b"z" * 98), caller="other")
    assert refused(other) is None


def test_the_bytes_of_all_accounts_count_together() -> None:
    world, crowd = busy(LaneSettings(max_queue_bytes=300 + 3 * TEXT_BYTES))
    other = Crowd(world, world.open(crowd.account.spec, Provider(HANGS)))
    crowd.ask(b'"%s"' % (b"x" * 148))
    assert refused(other.ask(b'"%s"' % (b"y" * 148))) is None
    assert refused(other.ask(b'""', caller="third")) == ("overloaded", 1.0)


def test_bytes_in_back_off_count_and_bytes_in_flight_do_not() -> None:
    provider = Provider(Script(Verdict(Ending.TRANSIENT, 500)), HANGS)
    world, crowd = town(provider, settings=LaneSettings(max_queue_bytes=600 + 2 * TEXT_BYTES))
    crowd.ask(b'"%s"' % (b"x" * 298))
    world.run(0.01)
    assert refused(crowd.ask(b'"%s"' % (b"y" * 298))) is None, "the other one flies"
    world.run(0.0201)
    assert crowd.account.bytes == 300
    assert crowd.account.lanes == {}
    assert refused(crowd.ask(b'"%s"' % (b"z" * 298))) is None, "one flies, one rests"
    assert refused(crowd.ask(b'"z"')) == ("overloaded", 1.0)


@pytest.mark.parametrize("lanes", [1, 3])
def test_lanes_of_the_process(lanes: int) -> None:
    _, crowd = busy(LaneSettings(max_lanes=lanes))
    answers = [
        crowd.ask(text(number), params=Params("m", dimensions=number + 1))
        for number in range(lanes + 1)
    ]
    assert [refused(answer) for answer in answers] == [None] * lanes + [("overloaded", 1.0)]
    same = crowd.ask(text("same"), params=Params("m", dimensions=1))
    assert refused(same) is None, "a lane that there is may be used"


@pytest.mark.parametrize("lanes", [1, 3])
def test_lanes_of_a_key(lanes: int) -> None:
    _, crowd = busy(LaneSettings(max_lanes_a_caller=lanes))

    def ask(number: int, caller: str) -> Answer:
        return crowd.ask(text(number), params=Params("m", dimensions=number), caller=caller)

    answers = [ask(number, "greedy") for number in range(1, lanes + 2)]
    assert [refused(answer) for answer in answers] == [None] * lanes + [("overloaded", 1.0)]
    assert refused(ask(lanes + 1, "other")) is None
    assert refused(ask(lanes + 1, "greedy")) is None, "the other's lane may be shared"


def test_who_is_refused_takes_no_room() -> None:
    world, crowd = busy(LaneSettings(channel_capacity=1))
    crowd.ask(text(1))
    before = (crowd.account.texts, crowd.account.bytes, world.roster.live)
    crowd.ask(text(2))
    assert (crowd.account.texts, crowd.account.bytes, world.roster.live) == before


# time


@pytest.mark.parametrize(("timeout_s", "expected"), [(-0.001, True), (0.0, True), (0.001, False)])
def test_a_deadline_that_passed(timeout_s: float, expected: bool) -> None:
    _, crowd = town(Provider())
    answer = crowd.ask(text(1), timeout_s=timeout_s)
    assert (refused(answer) == ("deadline_exceeded", None)) is expected


@pytest.mark.parametrize(
    ("ending", "kind"), [(Ending.RATE, "rate_limited"), (Ending.OVERLOAD, "overloaded")]
)
def test_a_gate_that_opens_after_the_deadline(ending: Ending, kind: str) -> None:
    provider = Provider(Script(Verdict(ending, 429, retry_after=20.0)))
    world, crowd = town(provider)
    first = crowd.ask(text("first"))
    world.run(1.0)
    until = crowd.account.gate.until
    waits = until - world.now
    late = crowd.ask(text("late"), timeout_s=waits - 0.01)
    in_time = crowd.ask(text("in time"), timeout_s=waits + 0.01)
    told = refused(late)
    assert told is not None
    assert told[0] == kind
    assert told[1] is not None
    assert 0.0 < told[1] <= waits
    assert late.took_s == 0.0
    assert refused(in_time) is None
    world.run(30.0)
    assert first.served
    assert in_time.refusal is None or in_time.refusal.type == "deadline_exceeded"


# the sin-bin


def binned(*, age_s: float) -> tuple[World, Crowd]:
    """A sin-bin of that age, in which nobody waits and nothing flies."""
    provider = Provider(Fault(Trouble.RESET, 10.0, 1000.0))
    world, crowd = town(provider)
    crowd.trickle(10.0, 9.0, 12.0, timeout_s=2.0)
    world.run(14.0)
    gate = crowd.account.gate
    assert gate.reason is Reason.BINNED
    assert crowd.account.idle
    world.run(gate.bin.started + age_s)
    return world, crowd


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [(14.99, None), (15.01, "provider_unavailable"), (100.0, "provider_unavailable")],
)
def test_behind_an_old_bin_nobody_interactive_waits(age_s: float, expected: str | None) -> None:
    _, crowd = binned(age_s=age_s)
    probe = crowd.ask(text("the next probe needs someone"))
    answer = crowd.ask(text("one more"))
    assert refused(probe) is None
    assert (answer.refusal.type if answer.refusal else None) == expected
    if answer.refusal is not None:
        assert answer.refusal.retry_after is not None
        assert answer.took_s == 0.0
    bulk = crowd.ask(text("bulk"), bulk=True)
    assert refused(bulk) is None, "bulk waits to its deadline"


def test_who_is_let_in_alone_waits_for_as_long_as_any() -> None:
    world, crowd = binned(age_s=100.0)
    answer = crowd.ask(text("the next probe needs someone"))
    world.run(world.now + 20.0)
    assert answer.refusal is not None
    assert answer.refusal.type == "provider_unavailable"
    assert answer.took_s == pytest.approx(15.0)


@pytest.mark.parametrize("trouble", [Trouble.AUTH, Trouble.QUOTA])
def test_behind_a_latch_everyone_is_told_until_the_next_try(trouble: Trouble) -> None:
    provider = Provider(Script(trouble))
    world, crowd = town(provider)
    crowd.ask(text("first"))
    world.run(30.01)
    for bulk in (False, True):
        assert refused(crowd.ask(text(bulk), bulk=bulk)) == ("provider_error", None)
    world.run(crowd.account.gate.until)
    answer = crowd.ask(text("the try"))
    world.run(40.0)
    assert answer.served
