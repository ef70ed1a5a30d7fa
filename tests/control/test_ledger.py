"""What is booked to whom: shares of calls, of bills, and how requests end."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from emr.control.ledger import CALL, COUNTERS, Ledger, Line, calls_alone
from emr.control.quotas import Purse, Quotas
from emr.front.desk import NO_LIMITS, KeyLimits, Principal
from emr.lane.refusal import Refused
from emr.lane.ticket import Request
from emr.lane.verdict import OK, Ending, Outcome, Reply, Verdict
from emr.upstream.call import Call
from tests.control.routed import Routed, ask_of, server
from tests.support.aio import run
from tests.support.scripted import Asked, good, turns, vector_of


def counts(line: Line) -> dict[str, int]:
    """The counters that are not zero."""
    found = {name: getattr(line, name) for name in COUNTERS}
    return {name: count for name, count in found.items() if count}


class Booked(Routed):
    """One provider, asked by several keys."""

    def __init__(self, **row: Any) -> None:
        super().__init__(server("s", **row))

    def begin(self, key: str, *texts: str) -> Asked:
        """A request of a key, not awaited."""
        plan = self.resolve(ask_of("m"))
        asked = Asked(*texts)
        asked.request = Request(
            plan.params, [orjson.dumps(text) for text in texts], key,
            self.pump.clock() + 60.0, asked._done,
        )  # fmt: skip
        self.desk.submit(plan, asked.request)
        return asked

    def line(self, key: str) -> dict[str, int]:
        return counts(self.ledger.lines[key, "s", "m"])

    def total(self, name: str) -> int:
        return sum(getattr(line, name) for line in self.ledger.lines.values())

    async def landed(self) -> None:
        """Nothing is under way, and the last call is counted."""
        await self.pump.drained()
        await turns(3)


def billing(tokens: int | None) -> Any:
    """A caller that bills so much a call."""

    def answer(call: Call) -> Outcome:
        vectors = [vector_of(text) for text in call.texts]
        return Outcome(OK, Reply(vectors, 8, tokens, "m"), 0.001)

    return answer


def test_a_lone_request() -> None:
    async def main() -> None:
        async with Booked() as booked:
            await booked.begin("a", "one", "two").vectors()
            await booked.landed()
            assert booked.line("a") == {
                "requests": 1, "texts": 2, "tokens": 6, "call_parts": CALL, "alone": 1,
            }  # fmt: skip

    run(main())


def test_a_call_of_emrs_own_saves_no_call_and_wastes_none() -> None:
    async def main() -> None:
        async with Booked() as booked:
            await booked.begin("", "harmless").vectors()
            await booked.landed()
            assert booked.line("") == {"tokens": 3, "call_parts": CALL, "alone": 1}

    run(main())


@pytest.mark.parametrize("tokens", [0, 1, 2, 7, 10_007])
def test_those_who_share_a_call_share_its_bill_and_the_call(tokens: int) -> None:
    async def main() -> None:
        async with Booked() as booked:
            asked = [booked.begin(key, f"a text of {key}") for key in ("a", "b", "c")]
            asked.append(booked.begin("a", "a second one, and a longer one"))
            booked.caller("s").answer = billing(tokens)
            for each in asked:
                await each.vectors()
            await booked.landed()
            assert len(booked.caller("s").calls) == 1
            assert booked.total("tokens") == tokens
            assert booked.total("call_parts") == CALL
            assert booked.total("requests") == booked.total("alone") == 4
            for key, own in (("a", (0, 3)), ("b", (1,)), ("c", (2,))):
                told = sum(asked[n].request.billed for n in own)
                assert booked.ledger.lines[key, "s", "m"].tokens == told

    run(main())


def test_equal_texts_are_billed_once_between_them() -> None:
    async def main() -> None:
        async with Booked() as booked:
            asked = [booked.begin(key, "the same") for key in ("a", "b", "c")]
            booked.caller("s").answer = billing(8)
            for each in asked:
                await each.vectors()
            await booked.landed()
            assert booked.caller("s").texts == [b'"the same"']
            assert sorted(booked.line(key)["tokens"] for key in "abc") == [2, 3, 3]
            assert booked.total("call_parts") == CALL
            assert booked.total("texts") == 3

    run(main())


def test_what_the_provider_does_not_count_is_estimated() -> None:
    async def main() -> None:
        async with Booked() as booked:
            asked = booked.begin("a", "a text")
            booked.caller("s").answer = billing(None)
            await asked.vectors()
            await booked.landed()
            assert booked.line("a")["tokens"] == sum(asked.request.tokens)

    run(main())


def test_a_failed_call_is_a_call_and_costs_nothing() -> None:
    async def main() -> None:
        async with Booked() as booked:
            asked = [booked.begin("a", "one"), booked.begin("b", "two")]
            verdict = Verdict(Ending.BAD_REQUEST, 400, "no")
            booked.caller("s").answer = lambda call: Outcome(verdict, None, 0.001)
            for each in asked:
                await each.refusal()
            await booked.landed()
            assert booked.line("a").keys() == {"requests", "errors", "call_parts"}
            assert booked.total("call_parts") == CALL * len(booked.caller("s").calls)
            assert booked.total("errors") == 2

    run(main())


def test_a_reply_of_another_length_is_billed_to_those_it_was_for() -> None:
    async def main() -> None:
        async with Booked() as booked:
            await booked.begin("a", "one").vectors()
            await booked.landed()
            answers = iter([16, 8])
            booked.caller("s").answer = lambda call: good(call, next(answers))
            await booked.begin("b", "two").vectors()
            await booked.landed()
            assert booked.line("b") == {
                "requests": 1, "texts": 1, "tokens": 6, "call_parts": 2 * CALL, "alone": 1,
            }  # fmt: skip

    run(main())


def test_who_left_pays_for_what_was_sent_and_not_for_what_was_not() -> None:
    async def main() -> None:
        async with Booked() as booked:
            early = booked.begin("a", "never sent")
            booked.desk.leave(early.request)
            booked.caller("s").holds = True
            late, stays = booked.begin("b", "one"), booked.begin("c", "two")
            await booked.caller("s").called(1)
            booked.desk.leave(late.request)
            booked.caller("s").let_go()
            await stays.vectors()
            await booked.landed()
            assert booked.line("a") == {"requests": 1, "abandoned": 1}
            assert booked.line("b") == {
                "requests": 1, "abandoned": 1, "tokens": 3, "call_parts": CALL // 2,
            }  # fmt: skip
            assert booked.line("c")["tokens"] == 3

    run(main())


def test_what_came_from_the_cache_is_counted_and_costs_nothing() -> None:
    quotas = Quotas(lambda: 0.0, lambda: 0.0, NO_LIMITS)
    ledger = Ledger(quotas, lambda provider, model: None, lambda: None)

    async def main() -> None:
        asked = Asked("one", "two")
        asked.request.answered_by, asked.request.cached = "s", 2
        ledger.ended(asked.request)

    run(main())
    assert counts(ledger.lines["caller", "s", "m"]) == {
        "requests": 1, "texts": 2, "cache_hits": 2, "alone": 1,
    }  # fmt: skip


def test_a_request_that_was_not_taken_in_and_emrs_own_are_nobodys() -> None:
    quotas = Quotas(lambda: 0.0, lambda: 0.0, NO_LIMITS)
    ledger = Ledger(quotas, lambda provider, model: None, lambda: None)

    async def main() -> None:
        asked = Asked("one")
        ledger.ended(asked.request)
        asked.request.answered_by, asked.request.caller = "s", ""
        ledger.ended(asked.request)

    run(main())
    assert ledger.lines == {}
    ledger.called_by_operator("s", "m", 5)
    assert counts(ledger.lines["", "s", "m"]) == {
        "tokens": 5, "call_parts": CALL, "alone": 1,  # no call is saved, and none is wasted
    }  # fmt: skip


def test_how_many_calls_a_request_takes_alone() -> None:
    async def main() -> None:
        async with Booked(max_texts_per_request=3) as booked:
            for texts, calls in ((2, 1), (3, 1), (4, 2), (9, 3)):
                asked = booked.begin("a", *[f"text {n}" for n in range(texts)])
                await asked.vectors()
                assert calls_alone(asked.request) == calls

    run(main())


def test_limits_keep_out_what_is_over_them() -> None:
    who = Principal("k", "k", limits=KeyLimits(requests_per_minute=2, tokens_per_minute=50))

    async def main() -> None:
        async with Booked() as booked:
            plans = [booked.resolve(ask_of("m", text=f"text {n}"), who) for n in range(3)]
            booked.desk.admit(who, plans[:2], 2)
            with pytest.raises(Refused) as caught:
                booked.desk.admit(who, plans[2:], 1)
            assert caught.value.refusal.type == "quota_exceeded"
            assert counts(booked.ledger.lines["k", "s", "m"]) == {"limited": 1}
            assert booked.pump.refused["quota_exceeded"] == 1
            long = booked.resolve(ask_of("m", text="word " * 500), who)
            other = Principal("o", "o", limits=KeyLimits(tokens_per_minute=50))
            booked.desk.admit(other, (long,), 1)  # alone in its minute
            asked = booked.submit(long)
            await asked.vectors()
            await booked.landed()

    run(main())


def test_lines_are_taken_and_begun_anew_with_the_price_of_then() -> None:
    begun: list[int] = []
    price: list[float | None] = [2.0]
    quotas = Quotas(lambda: 0.0, lambda: 0.0, NO_LIMITS)
    ledger = Ledger(quotas, lambda provider, model: price[0], lambda: begun.append(1))
    ledger.called_by_operator("s", "m", 1_000_000)
    ledger.called_by_operator("s", "n", 1)
    taken = ledger.take()
    assert len(begun) == 1
    assert ledger.lines == {}
    assert taken["", "s", "m"].cost == 2.0
    price[0] = None
    ledger.called_by_operator("s", "m", 7)
    line = ledger.lines["", "s", "m"]
    assert (len(begun), line.cost, line.tokens_without_price) == (2, 0.0, 7)
    line.add(taken["", "s", "m"])
    assert (line.tokens, line.tokens_without_price, line.call_parts) == (1_000_007,) * 2 + (
        2 * CALL,
    )


def test_a_line_adds_every_counter() -> None:
    one, other = Line(1.0, Purse()), Line(1.0, Purse())
    for number, name in enumerate(COUNTERS, 1):
        setattr(one, name, number)
        setattr(other, name, 100 * number)
    one.add(other)
    assert [getattr(one, name) for name in COUNTERS] == [
        101 * number for number, _ in enumerate(COUNTERS, 1)
    ]


def test_prices_of_rows_and_of_the_table() -> None:
    async def main() -> None:
        async with Routed(
            server("s"), server("paid", price_per_million_tokens=0.5),
            server("free", price_per_million_tokens=0.0),
        ) as routed:  # fmt: skip
            price = routed.catalogue.price
            assert [price(name, "m") for name in ("s", "paid", "free", "gone")] == [
                None, 0.5, 0.0, None,
            ]  # fmt: skip
            await asyncio.sleep(0)

    run(main())
