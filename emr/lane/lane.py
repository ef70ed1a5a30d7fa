"""A lane: the tickets that may share a call, in the order of their tags."""

from __future__ import annotations

from bisect import insort, insort_left
from collections.abc import Callable

from emr.lane.fair import Flow, flow_of
from emr.lane.ticket import Params, Request, Tag, Ticket


class Load:
    """What waits of something: tickets, their texts, their tokens."""

    __slots__ = ("texts", "tickets", "tokens")

    def __init__(self) -> None:
        self.tickets = self.texts = self.tokens = 0


def _tag(ticket: Ticket) -> Tag:
    return ticket.tag


class Lane:
    """Owns its waiting tickets and nothing else; dropped when nothing waits.

    `texts`, `tokens` and `bytes` are the sums over the waiting tickets, `flows` the same by flow,
    `limited` counts those that may not travel in just any call. `owner` is the caller whose ticket
    made the lane.
    """

    __slots__ = ("bytes", "flows", "limited", "owner", "params", "texts", "tokens", "waiting")

    def __init__(self, params: Params, owner: str) -> None:
        self.params = params
        self.owner = owner
        self.waiting: list[Ticket] = []
        self.texts = self.tokens = self.bytes = self.limited = 0
        # kept as sums because every request that is refused at the door asks for them: adding up
        # thousands of waiting tickets would cost more than to answer
        self.flows: dict[Flow, Load] = {}

    @property
    def first_tag(self) -> Tag:
        """The tag by which lanes are ordered."""
        return self.waiting[0].tag

    def put(self, ticket: Ticket) -> None:
        """Let a ticket wait at its tag's place."""
        waiting = self.waiting
        if not waiting or waiting[-1].tag <= ticket.tag:
            waiting.append(ticket)
        else:
            insort(waiting, ticket, key=_tag)
        self._count(ticket, 1)

    def put_back(self, ticket: Ticket) -> None:
        """Let a ticket that was out wait again, before those of the same tag.

        Hundreds of flows that come at once have the same tag; behind them all a ticket that was
        refused once would lose its patience before its turn.
        """
        insort_left(self.waiting, ticket, key=_tag)
        self._count(ticket, 1)

    def take(self, tickets: int) -> list[Ticket]:
        """The first so many tickets, no longer waiting here."""
        taken = self.waiting[:tickets]
        del self.waiting[:tickets]
        for ticket in taken:
            self._count(ticket, -1)
        return taken

    def ticket_of(self, request: Request, place: int) -> Ticket | None:
        """The waiting ticket in which this text of a request is."""
        for ticket in self.waiting:
            if ticket.request is request and place in ticket.places:
                return ticket
        return None

    def drop_text(self, ticket: Ticket, place: int) -> None:
        """A text of a waiting ticket waits elsewhere from now on."""
        self._count(ticket, -1)
        ticket.places = [each for each in ticket.places if each != place]
        ticket.measure()
        if ticket.places:
            self._count(ticket, 1)
        else:
            self.waiting.remove(ticket)

    def remove(self, ticket: Ticket) -> bool:
        """Let one ticket go elsewhere; False when it does not wait here."""
        if ticket not in self.waiting:
            return False
        self.waiting.remove(ticket)
        self._count(ticket, -1)
        return True

    def cut_first(self, index: int, texts: int, tag: Tag) -> None:
        """Cut the waiting ticket at `index`: its first texts stay there, the rest comes behind."""
        ticket = self.waiting[index]
        self._count(ticket, -1)
        rest = ticket.cut(texts, tag)
        self._count(ticket, 1)
        self._count(rest, 1)
        at = index + 1
        while at < len(self.waiting) and self.waiting[at].tag < tag:
            at += 1
        self.waiting.insert(at, rest)

    def sift(self, stays: Callable[[Ticket], bool]) -> list[Ticket]:
        """Keep the tickets for which `stays` is true; the others are returned."""
        kept: list[Ticket] = []
        out: list[Ticket] = []
        for ticket in self.waiting:
            (kept if stays(ticket) else out).append(ticket)
        if out:
            self.waiting = kept
            for ticket in out:
                self._count(ticket, -1)
        return out

    def weigh_again(self) -> None:
        """The estimates of the requests changed: take the tokens anew."""
        for load in self.flows.values():
            load.tokens = 0
        for ticket in self.waiting:
            ticket.weigh_again()
            self.flows[flow_of(ticket.request)].tokens += ticket.tokens
        self.tokens = sum([ticket.tokens for ticket in self.waiting])

    def _count(self, ticket: Ticket, sign: int) -> None:
        texts, tokens = sign * len(ticket.places), sign * ticket.tokens
        self.texts += texts
        self.tokens += tokens
        self.bytes += sign * ticket.bytes
        flow = flow_of(ticket.request)
        load = self.flows.get(flow)
        if load is None:
            load = self.flows[flow] = Load()
        load.tickets += sign
        load.texts += texts
        load.tokens += tokens
        if load.tickets == 0:
            del self.flows[flow]
        if ticket.alone or ticket.most_texts:
            self.limited += sign
