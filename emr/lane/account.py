"""An account: one credential of a provider at one limit scope, and the step that decides for it.

Rules of this file. Nothing here reads a clock; `now` is handed in, in seconds of one steady clock.
`step` is the only place from which a call is sent, and it asks in this order: the gate (may
anything go), slots (how many), fill with K and the hold (how large), fairness (who: the tags), pace
(when). Gate, slots, pace, caps and retries do not know each other.

Theory of operation. What arrives is stored; the shell calls `step` once a turn of its event loop
for each account that something happened to. A lone text finds `in_flight == 0` and goes in the same
step. While calls are in flight texts gather, up to the hold or to the calls that are cheap (E): the
natural batch, with no window. A ticket is in exactly one place: a lane, `resting` (back-off), a
batch in `flying`, or done; whatever is counted is a length or a sum of these.

Refused: a fixed batching window (50 ms for a lone caller, and nothing gained under load); a timer a
ticket (one wake an account tells the shell when to come back).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from operator import attrgetter
from random import Random

from emr.lane import patience
from emr.lane.caps import Caps
from emr.lane.effects import Effects, Note, Send
from emr.lane.fair import ArrivalOrder
from emr.lane.fill import Filling, Room, Threshold, fill, may_be_full, take
from emr.lane.gate import PROBE_TEXTS, TRIED_AGAIN, Gate, Reason
from emr.lane.lane import Lane
from emr.lane.latency import Latency
from emr.lane.pace import Unpaced
from emr.lane.retry import Credits, Resting
from emr.lane.settings import AccountSpec, Home, LaneSettings
from emr.lane.slots import Slots
from emr.lane.ticket import Batch, Params, Request, Ticket

EAGER_HOSTED = 4  # cheap calls of a hosted service whose limit is not known
HOLD_PART = 4  # a text is held back for at most a quarter of the call that it waits for

first_tag = attrgetter("first_tag")


class Account:
    """The state of one account. `wake` is when it wants to be stepped next, infinite for never."""

    def __init__(self, spec: AccountSpec, settings: LaneSettings, rng: Random) -> None:
        self.spec = spec
        self.settings = settings
        self.rng = rng
        # the laws, each with its own state
        self.gate = Gate(settings, rng)
        self.slots = Slots(spec)
        self.pace = Unpaced(spec.calls_per_minute)
        self.caps = Caps(spec)
        self.threshold = Threshold(settings.initial_batch_size, settings.success_streak_threshold)
        self.latency = Latency()
        self.credits = Credits()
        self.order = ArrivalOrder()
        # where tickets are
        self.lanes: dict[Params, Lane] = {}
        self.resting = Resting()
        self.flying: set[Batch] = set()
        # when to look again
        self.wake = math.inf
        self.patience_ends = math.inf  # of the first waiting request to lose it, or before
        self.stale = False  # a request ended elsewhere: its tickets may still wait here
        self.closed = False  # its provider was removed: what waits is still sent, nothing is added
        self.calls = 0

    # what waits

    @property
    def texts(self) -> int:
        """The texts that wait, in lanes and in back-off."""
        return sum([lane.texts for lane in self.lanes.values()]) + self.resting.texts

    @property
    def bytes(self) -> int:
        """The bytes of the texts that wait."""
        return sum([lane.bytes for lane in self.lanes.values()]) + self.resting.bytes

    @property
    def idle(self) -> bool:
        """Whether it holds no ticket at all."""
        return not self.lanes and not self.resting.tickets and not self.flying

    def waiting(self) -> Iterator[Ticket]:
        """Every ticket that waits, in lanes and in back-off."""
        for lane in self.lanes.values():
            yield from lane.waiting
        yield from self.resting.tickets

    def lane_for(self, params: Params, caller: str) -> Lane:
        """The lane for these parameters, made if there is none."""
        lane = self.lanes.get(params)
        if lane is None:
            lane = self.lanes[params] = Lane(params, caller)
        return lane

    def enter(self, request: Request, now: float) -> None:
        """Let a request wait, whole, in its lane."""
        tokens = self.caps.weigh(request.texts, token_ids=request.params.token_ids)
        request.tokens = tokens
        places = range(len(request.texts))
        ticket = Ticket(request, places, self.order.tag(request, sum(tokens)), now)
        self.lane_for(request.params, request.caller).put(ticket)
        self.patience_ends = min(self.patience_ends, patience.ends_at(self, request))

    def put_back(self, ticket: Ticket, now: float) -> None:
        """Let a ticket wait again, at its tag's place; its hold starts anew."""
        ticket.held_at = ticket.waited_from = now
        ticket.weigh_again()
        request = ticket.request
        self.lane_for(request.params, request.caller).put(ticket)

    def look_at_patience(self) -> None:
        """Requests lost patience sooner than was known: a call of theirs failed, or a bin began."""
        self.patience_ends = -math.inf

    def weigh_again(self) -> None:
        """The estimates changed: what waits is weighed by them; what flies, when it comes back."""
        flying = {ticket.request for batch in self.flying for ticket in batch.tickets}
        for request in flying | {ticket.request for ticket in self.waiting()}:
            ids = request.params.token_ids
            request.tokens = self.caps.weigh(request.texts, token_ids=ids)
        for lane in self.lanes.values():
            lane.weigh_again()
        for ticket in self.resting.tickets:
            ticket.weigh_again()

    def sift(self) -> None:
        """Drop the waiting tickets of requests that ended, and lanes in which nothing waits."""
        self.stale = False
        for params, lane in list(self.lanes.items()):
            lane.sift(lambda ticket: not ticket.request.ended)
            if not lane.waiting:
                del self.lanes[params]
        self.resting.sift()

    # the step

    def step(self, now: float, out: Effects) -> None:
        """Send what may go now, end what waited too long, and set `wake`."""
        for ticket in self.resting.over(now, self.credits):
            self.put_back(ticket, now)
        if self.stale:
            self.sift()
        if now >= self.patience_ends:
            self.patience_ends = patience.run_out(self, now, out)
        self.wake = min(self.patience_ends, self.resting.next_at(now, self.credits))
        gate = self.gate
        while self.lanes:
            if gate.refresh(now):
                self.slots.finish()
            if now < gate.until:
                self.wake = min(self.wake, gate.until)
                return
            if len(self.flying) >= min(gate.width, self.slots.limit):
                return
            chosen = self._choose(now)
            if chosen is None:
                return
            lane, filling = chosen
            self._send(lane, filling, now, out)

    def _choose(self, now: float) -> tuple[Lane, Filling] | None:
        """The lane whose turn it is and what of it goes; None after setting `wake`."""
        lanes = list(self.lanes.values())
        if len(lanes) > 1:
            lanes.sort(key=first_tag)
        for lane in lanes:
            filling = self._ready(lane, now)
            if filling is not None:
                return lane, filling
        return None

    def _ready(self, lane: Lane, now: float) -> Filling | None:
        """What of the lane goes now; None when it is held back, with `wake` at the hold's end."""
        room = self._room()
        flying = len(self.flying)
        estimate_s = self.latency.estimate_s(min(lane.tokens, room.tokens))
        eager = flying < self._eager(estimate_s) and lane.texts >= self.threshold.value
        if flying == 0 or eager:
            return fill(lane, room)
        if may_be_full(lane, self.caps):
            filling = fill(lane, room)
            if filling.full:
                return filling
        hold_ends = lane.waiting[0].held_at + min(
            estimate_s / HOLD_PART, self.settings.batch_window_s
        )
        if now >= hold_ends:
            return fill(lane, room)
        self.wake = min(self.wake, hold_ends)
        return None

    def _room(self) -> Room:
        caps = self.caps
        texts = caps.max_texts
        if self.gate.reason in TRIED_AGAIN:
            texts = min(texts, PROBE_TEXTS)
        return Room(texts, caps.max_tokens, caps.max_bytes)

    def _eager(self, estimate_s: float) -> int:
        """E: the calls that are cheap, because calls are left."""
        limit = self.slots.limit
        home = self.spec.home
        if home is Home.LOCAL:
            return 1
        if self.pace.calls_per_minute:
            return min(limit, max(2, int(self.pace.calls_per_minute / 60.0 * estimate_s)))
        return min(limit, EAGER_HOSTED) if home is Home.HOSTED else limit

    def _send(self, lane: Lane, filling: Filling, now: float, out: Effects) -> None:
        """Take what `fill` found out of its lane and ask for the call."""
        tickets = take(lane, filling, self.order)
        if not lane.waiting:
            del self.lanes[lane.params]
        batch = Batch(lane.params, tickets)
        self.calls += 1
        batch.number = self.calls
        batch.sent_at = now
        batch.epoch = self.gate.epoch
        batch.probe = self.gate.reason in TRIED_AGAIN
        for ticket in tickets:
            request = ticket.request
            request.attempts += 1
            request.queue_s = max(request.queue_s, now - ticket.waited_from)
        self.order.served(tickets[0].tag)
        self.pace.charge(now, batch)
        if batch.first_try:
            self.credits.first_attempt(now)
        self.flying.add(batch)
        first_byte_s = self.latency.first_byte_s(batch, self.settings, now)
        out.sends.append(Send(self, batch, first_byte_s, self.settings.call_timeout_s))

    def note(self, out: Effects, event: str, **figures: object) -> None:
        """Ask for a line in the log."""
        out.notes.append(Note(self, event, figures))

    def reset(self) -> None:
        """Forget what was held against the provider: a changed key, a reload, `providers test`."""
        ramping = self.gate.reason in (*TRIED_AGAIN, Reason.RAMP)
        self.gate.clear()
        if ramping:
            self.slots.restart()
