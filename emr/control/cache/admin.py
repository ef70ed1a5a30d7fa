"""The admin routes of the cache: what it has, and letting go of it all."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import partial
from typing import Any

from emr.control.cache.recall import Recall
from emr.control.replies import refuse, reply_json
from emr.control.snapshot import CacheView, StoreView
from emr.front.auth import Scope
from emr.front.exchange import Exchange, Stage
from emr.front.refusals import OK
from emr.front.routes import Route
from emr.front.sure import sure_answer
from emr.lane.refusal import Refusal

RETRY_S = 5.0  # after a clear that the disk refused: as for the database


class CacheAdmin:
    """The handlers. `recall` is the cache, None when it is switched off."""

    def __init__(self, recall: Recall | None, loop: asyncio.AbstractEventLoop) -> None:
        self._recall = recall
        self._loop = loop

    def routes(self) -> list[Route]:
        """Both routes."""
        return [
            Route(("GET",), "/admin/cache", Scope.ADMIN, self.stats),
            Route(("DELETE",), "/admin/cache", Scope.ADMIN, self.clear),
        ]

    def stats(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """What it has, and how often it had what was asked."""
        view = None if self._recall is None else self._recall.view()
        reply_json(exchange, OK, {"enabled": False} if view is None else shown(view))

    def clear(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Let go of everything, in memory at once, on disk before the answer."""
        recall = self._recall
        if recall is None:
            reply_json(exchange, OK, {"cleared": {}})
            return
        cleared = {"memory": len(recall.memory)}
        recall.memory.clear()
        if recall.disk is None:
            reply_json(exchange, OK, {"cleared": cleared})
            return
        cleared["disk"] = recall.disk.work.figures().entries
        finish = partial(self._cleared, exchange, cleared)
        recall.disk.clear().add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(finish, done)
        )

    def _cleared(self, exchange: Exchange, cleared: dict[str, int], future: Future[str]) -> None:
        if exchange.stage is not Stage.WAITING:
            return  # its client left; what was cleared is cleared
        with sure_answer(exchange):
            trouble = future.result()
            if trouble:
                message = f"memory was cleared, but not the cache on disk: {trouble}"
                refuse(exchange, Refusal("storage_error", message, retry_after=RETRY_S))
            else:
                reply_json(exchange, OK, {"cleared": cleared})


def shown(view: CacheView) -> dict[str, Any]:
    """The answer of `GET /admin/cache`."""
    asked = view.hits + view.misses
    told: dict[str, Any] = {
        "enabled": True,
        "scope": view.scope,
        "hits": view.hits,
        "misses": view.misses,
        "hit_rate": round(view.hits / asked, 4) if asked else None,
        "memory": store_shown(view.memory),
        "disk": None,
    }
    if view.disk is not None:
        told["disk"] = store_shown(view.disk) | {
            "path": view.disk.path,
            "dropped": view.disk.dropped,
            "trouble": view.disk.trouble or None,
        }
    return told


def store_shown(store: StoreView) -> dict[str, Any]:
    """What memory and disk have in common."""
    return {
        "entries": store.entries,
        "bytes": store.bytes,
        "max_bytes": store.max_bytes,
        "evictions": store.evictions,
        "hits": store.hits,
    }
