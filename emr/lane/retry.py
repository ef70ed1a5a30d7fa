"""How often a broken call may be made again: credits for the account, back-off for the ticket.

The unit of a retry is the ticket, the unit of the budget is the call: a failed call is not a
thousand failures. Sources: Twitter Finagle's RetryBudget and Envoy's retry_budget, which give 0.2
a call; there each call is one caller's. Here a call carries many, slots and gate bound the load of
an outage already, and 0.2 would serve two thirds of the callers at 50% errors where asking the
provider directly serves 87%.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from emr.lane.ticket import Ticket

if TYPE_CHECKING:
    from random import Random


# two retries at an error rate p cost p + p²: 0.75 a call at one half. With 0.5 a lone provider that
# fails half of 20 calls a second serves 0.81 of them, with 0.75 0.87 (asking it directly: 0.875)
PER_FIRST_ATTEMPT = 0.75
PER_SECOND = 1.0
RESERVE = 10.0  # at the start, and what is left when there is no traffic
WINDOW_S = 10.0
BACKOFF_FIRST_S = 0.5
ROUNDING = 1e-6  # of a credit: seconds of a clock that was up for years, added up and taken apart


class Credits:
    """The retry credits of an account."""

    __slots__ = ("_at", "_balance", "_firsts")

    def __init__(self) -> None:
        self._balance = RESERVE
        self._at = 0.0
        self._firsts: deque[float] = deque()

    def first_attempt(self, now: float) -> None:
        """A call was sent that carries at least one ticket for the first time."""
        self._accrue(now)
        self._firsts.append(now)
        self._balance = min(self._most(), self._balance + PER_FIRST_ATTEMPT)

    def take(self, now: float) -> bool:
        """Pay for one call to be made again; False when there is no credit."""
        self._accrue(now)
        if self._balance < 1.0 - ROUNDING:
            return False
        self._balance = max(0.0, self._balance - 1.0)
        return True

    def next_at(self, now: float) -> float:
        """When the next credit will be there, by time alone."""
        self._accrue(now)
        return now + max(0.0, 1.0 - self._balance) / PER_SECOND

    @property
    def balance(self) -> float:
        """The credits there were at the last look."""
        return self._balance

    def _accrue(self, now: float) -> None:
        passed, self._at = now - self._at, now
        while self._firsts and self._firsts[0] <= now - WINDOW_S:
            self._firsts.popleft()
        # grows by time only while there is traffic: `passed` over a pause counts as the window
        self._balance = min(self._most(), self._balance + PER_SECOND * min(passed, WINDOW_S))

    def _most(self) -> float:
        return RESERVE + PER_FIRST_ATTEMPT * len(self._firsts)


class Resting:
    """The tickets in back-off: those with a time, and calls' worth of them that owe a credit."""

    __slots__ = ("_count", "_owing", "_timed")

    def __init__(self) -> None:
        self._timed: list[tuple[float, int, Ticket]] = []
        self._owing: deque[list[Ticket]] = deque()
        self._count = 0

    def put(self, ticket: Ticket, until: float) -> None:
        """Let a ticket rest until then."""
        self._count += 1
        heappush(self._timed, (until, self._count, ticket))

    def owe(self, tickets: list[Ticket]) -> None:
        """Let the tickets of one call rest until there is a credit for it."""
        self._owing.append(tickets)

    def over(self, now: float, credits: Credits) -> list[Ticket]:
        """The tickets whose rest is over, in the order in which it ended."""
        ended: list[Ticket] = []
        while self._timed and self._timed[0][0] <= now:
            ended.append(heappop(self._timed)[2])
        while self._owing and credits.take(now):
            ended.extend(self._owing.popleft())
        return ended

    def next_at(self, now: float, credits: Credits) -> float:
        """When the next rest is over, infinite when nothing rests."""
        at = self._timed[0][0] if self._timed else math.inf
        return min(at, credits.next_at(now)) if self._owing else at

    def remove(self, ticket: Ticket) -> bool:
        """Let one ticket go elsewhere; False when it does not rest here."""
        if ticket not in self.tickets:
            return False
        self._keep(lambda each: each is not ticket)
        return True

    def sift(self) -> list[Ticket]:
        """Drop the tickets of requests that ended, and return them."""
        dropped = [ticket for ticket in self.tickets if ticket.request.ended]
        if dropped:
            self._keep(lambda each: not each.request.ended)
        return dropped

    def _keep(self, stays: Callable[[Ticket], bool]) -> None:
        self._timed = [entry for entry in self._timed if stays(entry[2])]
        heapify(self._timed)
        owing = ([ticket for ticket in group if stays(ticket)] for group in self._owing)
        self._owing = deque(group for group in owing if group)

    @property
    def empty(self) -> bool:
        """Whether nothing rests."""
        return not (self._timed or self._owing)

    @property
    def tickets(self) -> list[Ticket]:
        """All that rest."""
        return [entry[2] for entry in self._timed] + [t for group in self._owing for t in group]


def backoff_s(tries: int, cap_s: float, rng: Random) -> float:
    """The wait before try `tries` + 1: full jitter under a doubling bound (AWS's scheme)."""
    return rng.uniform(0.0, min(cap_s, BACKOFF_FIRST_S * 2.0 ** (tries - 1)))
