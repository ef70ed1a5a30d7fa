"""Requests of which the cache had a part: only the rest waits, is weighed, sent and billed."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from emr.lane import door
from emr.lane.door import TEXT_BYTES
from emr.lane.settings import LaneSettings
from emr.lane.ticket import Origin, Request
from emr.lane.verdict import OK, Ending, Outcome, Reply, Verdict
from emr.upstream.call import Call
from tests.lane.support import PARAMS, ignore, request_of
from tests.support.aio import run
from tests.support.pumped import Bench
from tests.support.scripted import DIMENSIONS, Asked, Scripted, good, turns, vector_of

ORIGIN = Origin(DIMENSIONS, "m", "p")
OLD = b"[0.5]"


def asked_of(bench: Bench, texts: str, known: str, origin: Origin = ORIGIN) -> Asked:
    """Ask a text for each letter, of which the cache had `known`."""
    asked = Asked(*texts, deadline=bench.pump.clock() + 60.0)
    request = asked.request
    for place, letter in enumerate(texts):
        if letter in known:
            request.vectors[place] = OLD
    request.recall([place for place, letter in enumerate(texts) if letter not in known], origin)
    bench.pump.submit((bench.account,), request)
    return asked


def right(texts: str, known: str = "") -> list[bytes]:
    return [OLD if letter in known else vector_of(orjson.dumps(letter)) for letter in texts]


@pytest.mark.parametrize(
    ("texts", "known", "sent"),
    [
        ("abc", "", "abc"), ("abc", "a", "bc"), ("abc", "c", "ab"), ("abc", "b", "ac"),
        ("abab", "a", "b"), ("abcab", "bc", "a"), ("aa", "", "a"),
    ],
)  # fmt: skip
def test_only_the_rest_is_sent_and_all_come_to_their_places(
    texts: str, known: str, sent: str
) -> None:
    async def main() -> None:
        bench = Bench(Scripted())
        asked = asked_of(bench, texts, known) if known else bench.ask(*texts)
        assert await asked.vectors() == right(texts, known)
        assert bench.caller.texts == [orjson.dumps(letter) for letter in sent]
        assert asked.request.billed == 3 * len(sent), "three tokens a text: what was found is free"
        assert asked.request.cached == len([each for each in texts if each in known])
        assert asked.times == 1
        bench.check_is_empty()

    run(main())


def test_the_rest_is_merged_with_others_and_shares_their_flights() -> None:
    async def main() -> None:
        bench = Bench(Scripted(holds=True))
        first = bench.ask("x")
        await bench.caller.called(1)
        some = asked_of(bench, "abx", "a")
        other = bench.ask("b", "c")
        bench.caller.let_go()
        assert await first.vectors() == right("x")
        assert await some.vectors() == right("abx", "a")
        assert await other.vectors() == right("bc")
        assert sorted(bench.caller.texts) == [orjson.dumps(letter) for letter in "bcx"]
        billed = [each.request.billed for each in (first, some, other)]
        assert sum(billed) == 9
        bench.check_is_empty()

    run(main())


def test_a_text_that_is_refused_has_its_place_in_the_whole_request() -> None:
    async def main() -> None:
        def refuses(call: Call) -> Outcome:
            if b'"c"' in call.texts:
                at = call.texts.index(b'"c"')
                return Outcome(Verdict(Ending.BAD_TEXT, 400, f"input[{at}] is bad", index=at))
            return good(call)

        bench = Bench(Scripted(refuses))
        asked = asked_of(bench, "abc", "a")
        assert await asked.refusal() == "validation_error"
        refusal = asked.request.refusal
        assert refusal is not None
        assert refusal.param == "input[2]"

    run(main())


@pytest.mark.parametrize("old", [Origin(DIMENSIONS + 1, "m", "p"), Origin(DIMENSIONS, "n", "p")])
def test_of_an_exchanged_model_the_whole_is_asked_anew(old: Origin) -> None:
    async def main() -> None:
        bench = Bench(Scripted())
        asked = asked_of(bench, "abc", "b", old)
        assert await asked.vectors() == right("abc")
        assert [len(call.texts) for call in bench.caller.calls] == [2, 3]
        assert (asked.request.cached, asked.times) == (0, 1)
        assert asked.request.billed == 15, "both calls were billed"
        bench.check_is_empty()

    run(main())


def test_a_twin_may_call_the_model_otherwise() -> None:
    async def main() -> None:
        bench = Bench(Scripted())
        asked = asked_of(bench, "abc", "b", Origin(DIMENSIONS, "its name there", "twin"))
        assert await asked.vectors() == right("abc", "b")
        assert len(bench.caller.calls) == 1
        bench.check_is_empty()

    run(main())


def test_a_model_that_is_exchanged_between_two_calls_is_no_answer() -> None:
    """Nothing of it came from the cache: only what the calls say is known."""
    request = request_of(b"a", b"b")
    request.measure(Origin(8, "m", "p"))
    request.measure(Origin(8, "m-2", "p"))
    assert not request.mixed, "gateways of one model tell it by several names"
    request.measure(Origin(9, "m", "p"))
    assert request.mixed


def test_calls_with_vectors_of_two_lengths_end_in_an_error() -> None:
    async def main() -> None:
        def growing(call: Call) -> Outcome:
            length = 8 if len(call.texts) > 1 else 9
            vectors = [vector_of(text, length) for text in call.texts]
            return Outcome(OK, Reply(vectors, length, 1, "m"), 0.001)

        bench = Bench(Scripted(growing))
        bench.account.caps.max_texts = 2
        bench.account.lengths = Anything()
        asked = bench.ask("a", "b", "c")
        assert await asked.refusal() == "provider_error"
        refusal = asked.request.refusal
        assert refusal is not None
        assert "another length" in refusal.message
        await turns(5)
        bench.check_is_empty()

    run(main())


class Anything:
    """Lets every length pass."""

    def fault(self, params: object, length: int) -> str:
        return ""


# what was found takes no room and costs nothing


def weighed(request: Request) -> Request:
    class Caps:
        """A hundred tokens a text."""

        def weigh(self, texts: list[bytes], *, token_ids: bool) -> list[int]:
            return [100] * len(texts)

    caps: Any = Caps()
    request.weigh(caps)
    return request


def test_what_was_found_weighs_nothing() -> None:
    request = Request(PARAMS, [b"a", b"b", b"c"], "a", 0.0, ignore)
    assert list(weighed(request).tokens) == [100, 100, 100]
    request.recall([1], ORIGIN)
    assert list(weighed(request).tokens) == [0, 100, 0]
    request.ask_anew()
    assert list(weighed(request).tokens) == [100, 100, 100]


@pytest.mark.parametrize(("room", "served"), [(7, False), (8, True), (9, True)])
def test_only_the_rest_counts_for_the_bytes_that_wait(room: int, served: bool) -> None:
    """Half of them may be one key's."""

    async def main() -> None:
        bench = Bench(Scripted(), LaneSettings(max_queue_bytes=room + 2 * TEXT_BYTES))
        asked = Asked("a" * 100, "bb", deadline=bench.pump.clock() + 60.0)
        asked.request.vectors[0] = OLD
        asked.request.recall([1], ORIGIN)
        bench.pump.submit((bench.account,), asked.request)
        if served:
            await asked.vectors()
        else:
            assert await asked.refusal() == "overloaded"

    run(main())


def test_the_door_counts_what_is_wanted() -> None:
    request = Request(PARAMS, [b"aaa", b"bb", b"c"], "a", 0.0, ignore)
    assert door._size_of(request) == 6 + 3 * TEXT_BYTES
    request.recall([0, 2], ORIGIN)
    assert door._size_of(request) == 4 + 2 * TEXT_BYTES


def test_a_caller_that_leaves_takes_the_rest_with_him() -> None:
    async def main() -> None:
        bench = Bench(Scripted(holds=True))
        bench.ask("x")
        await bench.caller.called(1)
        asked = asked_of(bench, "abc", "a")
        bench.pump.leave(asked.request)
        bench.caller.let_go()
        await asyncio.sleep(0)
        await turns(5)
        assert bench.caller.texts == [b'"x"']
        assert asked.times == 0
        bench.check_is_empty()

    run(main())
