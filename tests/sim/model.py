"""Models of providers for the world: how long they take, what they refuse, when they break.

A provider is put together from parts. Each part looks at a call and says how it ends, or passes it
on; the first that speaks decides; when none does, every text gets its vector. What a provider saw
is kept in `seen`, call by call, so that a test can ask the provider and not the router.

A fault is data: what happens, from when to when, to which share of the calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from emr.lane.effects import Send
from emr.lane.ticket import Params
from emr.lane.verdict import OK, Ending, Reply, Verdict
from tests.sim.world import Model, World, vector_of

TOKENS_A_BYTE = 0.25  # of the models' own tokenizer: English text has about four bytes a token


def tokens_of(text: bytes) -> int:
    """The tokens that the models count and bill for a JSON text."""
    return max(1, math.ceil((len(text) - 2) * TOKENS_A_BYTE))


@dataclass(slots=True)
class Seen:
    """One call as the provider saw it. `ending` is None while it is under way."""

    number: int
    at: float
    params: Params
    texts: list[bytes]
    tokens: int
    in_flight: int  # calls under way when it came, itself included
    ending: Ending | None = None
    ended_at: float = math.inf

    @property
    def bytes(self) -> int:
        """The bytes of its texts."""
        return sum([len(text) for text in self.texts])


@dataclass(frozen=True, slots=True)
class End:
    """How a call ends. `after_s` None: as long as a good call takes; infinite: never."""

    verdict: Verdict
    after_s: float | None = None


Part = Callable[[World, Seen], End | None]


@dataclass(frozen=True, slots=True)
class Times:
    """The time of a good call: (a + b·tokens + c·texts) times a lognormal factor of median 1."""

    a: float = 0.18
    b: float = 0.0
    c: float = 0.0
    sigma: float = 0.15

    def draw(self, world: World, seen: Seen) -> float:
        """The seconds of one call."""
        line = self.a + self.b * seen.tokens + self.c * len(seen.texts)
        return line * math.exp(world.rng.gauss(0.0, self.sigma)) if self.sigma else line


class Provider(Model):
    """A provider made of parts; `times` may be changed while the world runs."""

    def __init__(self, *parts: Part, times: Times | None = None) -> None:
        self.parts: list[Part] = list(parts)
        self.times = times or Times()
        self.seen: list[Seen] = []
        self.in_flight = 0

    def send(self, world: World, send: Send) -> None:
        """A call comes in."""
        texts = send.batch.payload()
        self.in_flight += 1
        seen = Seen(
            len(self.seen) + 1,
            world.now,
            send.batch.lane_params,
            texts,
            sum([tokens_of(text) for text in texts]),
            self.in_flight,
        )
        self.seen.append(seen)
        end = self._end(world, seen)
        after_s = self.times.draw(world, seen) if end.after_s is None else end.after_s
        if after_s > send.first_byte_s:
            end = End(Verdict(Ending.TRANSIENT, timed_out=True))
            after_s = send.first_byte_s
        world.at(world.now + after_s, lambda: self._answer(world, send, seen, end.verdict))

    def _end(self, world: World, seen: Seen) -> End:
        for part in self.parts:
            end = part(world, seen)
            if end is not None:
                return end
        return End(OK)

    def _answer(self, world: World, send: Send, seen: Seen, verdict: Verdict) -> None:
        self.in_flight -= 1
        seen.ending, seen.ended_at = verdict.ending, world.now
        reply = None
        if verdict.ending is Ending.OK:
            vectors = [vector_of(text, seen.params) for text in seen.texts]
            body = b"{}" if seen.params.whole is not None else None
            length = seen.params.dimensions or 1  # as it was asked, whatever is in them
            reply = Reply([] if body else vectors, length, seen.tokens, seen.params.model, body)
        world.settle(send, verdict, reply)

    # what tests ask

    def sizes(self) -> list[int]:
        """The texts of each call, in the order in which they came."""
        return [len(seen.texts) for seen in self.seen]

    def between(self, since: float, until: float) -> list[Seen]:
        """The calls that came in that time."""
        return [seen for seen in self.seen if since <= seen.at < until]

    def texts(self) -> list[bytes]:
        """Every text that was ever sent, call by call."""
        return [text for seen in self.seen for text in seen.texts]


# faults


class Trouble(Enum):
    """What can befall a call: its verdict, and how soon; None: as late as a good reply."""

    ERROR = (Verdict(Ending.TRANSIENT, 500, "internal error"), 0.03)
    RESET = (Verdict(Ending.TRANSIENT, None, "connection reset"), 0.005)
    HANG = (Verdict(Ending.TRANSIENT, None), math.inf)
    UNAVAILABLE = (Verdict(Ending.TRANSIENT, 502, "bad gateway"), 0.03)
    RATE = (Verdict(Ending.RATE, 429, "too many requests"), 0.02)
    OVERLOAD = (Verdict(Ending.OVERLOAD, 503, "no capacity"), 0.02)
    WRONG_COUNT = (Verdict(Ending.PROTOCOL, 200, "too few vectors"), None)
    AUTH = (Verdict(Ending.AUTH, 401, "invalid api key"), 0.02)
    QUOTA = (Verdict(Ending.QUOTA, 402, "insufficient balance"), 0.02)

    def end(self, retry_after: float | None = None) -> End:
        """The end of a call that it befalls."""
        verdict, after_s = self.value
        told = Verdict(verdict.ending, verdict.status, verdict.message, retry_after)
        return End(told, after_s)


@dataclass(frozen=True, slots=True)
class Fault:
    """Trouble for a share `p` of the calls that come from `since` to `until`."""

    trouble: Trouble
    since: float = 0.0
    until: float = math.inf
    p: float = 1.0
    retry_after: float | None = None

    def __call__(self, world: World, seen: Seen) -> End | None:
        """Whether it befalls this call."""
        if not self.since <= seen.at < self.until:
            return None
        if self.p < 1.0 and world.rng.random() >= self.p:
            return None
        return self.trouble.end(self.retry_after)


class Script:
    """Ends for the first calls, in their order; None lets a call through. Then nothing more."""

    def __init__(self, *ends: Verdict | Trouble | End | None) -> None:
        self._ends = list(ends)

    def then(self, *ends: Verdict | Trouble | End | None) -> None:
        """Ends for the calls after those."""
        self._ends.extend(ends)

    def forget(self) -> None:
        """Let all calls through from now on."""
        self._ends.clear()

    def __call__(self, world: World, seen: Seen) -> End | None:
        """The end of the call whose turn it is."""
        end = self._ends.pop(0) if self._ends else None
        if isinstance(end, Trouble):
            return end.end()
        return End(end, 0.02) if isinstance(end, Verdict) else end


# what a provider refuses


class Named(Enum):
    """What a size error tells."""

    CAP = "the cap"
    CAP_AND_COUNT = "the cap, and what it counted"
    NOTHING = "neither"


@dataclass(frozen=True, slots=True)
class TakesAtMost:
    """Caps of one call, in the provider's own count."""

    texts: int = 1 << 30
    tokens: int = 1 << 30
    bytes: int = 1 << 30
    named: Named = Named.CAP_AND_COUNT

    def __call__(self, world: World, seen: Seen) -> End | None:
        """The first cap that the call is over."""
        for ending, got, cap in (
            (Ending.SIZE_ITEMS, len(seen.texts), self.texts),
            (Ending.SIZE_TOKENS, seen.tokens, self.tokens),
            (Ending.SIZE_BYTES, seen.bytes, self.bytes),
        ):
            if got > cap:
                return End(
                    Verdict(
                        ending,
                        400,
                        "too large",
                        cap=None if self.named is Named.NOTHING else cap,
                        got=got if self.named is Named.CAP_AND_COUNT else None,
                    ),
                    0.02,
                )
        return None


class Poison:
    """Texts that the provider refuses; with `tells_index` it says which of the call it is."""

    def __init__(self, texts: Iterable[bytes], *, tells_index: bool) -> None:
        self._texts = frozenset(texts)
        self._tells_index = tells_index

    def __call__(self, world: World, seen: Seen) -> End | None:
        """Refuse a call that carries such a text."""
        for index, text in enumerate(seen.texts):
            if text in self._texts:
                told = index if self._tells_index else None
                said = f"input[{index}] is refused" if self._tells_index else "bad input"
                return End(Verdict(Ending.BAD_TEXT, 400, said, index=told), 0.02)
        return None


@dataclass(frozen=True, slots=True)
class Holds:
    """A server that computes so many calls at a time and refuses the others at once."""

    calls: int

    def __call__(self, world: World, seen: Seen) -> End | None:
        """Whether there is no room."""
        return Trouble.OVERLOAD.end() if seen.in_flight > self.calls else None
