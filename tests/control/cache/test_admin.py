"""The admin routes of the cache, the snapshot and the metrics of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emr.control.cache.admin import CacheAdmin
from emr.control.cache.rows import DiskError
from emr.control.cache.writer import DiskWriter
from emr.control.metrics import exposition
from emr.control.overview import Overview
from emr.front.routes import Route
from tests.control.cache.caching import Caching
from tests.control.cache.test_recall import ask_of
from tests.control.operated import Operated
from tests.control.routed import server
from tests.support.aio import run


class Shown(Caching):
    """With the routes of the cache, and an overview that sees it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        sights = self.overview._sights
        fields = {name: getattr(sights, name) for name in sights.__slots__}
        self.overview = Overview(type(sights)(**(fields | {"recall": self.recall})))

    @property
    def routes(self) -> list[Route]:
        return [*super().routes, *CacheAdmin(self.recall, self.loop).routes()]

    async def stats(self) -> Any:
        answer = await self.request("GET", "/admin/cache")
        assert answer.status == 200
        return answer.json


def test_what_it_has_is_shown(tmp_path: Path) -> None:
    async def main() -> None:
        async with Shown(server("s"), path=tmp_path / "v.db") as emr:
            told = await emr.stats()
            assert (told["enabled"], told["scope"], told["hit_rate"]) == (True, "shared", None)
            await emr.said(ask_of("a", "b"))
            await emr.written()
            await emr.said(ask_of("a", "b"))
            told = await emr.stats()
            assert (told["hits"], told["misses"], told["hit_rate"]) == (2, 2, 0.5)
            memory, disk = told["memory"], told["disk"]
            assert (memory["entries"], memory["hits"], memory["evictions"]) == (2, 2, 0)
            assert memory["bytes"] == emr.recall.memory.bytes
            assert memory["max_bytes"] == emr.recall.memory.max_bytes
            assert (disk["entries"], disk["hits"], disk["dropped"]) == (2, 0, 0)
            assert (disk["path"], disk["trouble"]) == (str(tmp_path / "v.db"), None)

    run(main())


def test_clear_lets_go_of_both(tmp_path: Path) -> None:
    async def main() -> None:
        async with Shown(server("s"), path=tmp_path / "v.db") as emr:
            await emr.said(ask_of("a", "b"))
            await emr.written()
            answer = await emr.request("DELETE", "/admin/cache")
            assert (answer.status, answer.json) == (200, {"cleared": {"memory": 2, "disk": 2}})
            assert (await emr.said(ask_of("a"))).cached == 0
            told = await emr.stats()
            assert (told["memory"]["entries"], told["disk"]["entries"]) == (1, 0)

    run(main())


def test_clear_of_memory_alone() -> None:
    async def main() -> None:
        async with Shown(server("s")) as emr:
            await emr.said(ask_of("a"))
            answer = await emr.request("DELETE", "/admin/cache")
            assert answer.json == {"cleared": {"memory": 1}}
            assert (await emr.stats())["disk"] is None

    run(main())


def test_a_disk_that_refuses_to_clear_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(writer: DiskWriter) -> None:
        raise DiskError("the disk is full", passes=True)

    async def main() -> None:
        async with Shown(server("s"), path=tmp_path / "v.db") as emr:
            monkeypatch.setattr(DiskWriter, "clear", refuse)
            answer = await emr.request("DELETE", "/admin/cache")
            assert (answer.status, answer.json["error"]["type"]) == (503, "storage_error")
            assert "the disk is full" in answer.json["error"]["message"]
            assert (await emr.stats())["disk"]["trouble"] == "the disk is full"

    run(main())


class SwitchedOff(Operated):
    """Without a cache."""

    @property
    def routes(self) -> list[Route]:
        return [*super().routes, *CacheAdmin(None, self.loop).routes()]


def test_a_cache_that_is_switched_off_says_so() -> None:
    async def main() -> None:
        async with SwitchedOff(server("s")) as emr:
            assert (await emr.request("GET", "/admin/cache")).json == {"enabled": False}
            assert (await emr.request("DELETE", "/admin/cache")).json == {"cleared": {}}
            snapshot = emr.take()
            assert (snapshot.cache, snapshot.cache_hits) == (None, 0)
            assert b"emr_cache_hits_total 0.0" in exposition(snapshot)

    run(main())


def test_the_snapshot_and_the_metrics_have_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with Shown(server("s"), path=tmp_path / "v.db") as emr:
            await emr.said(ask_of("a", "b"))
            await emr.written()
            await emr.said(ask_of("a", "c"))
            snapshot = emr.overview.take()
            assert snapshot.cache_hits == 1
            lines = exposition(snapshot).decode().splitlines()
            for line in (
                "emr_cache_hits_total 1.0",
                "emr_cache_misses_total 3.0",
                'emr_cache_store_hits_total{store="memory"} 1.0',
                'emr_cache_store_hits_total{store="disk"} 0.0',
                'emr_cache_entries{store="memory"} 3.0',
                'emr_cache_entries{store="disk"} 2.0',
                f'emr_cache_bytes{{store="memory"}} {float(emr.recall.memory.bytes)}',
                'emr_cache_evictions_total{store="disk"} 0.0',
                'emr_cache_ok{store="disk"} 1.0',
            ):
                assert line in lines, line
            assert emr.recall.disk is not None
            emr.recall.disk.work.trouble = "the disk is full"
            assert b'emr_cache_ok{store="disk"} 0.0' in exposition(emr.overview.take())
            emr.recall.disk.work.trouble = ""

    run(main())
