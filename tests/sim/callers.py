"""Callers as a scenario describes them, and the record of what became of every request.

Every caller checks what it gets: its own texts' vectors, in its order, once.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

from emr.lane.account import Account
from emr.lane.ticket import Params, Request
from tests.sim.scenario import CallersPlan
from tests.sim.world import World

POISON = b"poison"  # the beginning of a text that providers refuse
LATER_S = 1.0  # before a refused caller asks again, when nobody says how long
STORM_TRIES = 110  # LlamaIndex: ten tries of its own, each of eleven by the SDK
STORM_FIRST_S, STORM_MAX_S = 0.5, 8.0  # between an SDK's tries: doubling, with jitter


@dataclass(slots=True)
class Asked:
    """One request: who asked what and when, and how it ended.

    `end` is empty while there is none, `ok`, `left`, or the type of the refusal. `at_door`: it was
    refused before it could wait. `deadline_s` is the time that it had.
    """

    asked: float
    key: str
    bulk: bool
    texts: int
    deadline_s: float
    group: str
    poisoned: bool = False
    ended: float = math.inf
    end: str = ""
    at_door: bool = False


class Texts:
    """JSON texts of a size: all different, or drawn from a universe by Zipf's law."""

    def __init__(self, world: World, plan: CallersPlan, name: str) -> None:
        self._rng = world.rng
        self._name = name
        self._size = plan.size
        self._poison = plan.poison
        self._count = 0
        self._sums: list[float] = []
        if plan.universe:
            weights = [(rank + 1) ** -plan.zipf for rank in range(plan.universe)]
            self._sums = list(accumulate(weights))

    def draw(self, texts: int) -> list[bytes]:
        """So many texts."""
        least, most = self._size
        drawn: list[bytes] = []
        for _ in range(texts):
            if self._sums:
                number = bisect(self._sums, self._rng.random() * self._sums[-1])
            else:
                self._count += 1
                number = self._count
            size = least if least == most else self._rng.randint(least, most)
            start = self._name.encode()
            if self._poison and self._rng.random() < self._poison:
                start = POISON
            drawn.append(b'"%s"' % (b"%s %d " % (start, number)).ljust(size - 2, b"x"))
        return drawn


class Callers:
    """All callers of one kind. `log` is shared by all kinds of a run."""

    def __init__(self, world: World, name: str, plan: CallersPlan, log: list[Asked]) -> None:
        self._world = world
        self._name = name
        self._plan = plan
        self._log = log
        self._texts = Texts(world, plan, name)
        self._left = plan.total or math.inf
        self._members: tuple[Account, ...] = ()

    def start(self, members: Sequence[Account]) -> None:
        """Begin to ask these accounts."""
        self._members = tuple(members)
        world, plan = self._world, self._plan
        if plan.kind == "closed":
            for number in range(plan.count):
                when = plan.since + world.rng.uniform(0.0, plan.within_s)
                world.at(when, partial(self._ask, number))
        elif plan.kind == "burst":
            world.at(plan.since, self._burst)
        else:
            world.at(plan.since, partial(self._arrive, 0))

    def _burst(self) -> None:
        world, plan = self._world, self._plan
        for number in range(plan.count):
            when = world.now + world.rng.uniform(0.0, plan.within_s)
            world.at(when, partial(self._ask, number))
        following = world.now + plan.every_s
        if following < plan.until:
            world.at(following, self._burst)

    def _arrive(self, number: int) -> None:
        world, plan = self._world, self._plan
        if world.now >= plan.until:
            return
        self._ask(number)
        rate = plan.rate
        gap = world.rng.expovariate(rate) if plan.kind == "poisson" else 1.0 / rate
        world.at(world.now + gap, partial(self._arrive, (number + 1) % plan.count))

    def _ask(self, number: int) -> None:
        plan = self._plan
        if self._world.now >= plan.until or self._left <= 0:
            return
        least, most = plan.texts
        count = least if least == most else self._world.rng.randint(least, most)
        count = int(min(count, self._left))
        self._left -= count
        self._send(number, self._texts.draw(count), 1)

    def _send(self, number: int, texts: list[bytes], tries: int) -> None:
        world, plan = self._world, self._plan
        key = f"{self._name}{number}" if plan.key == "each" else plan.key
        params = Params("m", dimensions=number % plan.lanes + 1)
        bulk = len(texts) > 32 if plan.bulk is None else plan.bulk
        deadline_s = plan.timeout_s or (600.0 if bulk else 60.0)
        asked = Asked(world.now, key, bulk, len(texts), deadline_s, self._name)
        asked.poisoned = bool(plan.poison) and any(POISON in text for text in texts)
        self._log.append(asked)

        def done(request: Request) -> None:
            assert asked.end in ("", "left"), "a request was answered twice"
            if asked.end == "left":
                return
            asked.ended = world.now
            refusal = request.refusal
            if refusal is None:
                assert request.vectors == texts, "somebody else's vectors"
                asked.end = "ok"
                if plan.kind == "closed":
                    world.at(world.now + plan.think_s, partial(self._ask, number))
                return
            asked.end = refusal.type
            self._refused(number, texts, tries, refusal.retry_after)

        request = world.ask(
            self._members[0],
            texts,
            done,
            caller=key,
            timeout_s=deadline_s,
            params=params,
            bulk=bulk,
            members=self._members,
        )
        asked.at_door = asked.end not in ("", "ok")
        if plan.leaves_s is not None and not request.ended:
            world.at(world.now + plan.leaves_s, partial(self._leave, number, asked, request))

    def _leave(self, number: int, asked: Asked, request: Request) -> None:
        if asked.end:
            return
        asked.end, asked.ended = "left", self._world.now
        self._world.roster.abandon(request)
        if self._plan.kind == "closed":
            self._world.at(self._world.now + self._plan.think_s, partial(self._ask, number))

    def _refused(
        self, number: int, texts: list[bytes], tries: int, retry_after: float | None
    ) -> None:
        world, plan = self._world, self._plan
        if plan.again == "later":
            wait = retry_after or LATER_S
        elif plan.again == "storm" and tries < STORM_TRIES:
            doubled = min(STORM_MAX_S, STORM_FIRST_S * 2.0 ** min(10, (tries - 1) % 11))
            wait = retry_after or doubled * world.rng.uniform(0.75, 1.0)
        elif plan.kind == "closed":
            world.at(world.now + LATER_S, partial(self._ask, number))
            return
        else:
            return
        world.at(world.now + wait, partial(self._send, number, texts, tries + 1))
