"""What emr is compared with: simpler routers behind the same border, on the same scenarios.

    pass      every request is a call (cut at the caps), at once
    window    requests gather for 50 ms, then go; any number in flight
    natural   four calls in flight; whenever one is back all that waits goes; no limits known
    aimd      as natural, the calls in flight by AIMD on refusals; no pace

None of them knows of a rate, tries again, or shares by keys: a failed call fails its requests, in
the provider's words, and the callers do what callers do.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from emr.lane.account import Account
from emr.lane.effects import Effects, Send
from emr.lane.flight import Flights
from emr.lane.refusal import Refusal
from emr.lane.settings import AccountSpec, LaneSettings
from emr.lane.split import give
from emr.lane.ticket import Batch, Params, Request, Ticket
from emr.lane.verdict import Ending, Outcome
from tests.sim.world import Border

WINDOW_S = 0.05  # the reference router's
FIXED_SLOTS = 4  # two or three are usual in batching servers
FIRST_SLOTS, MOST_SLOTS = 16, 32  # as emr's own
CUT = 0.5
TYPES = {Ending.RATE: "rate_limited", Ending.OVERLOAD: "overloaded"}


@dataclass(frozen=True, slots=True)
class Policy:
    """How a baseline batches: for how long it gathers, and its calls in flight."""

    name: str
    window_s: float = 0.0
    merges: bool = True
    slots: int | None = None
    adapts: bool = False


POLICIES = (
    Policy("pass", merges=False),
    Policy("window", window_s=WINDOW_S),
    Policy("natural", slots=FIXED_SLOTS),
    Policy("aimd", slots=FIRST_SLOTS, adapts=True),
)


class Baseline(Border):
    """A router of one policy. All that waits is in `_lanes`; first come, first served."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._accounts: list[Account] = []
        self._lanes: dict[Params, deque[Ticket]] = {}
        self._flights = Flights(shared=True)  # always empty: nothing is shared in flight
        self._slots = float(policy.slots or 0)
        self._flying = 0
        self._sent = 0
        self._cut_number = 0
        self._deadlines: deque[Request] = deque()
        self._wake = math.inf

    def open(self, spec: AccountSpec) -> Account:
        """A new account; its laws are not used."""
        self._accounts.append(Account(spec, LaneSettings(), Random(0)))
        return self._accounts[-1]

    def offer(self, members: Sequence[Account], request: Request, now: float, out: Effects) -> None:
        """Let a request wait."""
        request.arrived = now
        caps = members[0].caps
        request.tokens = caps.weigh(request.texts, token_ids=False)
        lane = self._lanes.setdefault(request.params, deque())
        ticket = Ticket(request, range(len(request.texts)), (0.0, False), now)
        while len(ticket.places) > caps.max_texts or ticket.tokens > caps.max_tokens:
            fits = min(caps.max_texts, len(ticket.places) - 1)
            while fits > 1 and sum(request.tokens[i] for i in ticket.places[:fits]) > (
                caps.max_tokens
            ):
                fits = (fits + 1) // 2
            if fits < 1:
                break
            rest = ticket.cut(fits, (0.0, False))
            lane.append(ticket)
            ticket = rest
        lane.append(ticket)
        self._deadlines.append(request)

    def abandon(self, request: Request) -> None:
        """Its caller left."""
        request.left = True

    def settle(self, account: Account, batch: Batch, outcome: Outcome, now: float) -> Effects:
        """Answer everyone in the call, or fail them all."""
        out = Effects()
        self._flying -= 1
        ending = outcome.verdict.ending
        if ending is Ending.OK:
            assert outcome.reply is not None
            out.ended += give(
                batch, outcome.reply, now - batch.sent_at, self._flights, account.spec.provider
            )
            if self._policy.adapts and self._flying + 1 >= int(self._slots):
                self._slots = min(MOST_SLOTS, self._slots + 1.0 / self._slots)
            return out
        refusal = Refusal(
            TYPES.get(ending, "provider_error"),
            outcome.verdict.message,
            retry_after=outcome.verdict.retry_after,
        )
        for ticket in batch.tickets:
            out.refuse(ticket.request, refusal)
        if self._policy.adapts and batch.number > self._cut_number:
            self._cut_number = self._sent
            self._slots = max(1.0, self._slots * CUT)
        return out

    def step(self, now: float) -> Effects:
        """Send what the policy lets go."""
        out = Effects()
        self._expire(now, out)
        self._wake = math.inf
        for params, lane in list(self._lanes.items()):
            self._drop_ended(lane)
            while lane and self._may_send(lane, now):
                self._launch(params, self._take(lane), now, out)
                self._drop_ended(lane)
            if not lane:
                del self._lanes[params]
        return out

    def next_deadline(self) -> float:
        """When `step` must be called at the latest."""
        while self._deadlines and self._deadlines[0].ended:
            self._deadlines.popleft()
        first = self._deadlines[0].deadline if self._deadlines else math.inf
        return min(first, self._wake)

    def _may_send(self, lane: deque[Ticket], now: float) -> bool:
        if self._policy.slots is not None:
            return self._flying < int(self._slots)
        due = lane[0].waited_from + self._policy.window_s
        if now >= due or len(lane) >= self._accounts[0].caps.max_texts:
            return True
        self._wake = min(self._wake, due)
        return False

    def _take(self, lane: deque[Ticket]) -> list[Ticket]:
        taken = [lane.popleft()]
        caps = self._accounts[0].caps
        texts, tokens = len(taken[0].places), taken[0].tokens
        while self._policy.merges and lane:
            if lane[0].request.ended:
                lane.popleft()
                continue
            texts, tokens = texts + len(lane[0].places), tokens + lane[0].tokens
            if texts > caps.max_texts or tokens > caps.max_tokens:
                break
            taken.append(lane.popleft())
        return taken

    def _launch(self, params: Params, tickets: list[Ticket], now: float, out: Effects) -> None:
        batch = Batch(params, tickets)
        self._sent += 1
        batch.number, batch.sent_at = self._sent, now
        self._flying += 1
        # the accounts take turns
        account = self._accounts[self._sent % len(self._accounts)]
        out.sends.append(Send(account, batch, 60.0, 60.0))

    @staticmethod
    def _drop_ended(lane: deque[Ticket]) -> None:
        while lane and lane[0].request.ended:
            lane.popleft()

    def _expire(self, now: float, out: Effects) -> None:
        for request in self._deadlines:
            if request.deadline <= now:
                out.refuse(request, Refusal("deadline_exceeded", "too late"))
            else:
                break
