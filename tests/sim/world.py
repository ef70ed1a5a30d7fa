"""A world in virtual time: the production core, models of providers, and callers.

A heap of (time, sequence, action) is the whole scheduler. All that happens at one instant is one
turn of the event loop: the core steps once after it, as the real shell does.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Protocol

from emr.lane.account import Account
from emr.lane.effects import Effects, Note, Send
from emr.lane.roster import Roster
from emr.lane.settings import AccountSpec, LaneSettings
from emr.lane.ticket import Batch, Params, Request
from emr.lane.verdict import Outcome, Reply, Verdict

IDLE_WAKES = 1000  # steps at one instant without an effect: the core spins


def vector_of(text: bytes, params: Params) -> bytes:
    """The vector that every model gives for a text: a function of it and of the parameters."""
    salt = f"{params.input_type}|{params.dimensions}|{params.dtype}".encode()
    return b"[%d]" % zlib.crc32(salt + text)


class Model:
    """A provider in virtual time; `send` must lead to one `world.settle` for each call."""

    def send(self, world: World, send: Send) -> None:
        """A call leaves emr now."""


class Border(Protocol):
    """The core's border towards its shell, which the baselines have too."""

    def open(self, spec: AccountSpec) -> Account: ...
    def offer(
        self, members: Sequence[Account], request: Request, now: float, out: Effects
    ) -> None: ...
    def abandon(self, request: Request) -> None: ...
    def settle(self, account: Account, batch: Batch, outcome: Outcome, now: float) -> Effects: ...
    def step(self, now: float) -> Effects: ...
    def next_deadline(self) -> float: ...


class World:
    """The clock, the core, the providers' models, and what became of every request."""

    def __init__(
        self, seed: int = 1, settings: LaneSettings | None = None, roster: Border | None = None
    ) -> None:
        self.now = 0.0
        self.rng = Random(seed)
        self.roster = roster or Roster(settings or LaneSettings(), Random(seed + 1))
        self.models: dict[Account, Model] = {}
        self.notes: list[tuple[float, Note]] = []
        self.on_step: Callable[[World], None] | None = None
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._spins = 0

    def open(self, spec: AccountSpec, model: Model) -> Account:
        """An account whose calls go to `model`."""
        account = self.roster.open(spec)
        self.models[account] = model
        return account

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do `action` at that time, or now if it is past."""
        self._sequence += 1
        heappush(self._heap, (max(when, self.now), self._sequence, action))

    def ask(
        self,
        account: Account,
        texts: list[bytes],
        done: Callable[[Request], None],
        *,
        caller: str = "a",
        timeout_s: float | None = None,
        params: Params | None = None,
        bulk: bool | None = None,
        members: tuple[Account, ...] = (),
    ) -> Request:
        """A caller asks for the vectors of JSON texts."""
        is_bulk = len(texts) > 32 if bulk is None else bulk
        wait = timeout_s if timeout_s is not None else 600.0 if is_bulk else 60.0
        request = Request(params or Params("m"), texts, caller, self.now + wait, done)
        request.bulk = is_bulk
        out = Effects()
        self.roster.offer(members or (account,), request, self.now, out)
        self._carry_out(out)
        self.at(self.now, lambda: None)  # an arrival makes a turn
        return request

    def settle(self, send: Send, verdict: Verdict, reply: Reply | None = None) -> None:
        """The reply of a call reaches emr now."""
        self.end(send, Outcome(verdict, reply))

    def end(self, send: Send, outcome: Outcome) -> None:
        """A call ends now."""
        self._carry_out(self.roster.settle(send.account, send.batch, outcome, self.now))

    def run(self, until: float) -> None:
        """Let everything happen up to that time."""
        while True:
            at = self.roster.next_deadline()
            if self._heap:
                at = min(at, self._heap[0][0])
            if at > until:
                self.now = until
                return
            assert at >= self.now or self._spins < IDLE_WAKES, "the core spins without progress"
            self.now = max(self.now, at)
            self.turn()

    def turn(self) -> None:
        """One turn of the loop: what is due now, then one step."""
        acted = False
        while self._heap and self._heap[0][0] <= self.now:
            heappop(self._heap)[2]()
            acted = True
        out = self.roster.step(self.now)
        self._spins = 0 if acted or out.sends or out.ended else self._spins + 1
        self._carry_out(out)
        if self.on_step is not None:
            self.on_step(self)

    def _carry_out(self, out: Effects) -> None:
        for note in out.notes:
            self.notes.append((self.now, note))
        for send in out.sends:
            self.models[send.account].send(self, send)
        for request in out.ended:
            request.done(request)
