"""The shell around the core, and the only driver of lanes: events in, `step`, effects out.

Owns everything of asyncio that the core needs: one timer for its next deadline, and one turn of the
event loop in which all arrivals and replies of that turn are decided together. Neither a request
nor a call costs a task, a future or a timer here.

Rules of this file
- Whoever waits for an answer gets it first: what counts or logs a call comes after, and a failure
  of one answer is logged and does not touch the next one.
- An account that was closed is kept until nothing of it waits or flies; then its caller, which
  holds a credential, is let go of.
- When texts for a whole call came, the turn is at once: the loop may have hundreds of requests to
  read before it gets to it, and the provider could be at work.
- The timer is never set anew to a later time. One that fires too early finds nothing to do.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from emr.lane.account import Account
from emr.lane.effects import Effects, Send
from emr.lane.refusal import Refusal
from emr.lane.roster import Roster
from emr.lane.settings import AccountSpec
from emr.lane.ticket import Batch, Request
from emr.lane.verdict import Ending, Outcome, Verdict
from emr.upstream.call import Call, Caller, Started

log = logging.getLogger("emr.pump")

Observer = Callable[[Send, Outcome, float], None]
EndObserver = Callable[[Request], None]

STOPPING = Refusal("overloaded", "emr is stopping; try again in a moment", retry_after=1.0)


def ignore_call(send: Send, outcome: Outcome, seconds: float) -> None:
    """The observer of a pump whose calls nobody counts."""


def ignore_end(request: Request) -> None:
    """The observer of a pump whose requests nobody counts."""


def in_turn(*observers: Observer) -> Observer:
    """One observer that tells several, the first one first."""

    def observe(send: Send, outcome: Outcome, seconds: float) -> None:
        for each in observers:
            each(send, outcome, seconds)

    return observe


class Pump:
    """Carries out what the roster decides, on the running event loop.

    Mutable state: the caller of each account, the closed accounts that still have work, the calls
    in flight, whether a turn is due and how many texts came since the last one, whether it has
    stopped, and the timer. `observe` is told of every call that ended, `observe_end` of every
    request: answered, refused, or left.
    """

    def __init__(self, roster: Roster, loop: asyncio.AbstractEventLoop) -> None:
        self.roster = roster
        self.observe: Observer = ignore_call
        self.observe_end: EndObserver = ignore_end
        self._loop = loop
        self._callers: dict[Account, Caller] = {}
        self._closing: set[Account] = set()
        self._calls: dict[Batch, Started] = {}
        self._turn_is_due = False
        self._texts_since_turn = 0
        self._has_stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        # counted for the views
        self.answered = 0
        self.answered_texts = 0
        self.refused: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()

    def clock(self) -> float:
        """Seconds of the steady clock that the core is driven by."""
        return self._loop.time()

    # accounts

    def open(self, spec: AccountSpec, caller: Caller) -> Account:
        """A new account whose calls `caller` makes."""
        account = self.roster.open(spec)
        self._callers[account] = caller
        return account

    def close(self, account: Account) -> None:
        """Offer the account nothing more; what waits in it is still sent."""
        self.roster.close(account)
        self._closing.add(account)
        self._turn_soon()

    def reset(self, account: Account) -> None:
        """Forget what is held against the account's provider."""
        self.roster.reset(account)
        self._turn_soon()

    # requests

    def submit(self, members: Sequence[Account], request: Request) -> None:
        """Take in a request that any of `members`, which are open, may answer.

        `request.done` is called once, perhaps before this returns.
        """
        out = Effects()
        if self._has_stopped:
            out.refuse(request, STOPPING)
        else:
            assert not [each for each in members if each.closed], "offered when closed: a bug"
            self.roster.offer(members, request, self.clock(), out)
            self._idle.clear()
            self._turn_soon()
        self._carry_out(out)
        self._texts_since_turn += len(request.wanted)
        if self._texts_since_turn >= members[0].caps.max_texts:
            self._turn()

    def end(self, request: Request) -> None:
        """End a request that was not taken in: it has all its vectors, or a refusal."""
        out = Effects()
        out.ended.append(request)
        self._carry_out(out)

    def leave(self, request: Request) -> None:
        """The caller of `request` went away."""
        self.roster.abandon(request)
        self.observe_end(request)
        self._turn_soon()

    @property
    def calls_in_flight(self) -> int:
        """The provider calls that are under way."""
        return len(self._calls)

    async def drained(self) -> None:
        """Return when no request waits or is in flight."""
        await self._idle.wait()

    async def stop(self) -> None:
        """Cancel what is still under way, and the timer; nothing begins from here on."""
        self._has_stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.cancel()
        await asyncio.sleep(0)  # lets those that are tasks end

    # the turn

    def _turn_soon(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_is_due = False
        self._texts_since_turn = 0
        if self._has_stopped:
            return
        self._carry_out(self.roster.step(self.clock()))
        if self._closing:
            self._let_go()
        self._arm(self.roster.next_deadline())
        if self.roster.live == 0 and not self._turn_is_due:
            self._idle.set()

    def _let_go(self) -> None:
        """Closed accounts of which nothing waits or flies any more are forgotten."""
        for account in [account for account in self._closing if account.idle]:
            self._closing.discard(account)
            del self._callers[account]

    def _arm(self, at: float) -> None:
        """Have a turn at that time, or before it."""
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
            self._timer = None
        if at < math.inf:
            # the loop counts in milliseconds and rounds: a timer that is half of one early finds
            # nothing to do, and would be set anew, with no wait at all, until the time has come
            wait = math.ceil(max(0.0, at - self.clock()) * 1000.0) / 1000.0
            self._timer_at = at
            self._timer = self._loop.call_later(wait, self._time_has_come)

    def _time_has_come(self) -> None:
        self._timer = None
        self._turn_soon()

    def _carry_out(self, out: Effects) -> None:
        for send in out.sends:
            self._begin(send)
        for note in out.notes:
            figures = {"provider": note.account.spec.provider, "scope": note.account.spec.scope}
            log.info(note.event, extra={"figures": figures | note.figures})
        for request in out.ended:
            if request.refusal is None:
                self.answered += 1
                self.answered_texts += len(request.texts)
            else:
                self.refused[request.refusal.type] += 1
            finish(request, self.observe_end)

    def _begin(self, send: Send) -> None:
        batch = send.batch
        call = Call(
            batch.lane_params,
            batch.payload(),
            batch.float_text,
            batch.user,
            send.first_byte_s,
            send.whole_s,
        )
        landed = partial(self._landed, send)
        try:
            self._calls[batch] = self._callers[send.account].begin(call, landed)
        except Exception:
            log.exception("A provider call ended in an error of emr's own")
            self._calls[batch] = self._loop.call_soon(landed, broken)

    def _landed(self, send: Send, read: Callable[[], Outcome]) -> None:
        """A call ended; `read` makes its outcome."""
        batch = send.batch
        if self._calls.pop(batch, None) is None:
            return  # cancelled
        try:
            outcome = read()
        except Exception:
            log.exception("A provider call ended in an error of emr's own")
            outcome = broken()
        now = self.clock()
        seconds = now - batch.sent_at
        out = self.roster.settle(send.account, batch, outcome, now)
        self._turn_soon()
        self._carry_out(out)
        outcome = out.outcome or outcome
        log_call(send, outcome, seconds)
        try:
            self.observe(send, outcome, seconds)
        except Exception:
            log.exception("A provider call could not be counted")


def finish(request: Request, observe: EndObserver) -> None:
    """Answer a request, and then tell who counts it; a failure of either touches no other."""
    try:
        request.done(request)
    except Exception:
        log.exception("The answer to a request could not be given")
    try:
        observe(request)
    except Exception:
        log.exception("A request could not be counted")


def broken() -> Outcome:
    """The outcome of a call that met a defect of emr's own."""
    return Outcome(Verdict(Ending.TRANSIENT, message="an error inside emr"))


def log_call(send: Send, outcome: Outcome, seconds: float) -> None:
    """The line of a provider call, at debug."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    verdict = outcome.verdict
    error = None if verdict.ending is Ending.OK else f"{verdict.ending.value} {verdict.status}"
    figures = {
        "provider": send.account.spec.provider,
        "callers": send.batch.callers,
        "texts": send.batch.texts,
        "latency_ms": round(seconds * 1000, 1),
        "error": error,
    }
    log.debug("Provider call", extra={"figures": figures})
