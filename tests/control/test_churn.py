"""Providers that come, change and go, keys too, while requests wait and fly: nobody is lost.

Seeded. Rows change on the store's thread, as in operation, so the order in which the loop hears of
it is the machine's. Whatever it is: every request ends once, with its own vectors or with a refusal
that says why, and in the end there is nothing left but the open accounts.
"""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import Future
from typing import Any

import orjson
import pytest

from emr.control.rows import Row
from emr.front.desk import Plan
from emr.lane.refusal import Refused
from emr.lane.verdict import Outcome
from emr.upstream.call import Call, Caller
from tests.control.overlooked import Overlooked
from tests.control.routed import ask_of, row_of
from tests.support.aio import run
from tests.support.scripted import BROKEN, Asked, Scripted, good, turns, vector_of

MODEL = "voyage-code-3"
NAMES = ("a", "b", "c")
CHANGES: tuple[dict[str, Any], ...] = (
    {"max_concurrency": 2}, {"max_concurrency": None}, {"price_per_million_tokens": 1.0},
    {"enabled": False}, {"enabled": True}, {"requests_per_minute": 6000}, {"family": "f"},
    {"family": ""}, {"models": ["voyage-3"]},
    {"endpoint": "https://elsewhere.example/v1/x", "api_key_env_var": "X_API_KEY"},
)  # fmt: skip
EXPECTED = {"unknown_provider", "provider_error", "model_not_found", "validation_error"}


class Slow(Scripted):
    """Takes a turn or some, and breaks now and then."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(self._reply)
        self._rng = rng

    def _reply(self, call: Call) -> Outcome:
        return BROKEN if self._rng.random() < 0.02 else good(call, 1024)

    async def call(self, call: Call) -> Outcome:
        await turns(self._rng.randrange(6))
        return await super().call(call)


class Churn(Overlooked):
    """A router whose operator cannot leave it alone."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(row_of("fixed", "voyage"))
        self.rng = rng
        self.asked: list[tuple[str, Asked]] = []
        self.left: list[Asked] = []
        self.refused: set[str] = set()
        self.held: list[tuple[str, Plan]] = []
        self.changes: list[Future[Row]] = []

    def caller_of(self, row: Row, credential: str) -> Caller:
        return self.callers.setdefault((row.name, credential), Slow(self.rng))

    def act(self) -> None:
        """One thing that happens."""
        rng, name = self.rng, self.rng.choice(NAMES)
        what = rng.random()
        if what < 0.70:
            self._ask()
        elif what < 0.76 and self.asked:
            _, asked = rng.choice(self.asked)
            if not asked.request.ended:
                self.desk.leave(asked.request)
                self.left.append(asked)
        elif what < 0.80:
            given = {"name": name, "provider_type": "voyage", "api_key_env_var": "V_API_KEY"}
            self.changes.append(self.providers.add(given))
        elif what < 0.90:
            self.changes.append(self.providers.patch(name, rng.choice(CHANGES)))
        elif what < 0.94:
            self.changes.append(self.providers.delete(name))
        elif what < 0.97:
            self.values["V_API_KEY"] = f"value-{rng.randrange(3)}"
            self.no_keys = {"V_API_KEY"} if rng.random() < 0.2 else set()
            self.accounts.keys_may_have_changed()
        else:
            for row in self.providers.rows():
                self.accounts.reset(row)
        self.take()

    def _ask(self) -> None:
        rng = self.rng
        text = f"text {rng.randrange(500)}"
        model, provider = rng.choice(
            [(MODEL, None), (MODEL, rng.choice(NAMES)), (f"{rng.choice(NAMES)}/{MODEL}", None),
             ("voyage-3", None)]
        )  # fmt: skip
        try:
            plan = self.resolve(ask_of(model, provider, text))
        except Refused as refused:
            self.refused.add(refused.refusal.type)
            return
        if rng.random() < 0.2:
            self.held.append((text, plan))  # tried later, as the second of `any` is
        else:
            self.asked.append((text, self.submit(plan)))
        if self.held and rng.random() < 0.2:
            text, plan = self.held.pop(rng.randrange(len(self.held)))
            self.asked.append((text, self.submit(plan)))

    def check_nothing_is_left(self) -> None:
        """There are the open accounts of enabled providers, and nothing else."""
        accounts = self.pump.roster.accounts
        assert all(account.idle and not account.closed for account in accounts)
        opened = {account for name in (*NAMES, "fixed") for account in self.accounts.of(name)}
        assert set(accounts) == opened
        assert set(self.pump._callers) == opened
        assert self.pump._closing == set()
        for account in accounts:
            assert set(account.family) <= opened
        enabled = {row.name for row in self.providers.enabled()}
        assert {account.spec.provider for account in accounts} <= enabled


@pytest.mark.parametrize("seed", range(6))
def test_nobody_is_lost_while_providers_come_and_go(seed: int) -> None:
    async def main() -> None:
        async with Churn(random.Random(seed)) as churn:
            for _ in range(700):
                churn.act()
                if churn.rng.random() < 0.4:
                    await asyncio.sleep(0)
            for text, plan in churn.held:
                churn.asked.append((text, churn.submit(plan)))
            await asyncio.gather(
                *[asyncio.wrap_future(change) for change in churn.changes], return_exceptions=True
            )
            await churn.pump.drained()
            while churn.pump.calls_in_flight:
                await asyncio.sleep(0)
            await turns(3)
            served = 0
            for text, asked in churn.asked:
                request = asked.request
                if asked in churn.left:
                    assert asked.times == 0
                    continue
                assert asked.times == 1
                if request.refusal is None:
                    served += 1
                    assert request.vectors == [vector_of(orjson.dumps(text), 1024)]
                else:
                    assert request.refusal.type in EXPECTED, request.refusal
            assert churn.refused <= EXPECTED
            assert served > 0.7 * (len(churn.asked) - len(churn.left))
            churn.check_nothing_is_left()

    run(main(), 60.0)
