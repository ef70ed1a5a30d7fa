"""An account: one credential of a provider at one limit scope, its laws, where its tickets are.

Rules of this file. It only stores; `emr.lane.step` decides what is sent, `emr.lane.settle` what a
reply does. Nothing in the core reads a clock; `now` is handed in, in seconds of one steady clock.

A ticket is in exactly one place: a lane, `resting` (back-off), `isolation`, a batch in `flying`, or
done. Whatever is counted is a length, or a sum of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from emr.lane import patience
from emr.lane.caps import Caps
from emr.lane.effects import Effects, Note
from emr.lane.fair import FairOrder
from emr.lane.fill import Threshold
from emr.lane.flight import Flight, Flights, Waiter
from emr.lane.forecast import Outlook
from emr.lane.gate import TRIED_AGAIN, Gate, Reason
from emr.lane.lane import Lane
from emr.lane.latency import Latency
from emr.lane.lengths import Lengths
from emr.lane.pace import Pace
from emr.lane.poison import Isolation
from emr.lane.retry import Credits, Resting
from emr.lane.settings import AccountSpec, LaneSettings
from emr.lane.slots import Slots
from emr.lane.ticket import Batch, Params, Request, Ticket

if TYPE_CHECKING:
    from random import Random


class Account:
    """The state of one account. `wake` is when it wants to be stepped next, infinite for never."""

    def __init__(self, spec: AccountSpec, settings: LaneSettings, rng: Random) -> None:
        self.spec = spec
        self.settings = settings
        self.rng = rng
        # the laws, each with its own state
        self.gate = Gate(settings, rng)
        self.slots = Slots(spec)
        self.pace = Pace(spec)
        self.caps = Caps(spec)
        self.threshold = Threshold(settings.initial_batch_size, settings.success_streak_threshold)
        self.latency = Latency()
        self.credits = Credits()
        self.order = FairOrder()
        self.lengths = Lengths(spec.dimensions)
        # where tickets are
        self.lanes: dict[Params, Lane] = {}
        self.resting = Resting()
        self.isolation = Isolation()
        self.flights = Flights(shared=settings.share_flights)
        self.flying: set[Batch] = set()
        # when to look again
        self.wake = math.inf
        self.patience_ends = math.inf  # of the first waiting request to lose it, or before
        self.touched = False  # something happened to it since the last step
        self.stale = False  # a request ended elsewhere: its tickets may still wait here
        self.family: Sequence[Account] = (self,)  # that may answer for it, itself included
        self.taken = 0.0  # texts that were let in, over the weight: of equals the least is next
        self.passed = 0  # requests that went to another member since it worked on anything
        self.outlook: Outlook | None = None  # until something happens
        self.last_params: Params | None = None
        self.closed = False  # its provider was removed: what waits is still sent, nothing is added
        self.calls = 0

    # what waits

    def aside(self) -> Sequence[Ticket]:
        """The tickets that wait outside lanes: in back-off, or for an isolation call."""
        if self.resting.empty and not self.isolation.trials:
            return ()
        return self.resting.tickets + self.isolation.tickets

    def waiting(self) -> Iterator[Ticket]:
        """Every ticket that waits."""
        for lane in self.lanes.values():
            yield from lane.waiting
        yield from self.aside()

    @property
    def texts(self) -> int:
        """The texts that wait."""
        inside = sum([lane.texts for lane in self.lanes.values()])
        return inside + sum([len(ticket.places) for ticket in self.aside()])

    @property
    def tokens(self) -> int:
        """The estimated tokens of what waits."""
        inside = sum([lane.tokens for lane in self.lanes.values()])
        return inside + sum([ticket.tokens for ticket in self.aside()])

    @property
    def bytes(self) -> int:
        """The bytes of the texts that wait."""
        inside = sum([lane.bytes for lane in self.lanes.values()])
        return inside + sum([ticket.bytes for ticket in self.aside()])

    @property
    def idle(self) -> bool:
        """Whether it holds no ticket at all."""
        return not self.lanes and not self.flying and not self.aside()

    # tickets come and go

    def enter(self, request: Request, now: float) -> None:
        """Let what is wanted of a request that was weighed wait in its lane."""
        if not request.bulk:
            self.pace.interactive_came(now)
        self.last_params = request.params.of_texts
        alone = self.isolation.travels_alone(request.caller, now)
        if alone or request.params.whole is not None:
            self._wait(request, request.wanted, now, alone=alone)
            return
        held, known = self.flights.join(request)
        for place, flight in known:
            if self._overtakes(request, flight):
                self.flights.take_over(flight, request, place)
                held.append(place)
            else:
                self.flights.wait(flight, request, place)
        if held:
            self._wait(request, sorted(held), now, alone=False)

    def _wait(self, request: Request, places: Sequence[int], now: float, *, alone: bool) -> None:
        """Let these texts of a request wait in a new ticket."""
        tokens = sum([request.tokens[place] for place in places])
        ticket = Ticket(request, places, self.order.tag(request, tokens), now)
        ticket.alone = alone
        self.lane_for(request).put(ticket)
        self.taken += len(places) / self.spec.weight
        self.patience_ends = min(self.patience_ends, patience.ends_at(self, request))

    def _overtakes(self, request: Request, flight: Flight) -> bool:
        """Whether a text still waits, behind where this request would; it is taken out then."""
        lane = self.lanes.get(request.params)
        if lane is None or flight.holder.params != request.params:
            return False
        tag = (self.order.start(request), request.bulk)
        if tag >= lane.waiting[-1].tag:
            return False
        ticket = lane.ticket_of(flight.holder, flight.place)
        if ticket is None or tag >= ticket.tag or ticket.alone:
            return False
        lane.drop_text(ticket, flight.place)
        if not lane.waiting:
            del self.lanes[request.params]
        return True

    def promote(self, waiters: Iterable[Sequence[Waiter]], now: float) -> None:
        """The holders of texts ended: the first who still waits for each holds it from now on."""
        heirs: dict[Request, list[int]] = {}
        for each in waiters:
            heir, place = self.flights.hold(each)
            heirs.setdefault(heir, []).append(place)
        for heir, places in heirs.items():
            self._wait(heir, sorted(places), now, alone=False)

    def put_back(self, ticket: Ticket, now: float) -> None:
        """Let a ticket wait again, before others of its tag."""
        ticket.returned(now)
        self.lane_for(ticket.request).put_back(ticket)

    def release(self, ticket: Ticket) -> None:
        """Let a waiting ticket go elsewhere."""
        lane = self.lanes.get(ticket.request.params)
        if lane is not None and lane.remove(ticket):
            if not lane.waiting:
                del self.lanes[ticket.request.params]
        elif not self.resting.remove(ticket):
            self.isolation.remove(ticket)

    def lane_for(self, request: Request) -> Lane:
        """The lane in which its tickets wait; a new one when there is none."""
        lane = self.lanes.get(request.params)
        if lane is None:
            lane = self.lanes[request.params] = Lane(request.params, request.caller)
        return lane

    def sift(self, now: float) -> None:
        """Drop the waiting tickets of requests that ended, and lanes in which nothing waits.

        Who waited for one of their texts holds it from now on.
        """
        self.stale = False
        dropped = [*self.resting.sift(), *self.isolation.sift()]
        for params, lane in list(self.lanes.items()):
            dropped += lane.sift(lambda ticket: not ticket.request.ended)
            if not lane.waiting:
                del self.lanes[params]
        for ticket in dropped:
            left = self.flights.end(ticket.request, ticket.places)
            if left:
                self.promote([waiters for _, waiters in left], now)

    # what its laws need to be told

    def refresh(self, now: float) -> None:
        """Let what only time ends of the gate come to its end."""
        if self.gate.refresh(now):
            self.slots.finish()

    def look_at_patience(self) -> None:
        """Requests lost patience sooner than was known: a call of theirs failed, or a bin began."""
        self.patience_ends = -math.inf

    def weigh_again(self) -> None:
        """The estimates changed: what waits is weighed by them; what flies, when it comes back."""
        flying = {ticket.request for batch in self.flying for ticket in batch.tickets}
        for request in flying | {ticket.request for ticket in self.waiting()}:
            request.weigh(self.caps)
        for lane in self.lanes.values():
            lane.weigh_again()
        for ticket in self.aside():
            ticket.weigh_again()

    def rate_calls(self, seconds: float) -> float:
        """The calls that a known limit keeps in flight when each takes so long, else 0."""
        return (self.pace.calls_per_minute or 0.0) / 60.0 * seconds

    def reset(self) -> None:
        """Forget what was held against the provider: a changed key, a reload, `providers test`."""
        ramping = self.gate.reason in (*TRIED_AGAIN, Reason.RAMP)
        self.gate.clear()
        if ramping:
            self.slots.restart()

    def note(self, out: Effects, event: str, **figures: object) -> None:
        """Ask for a line in the log."""
        out.notes.append(Note(self, event, figures))
