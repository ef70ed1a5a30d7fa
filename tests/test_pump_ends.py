"""The pump: callers that leave, accounts that are closed, and its own end."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref

import pytest

from emr.lane.account import Account
from emr.lane.refusal import Refusal
from emr.lane.settings import LaneSettings
from emr.lane.verdict import Outcome
from tests.support.aio import run
from tests.support.pumped import Bench, others
from tests.support.scripted import BROKEN, Asked, Scripted, turns, vector_of

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
        asked.request.refusal = Refusal("unknown_provider", "it went away")
        bench.pump.end(asked.request)
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
