"""The desk: families, whom to try first, and plans that are older than the providers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from emr.control.desk import REMEMBERED
from emr.front.desk import Ask
from emr.lane.refusal import Refusal, Refused
from emr.lane.verdict import Ending, Outcome, Verdict
from emr.upstream.call import Call
from tests.control.routed import Routed, ask_of, members, plan_of, row_of, server, settings_of
from tests.support.aio import run
from tests.support.scripted import BROKEN, turns

CODE = "voyage-code-3"
VOYAGE, COHERE = row_of("voyage", "voyage"), row_of("cohere", "cohere")
SECOND = row_of("second", "voyage")
OPENAI = row_of("openai", "openai")
BGE = server("tei", "BAAI/bge-m3")


# families


def test_a_model_may_be_answered_by_any_of_the_family() -> None:
    assert members(plan_of(ask_of(CODE), VOYAGE, SECOND, COHERE)) == ["voyage", "second"]
    one, two = row_of("voyage", "voyage", models=["new"]), row_of("two", "voyage", models=["new"])
    assert members(plan_of(ask_of("new"), one, two)) == ["voyage"], "nobody knows how long it is"


@pytest.mark.parametrize(
    "ask",
    [
        ask_of(CODE, "voyage"), ask_of(f"voyage/{CODE}"), ask_of("voyage"), ask_of("alias"),
        ask_of(provider="voyage"),
    ],
)  # fmt: skip
def test_a_request_that_names_its_provider_stays_with_it(ask: Ask) -> None:
    plan = plan_of(ask, VOYAGE, SECOND, models={"alias": f"voyage/{CODE}"})
    assert plan.pinned
    assert members(plan) == ["voyage"]


def test_several_keys_of_a_pinned_provider_may_all_answer() -> None:
    two = row_of("voyage", "voyage", api_key_env_vars=["A_API_KEY", "B_API_KEY"])
    assert members(plan_of(ask_of(provider="voyage"), two)) == ["voyage", "voyage"]


def test_lengths_that_nobody_tells_join_a_family_when_they_were_seen() -> None:
    async def main() -> None:
        async with Routed(server("a"), server("b")) as routed:
            assert members(routed.resolve(ask_of("m"))) == ["a"]
            routed.catalogue.seen("a", "m", 8)
            routed.catalogue.seen("b", "m", 8)
            assert members(routed.resolve(ask_of("m"))) == ["a", "b"]

    run(main())


def test_where_a_request_goes_is_found_anew_when_an_alias_leads_elsewhere() -> None:
    async def main() -> None:
        async with Routed(VOYAGE, COHERE, models={"alias": f"voyage/{CODE}"}) as routed:
            for _ in range(2):  # the first opens the account, so that all is found anew
                assert routed.resolve(ask_of("alias")).provider == "voyage"
            others = settings_of(VOYAGE, COHERE, models={"alias": "cohere/embed-v4.0"})
            routed.providers.reload(others)
            assert routed.resolve(ask_of("alias")).provider == "cohere"

    run(main())


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_where_requests_go_is_kept_for_so_many_kinds(more: int) -> None:
    async def main() -> None:
        async with Routed(server("a")) as routed:
            routed.resolve(ask_of("m"))  # opens the account
            first = routed.resolve(ask_of("m"))
            for length in range(1, REMEMBERED + more):
                routed.resolve(ask_of("m", dimensions=length))
            assert (routed.resolve(ask_of("m")).params is first.params) is (more <= 0)
            assert len(routed.desk._ways) <= REMEMBERED

    run(main())


JOINED = server("own", CODE, family="f", dimensions=[1024])
VOYAGE_F = row_of("voyage", "voyage", family="f")


@pytest.mark.parametrize(
    ("more", "both"),
    [
        ({}, True),
        ({"truncate": "end"}, True),
        ({"input_type": "query"}, False),  # the one puts a prompt before it, the other does not
        ({"dtype": "int8"}, False),
        ({"dimensions": 256}, False),  # the other row tells of 1024 only
        ({"whole": b'{"input":"a","late_chunking":true}'}, False),
        ({"whole": b"{}", "path": "/v1/multimodalembeddings"}, False),
    ],
)
def test_a_twin_stands_in_only_for_what_means_the_same_to_it(
    more: dict[str, Any], both: bool
) -> None:
    plan = plan_of(ask_of(CODE, **more), VOYAGE_F, JOINED)
    assert members(plan) == (["voyage", "own"] if both else ["voyage"])


def test_a_whole_body_may_go_to_a_twin_of_the_same_type() -> None:
    ask = ask_of("voyage-context-3", whole=b"{}", path="/v1/contextualizedembeddings")
    assert members(plan_of(ask, VOYAGE, SECOND)) == ["voyage", "second"]


@pytest.mark.parametrize("missing", ["KEY_OF_VOYAGE", "KEY_OF_SECOND"])
def test_who_has_no_key_is_left_out(missing: str) -> None:
    async def main() -> list[str]:
        async with Routed(VOYAGE, SECOND) as routed:
            routed.no_keys = {missing}
            return members(routed.resolve(ask_of(CODE)))

    assert run(main()) == ["second" if missing == "KEY_OF_VOYAGE" else "voyage"]


def test_without_any_key_it_is_refused() -> None:
    async def main() -> Refusal:
        async with Routed(VOYAGE, SECOND) as routed:
            routed.no_keys = {"KEY_OF_VOYAGE", "KEY_OF_SECOND"}
            with pytest.raises(Refused) as caught:
                routed.resolve(ask_of(CODE))
            return caught.value.refusal

    refusal = run(main())
    assert refusal.type == "provider_error"
    assert "voyage has no key" in refusal.message


def test_members_know_of_each_other() -> None:
    async def main() -> None:
        async with Routed(VOYAGE, SECOND) as routed:
            plan = routed.resolve(ask_of(CODE))
            asked = routed.submit(plan)
            target: Any = plan.account
            for account in target.members:
                assert set(account.family) == set(target.members)
            await asked.vectors()
            # one that is opened later is told of, too
            routed.accounts.changed({"second": None})
            again: Any = routed.resolve(ask_of(CODE))
            await routed.submit(again).vectors()
            assert set(again.account.members) != set(target.members)
            for account in again.account.members:
                assert set(account.family) == set(again.account.members)

    run(main())


def test_failover_stays_in_the_family() -> None:
    async def main() -> None:
        async with Routed(VOYAGE, SECOND) as routed:
            routed.resolve(ask_of(CODE))
            refused = Outcome(Verdict(Ending.AUTH, 401, "bad key"))
            routed.caller("voyage").answer = lambda call: refused
            assert await routed.answered_by(CODE) == "second"
            assert await routed.answered_by(CODE) == "second"
            assert await routed.ask(provider="voyage").refusal() == "provider_error"
            routed.caller("second").answer = lambda call: refused
            assert await routed.ask(CODE).refusal() == "provider_error"

    run(main())


# several providers: whom to try first


def _always(outcome: Outcome, call: Call) -> Outcome:
    return outcome


def prefer(act: Callable[[Routed], Any]) -> list[str]:
    """The order of two providers after something befell the first."""

    async def main() -> list[str]:
        limited = row_of("voyage", "voyage", requests_per_minute=60)
        async with Routed(limited, COHERE) as routed:
            plans = [routed.resolve(ask_of(provider=name)) for name in ("voyage", "cohere")]
            done = act(routed)
            if asyncio.iscoroutine(done):
                await done
            return [plan.provider for plan in routed.desk.prefer(plans)]

    return run(main())


AS_GIVEN, LAST = ["voyage", "cohere"], ["cohere", "voyage"]


def test_the_order_is_as_given_while_all_may_go() -> None:
    assert prefer(lambda routed: None) == AS_GIVEN


@pytest.mark.parametrize("ending", [Ending.AUTH, Ending.QUOTA, Ending.RATE, Ending.OVERLOAD])
def test_who_would_wait_or_fail_comes_last(ending: Ending) -> None:
    async def befall(routed: Routed) -> None:
        verdict = Verdict(ending, 400, retry_after=60.0)
        routed.caller("voyage").answer = lambda call: Outcome(verdict)
        await routed.ask(provider="voyage").refusal()

    assert prefer(befall) == LAST


def test_who_would_wait_for_a_limit_before_it_is_met_comes_last() -> None:
    async def use_up(routed: Routed) -> None:
        for n in range(2):
            await routed.ask(provider="voyage", text=f"text {n}").vectors()
            await turns(2)

    assert prefer(use_up) == LAST


def test_of_two_in_trouble_the_one_in_the_sin_bin_comes_last() -> None:
    async def main() -> list[str]:
        async with Routed(VOYAGE, COHERE) as routed:
            plans = [routed.resolve(ask_of(provider=name)) for name in ("voyage", "cohere")]
            for name, ending in (("voyage", Ending.AUTH), ("cohere", Ending.RATE)):
                outcome = Outcome(Verdict(ending, 400, retry_after=60.0))
                routed.caller(name).answer = partial(_always, outcome)
                await routed.ask(provider=name).refusal()
            return [plan.provider for plan in routed.desk.prefer(plans)]

    assert run(main()) == LAST


# plans that are older than the providers


def old_plan(change: Callable[[Routed], Any], ask: Ask | None = None) -> tuple[str, Routed]:
    """What becomes of a plan after a change: who answered, or the refusal's type."""

    async def main() -> tuple[str, Routed]:
        async with Routed(VOYAGE, SECOND) as routed:
            plan = routed.resolve(ask or ask_of(provider="voyage"))
            await change(routed)
            asked = routed.submit(plan, 5.0)
            await asked.ended.wait()
            assert asked.times == 1
            refusal = asked.request.refusal
            return asked.request.answered_by if refusal is None else refusal.type, routed

    return run(main())


def test_a_provider_that_changed_between_is_asked_as_it_is_now() -> None:
    changed = row_of("voyage", "voyage", requests_per_minute=7)
    got, _ = old_plan(lambda routed: routed.reload(changed, SECOND))
    assert got == "voyage"


def test_a_provider_that_went_between_is_told_of_at_once() -> None:
    got, _ = old_plan(lambda routed: routed.reload(SECOND))
    assert got == "unknown_provider"
    got, _ = old_plan(lambda routed: routed.reload(replace(VOYAGE, enabled=False), SECOND))
    assert got == "unknown_provider"


def test_a_provider_of_another_type_by_the_same_name_is_not_asked_in_old_words() -> None:
    other = row_of("voyage", "cohere", models=[CODE])
    got, routed = old_plan(lambda routed: routed.reload(other, SECOND))
    assert got == "unknown_provider"
    assert sum(len(caller.calls) for caller in routed.callers.values()) == 0


def test_a_model_that_is_not_served_any_more_is_not_asked_for() -> None:
    async def main() -> str:
        async with Routed(server("own", models=["n"])) as routed:
            plan = routed.resolve(ask_of("n"))
            await routed.reload(server("own", endpoint="http://127.0.0.1:10/v1"))
            return await routed.submit(plan).refusal()

    assert run(main()) == "unknown_provider"


def test_a_provider_that_lost_its_key_between() -> None:
    async def lose_key(routed: Routed) -> None:
        routed.no_keys = {"KEY_OF_VOYAGE"}
        routed.accounts.keys_may_have_changed()

    got, _ = old_plan(lose_key)
    assert got == "provider_error"


def test_of_a_family_who_is_left_answers() -> None:
    got, _ = old_plan(lambda routed: routed.reload(SECOND), ask_of(CODE))
    assert got == "second"


# the rest of the port


def test_who_leaves_is_not_answered() -> None:
    async def main() -> None:
        async with Routed(VOYAGE) as routed:
            asked = routed.ask(CODE)
            routed.desk.leave(asked.request)
            await routed.pump.drained()
            assert asked.times == 0
            assert routed.caller("voyage").calls == []

    run(main())


def test_limits_are_those_of_the_settings_in_use() -> None:
    async def main() -> None:
        async with Routed(VOYAGE) as routed:
            desk, before = routed.desk, routed.catalogue.settings
            assert (desk.default_timeout_s(False), desk.default_timeout_s(True)) == (60.0, 600.0)
            assert desk.max_texts_per_request() == 2048
            server = replace(
                before.server, deadline_ms=1500, bulk_deadline_ms=2500, max_texts_per_request=3
            )
            routed.catalogue.settings = replace(before, server=server)
            assert (desk.default_timeout_s(False), desk.default_timeout_s(True)) == (1.5, 2.5)
            assert desk.max_texts_per_request() == 3
            assert {entry["max_texts"] for entry in desk.models(None)} == {3}

    run(main())


def test_a_provider_is_in_use_from_the_next_request_and_gone_from_the_next() -> None:
    async def main() -> None:
        async with Routed() as routed:
            given = {"name": "v", "provider_type": "voyage", "api_key_env_var": "V_API_KEY"}
            await asyncio.wrap_future(routed.providers.add(given))
            assert await routed.answered_by(CODE) == "v"
            waiting = routed.ask(CODE, text="accepted before")
            await asyncio.wrap_future(routed.providers.delete("v"))
            with pytest.raises(Refused) as caught:
                routed.resolve(ask_of(CODE))
            assert caught.value.refusal.type == "model_not_found"
            await waiting.vectors()

    run(main())


@pytest.mark.parametrize("opened_first", ["voyage", "second"])
def test_a_broken_member_is_tried_again_elsewhere(opened_first: str) -> None:
    """At once when its back-off is over, wherever the other account stands in the core's list."""

    async def main() -> None:
        async with Routed(VOYAGE, SECOND) as routed:
            routed.resolve(ask_of(CODE, opened_first))
            routed.resolve(ask_of(CODE))
            routed.caller("voyage").answer = lambda call: BROKEN
            assert await routed.answered_by(CODE) == "second"

    run(main())
