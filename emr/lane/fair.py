"""Who goes first: tags in the order of arrival, for every flow alike."""

from __future__ import annotations

from emr.lane.ticket import Request, Ticket


class ArrivalOrder:
    """Gives each ticket the tag by which it is ordered."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0.0

    def tag(self, request: Request, tokens: int) -> float:
        """The tag of a new ticket, or of one that goes to the back."""
        self._last += 1.0
        return self._last

    def tag_of_rest(self, ticket: Ticket, tokens: int) -> float:
        """The tag of what is left of a ticket when so many of its tokens were cut off."""
        return ticket.tag

    def served(self, tag: float) -> None:
        """A batch was taken whose first ticket had this tag."""
