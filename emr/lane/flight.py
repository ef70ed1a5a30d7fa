"""Single-flight: equal texts of one lane share one place, waiting or in flight.

The first to ask for a text *holds* it: it is in his ticket. Who asks for the same text later waits
for that one, takes no room and costs no call. A holder who leaves (his caller went, his deadline
passed) takes only himself away: the first waiter who is still there holds the text from then on. A
newcomer whose tag is smaller takes a waiting text over into his own ticket, so that nobody waits
longer because somebody slower asked first.

The key is the raw text within the lane's parameters; nothing is normalised, for that would change
vectors. With `scope = key` it is the text of one key: whether a text was asked before tells nobody
else anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from emr.lane.ticket import Batch, Params, Request, Ticket

Waiter = tuple[Request, int]  # a request, and the place of the text in it
Key = bytes | tuple[str, bytes]


class Flight:
    """A text that is asked for once: who holds it, and who waits for it beside."""

    __slots__ = ("holder", "waiters")

    def __init__(self, holder: Request) -> None:
        self.holder = holder
        self.waiters: list[Waiter] = []

    def living(self) -> list[Waiter]:
        """The waiters who are still there."""
        return [waiter for waiter in self.waiters if not waiter[0].ended]


class Flights:
    """The texts of an account that wait or fly, by lane and text."""

    __slots__ = ("_by_lane", "_shared")

    def __init__(self, *, shared: bool) -> None:
        self._shared = shared
        self._by_lane: dict[Params, dict[Key, Flight]] = {}

    def _key(self, request: Request, place: int) -> Key:
        text = request.texts[place]
        return text if self._shared else (request.caller, text)

    def join(self, request: Request) -> Sequence[int]:
        """Let a request wait for texts that are under way; returns the places that are not."""
        table = self._by_lane.get(request.params)
        if table is None:
            table = self._by_lane[request.params] = {}
        held: list[int] = []
        for place in range(len(request.texts)):
            key = self._key(request, place)
            flight = table.get(key)
            if flight is None:
                table[key] = Flight(request)
                held.append(place)
            else:
                flight.waiters.append((request, place))
        return held

    def of(self, request: Request, place: int) -> Flight | None:
        """The flight of a text, if this request holds it."""
        table = self._by_lane.get(request.params)
        flight = None if table is None else table.get(self._key(request, place))
        return flight if flight is not None and flight.holder is request else None

    def found(self, request: Request, place: int) -> Flight | None:
        """The flight that a text of a request waits for, whoever holds it."""
        table = self._by_lane.get(request.params)
        return None if table is None else table.get(self._key(request, place))

    def end(self, request: Request, places: Iterable[int]) -> list[tuple[int, list[Waiter]]]:
        """These texts are no longer under way; returns who still waits for which of them."""
        table = self._by_lane.get(request.params)
        if table is None:
            return []
        left: list[tuple[int, list[Waiter]]] = []
        for place in places:
            key = self._key(request, place)
            flight = table.get(key)
            if flight is None or flight.holder is not request:
                continue
            del table[key]
            if flight.waiters:
                living = flight.living()
                if living:
                    left.append((place, living))
        if not table:
            del self._by_lane[request.params]
        return left

    def hold_again(self, request: Request, waiters: Iterable[Waiter], place: int) -> None:
        """A text is under way once more: `request` holds it at `place`, the others wait."""
        table = self._by_lane.setdefault(request.params, {})
        flight = table[self._key(request, place)] = Flight(request)
        flight.waiters = [waiter for waiter in waiters if waiter != (request, place)]

    def texts(self) -> int:
        """The texts that are under way."""
        return sum([len(table) for table in self._by_lane.values()])


def promoted(flights: Flights, tickets: Iterable[Ticket]) -> dict[Request, list[int]]:
    """The holders of `tickets` ended: who holds their texts now, and at which places."""
    heirs: dict[Request, list[int]] = {}
    for ticket in tickets:
        for _, waiters in flights.end(ticket.request, ticket.places):
            heir, place = waiters[0]
            flights.hold_again(heir, waiters, place)
            heirs.setdefault(heir, []).append(place)
    return heirs


def waiters_of(flights: Flights, batch: Batch) -> dict[tuple[Request, int], list[Waiter]]:
    """Who waits for the texts of a batch beside their holders; the texts are not under way now."""
    found: dict[tuple[Request, int], list[Waiter]] = {}
    for ticket in batch.tickets:
        for place, waiters in flights.end(ticket.request, ticket.places):
            found[ticket.request, place] = waiters
    return found
