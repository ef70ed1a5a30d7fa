"""`providers test` and `providers probe`: what they answer, what they clear, and who leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from emr.control.rows import Row
from emr.control.trials import SAMPLES, SAMPLES_MAX, SIZE_MAX, SIZES, SIZES_MAX
from emr.lane.gate import Reason
from emr.lane.refusal import Refusal, Refused
from emr.lane.verdict import Ending, Outcome, Verdict
from emr.upstream.call import Call, Caller
from tests.control.operated import Operated
from tests.control.overlooked import failing
from tests.control.routed import ask_of, row_of, server
from tests.support.aio import run
from tests.support.scripted import good, turns

VOYAGE = row_of("voyage", "voyage")
TWO_KEYS = row_of("voyage", "voyage", api_key_env_vars=["A_API_KEY", "B_API_KEY"])
TEST, PROBE = "/admin/providers/voyage/test", "/admin/providers/voyage/probe"


def ready(operated: Operated, row: Row = VOYAGE) -> Any:
    """The callers of a provider, made before the trial asks for them."""
    callers = [operated.caller_of(row, f"value-of-{name}") for name in row.key_variables]
    return callers[0] if len(callers) == 1 else callers


# tests


def test_a_good_test_tells_time_and_length() -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            answer = await operated.request("POST", TEST)
            assert answer.status == 200
            told = answer.json
            assert told == {
                "name": "voyage", "status": "ok", "latency_ms": told["latency_ms"],
                "dimensions": 1024,
            }  # fmt: skip
            assert type(told["latency_ms"]) is int
            caller = operated.caller("voyage")
            assert [len(call.texts) for call in caller.calls] == [1]
            assert operated.pump.calls_in_flight == 0
            assert operated.accounts.of("voyage") == [], "round the lanes"

    run(main())


@pytest.mark.parametrize(
    "ending", [Ending.AUTH, Ending.QUOTA, Ending.RATE, Ending.TRANSIENT, Ending.BAD_REQUEST]
)
def test_a_test_that_fails_tells_the_providers_words(ending: Ending) -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            ready(operated).answer = failing(ending)
            answer = await operated.request("POST", TEST)
            assert answer.status == 502
            assert answer.json == {
                "name": "voyage", "status": "error", "error": "voyage answered 400: its words",
            }  # fmt: skip
            assert operated.tested == []

    run(main())


def test_vectors_of_another_length_than_requests_would_take_fail_the_test() -> None:
    async def main() -> None:
        row = row_of("voyage", "voyage", dimensions=[512])
        async with Operated(row) as operated:
            ready(operated, row).answer = lambda call: good(call, 1024)
            answer = await operated.request("POST", TEST)
            assert answer.status == 502
            assert "1024 numbers, not 512" in answer.json["error"]

    run(main())


def test_what_there_is_not_cannot_be_tested() -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            for what in ("test", "probe"):
                answer = await operated.request("POST", f"/admin/providers/nobody/{what}")
                assert (answer.status, answer.error["type"]) == (404, "not_found")
                operated.no_keys = {"KEY_OF_VOYAGE"}
                answer = await operated.request("POST", f"/admin/providers/voyage/{what}")
                assert (answer.status, answer.error["type"]) == (400, "validation_error")
                assert answer.error["param"] == "api_key_env_var"
                assert "KEY_OF_VOYAGE is not set" in answer.error["message"]

    run(main())


class Picky(Operated):
    """Has keys that no header may carry."""

    def caller_of(self, row: Row, credential: str) -> Caller:
        raise Refused(Refusal("provider_error", "a character that no key may have"))


def test_a_key_that_cannot_be_sent_is_a_400_too() -> None:
    async def main() -> None:
        async with Picky(VOYAGE) as operated:
            answer = await operated.request("POST", TEST)
            assert (answer.status, answer.error["type"]) == (400, "validation_error")
            assert "no key may have" in answer.error["message"]

    run(main())


def test_a_row_that_cannot_be_used_says_why() -> None:
    async def main() -> None:
        async with Operated() as operated:
            bad = Row("old", "gone-type", enabled=False, note="is not a type of provider")
            operated.providers._table = {"old": bad}
            answer = await operated.request("POST", "/admin/providers/old/test")
            assert answer.status == 400
            assert "is not a type of provider" in answer.error["message"]

    run(main())


def test_a_disabled_provider_can_be_tested() -> None:
    async def main() -> None:
        async with Operated(row_of("voyage", "voyage", enabled=False)) as operated:
            assert (await operated.request("POST", TEST)).status == 200

    run(main())


def test_every_key_is_tested_and_the_bad_one_is_named() -> None:
    async def main() -> None:
        async with Operated(TWO_KEYS) as operated:
            first, second = ready(operated, TWO_KEYS)
            assert (await operated.request("POST", TEST)).json["status"] == "ok"
            assert (len(first.calls), len(second.calls)) == (1, 1)
            second.answer = failing(Ending.AUTH)
            answer = await operated.request("POST", TEST)
            assert answer.status == 502
            assert answer.json["error"].endswith("(with B_API_KEY)")
            operated.no_keys = {"B_API_KEY"}
            answer = await operated.request("POST", TEST)
            assert answer.status == 400
            assert "B_API_KEY is not set" in answer.error["message"]

    run(main())


# what a good test clears


def test_a_good_test_clears_what_is_held_against_the_provider() -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            await operated.fail("voyage", Ending.AUTH)
            assert operated.take().status == "down"
            answer = await operated.request("POST", TEST)
            assert answer.status == 502, "the key is still refused"
            assert operated.view("voyage").gate is Reason.AUTH
            operated.mend("voyage")
            assert (await operated.request("POST", TEST)).status == 200
            assert operated.view("voyage").gate is Reason.CLEAR
            assert operated.take().status != "down"
            assert await operated.answered_by(provider="voyage") == "voyage"

    run(main())


def test_a_retry_after_outlasts_a_test() -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            await operated.fail("voyage", Ending.RATE, retry_after=300.0)
            operated.mend("voyage")
            assert (await operated.request("POST", TEST)).status == 200
            assert operated.view("voyage").gate is Reason.RATE

    run(main())


def test_a_provider_that_changed_while_it_was_tested_is_not_cleared() -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            caller = ready(operated)
            caller.holds = True
            client, _ = operated.send("POST", TEST)
            await caller.called(1)
            await operated.reload(row_of("voyage", "voyage", model="voyage-4"))
            caller.let_go()
            assert (await client.last()).status == 200
            assert operated.tested == []

    run(main())


def test_a_test_tells_the_catalogue_how_long_vectors_are() -> None:
    async def main() -> None:
        async with Operated(server("a"), server("b")) as operated:
            for name in ("a", "b"):
                answer = await operated.request("POST", f"/admin/providers/{name}/test")
                assert answer.json["dimensions"] == 8
            plan: Any = operated.resolve(ask_of("m"))
            assert [each.spec.provider for each in plan.account.members] == ["a", "b"]

    run(main())


# probes


def lines_of(body: bytes) -> list[dict[str, Any]]:
    assert body.endswith(b"\n")
    return [orjson.loads(line) for line in body.splitlines()]


def test_a_probe_is_a_line_a_size_and_goes_round_everything() -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            answer = await operated.request("POST", PROBE, {"sizes": [1, 4, 200], "samples": 2})
            assert answer.status == 200
            assert answer.headers["content-type"] == "application/x-ndjson"
            lines = lines_of(answer.body)
            assert [line["batch_size"] for line in lines] == [1, 4, 200]
            for line in lines:
                assert set(line) == {"batch_size", "mean_latency_ms", "latency_per_text_ms"}
                per_text = line["mean_latency_ms"] / line["batch_size"]
                assert line["latency_per_text_ms"] == pytest.approx(per_text, abs=0.01)
            calls = operated.caller("voyage").calls
            assert [len(call.texts) for call in calls] == [1, 1, 4, 4, 200, 200]
            texts = [text for call in calls for text in call.texts]
            assert len(set(texts)) == len(texts), "nothing that a cache could answer"
            assert operated.take().provider_calls == 0

    run(main())


@pytest.mark.parametrize("body", [b"", {}, {"sizes": None, "samples": None}])
def test_a_probe_has_sizes_of_its_own(body: Any) -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            answer = await operated.request("POST", PROBE, body)
            assert [line["batch_size"] for line in lines_of(answer.body)] == list(SIZES)
            assert len(operated.caller("voyage").calls) == len(SIZES) * SAMPLES

    run(main())


def test_a_probe_ends_at_the_cap_that_it_meets() -> None:
    def answer(call: Call) -> Outcome:
        if len(call.texts) <= 32:
            return good(call)
        return Outcome(Verdict(Ending.SIZE_ITEMS, 400, "at most 32 texts", cap=32))

    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            ready(operated).answer = answer
            told = await operated.request("POST", PROBE, {"sizes": [16, 33, 64], "samples": 1})
            first, last = lines_of(told.body)
            assert first["batch_size"] == 16
            assert last == {
                "batch_size": 33, "error": "voyage answered 400: at most 32 texts", "cap": 32,
                "cap_of": "texts",
            }  # fmt: skip

    run(main())


def test_a_probe_that_fails_says_why_and_ends() -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            ready(operated).answer = failing(Ending.RATE)
            told = await operated.request("POST", PROBE)
            (line,) = lines_of(told.body)
            assert line == {"batch_size": 1, "error": "voyage answered 400: its words"}

    run(main())


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"sizes": []}, "sizes"), ({"sizes": [0]}, "sizes"), ({"sizes": [SIZE_MAX + 1]}, "sizes"),
        ({"sizes": [True]}, "sizes"), ({"sizes": ["1"]}, "sizes"), ({"sizes": 5}, "sizes"),
        ({"sizes": [1] * (SIZES_MAX + 1)}, "sizes"), ({"samples": 0}, "samples"),
        ({"samples": SAMPLES_MAX + 1}, "samples"), ({"samples": [3]}, "samples"),
        ({"samples": 1.5}, "samples"), (b"[]", None), (b"{", None),
    ],
)  # fmt: skip
def test_a_probe_that_makes_no_sense(body: Any, param: str | None) -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            answer = await operated.request("POST", PROBE, body)
            assert (answer.status, answer.error["param"]) == (400, param)
            assert operated.callers == {}

    run(main())


@pytest.mark.parametrize(
    "body",
    [
        {"sizes": [1] * SIZES_MAX, "samples": 1}, {"sizes": [SIZE_MAX], "samples": 1},
        {"sizes": [1], "samples": SAMPLES_MAX},
    ],
)  # fmt: skip
def test_the_most_that_a_probe_may_ask(body: Any) -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            assert (await operated.request("POST", PROBE, body)).status == 200

    run(main())


# clients that leave, and bugs


@pytest.mark.parametrize("path", [TEST, PROBE])
def test_who_leaves_takes_the_trial_along(path: str) -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            caller = ready(operated)
            caller.holds = True
            client, exchange = operated.send("POST", path)
            await caller.called(1)
            exchange.gone()
            await turns(5)
            assert caller.cancelled == 1
            assert operated.trials._tasks == set()
            assert client.answers == [] or client.answers[0].body == b""
            assert operated.tested == []

    run(main())


def test_who_leaves_at_once_leaves_nothing_behind() -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            _, exchange = operated.send("POST", TEST)
            exchange.gone()
            await turns(5)
            assert ready(operated).calls == []
            assert operated.trials._tasks == set()

    run(main())


@pytest.mark.parametrize("path", [TEST, PROBE])
def test_a_bug_in_a_trial_is_an_answer_or_a_broken_connection(path: str) -> None:
    def fail(call: Call) -> Outcome:
        raise KeyError("what a provider said")

    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            troubles: list[dict[str, Any]] = []
            operated.loop.set_exception_handler(lambda loop, context: troubles.append(context))
            ready(operated).answer = fail
            client, _ = operated.send("POST", path)
            answer = await client.last()
            if path == TEST:
                assert (answer.status, answer.error["type"]) == (502, "internal_error")
            else:
                assert answer.status == 200
                assert len(client.aborted) == 1, "a stream cannot be ended in order"
            assert b"what a provider said" not in answer.body
            await asyncio.sleep(0)
            assert operated.trials._tasks == set()

    run(main())
