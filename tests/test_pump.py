"""The pump: its turns, its timer, and what it does when something goes wrong."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from emr.lane.effects import Send
from emr.lane.settings import LaneSettings
from emr.lane.ticket import Request
from emr.lane.verdict import Ending, Outcome
from emr.upstream.call import Call
from tests.support.aio import run
from tests.support.pumped import Bench, others
from tests.support.scripted import Asked, Scripted, good, turns, vector_of

# turns


def test_a_lone_request_goes_in_the_next_turn() -> None:
    async def main() -> None:
        bench = Bench(Scripted())
        asked = bench.ask("a")
        assert bench.pump.calls_in_flight == 0, "submit only stores"
        await turns(1)
        assert bench.pump.calls_in_flight == 1, "decided in the turn after it came"
        await turns(1)
        assert len(bench.caller.calls) == 1
        assert await asked.vectors() == [vector_of(b'"a"')]
        await turns(2)
        bench.check_is_empty()

    run(main())


def test_the_arrivals_of_one_turn_cost_one_step_and_one_call() -> None:
    async def main() -> None:
        bench = Bench(Scripted())
        all_asked = [bench.ask(f"text {n}", f"more {n}") for n in range(50)]
        await turns(2)
        assert bench.roster.steps == 1
        assert [len(call.texts) for call in bench.caller.calls] == [100]
        for n, asked in enumerate(all_asked):
            wanted = [vector_of(b'"text %d"' % n), vector_of(b'"more %d"' % n)]
            assert await asked.vectors() == wanted
            assert asked.times == 1
            assert asked.request.billed == 6
        assert (bench.pump.answered, bench.pump.answered_texts) == (50, 100)

    run(main())


def test_what_comes_back_and_what_arrives_in_one_turn_is_decided_together() -> None:
    async def main() -> None:
        bench = Bench(Scripted(holds=True))
        first = bench.ask("a")
        await bench.caller.called(1)
        before = bench.roster.steps
        bench.caller.let_go()
        late = bench.ask("b")
        await first.vectors()
        await late.vectors()
        await turns(1)
        assert bench.roster.steps - before <= 3

    run(main())


# time


def test_a_deadline_ends_a_request_in_flight_and_the_call_goes_on() -> None:
    async def main() -> None:
        bench = Bench(Scripted(holds=True))
        asked = bench.ask("a", wait_s=0.03)
        await bench.caller.called(1)
        assert await asked.refusal() == "deadline_exceeded"
        assert bench.pump.calls_in_flight == 1
        assert bench.pump.refused == {"deadline_exceeded": 1}
        bench.caller.let_go()
        await bench.pump.drained()
        await turns(5)
        bench.check_is_empty()
        assert asked.times == 1

    run(main())


class TimerSpy:
    """A loop that notes the waits of the timers that are set."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.waits: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, wait: float, run: Callable[[], None]) -> asyncio.TimerHandle:
        self.waits.append(wait)
        return self._loop.call_later(wait, run)


def test_the_timer_is_moved_to_an_earlier_time_and_not_to_a_later_one() -> None:
    async def main() -> None:
        spy: Any = TimerSpy(asyncio.get_running_loop())
        bench = Bench(Scripted(holds=True), loop=spy)
        long = bench.ask("a", wait_s=30.0)
        await bench.caller.called(1)
        await turns(2)
        assert spy.waits == [pytest.approx(30.0, abs=5.0)]
        longest = bench.ask("c", wait_s=40.0)  # later: what is set comes before it
        await turns(2)
        assert len(spy.waits) == 1
        short = bench.ask("b", wait_s=0.02)
        await turns(2)
        assert spy.waits[1:] == [pytest.approx(0.02, abs=0.02)]
        await short.ended.wait()
        await turns(2)
        assert spy.waits[2:] == [pytest.approx(30.0, abs=5.0)]
        assert not long.ended.is_set()
        assert not longest.ended.is_set()
        bench.caller.let_go()
        await bench.pump.drained()

    run(main())


@pytest.mark.parametrize("wait_s", [0.0204, 0.0206, 0.02049, 0.0201])
def test_a_time_between_two_milliseconds_is_not_waited_for_in_turns(wait_s: float) -> None:
    async def main() -> None:
        bench = Bench(Scripted(holds=True))
        asked = bench.ask("a", wait_s=wait_s)
        await bench.caller.called(1)
        before = bench.roster.steps
        assert await asked.refusal() == "deadline_exceeded"
        await turns(1)
        assert bench.roster.steps - before <= 3
        bench.caller.let_go()

    run(main())


def test_a_wait_that_is_over_costs_no_turns() -> None:
    async def main() -> None:
        bench = Bench(Scripted())
        for n in range(20):
            await bench.ask(f"text {n}").vectors()
        await turns(3)
        before = bench.roster.steps
        await turns(50)
        assert bench.roster.steps == before
        bench.check_is_empty()
        assert others() == []

    run(main())


# what goes wrong


def test_a_caller_that_raises_is_a_broken_call_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        def fail_once(call: Call) -> Outcome:
            if len(bench.caller.calls) == 1:
                raise KeyError("a text of a caller")
            return good(call)

        bench = Bench(Scripted(fail_once), LaneSettings(per_attempt_cap_s=0.001))
        assert await bench.ask("a").vectors() == [vector_of(b'"a"')]
        assert len(bench.caller.calls) == 2

    run(main())
    assert "error of emr's own" in caplog.text


def test_an_answer_that_cannot_be_given_does_not_touch_the_next_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        bench = Bench(Scripted())

        def bad_done(request: Request) -> None:
            raise RuntimeError("the client's text")

        bad = Asked("bad", deadline=bench.pump.clock() + 60.0)
        bad.request.done = bad_done
        before, after = Asked("b", deadline=9e9), Asked("c", deadline=9e9)
        for asked in (before, bad, after):
            bench.pump.submit((bench.account,), asked.request)
        await before.vectors()
        await after.vectors()
        await turns(3)
        bench.check_is_empty()

    run(main())
    assert "could not be given" in caplog.text


def test_an_observer_that_fails_keeps_nobody_from_an_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        bench = Bench(Scripted())

        def bad_observer(send: Send, outcome: Outcome, seconds: float) -> None:
            raise RuntimeError("a bug of the views")

        bench.pump.observe = bad_observer
        assert await bench.ask("a").vectors() == [vector_of(b'"a"')]
        assert await bench.ask("b").vectors() == [vector_of(b'"b"')]
        await turns(3)
        bench.check_is_empty()
        assert others() == []

    run(main())
    assert "could not be counted" in caplog.text


def test_the_observer_is_told_how_the_core_took_the_call() -> None:
    """Vectors of another length than before are a broken call, whatever the caller said."""

    async def main() -> list[Ending]:
        told: list[Ending] = []

        def answer(call: Call) -> Outcome:
            return good(call, 4 if len(bench.caller.calls) == 2 else 8)

        bench = Bench(Scripted(answer), LaneSettings(per_attempt_cap_s=0.001))
        bench.pump.observe = lambda send, outcome, seconds: told.append(outcome.verdict.ending)
        await bench.ask("a").vectors()
        await bench.ask("b").vectors()
        return told

    assert run(main()) == [Ending.OK, Ending.PROTOCOL, Ending.OK]


def test_a_time_that_is_over_is_a_turn_at_once() -> None:
    async def main() -> None:
        bench = Bench(Scripted())
        bench.pump._arm(-math.inf)
        steps = bench.roster.steps
        while bench.roster.steps == steps:
            await asyncio.sleep(0)

    run(main())
