"""The table of accounts: the core's border towards its shell.

`offer` only stores; `step` and `settle` decide and return effects, which the shell carries out.
The core never looks at a clock: the shell asks `next_deadline` and comes back then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from emr.lane import door, words
from emr.lane.account import Account
from emr.lane.effects import Effects
from emr.lane.family import choose
from emr.lane.gate import Reason
from emr.lane.settings import AccountSpec, LaneSettings
from emr.lane.settle import settle
from emr.lane.step import step
from emr.lane.ticket import Batch, Request
from emr.lane.verdict import Outcome

if TYPE_CHECKING:
    from random import Random


DEAD_DEADLINES = 64  # kept before the heap of deadlines is cleared of requests that ended


class Roster:
    """All accounts, and the requests in them.

    Mutable state: the accounts (those of removed providers until they are idle), the live requests
    by their number, and the heap of their deadlines, which holds no request itself: one that ended
    long before its deadline would be kept with its texts and vectors.
    """

    def __init__(self, settings: LaneSettings, rng: Random) -> None:
        self.settings = settings
        self._rng = rng
        self.accounts: list[Account] = []
        self._live: dict[int, Request] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._offered = 0

    def open(self, spec: AccountSpec) -> Account:
        """A new account."""
        account = Account(spec, self.settings, self._rng)
        self.accounts.append(account)
        return account

    @staticmethod
    def relate(accounts: Sequence[Account]) -> None:
        """These accounts are of one family: each gives the same vector for a text."""
        for account in accounts:
            if any(member not in account.family for member in accounts):
                account.family = tuple(dict.fromkeys((*account.family, *accounts)))

    def close(self, account: Account) -> None:
        """Nothing more is offered to the account; what waits in it is still sent."""
        account.closed = True
        for member in account.family:
            if member is not account:
                member.family = tuple(each for each in member.family if each is not account)
        account.touched = True

    @property
    def live(self) -> int:
        """The requests that wait, or are in flight."""
        return len(self._live)

    def offer(self, members: Sequence[Account], request: Request, now: float, out: Effects) -> None:
        """Take a request in that any of `members` may answer, or refuse it at the door."""
        request.arrived = now
        request.members = members
        request.weigh(members[0].caps)
        account = choose(members, request, now)
        request.answered_by = account.spec.provider
        refusal = door.refused(account, request, self.accounts, now)
        if refusal is not None:
            out.refuse(request, refusal)
            return
        self._offered += 1
        request.number = self._offered
        self._live[request.number] = request
        heappush(self._deadlines, (request.deadline, request.number))
        account.enter(request, now)
        account.touched = True

    def abandon(self, request: Request) -> None:
        """The caller left: its waiting texts are dropped, those in flight fly on."""
        request.left = True
        self._live.pop(request.number, None)
        self._forget_waiting()

    def settle(self, account: Account, batch: Batch, outcome: Outcome, now: float) -> Effects:
        """Take in how a call ended; `step` comes next in the same turn."""
        out = Effects()
        settle(account, batch, outcome, now, out)
        account.touched = True
        account.outlook = None
        self._end(out)
        return out

    def step(self, now: float) -> Effects:
        """Decide for every account that something happened to, or whose time has come.

        A step may move tickets to another member, which then has its step too, wherever it stands
        in the list; no ticket moves twice between two tries, so this comes to an end.
        """
        out = Effects()
        self._expire(now, out)
        due = [a for a in self.accounts if a.touched or a.wake <= now or a.stale]
        while due:
            for account in due:
                step(account, now, out)
            due = [account for account in self.accounts if account.touched]
        if any(account.closed and account.idle for account in self.accounts):
            self.accounts = [a for a in self.accounts if not (a.closed and a.idle)]
        self._end(out)
        return out

    def next_deadline(self) -> float:
        """When `step` must be called at the latest, infinite when nothing waits for time."""
        heap = self._deadlines
        while heap and not self._waits(heap[0][1]):
            heappop(heap)
        at = heap[0][0] if heap else math.inf
        return min([at, *[account.wake for account in self.accounts]])

    def reset(self, account: Account) -> None:
        """Forget what is held against the provider: a changed key, a reload, a good test.

        Not the time that it asked for itself in RATE and BACKOFF. The sin-bin and its probes go.
        """
        if account.gate.reason not in (Reason.RATE, Reason.BACKOFF):
            account.reset()
        account.touched = True

    def _expire(self, now: float, out: Effects) -> None:
        heap = self._deadlines
        while heap and heap[0][0] <= now:
            request = self._live.get(heappop(heap)[1])
            if request is not None and not request.ended:
                out.refuse(request, words.too_late(request.answered_by))
                self._forget_waiting()
        if len(heap) > 2 * len(self._live) + DEAD_DEADLINES:
            self._deadlines = [entry for entry in heap if self._waits(entry[1])]
            heapify(self._deadlines)

    def _waits(self, number: int) -> bool:
        request = self._live.get(number)
        return request is not None and not request.ended

    def _end(self, out: Effects) -> None:
        """Forget the requests that ended, and what waits of those that ended too early."""
        for request in out.ended:
            self._live.pop(request.number, None)
        if any(request.refusal is not None and request.missing > 1 for request in out.ended):
            self._forget_waiting()

    def _forget_waiting(self) -> None:
        for account in self.accounts:
            account.stale = True
