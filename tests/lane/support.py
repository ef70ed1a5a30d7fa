"""Callers for the world, and the small things that the tests of the core are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emr.lane.account import Account
from emr.lane.lane import Lane
from emr.lane.refusal import Refusal
from emr.lane.settings import AccountSpec, LaneSettings
from emr.lane.ticket import Batch, Params, Request, Ticket
from tests.sim.model import Provider
from tests.sim.world import World, vector_of

PARAMS = Params("m")


def ignore(request: Request) -> None:
    """The `done` of a request whose end nobody looks at."""


def tag(number: float) -> Any:
    """The tag of a ticket in a test that gives the order by hand."""
    return (float(number), False)


def request_of(
    *texts: bytes,
    tokens: Sequence[int] | None = None,
    caller: str = "a",
    deadline: float = math.inf,
    params: Params = PARAMS,
    bulk: bool = False,
) -> Request:
    """A request that was weighed: one token a text when nothing else is said."""
    request = Request(params, list(texts), caller, deadline, ignore)
    request.tokens = list(tokens) if tokens is not None else [1] * len(texts)
    request.bulk = bulk
    return request


def sized(texts: int, *, tokens: int = 1, size: int = 4, deadline: float = math.inf) -> Request:
    """A request of so many texts, each of so many tokens and bytes."""
    return request_of(*[b"x" * size] * texts, tokens=[tokens] * texts, deadline=deadline)


def ticket_of(request: Request, number: float = 0.0, now: float = 0.0) -> Ticket:
    """A ticket of the whole request."""
    return Ticket(request, range(len(request.texts)), tag(number), now)


def batch_of(*requests: Request) -> Batch:
    """A batch of whole requests, in that order."""
    return Batch(requests[0].params, [ticket_of(request) for request in requests])


def lane_of(*tickets: Ticket) -> Lane:
    """A lane in which these tickets wait."""
    lane = Lane(tickets[0].request.params if tickets else PARAMS, "a")
    for ticket in tickets:
        lane.put(ticket)
    return lane


@dataclass(slots=True)
class Answer:
    """What became of one request; times are in the world's clock."""

    request: Request
    asked_at: float
    ended_at: float = math.inf
    times: int = 0  # how often `done` was called: once, and never after the caller left

    @property
    def refusal(self) -> Refusal | None:
        """Why it got no vectors."""
        return self.request.refusal

    @property
    def served(self) -> bool:
        """Whether it got its vectors."""
        return self.times == 1 and self.request.refusal is None

    @property
    def took_s(self) -> float:
        """From the question to the answer, infinite while there is none."""
        return self.ended_at - self.asked_at


@dataclass(slots=True)
class Crowd:
    """Callers of one account. Every vector that they get is compared with what it must be."""

    world: World
    account: Account
    answers: list[Answer] = field(default_factory=list)

    def ask(
        self,
        *texts: bytes,
        caller: str = "",
        then: Callable[[Answer], None] | None = None,
        **options: Any,
    ) -> Answer:
        """Ask now; `then` is called with the answer. Options are those of `World.ask`."""
        world = self.world
        # a request may be refused before `World.ask` returns, so the answer is there before it
        answer = Answer(Request(PARAMS, [], "", 0.0, ignore), world.now)
        self.answers.append(answer)

        def done(request: Request) -> None:
            answer.request, answer.ended_at = request, world.now
            answer.times += 1
            assert answer.times == 1, "a request was answered twice"
            if request.refusal is None:
                assert request.vectors == [vector_of(text, request.params) for text in texts]
            if then is not None:
                then(answer)

        name = caller or f"c{len(self.answers)}"
        answer.request = world.ask(self.account, list(texts), done, caller=name, **options)
        return answer

    def ask_at(self, when: float, *texts: bytes, **options: Any) -> None:
        """Ask at that time."""
        self.world.at(when, lambda: self.ask(*texts, **options))

    def trickle(self, rate: float, since: float, until: float, **options: Any) -> None:
        """Callers of one text each, `rate` a second, evenly spread."""
        for number in range(round((until - since) * rate)):
            when = since + number / rate
            self.ask_at(when, text(f"{since} {number}"), **options)

    def bulk(self, texts: int, since: float, until: float) -> None:
        """One caller who asks for so many texts, again and again until then."""

        def ask() -> None:
            if self.world.now < until:
                name = f"{len(self.answers)}"
                many = [text(f"{name} {number}") for number in range(texts)]
                self.ask(*many, caller="bulk", then=again, bulk=True)

        def again(answer: Answer) -> None:
            wait_s = 0.0 if answer.served else 1.0
            self.world.at(self.world.now + wait_s, ask)

        self.world.at(since, ask)

    def between(self, since: float, until: float) -> list[Answer]:
        """The answers to what was asked in that time."""
        return [answer for answer in self.answers if since <= answer.asked_at < until]

    def share_served(self, since: float, until: float) -> float:
        """The share of what was asked in that time that got its vectors."""
        asked = self.between(since, until)
        return sum([answer.served for answer in asked]) / len(asked)

    def median_s(self) -> float:
        """The median time of all served."""
        return sorted([a.took_s for a in self.answers if a.served])[len(self.answers) // 2]

    def leave(self, answer: Answer) -> None:
        """The caller of a request goes away."""
        self.world.roster.abandon(answer.request)
        self.world.at(self.world.now, lambda: None)


def text(name: object) -> bytes:
    """A JSON text."""
    return b'"text %s"' % str(name).encode()


def town(
    provider: Provider,
    *,
    seed: int = 1,
    settings: LaneSettings | None = None,
    **spec: Any,
) -> tuple[World, Crowd]:
    """A world with one account at `provider`, and its callers. `spec`: fields of AccountSpec."""
    world = World(seed, settings)
    account = world.open(AccountSpec("voyage", "m", **spec), provider)
    return world, Crowd(world, account)
