"""The cache behind the desk: what is asked of it, what is kept, what never is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from emr.control.cache import disk as disk_module
from emr.control.cache.recall import make_recall
from emr.control.places import Places
from emr.control.settings import Cache, Server, Settings
from emr.front.desk import Ask
from emr.front.forms.vectors import as_base64
from emr.lane.ticket import Origin
from emr.lane.verdict import OK, Ending, Outcome, Reply, Verdict
from emr.upstream.call import Call
from tests.control.cache.caching import Caching
from tests.control.routed import row_of, server
from tests.support.aio import run
from tests.support.scripted import turns, vector_of

VOYAGE = "voyage-code-3"


def ask_of(*texts: str, **more: Any) -> Ask:
    fields: dict[str, Any] = {"provider": "s"} | more
    return Ask([orjson.dumps(text) for text in texts], **fields)


def vectors(texts: Sequence[str], dimensions: int = 8) -> list[bytes]:
    return [vector_of(orjson.dumps(text), dimensions) for text in texts]


def test_the_second_time_nobody_is_called_and_it_is_answered_at_once() -> None:
    async def main() -> None:
        async with Caching(server("s")) as emr:
            first = await emr.said(ask_of("a"))
            assert (first.cached, first.billed, first.attempts) == (0, 3, 1)
            asked = emr.asks(ask_of("a"))
            assert asked.times == 1, "in the same turn: no task, no lane"
            request = asked.request
            assert request.vectors == vectors("a")
            assert (request.cached, request.billed, request.attempts) == (1, 0, 0)
            assert (request.answered_by, request.model) == ("s", "m")
            assert len(emr.caller("s").calls) == 1
            assert (emr.recall.hits, emr.recall.misses) == (1, 1)
            assert emr.pump.answered == 2

    run(main())


def test_the_cache_is_filled_after_the_answers() -> None:
    async def main() -> None:
        async with Caching(server("s")) as emr:
            kept: list[int] = []
            asked = emr.asks(ask_of("a", "b"))
            done = asked.request.done

            def look(request: Any) -> None:
                kept.append(len(emr.recall.memory))
                done(request)

            asked.request.done = look
            await asked.vectors()
            assert kept == [0]
            assert len(emr.recall.memory) == 2

    run(main())


def test_a_part_is_answered_from_memory_and_the_rest_is_called_for() -> None:
    async def main() -> None:
        async with Caching(server("s")) as emr:
            await emr.said(ask_of("b", "d"))
            request = await emr.said(ask_of("a", "b", "c", "d", "a"))
            assert request.vectors == vectors("abcda")
            assert (request.cached, request.billed) == (2, 6)
            assert emr.caller("s").calls[-1].texts == [b'"a"', b'"c"']
            assert (emr.recall.hits, emr.recall.misses) == (2, 5)

    run(main())


OTHER_ASKS = [
    {"input_type": "query"}, {"input_type": "document"}, {"dimensions": 512},
    {"dtype": "int8"}, {"truncate": "none"},
]  # fmt: skip


@pytest.mark.parametrize("more", OTHER_ASKS, ids=str)
def test_no_other_parameter_is_a_hit(more: dict[str, Any]) -> None:
    async def main() -> None:
        async with Caching(row_of("s", "voyage")) as emr:
            await emr.said(ask_of("a"))
            assert (await emr.said(ask_of("a", **more))).cached == 0
            assert (await emr.said(ask_of("a", **more))).cached == 1
            assert (await emr.said(ask_of("a"))).cached == 1

    run(main())


@pytest.mark.parametrize("encoding", [False, True])
def test_encodings_share_an_entry_and_each_has_the_same_numbers(encoding: bool) -> None:
    async def main() -> None:
        async with Caching(server("s")) as emr:
            await emr.said(ask_of("a", base64=encoding))
            wanted = as_base64(vectors("a")[0], "float")
            for base64 in (True, False, True, True):
                request = await emr.said(ask_of("a", base64=base64))
                assert request.cached == 1
                vector = request.vectors[0]
                assert (vector[:1] == b'"') is base64
                assert (vector if base64 else as_base64(vector, "float")) == wanted
            assert len(emr.caller("s").calls) == 1

    run(main())


def test_many_vectors_are_left_as_they_are_for_the_front_to_write() -> None:
    async def main() -> None:
        async with Caching(server("s")) as emr:
            for count in (8, 9):
                texts = [f"{count} {number}" for number in range(count)]
                await emr.said(ask_of(*texts))
                request = await emr.said(ask_of(*texts, base64=True))
                assert {vector[:1] for vector in request.vectors} == {b'"' if count == 8 else b"["}

    run(main())


@pytest.mark.parametrize(("shared", "cached"), [(True, 1), (False, 0)])
def test_keys_share_entries_by_the_scope(shared: bool, cached: int) -> None:
    async def main() -> None:
        async with Caching(server("s"), shared=shared) as emr:
            await emr.said(ask_of("a"), "one")
            assert (await emr.said(ask_of("a"), "two")).cached == cached
            assert (await emr.said(ask_of("a"), "one")).cached == 1
            assert emr.recall.view().scope == ("shared" if shared else "key")

    run(main())


def test_no_store_takes_nothing_and_keeps_nothing() -> None:
    async def main() -> None:
        async with Caching(server("s")) as emr:
            assert (await emr.said(ask_of("a"), no_store=True)).cached == 0
            assert len(emr.recall.memory) == 0
            await emr.said(ask_of("a"))
            assert (await emr.said(ask_of("a"), no_store=True)).cached == 0
            assert len(emr.caller("s").calls) == 3
            assert (emr.recall.hits, emr.recall.misses) == (0, 1)

    run(main())


def test_what_is_passed_on_whole_is_never_kept() -> None:
    async def main() -> None:
        async with Caching(row_of("s", "voyage")) as emr:
            for _ in range(2):
                ask = Ask([b'"a"'], provider="s", whole=b'{"input":["a"],"unknown":1}')
                request = await emr.said(ask)
                assert (request.cached, request.space) == (0, None)
            assert len(emr.recall.memory) == 0
            assert len(emr.caller("s").calls) == 2

    run(main())


@pytest.mark.parametrize("ending", [Ending.BAD_TEXT, Ending.BAD_REQUEST, Ending.AUTH])
def test_no_error_is_kept(ending: Ending) -> None:
    async def main() -> None:
        async with Caching(server("s")) as emr:
            await emr.said(ask_of("warm"))
            caller = emr.caller("s")
            answer = caller.answer
            caller.answer = lambda call: Outcome(Verdict(ending, 400, "no"))
            await emr.asks(ask_of("a")).refusal()
            caller.answer = answer
            emr.accounts.reset(emr.row("s"))
            assert len(emr.recall.memory) == 1
            assert (await emr.said(ask_of("a"))).cached == 0

    run(main())


def test_what_nobody_waits_for_any_more_is_kept_for_it_was_paid() -> None:
    async def main() -> None:
        async with Caching(server("s")) as emr:
            await emr.said(ask_of("warm"))
            caller = emr.caller("s")
            caller.holds = True
            asked = emr.asks(ask_of("a"))
            await caller.called(2)
            emr.desk.leave(asked.request)
            caller.let_go()
            while emr.pump.calls_in_flight:
                await asyncio.sleep(0)
            assert (asked.times, emr.asks(ask_of("a")).request.cached) == (0, 1)

    run(main())


def test_all_who_share_a_call_have_their_texts_kept_in_their_own_section() -> None:
    async def main() -> None:
        async with Caching(server("s"), shared=False) as emr:
            caller_of = emr.resolve(ask_of("a")) and emr.caller("s")
            caller_of.holds = True
            asks = [emr.asks(ask_of("x"), "warm")]
            await caller_of.called(1)
            asks += [emr.asks(ask_of(f"{name} text", "both"), name) for name in ("one", "two")]
            caller_of.let_go()
            for asked in asks:
                await asked.vectors()
            for name in ("one", "two"):
                request = await emr.said(ask_of(f"{name} text", "both"), name)
                assert request.cached == 2
                assert request.vectors == vectors([f"{name} text", "both"])
            assert emr.recall.memory.sections == 3

    run(main())


# models that are exchanged, providers that change


def exchanged(length: int, model: str) -> Any:
    """The provider's answers from now on: a vector of its own for each text."""

    def answer(call: Call) -> Outcome:
        made = [vector_of(b"new" + text, length) for text in call.texts]
        return Outcome(OK, Reply(made, length, 3, model), 0.001)

    return answer


def test_of_an_exchanged_model_nothing_is_mixed_and_nothing_stays() -> None:
    async def main() -> None:
        async with Caching(server("s")) as emr:
            await emr.said(ask_of("a", "b"))
            emr.caller("s").answer = exchanged(8, "m-2")
            request = await emr.said(ask_of("a", "c"))
            assert request.vectors == [vector_of(b"new" + text) for text in (b'"a"', b'"c"')]
            assert (await emr.said(ask_of("b"))).cached == 0
            assert (await emr.said(ask_of("a", "b", "c"))).cached == 3

    run(main())


def test_a_server_at_another_address_is_another_space() -> None:
    async def main() -> None:
        async with Caching(server("s", endpoint="http://127.0.0.1:1/v1")) as emr:
            await emr.said(ask_of("a"))
            await emr.reload(server("s", endpoint="http://127.0.0.1:2/v1"))
            assert (await emr.said(ask_of("a"))).cached == 0
            await emr.reload(server("s", endpoint="http://127.0.0.1:1/v1"))
            assert (await emr.said(ask_of("a"))).cached == 1

    run(main())


def test_a_hit_needs_no_provider_that_answers() -> None:
    async def main() -> None:
        async with Caching(server("s")) as emr:
            await emr.said(ask_of("a"))
            await emr.fail("s", Ending.AUTH)
            assert (await emr.said(ask_of("a"))).cached == 1

    run(main())


# on disk


def test_after_a_start_the_disk_answers_and_memory_has_it_then(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "v.db"
        async with Caching(server("s"), path=path) as emr:
            await emr.said(ask_of("a", "b"))
            await emr.written()
        async with Caching(server("s"), path=path) as emr:
            asked = emr.asks(ask_of("a", "x", "b"))
            assert asked.times == 0, "the loop does not wait for the disk"
            await asked.vectors()
            got = [as_base64(vector, "float") for vector in asked.request.vectors]
            assert got == [as_base64(vector, "float") for vector in vectors("axb")]
            assert (asked.request.cached, asked.request.billed) == (2, 3)
            assert emr.caller("s").calls[0].texts == [b'"x"']
            view = emr.recall.view()
            assert (view.hits, view.misses) == (2, 1)
            assert view.disk is not None
            assert (view.disk.hits, view.memory.hits, view.disk.entries) == (2, 0, 2)
            assert emr.asks(ask_of("a")).request.cached == 1, "from memory: at once"
            assert emr.recall.view().memory.hits == 1

    run(main())


def test_memory_and_disk_together_make_a_whole(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "v.db"
        async with Caching(server("s"), path=path) as emr:
            await emr.said(ask_of("a", "b"))
            await emr.written()
            emr.recall.memory.clear()
            await emr.said(ask_of("a"))
            request = await emr.said(ask_of("b", "a", "b"))
            assert (request.cached, request.missing, request.billed) == (3, 0, 0)
            assert [as_base64(v, "float") for v in request.vectors] == [
                as_base64(v, "float") for v in vectors("bab")
            ]
            assert len(emr.caller("s").calls) == 1

    run(main())


def test_without_memory_the_disk_alone_is_the_cache(tmp_path: Path) -> None:
    async def main() -> None:
        async with Caching(server("s"), room=0, path=tmp_path / "v.db") as emr:
            await emr.said(ask_of("a"))
            await emr.written()
            for _ in range(2):
                assert (await emr.said(ask_of("a"))).cached == 1
            assert len(emr.recall.memory) == 0

    run(main())


def test_what_the_disk_has_of_another_model_is_not_believed_over_memory(tmp_path: Path) -> None:
    async def main() -> None:
        async with Caching(server("s"), path=tmp_path / "v.db") as emr:
            await emr.said(ask_of("a", "b"))
            await emr.written()
            emr.recall.memory.clear()
            emr.caller("s").answer = exchanged(8, "m-2")
            # the disk is behind: what it is given now is not written yet
            await emr.said(ask_of("x"))
            request = await emr.said(ask_of("a"))
            assert request.cached == 0
            assert request.vectors == [vector_of(b'new"a"')]
            assert emr.recall.memory.origin_of(emr.recall.memory.key_of(request)) == Origin(
                8, "m-2", "s"
            )

    run(main())


def test_a_caller_that_leaves_while_the_disk_is_read(tmp_path: Path) -> None:
    async def main() -> None:
        async with Caching(server("s"), path=tmp_path / "v.db") as emr:
            await emr.said(ask_of("a"))
            await emr.written()
            emr.recall.memory.clear()
            calls = len(emr.caller("s").calls)
            gone = [emr.asks(ask_of("a")), emr.asks(ask_of("a", "b"))]
            for asked in gone:
                emr.desk.leave(asked.request)
            await emr.said(ask_of("a"))
            await turns(5)
            assert [asked.times for asked in gone] == [0, 0]
            assert len(emr.caller("s").calls) == calls

    run(main())


def test_a_server_that_moves_while_the_disk_is_read(tmp_path: Path) -> None:
    """What was found is of the server as it was: nothing is mixed, nothing is kept as its own."""

    async def main() -> None:
        old = server("s", endpoint="http://127.0.0.1:1/v1")
        async with Caching(old, path=tmp_path / "v.db") as emr:
            await emr.said(ask_of("a"))
            await emr.written()
            emr.recall.memory.clear()
            asked = emr.asks(ask_of("a", "b"))
            assert asked.times == 0
            await emr.reload(server("s", endpoint="http://127.0.0.1:2/v1"))
            emr.caller("s").answer = exchanged(8, "m")
            await asked.vectors()
            assert asked.request.vectors == [vector_of(b"new" + text) for text in (b'"a"', b'"b"')]
            assert (asked.request.cached, asked.request.billed) == (0, 3)
            await turns(5)
            assert (await emr.said(ask_of("b"))).cached == 1
            await emr.reload(old)
            assert (await emr.said(ask_of("b"))).cached == 0, "of this one nothing is known"
            (found,) = (await emr.said(ask_of("a"))).vectors
            assert as_base64(found, "float") == as_base64(vectors("a")[0], "float")

    run(main())


def test_a_disk_that_hangs_costs_its_time_and_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with Caching(server("s"), path=tmp_path / "v.db") as emr:
            await emr.said(ask_of("a"))
            await emr.written()
            emr.recall.memory.clear()
            monkeypatch.setattr(disk_module, "READ_S", 0.0)
            disk = emr.recall.disk
            assert disk is not None
            request = await emr.said(ask_of("a"))
            assert request.vectors == vectors("a")
            while disk.late:
                await asyncio.sleep(0)

    run(main())


def test_a_deadline_that_passes_while_the_disk_is_read_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with Caching(server("s"), path=tmp_path / "v.db") as emr:
            await emr.said(ask_of("a"))
            await emr.written()
            emr.recall.memory.clear()
            asked = emr.asks(ask_of("a"), wait_s=-1.0)
            assert await asked.refusal() in ("deadline_exceeded", "overloaded", "rate_limited")
            disk = emr.recall.disk
            assert disk is not None
            while disk.late:
                await asyncio.sleep(0)

    run(main())


# as the settings want it


@pytest.mark.parametrize(
    ("wanted", "memory", "disk"),
    [
        (Cache(), 64 << 20, None),
        (Cache(max_bytes=0), None, None),
        (Cache(max_bytes=0, path="~/v.db", max_disk_bytes=0), None, None),
        (Cache(max_bytes=1), 1, None),
        (Cache(max_bytes=0, path="~/v.db"), 0, "v.db"),
        (Cache(path="~/deep/v.db"), 64 << 20, "deep/v.db"),
        (Cache(path="~/v.db", max_disk_bytes=0), 64 << 20, None),
    ],
)
def test_it_is_made_as_the_settings_want_it(
    tmp_path: Path, wanted: Cache, memory: int | None, disk: str | None
) -> None:
    async def main() -> None:
        async with Caching(server("s")) as emr:
            places = Places(tmp_path, tmp_path, tmp_path)
            made = make_recall(Settings(cache=wanted), places, emr.pump, emr.loop)
            assert (None if made is None else made.memory.max_bytes) == memory
            if made is not None:
                assert made.memory.scope == "shared"
                path = None if made.disk is None else made.disk.work.path
                assert path == (None if disk is None else tmp_path / disk)
                made.open()
                await made.close()

    run(main())


def test_a_bind_that_is_not_loopback_keeps_keys_apart() -> None:
    async def main() -> None:
        async with Caching(server("s")) as emr:
            settings = Settings(server=Server(bind=("0.0.0.0:3200",)))
            made = make_recall(settings, Places(Path(), Path(), Path()), emr.pump, emr.loop)
            assert made is not None
            assert made.memory.scope == "key"

    run(main())
