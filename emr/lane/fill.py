"""How large a call is: which of a lane's first tickets go together, and where one is cut.

Filling goes through the tickets in tag order up to the caps. A ticket that does not fit is cut if
it is on its first try and at least an eighth of the call would stay empty; else filling stops
there. The first ticket is always cut to fit, retried or not, so that an oversized one cannot wedge
the lane. Behind the first, retried tickets are never cut: each piece would have a fate of its own.

Without cutting, one single text sent while the head of bulk does not fit burns a whole call
(simulated: bulk beside single texts at 300 calls a minute, 638 against 387 texts a second).
"""

from __future__ import annotations

from dataclasses import dataclass

from emr.lane.caps import Caps
from emr.lane.fair import FairOrder
from emr.lane.lane import Lane
from emr.lane.ticket import Ticket

WORTH_A_CUT = 8  # an eighth of a call


@dataclass(slots=True)
class Filling:
    """A batch as it would be taken now: whole tickets, and a cut of the one behind them.

    `full`: nothing more fits, so that waiting longer would not make the call larger. `bulk`: a
    ticket of it is bulk.
    """

    tickets: int
    cut_texts: int
    full: bool
    texts: int
    tokens: int
    bulk: bool

    def add(self, ticket: Ticket, texts: int, tokens: int) -> None:
        """Count so many texts of a ticket."""
        self.texts += texts
        self.tokens += tokens
        self.bulk = self.bulk or ticket.request.bulk


@dataclass(slots=True)
class Room:
    """The most that one call may carry."""

    texts: int
    tokens: int
    bytes: int


class Threshold:
    """K, the texts that must wait before a lane sends while a call is in flight.

    The AIMD that operators of the reference router know and set. It doubles on a rate limit, once
    an epoch, and goes down by one after a streak of clean calls.
    """

    __slots__ = ("_clean", "_streak", "value")

    def __init__(self, first: int, streak: int) -> None:
        self.value = first
        self._streak = streak
        self._clean = 0

    def rate_limited(self, max_texts: int) -> None:
        """A rate limit was met, for the first time in its epoch."""
        self._clean = 0
        self.value = max(1, min(max_texts, self.value * 2))

    def broken(self) -> None:
        """A call did not end well: the streak begins anew."""
        self._clean = 0

    def clean(self) -> bool:
        """A call ended well; True when K changed."""
        self._clean += 1
        if self._clean < self._streak or self.value == 1:
            return False
        self._clean = 0
        self.value -= 1
        return True


def may_be_full(lane: Lane, caps: Caps) -> bool:
    """The cheap question before `fill`: may what waits fill a call at the caps, or be cut short?

    Filling stops early only at a ticket that does not fit, so that the lane's sums are over a
    cap, or at one that may not travel in just any call.
    """
    return (
        lane.texts >= caps.max_texts
        or lane.tokens >= caps.max_tokens
        or lane.bytes >= caps.max_bytes
        or lane.limited > 0
        or lane.params.whole is not None
    )


def fill(lane: Lane, room: Room) -> Filling:
    """What would go now into a call with so much room; a lane is never empty here."""
    waiting = lane.waiting
    first = waiting[0]
    if lane.params.whole is not None:  # alone, and as it came
        return Filling(1, 0, True, len(first.places), first.tokens, first.request.bulk)
    texts_left, tokens_left, bytes_left = room.texts, room.tokens, room.bytes
    if first.most_texts:
        texts_left = min(texts_left, first.most_texts)
    found = Filling(0, 0, False, 0, 0, False)
    for n, ticket in enumerate(waiting):
        if n and (ticket.alone or first.alone):
            found.full = True
            break
        if ticket.most_texts and n:
            texts_left = min(texts_left, ticket.most_texts - found.texts)
        count = len(ticket.places)
        if count <= texts_left and ticket.tokens <= tokens_left and ticket.bytes <= bytes_left:
            found.add(ticket, count, ticket.tokens)
            found.tickets += 1
            texts_left -= count
            tokens_left -= ticket.tokens
            bytes_left -= ticket.bytes
            if texts_left == 0:
                found.full = True
                break
            continue
        found.full = True
        worth = (
            texts_left * WORTH_A_CUT >= found.texts + texts_left
            and tokens_left * WORTH_A_CUT >= room.tokens
            and bytes_left * WORTH_A_CUT >= room.bytes
        )
        if n == 0 or (worth and ticket.tries == 0 and not ticket.most_texts):
            fits, tokens = _fits(ticket, texts_left, tokens_left, bytes_left)
            if n == 0 and fits == 0:
                fits, tokens = 1, ticket.request.tokens[ticket.places[0]]
            found.cut_texts = fits
            found.add(ticket, fits, tokens)
        break
    return found


def _fits(ticket: Ticket, texts: int, tokens: int, size: int) -> tuple[int, int]:
    """How many of the ticket's first texts fit into what is left of a call, and their tokens."""
    request = ticket.request
    fits, weight = 0, 0
    for place in ticket.places[: max(0, texts)]:
        size -= len(request.texts[place])
        more = weight + request.tokens[place]
        if more > tokens or size < 0:
            break
        weight = more
        fits += 1
    return fits, weight


def take(lane: Lane, filling: Filling, order: FairOrder) -> list[Ticket]:
    """Take what `fill` found; the rest of a cut ticket goes on waiting."""
    tickets = filling.tickets
    if filling.cut_texts:
        ticket = lane.waiting[tickets]
        if filling.cut_texts < len(ticket.places):
            tokens = sum([ticket.request.tokens[i] for i in ticket.places[: filling.cut_texts]])
            lane.cut_first(tickets, filling.cut_texts, order.tag_of_rest(ticket, tokens))
        tickets += 1
    return lane.take(tickets)
