"""Single-flight: equal texts of one lane share one place, waiting or in flight.

The first to ask for a text *holds* it: it is in his ticket. Who asks for the same text later waits
for that one, takes no room and costs no call. A holder who leaves (his caller went, his deadline
passed) takes only himself away: the first waiter who is still there holds the text from then on. A
newcomer whose tag is smaller takes a waiting text over into his own ticket, so that nobody waits
longer because somebody slower asked first.

The key is the raw text within the lane's parameters; nothing is normalised, for that would change
vectors. With `scope = key` it is the text of one key: whether a text was asked before tells nobody
else anything. Requests share a text only where the same accounts may answer them: else a text that
moves to a twin would take with it who named the provider, and one that fails at that provider would
fail who may do without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from emr.lane.ticket import Params, Request

if TYPE_CHECKING:
    from emr.lane.account import Account

Waiter = tuple[Request, int]  # a request, and the place of the text in it
Key = bytes | tuple[str, bytes]
Kind = tuple[Params, "tuple[Account, ...]"]  # of requests that may share a text


class Flight:
    """A text that is asked for once: who holds it at which place, and who waits for it beside."""

    __slots__ = ("holder", "place", "waiters")

    def __init__(self, holder: Request, place: int) -> None:
        self.holder = holder
        self.place = place
        self.waiters: list[Waiter] = []


class Flights:
    """The texts of an account that wait or fly, by lane, members and text."""

    __slots__ = ("_shared", "_tables")

    def __init__(self, *, shared: bool) -> None:
        self._shared = shared
        self._tables: dict[Kind, dict[Key, Flight]] = {}

    def _key(self, request: Request, place: int) -> Key:
        text = request.texts[place]
        return text if self._shared else (request.caller, text)

    def join(self, request: Request) -> tuple[list[int], list[tuple[int, Flight]]]:
        """The places of texts that are new, now held, and those under way with their flights.

        Whoever waits for a text is added to its flight by `wait`, or takes it over.
        """
        table = self._tables.setdefault(kind_of(request), {})
        held: list[int] = []
        known: list[tuple[int, Flight]] = []
        for place in request.wanted:
            key = self._key(request, place)
            flight = table.get(key)
            if flight is None:
                table[key] = Flight(request, place)
                held.append(place)
            else:
                known.append((place, flight))
        return held, known

    @staticmethod
    def wait(flight: Flight, request: Request, place: int) -> None:
        """Wait for a text beside its holder, and keep no other copy of it."""
        request.texts[place] = flight.holder.texts[flight.place]
        flight.waiters.append((request, place))

    @staticmethod
    def take_over(flight: Flight, request: Request, place: int) -> None:
        """Hold a text from now on; who held it waits."""
        flight.waiters.append((flight.holder, flight.place))
        flight.holder, flight.place = request, place

    def end(self, request: Request, places: Iterable[int]) -> list[tuple[int, list[Waiter]]]:
        """These texts of their holder are no longer under way; who still waits for which."""
        kind = kind_of(request)
        table = self._tables.get(kind)
        if table is None:
            return []
        left: list[tuple[int, list[Waiter]]] = []
        for place in places:
            key = self._key(request, place)
            flight = table.get(key)
            if flight is None or flight.holder is not request or flight.place != place:
                continue
            del table[key]
            if flight.waiters:
                living = [waiter for waiter in flight.waiters if not waiter[0].ended]
                if living:
                    left.append((place, living))
        if not table:
            del self._tables[kind]
        return left

    def adopt(self, request: Request, place: int, waiters: Sequence[Waiter]) -> bool:
        """A text comes from another account with those who wait for it.

        True: it is held by the same request here; False: it is under way here already, and all of
        them wait for that.
        """
        table = self._tables.setdefault(kind_of(request), {})
        key = self._key(request, place)
        flight = table.get(key)
        if flight is not None:
            flight.waiters += [(request, place), *waiters]
            return False
        flight = table[key] = Flight(request, place)
        flight.waiters = list(waiters)
        return True

    def hold(self, waiters: Sequence[Waiter]) -> Waiter:
        """A text goes on waiting: the first of the waiters holds it, the others wait for him."""
        (request, place), *others = waiters
        table = self._tables.setdefault(kind_of(request), {})
        flight = table[self._key(request, place)] = Flight(request, place)
        flight.waiters = others
        return request, place

    def waiters(self) -> Iterator[Waiter]:
        """Everyone who waits for a text beside its holder."""
        for table in self._tables.values():
            for flight in table.values():
                yield from flight.waiters

    @property
    def texts(self) -> int:
        """The texts that are under way."""
        return sum([len(table) for table in self._tables.values()])


def kind_of(request: Request) -> Kind:
    """Requests of one kind may share their texts."""
    return request.params, tuple(request.members)
