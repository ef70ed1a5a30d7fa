"""Poison isolation: one text that the provider refuses must not fail those who shared its call.

Theory of operation. A refused call of several callers becomes a *trial*. Its callers are halved,
depth first, and each half is sent in a call of its own, never merged with innocents: a good half is
answered, a bad one halved again, down to single callers, who get the provider's words. When both
first halves are refused, one call with a harmless sentence and the same parameters decides: refused
too, the parameters are at fault and all get the error; else the halving goes on. k guilty of n cost
at most 2k * ceil(log2 n) + 2 calls.

Isolation calls go first in the step and obey gate, slots and pace, but take no more than a tenth of
the calls, or one a second: who poisons all day slows himself, not the others. A key with more than
three poisonings a minute travels alone for a minute.

Refused: deciding that the parameters are at fault by counting equal messages (two poisoned texts of
different callers give those, too).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum

from emr.lane.fill import Room
from emr.lane.ticket import Params, Request, Ticket

CANARY = b'"The quick brown fox jumps over the lazy dog."'
SHARE = 0.1  # of all calls
PER_SECOND = 1.0
BURST = 64.0
POISONINGS, POISONER_S = 3, 60.0  # more than so many in so long: calls of its own for as long


class Part(Enum):
    """What an isolation call is in its trial."""

    FIRST_HALF = "first half"
    DEEPER = "deeper"
    CANARY = "canary"


Group = tuple[Part, list[Ticket]]


class Trial:
    """One refused call whose guilty callers are looked for.

    `groups` are the tickets still to be sent, the next one last; each with what it is. While a
    first half or the canary has no answer yet (`deciding` counts those in flight), nothing deeper
    goes: it may not be needed.
    """

    __slots__ = ("deciding", "first_halves_failed", "groups", "params")

    def __init__(self, params: Params) -> None:
        self.params = params
        self.first_halves_failed = 0
        self.deciding = 0
        self.groups: list[Group] = []

    def next_group(self) -> Group | None:
        """The group that may go next."""
        decides = [group for group in self.groups if group[0] is not Part.DEEPER]
        if decides:
            return decides[-1]
        return self.groups[-1] if self.groups and not self.deciding else None

    def halve(self, tickets: Sequence[Ticket], part: Part) -> None:
        """Put two halves, by callers, on top; the first half is sent first."""
        callers: dict[int, list[Ticket]] = {}
        for ticket in tickets:
            callers.setdefault(id(ticket.request), []).append(ticket)
        by_caller = list(callers.values())
        middle = (len(by_caller) + 1) // 2
        for half in (by_caller[middle:], by_caller[:middle]):
            if half:
                self.groups.append((part, [ticket for group in half for ticket in group]))

    @staticmethod
    def fits(group: Group, room: Room) -> bool:
        """Whether a group may travel in one call; a single text always may."""
        tickets = group[1]
        texts = sum([len(ticket.places) for ticket in tickets])
        return texts == 1 or (
            texts <= room.texts
            and sum([ticket.tokens for ticket in tickets]) <= room.tokens
            and sum([ticket.bytes for ticket in tickets]) <= room.bytes
        )

    def split(self, group: Group) -> Group:
        """A cap shrank meanwhile: two groups in place of one; returns the one that goes first."""
        part, tickets = group
        at = self.groups.index(group)
        if len(tickets) == 1:
            (ticket,) = tickets
            rest = [ticket.cut((len(ticket.places) + 1) // 2, ticket.tag)]
        else:
            middle = (len(tickets) + 1) // 2
            tickets, rest = tickets[:middle], tickets[middle:]
        self.groups[at : at + 1] = [(part, rest), (part, tickets)]
        return self.groups[at + 1]

    def ask_canary(self) -> None:
        """Let the harmless sentence go next."""
        self.groups.append((Part.CANARY, [canary_ticket(self.params)]))


def canary_ticket(params: Params) -> Ticket:
    """A ticket of the harmless sentence that nobody waits for."""
    request = Request(params, [CANARY], "", float("inf"), _nobody)
    request.tokens = [len(CANARY) // 4]
    request.bulk = True
    return Ticket(request, range(1), (0.0, True), 0.0)


def _nobody(request: Request) -> None:
    """Nobody waits for the canary."""


class Isolation:
    """The trials of an account, and the allowance of calls for them."""

    __slots__ = ("_allowance", "_at", "_poisonings", "trials")

    def __init__(self) -> None:
        self.trials: list[Trial] = []  # the last one first
        self._allowance = BURST
        self._at = 0.0
        self._poisonings: dict[str, deque[float]] = {}

    @property
    def tickets(self) -> list[Ticket]:
        """All that wait for an isolation call."""
        return [t for trial in self.trials for _, group in trial.groups for t in group]

    def called(self, now: float) -> None:
        """Any call of the account was sent."""
        self._accrue(now)
        self._allowance = min(BURST, self._allowance + SHARE)

    def ready_at(self, now: float) -> float:
        """When an isolation call may go as far as the allowance is concerned."""
        self._accrue(now)
        return now if self._allowance >= 1.0 else now + (1.0 - self._allowance) / PER_SECOND

    def _accrue(self, now: float) -> None:
        self._allowance = min(BURST, self._allowance + PER_SECOND * (now - self._at))
        self._at = now

    def peek(self) -> tuple[Trial, Group] | None:
        """The group that goes next, of the youngest trial that has one."""
        for trial in reversed(self.trials):
            group = trial.next_group()
            if group is not None:
                return trial, group
        return None

    def take(self, trial: Trial, group: Group) -> None:
        """The group that `peek` showed is sent."""
        self._allowance -= 1.0
        trial.groups.remove(group)
        trial.deciding += group[0] is not Part.DEEPER
        if not trial.groups:
            self.trials.remove(trial)

    def put(self, trial: Trial) -> None:
        """The trial has groups to send."""
        if trial.groups and trial not in self.trials:
            self.trials.append(trial)

    def sift(self) -> list[Ticket]:
        """Drop the tickets of requests that ended, and return them."""
        dropped = [ticket for ticket in self.tickets if ticket.request.ended]
        if dropped:
            self._keep(lambda ticket: not ticket.request.ended)
        return dropped

    def remove(self, ticket: Ticket) -> None:
        """Let one ticket go elsewhere."""
        self._keep(lambda each: each is not ticket)

    def _keep(self, stays: Callable[[Ticket], bool]) -> None:
        for trial in self.trials:
            groups = ((part, [t for t in group if stays(t)]) for part, group in trial.groups)
            trial.groups = [(part, group) for part, group in groups if group]
        self.trials = [trial for trial in self.trials if trial.groups]

    def poisoned(self, caller: str, now: float) -> None:
        """A text of the key was refused in a merged call."""
        times = self._poisonings.setdefault(caller, deque(maxlen=POISONINGS + 1))
        times.append(now)
        if len(self._poisonings) > 256:
            self._poisonings = {
                key: seen for key, seen in self._poisonings.items() if seen[-1] > now - POISONER_S
            }

    def travels_alone(self, caller: str, now: float) -> bool:
        """Whether the key poisoned too many calls lately to share one."""
        times = self._poisonings.get(caller)
        return (
            times is not None
            and len(times) > POISONINGS
            and times[-1] - times[0] <= POISONER_S
            and now - times[-1] <= POISONER_S
        )
