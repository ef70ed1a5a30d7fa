"""A provider as a scenario describes it: decides when a call has arrived, answers when it is done.

A call is under way for its whole time; limits, faults and sizes are decided where the server sees
it, some part of that time after it was sent. With `servers` calls queue there, first come first
served, each for the time that a call of its size takes alone. A call that emr gave up goes on at
the server: it was accepted, it is computed and billed.

The limits are those of `emr.fake.limits`, so that the simulator and the fake provider count alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush

from emr.fake.limits import Counting, FixedMinute, Limiter, Method
from emr.lane.effects import Send
from emr.lane.ticket import Batch
from emr.lane.verdict import OK, Dimension, Ending, Limits, Outcome, Reply, Verdict
from tests.sim.callers import POISON
from tests.sim.model import TOKENS_A_BYTE, Named, Times, Trouble
from tests.sim.scenario import FaultPlan, LimitPlan, ProviderPlan
from tests.sim.world import Model, World

REFUSED_S = 0.03  # after its arrival a refusal is back at emr
PHASE_S = 17.0  # the minutes of a fixed limiter do not begin when the run does
THIEVINGS_A_MINUTE = 60.0  # somebody else's calls against a limit in tokens or items
SHORT_PART = 0.1  # of the right Retry-After, told by a server that says too little
HUGE_S = 7200.0  # a Retry-After that nobody can mean


@dataclass(slots=True)
class Seen:
    """One call as the server saw it. `own_s` is its time alone, without refusals and queues.

    `singles` and `bulks` are the tickets of interactive and of bulk requests in it.
    """

    sent: float
    texts: int
    tokens: int
    own_s: float
    singles: int
    bulks: int
    arrived: float = math.inf
    ended: float = math.inf
    ending: Ending | None = None


class Limit:
    """One limit of the server: its plan, and the limiter that counts."""

    def __init__(self, plan: LimitPlan) -> None:
        self.plan = plan
        self.dimension = Dimension(plan.counts)
        method = Method(Counting(plan.kind), plan.window_s, plan.burst_s)
        self.limiter: Limiter = method.limiter(plan.per_minute)
        self.shift_s = PHASE_S if isinstance(self.limiter, FixedMinute) else 0.0

    def cost(self, seen: Seen) -> float:
        """What the call counts."""
        if self.dimension is Dimension.CALLS:
            return 1.0
        return float(seen.tokens if self.dimension is Dimension.TOKENS else seen.texts)

    def allowed(self, since: float, until: float) -> float:
        """What the limit allows emr from `since` to `until`, the thief's part taken off."""
        plan = self.plan
        steps = [(0.0, plan.per_minute), *plan.changes]
        edges = [at for at, _ in steps[1:]] + [math.inf]
        total = 0.0
        for (start, limit), end in zip(steps, edges, strict=True):
            total += limit * _overlap(start, end, since, until)
            stolen = (max(start, plan.stolen_since), min(end, plan.stolen_until))
            total -= plan.stolen * limit * _overlap(*stolen, since, until)
        return total / 60.0


def _overlap(a: float, b: float, since: float, until: float) -> float:
    return max(0.0, min(b, until) - max(a, since))


@dataclass(slots=True)
class Servers:
    """So many computers in a row, and who waits before them."""

    count: int
    queue: int
    _free: list[float] = field(default_factory=list)
    busy_s: float = 0.0

    def enter(self, now: float, seconds: float) -> float | None:
        """When a call that takes so long is done, None when there is no room for it."""
        free = self._free
        while free and free[0] <= now:
            heappop(free)
        if len(free) >= self.count + self.queue:
            return None
        self.busy_s += seconds
        ahead = sorted(free)
        start = now if len(ahead) < self.count else ahead[len(ahead) - self.count]
        heappush(free, start + seconds)
        return start + seconds


class Server(Model):
    """A provider made of its plan. `seen` keeps every call, in the order of sending."""

    def __init__(self, plan: ProviderPlan) -> None:
        self.plan = plan
        self.times = Times(**plan.latency)
        self.limits = [Limit(each) for each in plan.limits.values()]
        self.servers = Servers(plan.servers, plan.queue) if plan.servers else None
        self.seen: list[Seen] = []
        self.billed = 0
        self._named = Named[plan.names_caps]

    def start(self, world: World) -> None:
        """Put what happens by time alone into the world."""
        for limit in self.limits:
            for at, per_minute in limit.plan.changes:
                world.at(at, partial(setattr, limit.limiter, "limit", per_minute))
            if limit.plan.stolen:
                world.at(limit.plan.stolen_since, partial(self._steal, world, limit))

    def _steal(self, world: World, limit: Limit) -> None:
        plan = limit.plan
        a_minute = limit.limiter.limit * plan.stolen
        calls = a_minute if limit.dimension is Dimension.CALLS else THIEVINGS_A_MINUTE
        now = world.now + limit.shift_s
        if limit.limiter.wait_s(a_minute / calls, now) <= 0.0:
            limit.limiter.take(a_minute / calls, now)
        following = world.now + 60.0 / calls * world.rng.uniform(0.5, 1.5)
        if following < plan.stolen_until:
            world.at(following, partial(self._steal, world, limit))

    # the way of a call

    def send(self, world: World, send: Send) -> None:
        """A call leaves emr now."""
        batch = send.batch
        seen = self._look_at(world, batch)
        self.seen.append(seen)
        share = world.rng.uniform(*self.plan.uplink)
        up_s = min(share * seen.own_s, send.first_byte_s)
        world.at(world.now + up_s, partial(self._arrives, world, send, seen))

    def _look_at(self, world: World, batch: Batch) -> Seen:
        tokens = max(batch.texts, math.ceil((batch.bytes - 2 * batch.texts) * TOKENS_A_BYTE))
        times = self.times
        own = times.a + times.b * tokens + times.c * batch.texts
        for slow in self.plan.slow.values():
            if slow.since <= world.now < slow.until:
                own *= slow.factor
        if times.sigma:
            own *= math.exp(world.rng.gauss(0.0, times.sigma))
        bulks = sum([ticket.request.bulk for ticket in batch.tickets])
        return Seen(world.now, batch.texts, tokens, own, len(batch.tickets) - bulks, bulks)

    def _arrives(self, world: World, send: Send, seen: Seen) -> None:
        now = seen.arrived = world.now
        refused = self._fault(world) or self._size(seen, send.batch) or self._rate(seen, now)
        told = self._headers(now)
        if refused is not None:
            verdict, after_s = refused
            done = now + (seen.own_s - (now - seen.sent) if after_s is None else after_s)
            return self._answers(world, send, seen, done, (verdict, told))
        if self.servers is None:
            return self._answers(world, send, seen, seen.sent + seen.own_s, (OK, told))
        done_at = self.servers.enter(now, seen.own_s)
        if done_at is None:
            verdict = Trouble.OVERLOAD.value[0]
            return self._answers(world, send, seen, now + REFUSED_S, (verdict, told))
        return self._answers(world, send, seen, done_at, (OK, told))

    def _answers(
        self,
        world: World,
        send: Send,
        seen: Seen,
        at: float,
        said: tuple[Verdict, Limits | None],
    ) -> None:
        """Let the reply be there at that time, or emr give the call up before."""
        verdict, told = said
        seen.ending = verdict.ending
        given_up = seen.sent + send.first_byte_s
        if at > given_up:
            at, told = given_up, None
            if verdict.ending is Ending.OK:
                self.billed += seen.tokens
            verdict = Verdict(Ending.TRANSIENT, timed_out=True)
            seen.ending = Ending.TRANSIENT
        world.at(at, partial(self._ends, world, send, seen, (verdict, told)))

    def _ends(
        self, world: World, send: Send, seen: Seen, said: tuple[Verdict, Limits | None]
    ) -> None:
        verdict, told = said
        seen.ended = world.now
        reply = None
        if verdict.ending is Ending.OK:
            self.billed += seen.tokens
            # a text stands for its vector: whoever gets another one's is found out
            params = send.batch.lane_params
            length = params.dimensions or 1
            reply = Reply(send.batch.payload(), length, seen.tokens, params.model)
        world.end(send, Outcome(verdict, reply, None, told))

    # what the server decides

    def _fault(self, world: World) -> tuple[Verdict, float | None] | None:
        for fault in self.plan.faults.values():
            if fault.since <= world.now < fault.until and world.rng.random() < fault.p:
                return _ending(fault)
        return None

    def _size(self, seen: Seen, batch: Batch) -> tuple[Verdict, float] | None:
        sizes = (
            (Ending.SIZE_ITEMS, "texts", seen.texts),
            (Ending.SIZE_TOKENS, "tokens", seen.tokens),
            (Ending.SIZE_BYTES, "bytes", batch.bytes),
        )
        for ending, key, got in sizes:
            cap = self.plan.takes.get(key)
            if cap is not None and got > cap:
                named = self._named
                told = None if named is Named.NOTHING else cap
                counted = got if named is Named.CAP_AND_COUNT else None
                return Verdict(ending, 400, "too large", cap=told, got=counted), REFUSED_S
        for index, text in enumerate(batch.payload()) if self.plan.poisoned else ():
            if text.startswith(POISON, 1):
                found = index if self.plan.tells_index else None
                return Verdict(Ending.BAD_TEXT, 400, "bad input", index=found), REFUSED_S
        return None

    def _rate(self, seen: Seen, now: float) -> tuple[Verdict, float] | None:
        met: Limit | None = None
        longest = 0.0
        for limit in self.limits:
            wait = limit.limiter.wait_s(limit.cost(seen), now + limit.shift_s)
            if wait > longest:
                met, longest = limit, wait
        for limit in self.limits:
            if met is None or limit.plan.refused_count:
                limit.limiter.take(limit.cost(seen), now + limit.shift_s)
        if met is None:
            return None
        told = {
            "right": longest,
            "none": None,
            "short": longest * SHORT_PART,
            "huge": HUGE_S,
        }[self.plan.retry_after]
        tells = self.plan.tells
        numbers = {each.dimension.value: each.limiter.limit for each in self.limits}
        verdict = Verdict(
            Ending.RATE,
            429,
            "slow down",
            retry_after=told,
            limits=Limits(**numbers) if tells == "numbers" else None,
            dimension=None if tells == "nothing" else met.dimension,
        )
        return verdict, REFUSED_S

    def _headers(self, now: float) -> Limits | None:
        if self.plan.headers == "none" or not self.limits:
            return None
        told: dict[str, float] = {}
        for limit in self.limits if self.plan.headers == "full" else self.limits[:1]:
            name = limit.dimension.value
            told[name] = limit.limiter.limit
            told[f"{name}_left"] = limit.limiter.left(now + limit.shift_s)
        return Limits(**told)


def _ending(fault: FaultPlan) -> tuple[Verdict, float | None]:
    verdict, after_s = Trouble[fault.trouble].value
    asked = fault.retry_after
    told = Verdict(verdict.ending, verdict.status, verdict.message, asked)
    return told, after_s
