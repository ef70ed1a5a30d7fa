"""The cache as the desk and the pump use it: asked before a request waits, filled after answers.

A request is asked for in memory first, at once: what is found whole is answered in the same turn,
without a task, a future or a lane. Only what memory does not have, and the file on disk may have,
is read, by a thread. What neither has goes its way, and is kept when its call has ended well and
everyone who waited for it has the answer.

Never kept: the vectors of a request that is passed on whole, of one with `no-store`, and whatever
a call did not end well for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from emr.control.cache.disk import Disk
from emr.control.cache.work import Found, Kept
from emr.control.places import Places
from emr.control.settings import Settings
from emr.control.snapshot import CacheView, StoreView
from emr.front.forms.vectors import BASE64, NUMBERS, raw_of, written
from emr.lane.cache import Cache, Key, Section
from emr.lane.effects import Send
from emr.lane.ticket import Origin, Request
from emr.lane.verdict import Outcome
from emr.pump import Pump

# vectors of a request that are written anew on the loop, 0.4 ms; the front does more, in a thread
REWRITTEN_MAX = 8

GoOn = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Shop:
    """What a recall works with: memory, the disk if there is one, who answers, and the time."""

    memory: Cache
    disk: Disk | None
    answer: Callable[[Request], None]
    clock: Callable[[], float]


class Recall:
    """The cache. `hits` and `misses` count texts, `disk_hits` those of the hits read from disk."""

    __slots__ = ("_answer", "_clock", "disk", "disk_hits", "hits", "memory", "misses")

    def __init__(self, shop: Shop) -> None:
        self.memory = shop.memory
        self.disk = shop.disk
        self._answer = shop.answer
        self._clock = shop.clock
        self.hits = 0
        self.misses = 0
        self.disk_hits = 0

    def answers(self, request: Request, go_on: GoOn) -> bool:
        """Whether the request is answered, or will be.

        False: it wants some of its texts embedded. Where the disk is asked first, `go_on` is
        called in a later turn if it does, or its time is over.
        """
        self.memory.find(request)
        if 0 < request.cached <= REWRITTEN_MAX:
            self._suit(request)
        self.hits += request.cached
        if request.missing == 0:
            self._answer(request)
            return True
        disk = self.disk
        if disk is not None:
            key = self.memory.key_of(request)
            sought = disk.may_have(key, request.wanted, request.texts)
            if sought:
                writing = NUMBERS if request.float_text else BASE64
                within_s = request.deadline - self._clock()
                disk.read(key, sought, writing, within_s, partial(self._read, request, go_on))
                return True
        self.misses += request.missing
        return False

    def _suit(self, request: Request) -> None:
        """Have what was found in the caller's writing, and keep it so: he will ask again."""
        writing = NUMBERS if request.float_text else BASE64
        dtype, vectors = request.params.dtype, request.vectors
        for place, vector in enumerate(vectors):
            if vector and vector[0] != writing:
                with contextlib.suppress(ValueError):  # what cannot be written, the front refuses
                    vectors[place] = suited = written(raw_of(vector, dtype), dtype, writing)
                    key = self.memory.key_of(request)
                    self.memory.rewrite(key, request.texts[place], suited)

    def _read(self, request: Request, go_on: GoOn, found: Found) -> None:
        """The disk had this, or gave up."""
        if found.vectors and self._is_of_now(request, found.origin):
            section = self.memory.section_of(self.memory.key_of(request), found.origin)
            assert section is not None, "an origin that is memory's too: a bug"
            for place, vector in found.vectors.items():
                self.memory.put(section, request.texts[place], vector)
            if not request.left:
                self._take(request, found)
        if request.ended and request.missing:
            return  # its caller left
        if request.missing:
            self.misses += request.missing
            go_on()
        else:
            self._answer(request)

    def _is_of_now(self, request: Request, origin: Origin) -> bool:
        """Whether the disk's vectors are of the model that memory knows: it may be behind."""
        known = (self.memory.origin_of(self.memory.key_of(request)), request.origin)
        return all(each is None or each.is_of(origin) for each in known)

    def _take(self, request: Request, found: Found) -> None:
        """Give the request what was read."""
        for place, vector in found.vectors.items():
            request.vectors[place] = vector
        rest = [place for place in request.wanted if place not in found.vectors]
        request.recall(rest, request.origin or found.origin)
        self.hits += len(found.vectors)
        self.disk_hits += len(found.vectors)

    def called(self, send: Send, outcome: Outcome, seconds: float) -> None:
        """A call ended, and everyone has the answer: keep what it brought."""
        reply = outcome.reply
        if reply is None or reply.body is not None:
            return
        memory, disk, vectors = self.memory, self.disk, reply.vectors
        origin = Origin(reply.dimensions, reply.model, send.account.spec.provider)
        key: Key | None = None  # of the ticket before: most tickets of a call have one
        section: Section | None = None
        at = 0
        for ticket in send.batch.tickets:
            request, first = ticket.request, at
            at += len(ticket.places)
            if request.space is None:
                continue
            its_key = memory.key_of(request)
            if its_key != key:
                key = its_key
                section = memory.section_of(key, origin)
            if section is None or key is None:
                continue
            for place, vector in zip(ticket.places, vectors[first:at], strict=True):
                text = request.texts[place]
                memory.put(section, text, vector)
                if disk is not None:
                    disk.keep(Kept(key, reply.model, text, vector))

    def open(self) -> None:
        """Begin to use the disk, if there is one."""
        if self.disk is not None:
            self.disk.open()

    async def close(self) -> None:
        """Write what is to be written to it."""
        if self.disk is not None:
            await self.disk.close()

    def view(self) -> CacheView:
        """What it has, and how often it had what was asked."""
        memory, disk = self.memory, self.disk
        on_disk = None
        if disk is not None:
            work, figures = disk.work, disk.work.figures()
            on_disk = StoreView(
                figures.entries, figures.bytes, work.max_bytes, figures.evictions, self.disk_hits,
                str(work.path), disk.dropped, work.trouble,
            )  # fmt: skip
        in_memory = StoreView(
            len(memory), memory.bytes, memory.max_bytes, memory.evictions,
            self.hits - self.disk_hits,
        )  # fmt: skip
        return CacheView(self.hits, self.misses, memory.scope, in_memory, on_disk)


def make_recall(
    settings: Settings, places: Places, pump: Pump, loop: asyncio.AbstractEventLoop
) -> Recall | None:
    """The cache as the settings want it, None for none."""
    wanted = settings.cache
    disk = None
    if wanted.path is not None and wanted.max_disk_bytes:
        disk = Disk(places.expand(wanted.path), wanted.max_disk_bytes, loop)
    if disk is None and not wanted.max_bytes:
        return None
    memory = Cache(wanted.max_bytes, shared=settings.cache_scope() == "shared")
    return Recall(Shop(memory, disk, pump.end, pump.clock))
