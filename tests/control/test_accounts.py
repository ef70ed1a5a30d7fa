"""Accounts: opened when asked for, from a row, its type and its key; closed when these change."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from emr.control.accounts import limits_of
from emr.control.rows import Row
from emr.lane.account import Account
from emr.lane.gate import Reason
from emr.lane.refusal import Refusal, Refused
from emr.lane.settings import Home, LimitSpec
from emr.lane.verdict import Dimension, Ending, Outcome, Verdict
from emr.upstream.call import Caller
from emr.upstream.kinds import Model
from emr.upstream.table import KINDS
from tests.control.parts import refusal_of
from tests.control.routed import Routed, ask_of, row_of
from tests.support.aio import run
from tests.support.scripted import turns

VOYAGE = row_of("voyage", "voyage")
TWO_KEYS = row_of("voyage", "voyage", api_key_env_vars=["A_API_KEY", "B_API_KEY"], weight=[1, 3])


def one(routed: Routed, row: Row, model: str = "voyage-code-3") -> Account:
    (account,) = routed.accounts.members(row, model)
    return account


# opening


def test_an_account_is_opened_once_for_a_key_and_a_model() -> None:
    async def main() -> None:
        async with Routed(VOYAGE) as routed:
            first = one(routed, VOYAGE)
            assert one(routed, VOYAGE) is first
            other = one(routed, VOYAGE, "voyage-4")
            assert other is not first
            assert (first.spec.scope, other.spec.scope) == ("voyage-code-3", "voyage-4")
            assert routed.key_looks == ["KEY_OF_VOYAGE"] * 2
            assert routed.accounts.of("voyage") == [first, other]

    run(main())


@pytest.mark.parametrize("kind", ["jina", "mistral"])
def test_limits_of_the_whole_organisation_are_one_account(kind: str) -> None:
    async def main() -> None:
        row = row_of("x", kind, models=["another"])
        async with Routed(row) as routed:
            account = one(routed, row, row.model)
            assert one(routed, row, "another") is account
            assert account.spec.scope == ""

    run(main())


def test_every_key_is_an_account_of_its_own() -> None:
    async def main() -> None:
        async with Routed(TWO_KEYS) as routed:
            members = routed.accounts.members(TWO_KEYS, "voyage-code-3")
            assert [member.spec.key for member in members] == ["A_API_KEY", "B_API_KEY"]
            assert [member.spec.weight for member in members] == [1.0, 3.0]
            assert set(routed.callers) == {
                ("voyage", "value-of-A_API_KEY"), ("voyage", "value-of-B_API_KEY"),
            }  # fmt: skip
            assert routed.accounts.members(TWO_KEYS, "voyage-code-3") is members, "and kept"

    run(main())


def test_a_provider_that_needs_no_key_has_one_account() -> None:
    async def main() -> None:
        row = row_of("tei", "tei", model="m")
        async with Routed(row) as routed:
            assert one(routed, row, "m").spec.key == ""
            assert set(routed.callers) == {("tei", "")}
            assert routed.key_looks == []

    run(main())


# keys that are not there


def test_a_provider_without_its_key_is_refused_and_says_which() -> None:
    async def main() -> Refusal:
        async with Routed(TWO_KEYS) as routed:
            routed.no_keys = {"A_API_KEY", "B_API_KEY"}
            for _ in range(5):
                refusal = refusal_of(lambda: routed.accounts.members(TWO_KEYS, "voyage-code-3"))
            assert routed.key_looks == ["A_API_KEY", "B_API_KEY"], "the files are read once"
            assert len(routed.accounts.unusable(TWO_KEYS)) == 2
            return refusal

    refusal = run(main())
    assert (refusal.type, refusal.final) == ("provider_error", True)
    for word in ("voyage has no key", "A_API_KEY", "B_API_KEY", "reload"):
        assert word in refusal.message


def test_one_key_of_two_is_enough_and_the_other_is_found_at_a_reload() -> None:
    async def main() -> None:
        async with Routed(TWO_KEYS) as routed:
            routed.no_keys = {"A_API_KEY"}
            for _ in range(3):
                assert one(routed, TWO_KEYS).spec.key == "B_API_KEY"
            assert routed.key_looks.count("A_API_KEY") == 1
            (why,) = routed.accounts.unusable(TWO_KEYS)
            assert why.startswith("A_API_KEY is not set")
            routed.no_keys = set()
            assert len(routed.accounts.members(TWO_KEYS, "voyage-code-3")) == 1
            routed.accounts.keys_may_have_changed()
            assert len(routed.accounts.members(TWO_KEYS, "voyage-code-3")) == 2
            assert routed.accounts.unusable(TWO_KEYS) == []

    run(main())


def test_a_reset_looks_for_keys_again() -> None:
    async def main() -> None:
        async with Routed(VOYAGE) as routed:
            routed.no_keys = {"KEY_OF_VOYAGE"}
            refusal_of(lambda: one(routed, VOYAGE))
            routed.no_keys = set()
            refusal_of(lambda: one(routed, VOYAGE))
            routed.accounts.reset(VOYAGE)
            assert one(routed, VOYAGE).spec.key == "KEY_OF_VOYAGE"

    run(main())


class Picky(Routed):
    """Refuses the key of one variable, as a caller does that cannot send it."""

    def caller_of(self, row: Row, credential: str) -> Caller:
        if credential in ("", "value-of-A_API_KEY"):
            raise Refused(Refusal("provider_error", "a character that no key may have"))
        return super().caller_of(row, credential)


def test_a_key_that_cannot_be_sent_is_as_none() -> None:
    async def main() -> None:
        async with Picky(TWO_KEYS) as routed:
            assert one(routed, TWO_KEYS).spec.key == "B_API_KEY"
            (why,) = routed.accounts.unusable(TWO_KEYS)
            assert "no key may have" in why
            twin = row_of("twin", "voyage", api_key_env_vars=["A_API_KEY", "B_API_KEY"])
            assert routed.accounts.unusable(twin) == [], "a fault with one provider is its own"
            routed.accounts.changed({"voyage": TWO_KEYS})
            assert routed.accounts.unusable(TWO_KEYS) == [], "it may have been the provider's"
        row = row_of("tei", "tei", model="m")
        async with Picky(row) as routed:
            assert "no key may have" in refusal_of(lambda: one(routed, row, "m")).message

    run(main())


# closing


def test_a_row_that_goes_closes_its_accounts_and_what_they_hold_is_sent() -> None:
    async def main() -> None:
        async with Routed(VOYAGE, row_of("other", "cohere")) as routed:
            kept = one(routed, row_of("other", "cohere"), "embed-v4.0")
            asked = routed.ask("voyage-code-3")
            account = one(routed, VOYAGE)
            assert routed.accounts.changed({"voyage": None}) == {"voyage"}
            assert account.closed
            assert not kept.closed
            assert routed.accounts.of("voyage") == []
            await asked.vectors()
            await turns(3)
            assert account not in routed.pump.roster.accounts

    run(main())


def test_a_disabled_row_closes_its_accounts() -> None:
    async def main() -> None:
        async with Routed(VOYAGE) as routed:
            account = one(routed, VOYAGE)
            assert routed.accounts.changed({"voyage": replace(VOYAGE, enabled=False)})
            assert account.closed

    run(main())


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "https://elsewhere.example/v1/embeddings"},
        {"requests_per_minute": 7.0},
        {"tokens_per_minute": 7},
        {"max_texts_per_request": 7},
        {"max_concurrency": 7},
        {"dimensions": (7,)},
        {"weight": (7.0,)},
        {"api_key_env_var": "OTHER_API_KEY"},
        {"api_key_env_var": ""},
        {"api_version": "2"},
        {"allow_private": True},
        {"provider_type": "openai"},
    ],
)
def test_a_change_of_what_an_account_is_made_of_closes_it(change: dict[str, Any]) -> None:
    async def main() -> None:
        async with Routed(VOYAGE) as routed:
            account = one(routed, VOYAGE)
            changed = replace(VOYAGE, **change)
            # whoever asks first, before anybody was told of the change
            again = one(routed, changed)
            assert again is not account
            assert not again.closed
            if changed.key_variables == VOYAGE.key_variables:
                assert account.closed
            routed.accounts.changed({"voyage": changed})
            assert account.closed
            assert not again.closed
            assert one(routed, changed) is again
            assert routed.accounts.of("voyage") == [again]

    run(main())


@pytest.mark.parametrize(
    "change",
    [{}, {"price_per_million_tokens": 0.1}, {"models": ("another",)}, {"family": "f"},
     {"on_drift": "sinbin"}, {"model": "voyage-4"}],
)  # fmt: skip
def test_another_change_leaves_an_account_what_it_learned(change: dict[str, Any]) -> None:
    async def main() -> None:
        async with Routed(VOYAGE) as routed:
            account = one(routed, VOYAGE)
            changed = replace(VOYAGE, **change)
            assert changed is not VOYAGE
            assert one(routed, changed) is account
            assert routed.accounts.changed({"voyage": changed}) == set()
            assert not account.closed

    run(main())


def test_one_key_that_is_taken_away_closes_its_account_alone() -> None:
    async def main() -> None:
        async with Routed(TWO_KEYS) as routed:
            first, second = routed.accounts.members(TWO_KEYS, "voyage-code-3")
            changed = replace(TWO_KEYS, api_key_env_vars=("B_API_KEY",), weight=(3.0,))
            assert routed.accounts.changed({"voyage": changed}) == {"voyage"}
            assert (first.closed, second.closed) == (True, False)
            assert one(routed, changed) is second

    run(main())


def test_a_key_of_another_value_closes_its_account_and_the_next_has_the_new_one() -> None:
    async def main() -> None:
        async with Routed(TWO_KEYS) as routed:
            first, second = routed.accounts.members(TWO_KEYS, "voyage-code-3")
            routed.values["A_API_KEY"] = "new"
            routed.accounts.keys_may_have_changed()
            assert (first.closed, second.closed) == (True, False)
            assert routed.accounts.members(TWO_KEYS, "voyage-code-3")[1] is second
            assert ("voyage", "new") in routed.callers
            routed.no_keys = {"B_API_KEY"}
            routed.accounts.keys_may_have_changed()
            assert second.closed
            assert one(routed, TWO_KEYS).spec.key == "A_API_KEY"

    run(main())


def test_what_waits_behind_an_old_key_is_sent_with_it() -> None:
    async def main() -> None:
        async with Routed(VOYAGE) as routed:
            old = routed.ask("voyage-code-3", text="old")
            routed.values["KEY_OF_VOYAGE"] = "new"
            routed.accounts.keys_may_have_changed()
            new = routed.ask("voyage-code-3", text="new")
            await old.vectors()
            await new.vectors()
            assert routed.callers["voyage", "value-of-KEY_OF_VOYAGE"].texts == [b'"old"']
            assert routed.callers["voyage", "new"].texts == [b'"new"']

    run(main())


def test_the_version_tells_that_accounts_came_or_went() -> None:
    async def main() -> None:
        async with Routed(VOYAGE) as routed:
            versions = [routed.accounts.version]
            one(routed, VOYAGE)
            versions.append(routed.accounts.version)
            one(routed, VOYAGE)
            assert routed.accounts.version == versions[-1]
            routed.accounts.changed({"voyage": None})
            versions.append(routed.accounts.version)
            assert versions == sorted(set(versions))

    run(main())


def test_a_reset_forgets_what_is_held_against_a_provider() -> None:
    async def main() -> None:
        async with Routed(VOYAGE) as routed:
            routed.resolve(ask_of("voyage-code-3"))
            caller = routed.caller("voyage")
            caller.answer = lambda call: Outcome(Verdict(Ending.AUTH, 401, "bad key"))
            assert await routed.ask("voyage-code-3").refusal() == "provider_error"
            account = one(routed, VOYAGE)
            assert account.gate.reason is Reason.AUTH
            routed.accounts.reset(VOYAGE)
            assert account.gate.reason is Reason.CLEAR
            await asyncio.sleep(0)

    run(main())


# what an account is


def test_the_row_has_the_last_word_and_the_type_the_first() -> None:
    async def main() -> None:
        row = row_of(
            "voyage", "voyage", max_texts_per_request=1000, max_concurrency=5,
            requests_per_minute=10, dimensions=[256, 512], weight=[2],
        )  # fmt: skip
        async with Routed(VOYAGE) as routed:
            spec = routed.accounts.spec(row, "voyage-4", "KEY_OF_VOYAGE")
            plain = routed.accounts.spec(VOYAGE, "voyage-code-3", "KEY_OF_VOYAGE")
        assert (spec.max_texts, plain.max_texts) == (1000, 128)
        assert (spec.max_tokens, plain.max_tokens) == (320_000, 120_000)
        assert (spec.max_concurrency, plain.max_concurrency) == (5, None)
        assert (spec.weight, plain.weight) == (2.0, 1.0)
        assert spec.home is Home.HOSTED
        assert spec.limits[Dimension.CALLS] == LimitSpec(10, True)
        assert spec.limits[Dimension.TOKENS] == LimitSpec(8e6, False)
        assert Dimension.ITEMS not in spec.limits
        assert spec.dimensions["voyage-code-3"] == 256, "the row's model has the row's length"
        assert spec.dimensions["voyage-3-large"] == 1024
        assert spec.dimensions["voyage-3-lite"] == 512

    run(main())


def test_limits_of_a_server_of_ones_own_are_the_operators_alone() -> None:
    row = row_of("tei", "tei", model="m")
    assert limits_of(row, KINDS["tei"], Model()) == {}
    limited = replace(row, items_per_minute=5.0)
    assert limits_of(limited, KINDS["tei"], Model()) == {Dimension.ITEMS: LimitSpec(5.0, True)}


def test_a_models_own_limit_comes_before_its_types() -> None:
    row = row_of("voyage", "voyage")
    model = Model(calls_per_minute=3.0)
    assert limits_of(row, KINDS["voyage"], model)[Dimension.CALLS] == LimitSpec(3.0, False)


@pytest.mark.parametrize(
    ("endpoint", "home"),
    [("http://127.0.0.1:9/v1", Home.SELF_HOSTED), ("https://api.example.com/v1", Home.HOSTED)],
)
def test_where_a_compatible_server_runs_is_told_by_its_address(endpoint: str, home: Home) -> None:
    async def main() -> None:
        row = row_of(
            "x", "openai-compatible", model="m", endpoint=endpoint, api_key_env_var="X_API_KEY"
        )
        async with Routed(row) as routed:
            assert one(routed, row, "m").spec.home is home

    run(main())


def test_a_reset_does_not_shorten_what_the_provider_asked_for() -> None:
    async def main() -> None:
        async with Routed(VOYAGE) as routed:
            routed.resolve(ask_of("voyage-code-3"))
            verdict = Verdict(Ending.RATE, 429, retry_after=300.0)
            routed.caller("voyage").answer = lambda call: Outcome(verdict)
            assert await routed.ask("voyage-code-3").refusal() == "rate_limited"
            account = one(routed, VOYAGE)
            until = account.gate.until
            routed.accounts.reset(VOYAGE)
            assert (account.gate.reason, account.gate.until) == (Reason.RATE, until)

    run(main())
