"""A desk with scripted providers and a cache, in memory or on disk too."""

from __future__ import annotations

import asyncio
from pathlib import Path

from emr.control.cache.disk import Disk
from emr.control.cache.recall import Recall, Shop
from emr.control.rows import Row
from emr.front.desk import Ask
from emr.lane.cache import Cache
from emr.lane.settings import LaneSettings
from emr.lane.ticket import Request
from emr.pump import in_turn
from tests.control.operated import Operated
from tests.support.scripted import Asked

ROOM = 1 << 20


class Caching(Operated):
    """With a cache of its own; `path` is that of its file, if it has one."""

    def __init__(
        self, *rows: Row, room: int = ROOM, shared: bool = True, path: Path | None = None
    ) -> None:
        super().__init__(*rows)
        disk = None if path is None else Disk(path, 64 << 20, self.loop)
        memory = Cache(room, shared=shared)
        self.pump.roster.settings = LaneSettings(share_flights=shared)
        self.recall = Recall(Shop(memory, disk, self.pump.end, self.pump.clock))
        self.desk.recall = self.recall
        self.pump.observe = in_turn(self.overview.called, self.recall.called)

    async def __aenter__(self) -> Caching:
        if self.recall.disk is not None:
            await asyncio.wrap_future(self.recall.disk.open())
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.recall.disk is not None:
            await self.recall.disk.close()
        await super().__aexit__(*error)

    def asks(
        self, ask: Ask, caller: str = "key-1", *, no_store: bool = False, wait_s: float = 60.0
    ) -> Asked:
        """Resolve and submit."""
        plan = self.resolve(ask)
        asked = Asked()
        deadline = self.pump.clock() + wait_s
        asked.request = Request(plan.params, plan.texts, caller, deadline, asked._done)
        asked.request.no_store = no_store
        asked.request.float_text = not ask.base64
        self.desk.submit(plan, asked.request)
        return asked

    async def said(self, ask: Ask, caller: str = "key-1", *, no_store: bool = False) -> Request:
        """The request, once it ended well."""
        asked = self.asks(ask, caller, no_store=no_store)
        await asked.vectors()
        assert asked.times == 1
        return asked.request

    async def written(self) -> None:
        """Return when what was kept is in the file."""
        assert self.recall.disk is not None
        future = self.recall.disk.flush()
        assert future is not None
        await asyncio.wrap_future(future)
