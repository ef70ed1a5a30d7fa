"""Texts that a provider refuses, among many callers, over sockets: who is told, and what it costs.

Goal: the guilty get their 400, everyone else vectors, for few further calls. Method: callers ask at
one moment, so that they share a call; what it costs is what the fake counted more than for the same
callers without a poisoned text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import httpx
import orjson
import pytest

from tests.e2e.agreement.run import journal_of
from tests.e2e.burst import Answers, address_of
from tests.e2e.conftest import voyage_row
from tests.support.processes import Router, Running, fake, provider_row, router

MODEL = "voyage-code-3"
PLAIN = "text-embedding-ada-002"  # has one length only, and its provider says so in a 400
CALLERS = 50
LATENCY_MS = 150  # all fifty are there before the first call is back
MARK = "poison"
SLOTS_AT_FIRST = 4  # of a server next door: so many calls go at once, whatever they carry
A_MINUTE = 800  # so few that two calls at a time are eager: the fifty share two


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Router, Running]]:
    """A provider that refuses marked texts, and a router before it."""
    home: Path = tmp_path_factory.mktemp("poison")
    flags = ("--latency-ms", str(LATENCY_MS), "--refusal-ms", str(LATENCY_MS), "--journal")
    flags += ("--poison", f"{MARK}=silent,named=index")
    with fake(home, *flags) as provider:
        limits = {"requests_per_minute": A_MINUTE}
        rows = voyage_row(provider, **limits) + provider_row(
            "near", "openai-compatible", f"{provider.url}/openai/v1/embeddings", model=PLAIN,
            **limits,
        )  # fmt: skip
        with router(home, rows) as emr:
            yield emr, provider


class Told:
    """An answer: its status, and its body."""

    def __init__(self, answer: bytes) -> None:
        head, _, self.raw = answer.partition(b"\r\n\r\n")
        self.status = int(head.split(b" ", 2)[1])
        self.body = orjson.loads(self.raw)


def ask(places: tuple[Router, Running], bodies: Sequence[dict[str, object]]) -> list[Told]:
    """All at one moment, each on a connection of its own, with a key that nobody used before."""
    emr, provider = places
    made = emr.admin("POST", "/admin/keys", {"name": "callers"}).json()["key"]
    emr.ask("/v1/test", key=made)
    httpx.post(f"{provider.url}/_fake/reset")
    host = address_of(emr.url)
    requests = []
    for body in bodies:
        data = orjson.dumps({"model": MODEL} | body)
        head = (
            f"POST /v1/embeddings HTTP/1.1\r\nHost: {host[0]}:{host[1]}\r\n"
            f"Authorization: Bearer {made}\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        requests.append(head.encode() + data)
    answers = Answers(host, len(requests))
    try:
        return [Told(answer) for answer in answers.ask(requests)[1]]
    finally:
        answers.close()


def extra_calls(provider: Running, asked: int) -> int:
    """The calls after those that carried every text for the first time."""
    calls = journal_of(provider)
    sums = accumulate(int(str(call["texts"])) for call in calls)
    return len(calls) - 1 - next(n for n, texts in enumerate(sums) if texts >= asked)


def texts(round_: str, guilty: Sequence[int]) -> list[dict[str, object]]:
    """A text for each caller, with a word that is in nobody else's."""
    return [
        {"input": [f"{MARK if n in guilty else 'fine'} {round_} secret{n}of{round_}"]}
        for n in range(CALLERS)
    ]


@pytest.mark.parametrize(("guilty", "most"), [([23], 12), ([3, 24, 41], 38)])
def test_the_guilty_alone_are_refused(
    places: tuple[Router, Running], guilty: list[int], most: int
) -> None:
    """A provider that does not say which: at most 2 k log2 n calls, and two, more than without."""
    assert {told.status for told in ask(places, texts(f"none{len(guilty)}", []))} == {200}
    assert extra_calls(places[1], CALLERS) == 0
    told = ask(places, texts(f"some{len(guilty)}", guilty))
    assert [n for n, one in enumerate(told) if one.status != 200] == guilty
    for n in guilty:
        error = told[n].body["error"]
        assert (told[n].status, error["type"]) == (400, "validation_error")
        assert error["param"] == "input[0]"
        assert b"secret" not in told[n].raw
    extra = extra_calls(places[1], CALLERS)
    assert 0 < extra <= most, f"{extra} further calls for {len(guilty)} poisoned texts"


def test_the_index_is_the_callers_own(places: tuple[Router, Running]) -> None:
    """A provider that says which: the others go again, in one call for each that was refused."""
    bodies: list[dict[str, object]] = [
        {"input": [f"one secret{n}", f"{'named' if n == 30 else 'two'} secret{n}"]}
        for n in range(CALLERS)
    ]
    told = ask(places, bodies)
    assert [n for n, one in enumerate(told) if one.status != 200] == [30]
    assert told[30].body["error"]["param"] == "input[1]"
    assert b"secret" not in told[30].raw
    assert extra_calls(places[1], 2 * CALLERS) == 1


def test_a_wrong_parameter_of_all_is_one_error_and_no_halving(
    places: tuple[Router, Running],
) -> None:
    """Asked of a provider whose row does not know the model's lengths, so that it is asked."""
    told = ask(
        places,
        [
            {"provider": "near", "model": PLAIN, "dimensions": 777, "input": [f"secret{n}"]}
            for n in range(CALLERS)
        ],
    )
    assert {one.status for one in told} == {400}
    assert len({one.body["error"]["message"] for one in told}) == 1
    assert all(b"secret" not in one.raw for one in told)
    assert "dimensions" in told[0].body["error"]["message"]
    assert 0 < len(journal_of(places[1])) <= SLOTS_AT_FIRST + 1
