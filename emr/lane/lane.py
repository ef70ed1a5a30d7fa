"""A lane: the tickets that may share a call, in the order of their tags."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable

from emr.lane.ticket import Params, Ticket


def _tag(ticket: Ticket) -> float:
    return ticket.tag


class Lane:
    """Owns its waiting tickets and nothing else; dropped when nothing waits.

    `texts`, `tokens` and `bytes` are the sums over the waiting tickets. `owner` is the caller
    whose ticket made the lane.
    """

    __slots__ = ("bytes", "owner", "params", "texts", "tokens", "waiting")

    def __init__(self, params: Params, owner: str) -> None:
        self.params = params
        self.owner = owner
        self.waiting: list[Ticket] = []
        self.texts = self.tokens = self.bytes = 0

    def put(self, ticket: Ticket) -> None:
        """Let a ticket wait at its tag's place."""
        waiting = self.waiting
        if not waiting or waiting[-1].tag <= ticket.tag:
            waiting.append(ticket)
        else:
            insort(waiting, ticket, key=_tag)
        self._count(ticket, 1)

    def take(self, tickets: int) -> list[Ticket]:
        """The first so many tickets, no longer waiting here."""
        taken = self.waiting[:tickets]
        del self.waiting[:tickets]
        for ticket in taken:
            self._count(ticket, -1)
        return taken

    def cut_first(self, index: int, texts: int, tag: float) -> None:
        """Cut the waiting ticket at `index`: its first texts stay there, the rest comes behind."""
        ticket = self.waiting[index]
        rest = ticket.cut(texts, tag)
        self.waiting.insert(index + 1, rest)

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

    def _count(self, ticket: Ticket, sign: int) -> None:
        self.texts += sign * len(ticket.places)
        self.tokens += sign * ticket.tokens
        self.bytes += sign * ticket.bytes
