"""The canary's vector: kept, compared, told, and what a row may say to do then."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from itertools import count, islice
from pathlib import Path
from struct import pack
from typing import Any

import orjson
import pytest

from emr.control.drift import asked_of, difference, numbers_of
from emr.control.store import Store
from emr.fake.server import FakeServer
from emr.fake.settings import FakeSettings
from emr.fake.vectors import vector_of
from emr.lane.ticket import Params
from tests.control.operated import Operated
from tests.control.routed import ask_of, members, row_of
from tests.support.aio import run
from tests.support.processes import PROVIDER_KEY
from tests.support.running import Running, a_fake, running, voyage_row

MODEL = "voyage-code-3"
PARAMS = Params(MODEL)
OLD, NEW = vector_of("a", "one"), vector_of("a", "another")
VOYAGE, SHUTTING = row_of("voyage", "voyage"), row_of("voyage", "voyage", on_drift="sinbin")
SECOND = row_of("second", "voyage")
SETTINGS = FakeSettings(latency_ms=1.0, keys=PROVIDER_KEY)
TEST = "/admin/providers/voyage/test"


def json_of(numbers: list[float]) -> bytes:
    return orjson.dumps(numbers)


def moved(numbers: list[float], by: float) -> list[float]:
    """Every second number a little more, the others a little less."""
    return [x + (by if i % 2 else -by) for i, x in enumerate(numbers)]


# comparing


def test_what_is_the_same() -> None:
    old = tuple(OLD)
    assert difference(old, old) == ""
    assert difference(old, tuple(moved(OLD, 1e-4))) == "", "as hosted models differ"
    assert difference(old, tuple(2 * x for x in OLD)) == "", "of another length in space"


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (NEW, "cosine is "), (OLD[:-1], "1023 numbers, and gave 1024"), ([0.0] * 1024, "0.0000"),
        (moved(OLD, 2e-3), "cosine is 0.99"), ([-x for x in OLD], "-1.0000"),
    ],
)  # fmt: skip
def test_what_is_not(numbers: list[float], words: str) -> None:
    assert words in difference(tuple(OLD), tuple(numbers))


def test_both_writings_of_a_vector() -> None:
    raw = pack(f"<{len(OLD)}f", *OLD)
    assert numbers_of(b'"%b"' % b64encode(raw)) == numbers_of(json_of(OLD)) == tuple(OLD)


def test_what_was_asked_in_words() -> None:
    assert asked_of(PARAMS) == MODEL
    assert asked_of(Params(MODEL, "query", 256)) == f"{MODEL}, query, 256 dimensions"


# keeping


def test_the_first_is_kept_and_later_ones_are_compared(caplog: Any) -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            drift = operated.drift
            assert drift.look("voyage", PARAMS, json_of(OLD)) == ""
            assert drift.look("voyage", Params(MODEL, "query"), json_of(NEW)) == "", "asked anew"
            assert drift.look("other", PARAMS, json_of(NEW)) == ""
            assert "cosine" in drift.look("voyage", PARAMS, json_of(NEW))
            assert drift.look("voyage", PARAMS, json_of(NEW)), "and it stays so"
            assert f"({MODEL})" in drift.warning("voyage")
            assert drift.warning("other") == ""
            assert operated.health("voyage")["drift"] == drift.warning("voyage")
            assert operated.health("voyage")["status"] == "healthy", "it only warns"
            assert drift.look("voyage", PARAMS, json_of(OLD)) == ""
            assert drift.warning("voyage") == ""
            assert operated.health("voyage")["drift"] is None

    with caplog.at_level(logging.INFO, "emr.drift"):
        run(main())
    told = [record.message for record in caplog.records]
    assert [line.partition(":")[0] for line in told] == [
        "Vectors changed", "Vectors are as they were",
    ]  # fmt: skip


def test_bits_and_bodies_that_are_passed_on_whole_are_not_compared() -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            for params in (Params(MODEL, dtype="binary"), Params(MODEL, whole=b"{}")):
                assert operated.drift.look("voyage", params, b"[1]") == ""
                assert operated.drift.look("voyage", params, b"[2,3]") == ""

    run(main())


def test_a_kept_vector_outlives_the_process(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "emr.db"
        for numbers, wanted in ((OLD, ""), (OLD, ""), (NEW, "cosine")):
            async with Operated(VOYAGE) as operated:
                operated.drift._store = store = Store(path)
                kept = type(operated.drift)(store, operated.providers, operated.catalogue)
                assert wanted in kept.look("voyage", PARAMS, json_of(numbers))
                store.close()

    run(main())


def test_a_removed_provider_is_forgotten() -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            operated.drift.look("gone", PARAMS, json_of(OLD))
            operated.drift.look("voyage", PARAMS, json_of(OLD))
            operated.drift.changed(frozenset({"gone", "voyage"}))
            assert operated.drift.look("gone", PARAMS, json_of(NEW)) == ""
            assert operated.drift.look("voyage", PARAMS, json_of(NEW))

    run(main())


# on_drift = "sinbin"


def test_a_provider_is_shut_until_its_vectors_are_right() -> None:
    async def main() -> None:
        async with Operated(SHUTTING) as operated:
            operated.drift.look("voyage", PARAMS, json_of(OLD))
            operated.drift.look("voyage", PARAMS, json_of(NEW))
            assert operated.health("voyage")["status"] == "sinbinned"
            refusal = operated.ask(MODEL).request.refusal
            assert refusal is not None
            assert (refusal.type, refusal.retry_after) == ("provider_unavailable", 60.0)
            assert "voyage is sin-binned" in refusal.message
            operated.drift.look("voyage", PARAMS, json_of(OLD))
            assert operated.health("voyage")["status"] == "healthy"
            assert await operated.answered_by(MODEL) == "voyage"

    run(main())


def test_a_twin_answers_for_one_that_is_shut() -> None:
    async def main() -> None:
        async with Operated(SHUTTING, SECOND) as operated:
            operated.drift.look("voyage", PARAMS, json_of(OLD))

            def names() -> list[str]:
                return members(operated.resolve(ask_of(MODEL)))

            assert names() == ["voyage", "second"]
            operated.drift.look("voyage", PARAMS, json_of(NEW))
            assert names() == ["second"]
            operated.drift.forget("voyage")
            assert names() == ["voyage", "second"]

    run(main())


# whole: over sockets


def test_providers_test_tells_and_accepts(tmp_path: Path) -> None:
    async def main() -> None:
        config = '[server]\nbind = "127.0.0.1:0"\n'
        async with (
            a_fake() as fake,
            running(
                tmp_path, config + voyage_row(fake, on_drift="sinbin"), V_API_KEY=PROVIDER_KEY
            ) as emr,
        ):
            first = await emr.admin("POST", TEST)
            assert "drift" not in first.json()
            emr.app.drift._kept["voyage", MODEL] = tuple(NEW)
            told = (await emr.admin("POST", TEST)).json()
            assert told["status"] == "ok"
            assert "cosine" in told["drift"]
            (health,) = (await emr.get("/health/providers")).json()
            assert "cosine" in health["drift"]
            assert health["status"] == "sinbinned"
            metrics = (await emr.get("/metrics")).text
            assert 'emr_vectors_changed{provider="voyage"} 1.0' in metrics
            refused = await emr.embed()
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "60"
            assert (await emr.admin("POST", TEST, {"accept": "yes"})).status_code == 400
            accepted = (await emr.admin("POST", TEST, {"accept": True})).json()
            assert "drift" not in accepted
            assert (await emr.embed()).status_code == 200
            metrics = (await emr.get("/metrics")).text
            assert 'emr_vectors_changed{provider="voyage"} 0.0' in metrics

    run(main())


def watch_canaries(emr: Running) -> asyncio.Event:
    """Set when a canary's reply was seen."""
    seen = asyncio.Event()
    observe = emr.app.pump.observe

    def called(send: Any, outcome: Any, seconds: float) -> None:
        observe(send, outcome, seconds)
        if send.batch.canary and outcome.reply is not None:
            seen.set()

    emr.app.pump.observe = called
    return seen


async def state(emr: Running) -> dict[str, Any]:
    """The entry of the provider that dies, in `GET /health/providers`."""
    entries = (await emr.get("/health/providers")).json()
    return next(entry for entry in entries if entry["name"] == "voyage")


def test_the_probe_of_one_that_comes_back_tells(tmp_path: Path) -> None:
    async def main() -> None:
        head = '[server]\nbind = "127.0.0.1:0"\n'
        head += "[health]\nsinbin_initial_seconds = 1\nfailure_threshold = 2\n"
        async with a_fake() as one, a_fake() as two:
            config = head + voyage_row(one) + voyage_row(two, "twin")
            async with running(tmp_path, config, V_API_KEY=PROVIDER_KEY) as emr:
                await emr.admin("POST", TEST)
                emr.app.drift._kept["voyage", MODEL] = tuple(NEW)
                probed = watch_canaries(emr)
                await one.stop()
                asked = count()
                while (await state(emr))["status"] != "sinbinned":
                    texts = [f"text {number}" for number in islice(asked, 20)]
                    asks = [emr.embed(text, model=MODEL) for text in texts]
                    assert {told.status_code for told in await asyncio.gather(*asks)} == {200}
                async with FakeServer(SETTINGS, one.address), asyncio.timeout(30):
                    await probed.wait()
                assert "cosine" in (await state(emr))["drift"]

    run(main())
