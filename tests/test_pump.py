"""The pump over a real core and a caller that a test scripts, on the loop that emr uses."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from emr.lane.account import Account
from emr.lane.effects import Effects, Send
from emr.lane.refusal import Refusal
from emr.lane.roster import Roster
from emr.lane.settings import LaneSettings
from emr.lane.ticket import Request
from emr.lane.verdict import Ending, Outcome
from emr.pump import Pump
from emr.upstream.call import Call
from tests.support.aio import run
from tests.support.scripted import BROKEN, Asked, Scripted, good, spec_of, turns, vector_of


class CountingRoster(Roster):
    """The core, which counts how often it was stepped."""

    steps = 0

    def step(self, now: float) -> Effects:
        self.steps += 1
        return super().step(now)


class Bench:
    """A pump with one account."""

    def __init__(
        self,
        caller: Scripted,
        settings: LaneSettings | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.roster = CountingRoster(settings or LaneSettings(), random.Random(1))
        self.pump = Pump(self.roster, loop or asyncio.get_running_loop())
        self.caller = caller
        self.account = self.pump.open(spec_of(), caller)

    def ask(self, *texts: str, wait_s: float = 60.0) -> Asked:
        asked = Asked(*texts, deadline=self.pump.clock() + wait_s)
        self.pump.submit((self.account,), asked.request)
        return asked

    def check_is_empty(self) -> None:
        assert self.pump.calls_in_flight == 0
        assert self.roster.live == 0
        assert all(account.idle for account in self.roster.accounts)


def others() -> list[asyncio.Task[Any]]:
    """The tasks that are there beside the test's own."""
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


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


# callers that leave


def test_who_leaves_before_the_call_is_not_sent() -> None:
    async def main() -> None:
        bench = Bench(Scripted())
        gone, stays = bench.ask("gone"), bench.ask("stays")
        bench.pump.leave(gone.request)
        await stays.vectors()
        assert bench.caller.texts == [b'"stays"']
        await turns(3)
        assert gone.times == 0
        bench.check_is_empty()

    run(main())


def test_when_all_leave_before_the_call_there_is_none() -> None:
    async def main() -> None:
        bench = Bench(Scripted())
        bench.pump.leave(bench.ask("gone").request)
        await bench.pump.drained()
        await turns(3)
        assert bench.caller.calls == []
        bench.check_is_empty()

    run(main())


def test_who_leaves_after_the_call_was_sent_takes_nobody_along() -> None:
    async def main() -> None:
        bench = Bench(Scripted(holds=True))
        gone, stays = bench.ask("gone"), bench.ask("stays")
        await bench.caller.called(1)
        bench.pump.leave(gone.request)
        bench.caller.let_go()
        assert await stays.vectors() == [vector_of(b'"stays"')]
        await turns(3)
        assert gone.times == 0
        bench.check_is_empty()

    run(main())


# accounts that go


def test_a_closed_account_sends_what_it_has_and_is_let_go_of() -> None:
    async def main() -> None:
        bench = Bench(Scripted(holds=True))
        in_flight = bench.ask("in flight")
        await bench.caller.called(1)
        waiting = bench.ask("waiting")
        bench.pump.close(bench.account)
        await turns(3)
        assert bench.account in bench.roster.accounts
        bench.caller.let_go()
        assert await in_flight.vectors() == [vector_of(b'"in flight"')]
        assert await waiting.vectors() == [vector_of(b'"waiting"')]
        await turns(3)
        assert bench.roster.accounts == []
        caller = weakref.ref(bench.caller)
        account = weakref.ref(bench.account)
        del bench.caller, bench.account, in_flight, waiting
        gc.collect()
        assert caller() is None, "a caller holds a credential"
        assert account() is None

    run(main())


def test_an_idle_account_that_is_closed_is_let_go_of_at_once() -> None:
    async def main() -> None:
        bench = Bench(Scripted())
        bench.pump.close(bench.account)
        await turns(1)
        caller = weakref.ref(bench.caller)
        del bench.caller
        gc.collect()
        assert caller() is None

    run(main())


def test_nothing_is_offered_to_a_closed_account() -> None:
    async def main() -> None:
        bench = Bench(Scripted())
        bench.pump.close(bench.account)
        with pytest.raises(AssertionError, match="when closed"):
            bench.ask("a")

    run(main())


def test_a_refused_request_is_told_once_and_counted() -> None:
    async def main() -> None:
        bench = Bench(Scripted())
        asked = Asked("a")
        bench.pump.refuse(asked.request, Refusal("unknown_provider", "it went away"))
        assert await asked.refusal() == "unknown_provider"
        assert (asked.times, bench.pump.refused) == (1, {"unknown_provider": 1})
        await bench.pump.drained()

    run(main())


# the end


def test_drained_is_when_nothing_waits_or_flies() -> None:
    async def main() -> None:
        bench = Bench(Scripted(holds=True))
        await bench.pump.drained()
        asked = bench.ask("a")
        await bench.caller.called(1)
        drained = asyncio.ensure_future(bench.pump.drained())
        await turns(5)
        assert not drained.done()
        bench.caller.let_go()
        await drained
        assert asked.ended.is_set()

    run(main())


def test_a_refusal_at_the_door_leaves_nothing_to_wait_for() -> None:
    async def main() -> None:
        bench = Bench(Scripted())
        asked = bench.ask("a", wait_s=0.0)
        assert asked.ended.is_set(), "told before submit returns"
        assert await asked.refusal() == "deadline_exceeded"
        await bench.pump.drained()
        bench.check_is_empty()

    run(main())


def test_stop_cancels_calls_and_nothing_begins_after_it() -> None:
    async def main() -> None:
        bench = Bench(Scripted(holds=True))
        flying, waiting = bench.ask("flying"), bench.ask("waiting", wait_s=0.02)
        await bench.caller.called(1)
        more = bench.ask("more")
        bench.pump.leave(flying.request)  # as the end of its connection does, in the same turn
        await bench.pump.stop()
        assert bench.caller.cancelled == 1
        steps = bench.roster.steps
        late = bench.ask("late")
        assert await late.refusal() == "overloaded"
        await asyncio.sleep(0.03)  # past the deadline of one that waits
        assert bench.roster.steps == steps
        assert (waiting.times, more.times) == (0, 0)
        assert len(bench.caller.calls) == 1
        assert others() == []

    run(main())


def test_a_call_is_logged_at_debug_without_texts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "emr.pump")

    async def main() -> None:
        bench = Bench(Scripted(), LaneSettings(max_retries=0))
        await bench.ask("a secret text").vectors()
        bench.caller.answer = lambda call: BROKEN
        await bench.ask("another secret").ended.wait()
        await turns(3)

    run(main())
    figures = [
        vars(record)["figures"] for record in caplog.records if record.message == "Provider call"
    ]
    assert [sorted(each) for each in figures] == [
        ["callers", "error", "latency_ms", "provider", "texts"]
    ] * 2
    assert [each["error"] for each in figures] == [None, "transient 500"]
    assert "secret" not in str(figures)


def test_reset_steps_the_account() -> None:
    async def main() -> None:
        bench = Bench(Scripted(lambda call: Outcome(BROKEN.verdict)), LaneSettings(max_retries=0))
        await bench.ask("a").ended.wait()
        assert bench.account.gate.failures == 1
        bench.pump.reset(bench.account)
        assert isinstance(bench.account, Account)
        assert bench.account.gate.failures == 0
        before = bench.roster.steps
        await turns(1)
        assert bench.roster.steps == before + 1

    run(main())
