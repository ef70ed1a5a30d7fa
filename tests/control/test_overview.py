"""The overview: what it counts, and what its snapshot says beside what really is."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from emr.control import overview as module
from emr.control.snapshot import Status
from emr.lane.gate import Reason
from emr.lane.settings import LaneSettings
from emr.lane.ticket import Params
from emr.lane.verdict import Dimension, Ending, Outcome, Verdict
from emr.upstream.call import Call
from tests.control.overlooked import Overlooked
from tests.control.routed import ask_of, row_of, server
from tests.support.aio import run
from tests.support.scripted import good, turns

VOYAGE, COHERE = row_of("voyage", "voyage"), row_of("cohere", "cohere")
ONCE = LaneSettings(max_retries=0)


def test_counts_are_of_what_happened() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE, COHERE, lanes=ONCE) as overlooked:
            for n in range(3):
                await overlooked.ask(provider="voyage", text=f"text {n}").vectors()
            await overlooked.fail("cohere", Ending.TRANSIENT, 2)
            snapshot = overlooked.take()
            assert (snapshot.requests_served, snapshot.texts_served) == (3, 3)
            assert snapshot.provider_calls == 5
            assert snapshot.refusals == {"provider_error": 2}
            assert (snapshot.active_keys, snapshot.connections, snapshot.draining) == (3, 2, False)
            assert 0.0 <= snapshot.uptime_s < 60.0
            voyage, cohere = snapshot.providers
            assert (voyage.figures.calls, voyage.figures.failures) == (3, 0)
            assert (cohere.figures.calls, cohere.figures.failures) == (2, 2)
            assert cohere.figures.consecutive_failures == 2

    run(main())


def test_what_is_not_enabled_is_not_listed() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE, replace(COHERE, enabled=False)) as overlooked:
            assert [each.row.name for each in overlooked.take().providers] == ["voyage"]
        async with Overlooked(has_local=True) as overlooked:
            assert [each.row.name for each in overlooked.take().providers] == ["local"]
            assert overlooked.take().status == "ok"
        async with Overlooked() as overlooked:
            assert overlooked.take().status == "degraded"

    run(main())


def test_a_provider_that_nobody_asked_yet_is_shown_as_its_first_request_will_find_it() -> None:
    async def main() -> None:
        row = row_of("voyage", "voyage", requests_per_minute=60, max_concurrency=4)
        lanes = LaneSettings(initial_batch_size=32)
        async with Overlooked(row, lanes=lanes) as overlooked:
            view = overlooked.view("voyage")
            assert view.accounts == ()
            (first,) = view.first
            await overlooked.ask(provider="voyage").vectors()
            await turns(2)
            opened = overlooked.view("voyage")
            assert opened.first == ()
            (account,) = opened.accounts
            assert (first.k, first.slots, first.max_tokens) == (32, 4, account.max_tokens)
            assert first.limits[Dimension.CALLS].per_minute == 60.0
            assert set(first.limits) == set(account.limits)

    run(main())


def test_storage_that_takes_no_writes_is_told() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE) as overlooked:
            assert overlooked.take().storage_ok
            overlooked.store.trouble = "the disk is full"
            assert not overlooked.take().storage_ok
            assert overlooked.take().status == "degraded"

    run(main())


# the figures and the gate together


def test_a_refused_credential_is_down_until_a_test_is_good() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE) as overlooked:
            await overlooked.fail("voyage", Ending.AUTH)
            view = overlooked.view("voyage")
            assert (view.status, view.gate, view.may_serve) == (Status.DOWN, Reason.AUTH, False)
            assert view.accounts[0].message == "its words"
            assert overlooked.take().status == "down"
            overlooked.accounts.reset(overlooked.row("voyage"))
            overlooked.overview.cleared("voyage")
            assert overlooked.view("voyage").gate is Reason.CLEAR
            assert overlooked.take().status == "degraded", "by the figures of the hour"

    run(main())


def test_failures_in_a_row_are_cleared_by_a_good_test() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE, lanes=replace(ONCE, failure_threshold=3)) as overlooked:
            await overlooked.fail("voyage", Ending.PROTOCOL, 3)
            assert overlooked.view("voyage").gate is Reason.CLEAR
            assert overlooked.take().status == "down"
            overlooked.overview.cleared("voyage")
            overlooked.overview.cleared("nobody")
            assert overlooked.take().status == "degraded"

    run(main())


# providers that change


def test_another_provider_by_the_same_name_starts_with_a_clean_window() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE, lanes=ONCE) as overlooked:
            await overlooked.fail("voyage", Ending.TRANSIENT, 3)
            assert overlooked.view("voyage").figures.failures == 3
            elsewhere = row_of("voyage", "voyage", endpoint="https://elsewhere.example/v1/x")
            await overlooked.reload(elsewhere)
            await turns(2)
            assert overlooked.view("voyage").figures.calls == 0
            assert overlooked.view("voyage").status is Status.HEALTHY
            assert overlooked.take().provider_calls == 3

    run(main())


def test_what_a_changed_provider_still_has_in_flight_is_shown_and_judges_nobody() -> None:
    async def main() -> None:
        async with Overlooked(server("own"), lanes=ONCE) as overlooked:
            asked = overlooked.ask("m")
            old = overlooked.caller("own")
            old.holds = True
            await old.called(1)
            await overlooked.reload(server("own", endpoint="http://127.0.0.1:10/v1"))
            overlooked.callers.clear()
            await overlooked.ask("m").vectors()
            view = overlooked.view("own")
            assert [account.closing for account in view.accounts] == [False]
            assert [account.in_flight for account in view.closing] == [1]
            assert overlooked.health("own")["in_flight_batches"] == 1
            assert view.figures.calls == 1
            old.answer = lambda call: good(call, 5)  # of another length than the new one's
            old.let_go()
            await asked.vectors()
            await turns(3)
            assert overlooked.view("own").closing == ()
            assert overlooked.view("own").figures.calls == 1
            assert overlooked.take().provider_calls == 2
            assert overlooked.catalogue._seen == {("own", "m"): 8}

    run(main())


def test_what_a_removed_provider_still_has_is_shown_among_the_others() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE, COHERE) as overlooked:
            asked = overlooked.ask("voyage-code-3")
            overlooked.caller("voyage").holds = True
            await overlooked.caller("voyage").called(1)
            await overlooked.reload(COHERE)
            snapshot = overlooked.take()
            assert [each.row.name for each in snapshot.providers] == ["cohere"]
            (rest,) = snapshot.others
            assert (rest.provider, rest.closing, rest.in_flight) == ("voyage", True, 1)
            assert rest in snapshot.accounts
            overlooked.caller("voyage").let_go()
            await asked.vectors()
            await turns(3)
            assert overlooked.take().accounts == ()

    run(main())


def test_names_that_come_and_go_are_forgotten_but_their_calls_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "GONE_REMEMBERED", 3)

    async def main() -> None:
        async with Overlooked(VOYAGE) as overlooked:
            await overlooked.ask("voyage-code-3").vectors()
            for n in range(10):
                await overlooked.reload(VOYAGE, server(f"own-{n}"))
                await overlooked.ask("m").vectors()
                assert overlooked.take().provider_calls == n + 2
            kept = list(overlooked.take().histories)
            assert kept == ["voyage", "own-6", "own-7", "own-8", "own-9"]

    run(main())


# lengths that were seen


@pytest.mark.parametrize(
    ("params", "seen"),
    [
        (Params("m"), 8),
        (Params("m", dtype="int8"), 8),
        (Params("m", dimensions=4), None),
        (Params("m", dtype="binary"), None),  # eight numbers of the model's are one of these
        (Params("m", dtype="ubinary"), None),
        (Params("m", whole=b"{}"), None),
    ],
)
def test_the_length_of_a_models_vectors_is_learned_from_plain_answers(
    params: Params, seen: int | None
) -> None:
    async def main() -> None:
        async with Overlooked(server("own")) as overlooked:
            plan = overlooked.resolve(ask_of("m"))
            asked = overlooked.submit(replace(plan, params=params))
            await asked.ended.wait()
            await turns(2)
            assert overlooked.catalogue._seen.get(("own", "m")) == seen

    run(main())


def test_a_broken_answer_tells_no_length() -> None:
    async def main() -> None:
        def answer(call: Call) -> Outcome:
            return good(call, 8 if len(overlooked.caller("own").calls) == 1 else 5)

        async with Overlooked(server("own"), lanes=ONCE) as overlooked:
            overlooked.resolve(ask_of("m"))
            overlooked.caller("own").answer = answer
            await overlooked.ask("m").vectors()
            assert await overlooked.ask("m", text="b").refusal() == "provider_error"
            await turns(2)
            assert overlooked.catalogue._seen == {("own", "m"): 8}

    run(main())


def test_a_family_forms_once_both_have_answered() -> None:
    async def main() -> None:
        async with Overlooked(server("a"), server("b")) as overlooked:
            await overlooked.ask(provider="a").vectors()
            await overlooked.ask(provider="b", text="b").vectors()
            await turns(2)
            plan: Any = overlooked.resolve(ask_of("m"))
            assert [each.spec.provider for each in plan.account.members] == ["a", "b"]

    run(main())


# caps


def test_caps_that_the_providers_errors_taught() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE) as overlooked:
            learned = overlooked.overview.learned_caps
            nothing = {"texts": None, "tokens": None, "bytes": None}
            assert learned("voyage") == learned("nobody") == nothing
            await overlooked.ask("voyage-code-3").vectors()
            assert learned("voyage") == nothing
            (account,) = overlooked.accounts.of("voyage")
            account.caps.max_texts = 64
            assert learned("voyage") == nothing | {"texts": 64}
            await overlooked.ask("voyage-4").vectors()
            _, other = overlooked.accounts.of("voyage")
            other.caps.max_texts, other.caps.max_tokens = 32, 1000
            assert learned("voyage") == {"texts": 32, "tokens": 1000, "bytes": None}

    run(main())


# what it costs


def test_a_look_is_cheap_however_much_happened() -> None:
    """Anyone may ask for /health at any rate: 10 providers of a busy hour within a ms."""

    async def main() -> float:
        rows = [row_of(f"v{n}", "voyage") for n in range(10)]
        async with Overlooked(*rows) as overlooked:
            for row in rows:
                await overlooked.ask(provider=row.name).vectors()
                history = overlooked.overview._histories[row.name]
                now = overlooked.pump.clock()
                for minute in range(60):
                    for n in range(100):
                        at = now - 60.0 * (60 - minute)
                        history.judge(Ending.OK, 0.05 + 0.003 * n, at)
            overlooked.take()
            best = 9.0
            for _ in range(10):
                started = time.perf_counter()
                overlooked.take()
                best = min(best, time.perf_counter() - started)
            return best

    assert run(main()) < 0.005  # the best of ten; measured: 0.2 ms


def test_answers_are_counted_by_route_and_status() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE) as overlooked:
            overlooked.overview.name_routes(overlooked.routes)
            for number, status in ((0, 200), (0, 200), (0, 503), (-1, 404), (-1, 400), (2, 200)):
                overlooked.overview.answered(number, status, 0.1)
            assert overlooked.take().answers == {
                ("/health", 200): 2, ("/health", 503): 1, ("none", 404): 1, ("none", 400): 1,
                ("/health/ready", 200): 1,
            }  # fmt: skip

    run(main())


def test_a_call_that_failed_by_the_callers_doing_is_no_failure() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE) as overlooked:
            overlooked.resolve(ask_of("voyage-code-3"))
            verdict = Verdict(Ending.BAD_TEXT, 400, "no", index=0)
            overlooked.caller("voyage").answer = lambda call: Outcome(verdict)
            assert await overlooked.ask("voyage-code-3").refusal() == "validation_error"
            await turns(2)
            figures = overlooked.view("voyage").figures
            assert (figures.calls, figures.failures) == (1, 0)

    run(main())
