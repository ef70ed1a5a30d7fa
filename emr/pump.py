"""The shell around the core, and the only driver of lanes: events in, `step`, effects out.

Owns everything of asyncio that calls need: one task a provider call, one timer for the core's next
deadline, and one turn of the event loop in which all arrivals and replies of that turn are decided
together. A request costs no task, no future and no timer of its own.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence

from emr.lane.account import Account
from emr.lane.effects import Effects, Send
from emr.lane.roster import Roster
from emr.lane.settings import AccountSpec
from emr.lane.ticket import Request
from emr.lane.verdict import Ending, Outcome, Verdict
from emr.upstream.call import Call, Caller

log = logging.getLogger("emr.pump")

Observer = Callable[[Send, Outcome, float], None]


def ignore_call(send: Send, outcome: Outcome, seconds: float) -> None:
    """The observer of a pump whose calls nobody counts."""


class Pump:
    """Carries out what the roster decides, on the running event loop.

    Mutable state: the caller of each account, the tasks of the calls in flight, whether a turn is
    due, and the timer. `observe` is told of every call that ended.
    """

    def __init__(self, roster: Roster, loop: asyncio.AbstractEventLoop) -> None:
        self.roster = roster
        self.observe: Observer = ignore_call
        self._loop = loop
        self._callers: dict[Account, Caller] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn_is_due = False
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
        self._turn_soon()

    def reset(self, account: Account) -> None:
        """Forget what is held against the account's provider."""
        self.roster.reset(account)
        self._turn_soon()

    # requests

    def submit(self, members: Sequence[Account], request: Request) -> None:
        """Take in a request that any of `members` may answer.

        `request.done` is called once, perhaps before this returns.
        """
        out = Effects()
        self.roster.offer(members, request, self.clock(), out)
        self._idle.clear()
        self._turn_soon()
        self._carry_out(out)

    def leave(self, request: Request) -> None:
        """The caller of `request` went away."""
        self.roster.abandon(request)
        self._turn_soon()

    @property
    def calls_in_flight(self) -> int:
        """The provider calls that are under way."""
        return len(self._tasks)

    async def drained(self) -> None:
        """Return when no request waits or is in flight."""
        await self._idle.wait()

    async def stop(self) -> None:
        """Cancel what is still under way, and the timer."""
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # the turn

    def _turn_soon(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_is_due = False
        self._carry_out(self.roster.step(self.clock()))
        self._arm(self.roster.next_deadline())
        if self.roster.live == 0 and not self._turn_is_due:
            self._idle.set()

    def _arm(self, at: float) -> None:
        """Have a turn at that time. A timer that fires too early only finds nothing to do."""
        if at >= self._timer_at > self.clock():
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = None if at == math.inf else self._loop.call_at(at, self._time_has_come)

    def _time_has_come(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        self._turn_soon()

    def _carry_out(self, out: Effects) -> None:
        for send in out.sends:
            task = self._loop.create_task(self._call(send))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        for note in out.notes:
            figures = {"provider": note.account.spec.provider, "scope": note.account.spec.scope}
            log.info(note.event, extra={"figures": figures | note.figures})
        for request in out.ended:
            if request.refusal is None:
                self.answered += 1
                self.answered_texts += len(request.texts)
            else:
                self.refused[request.refusal.type] += 1
            try:
                request.done(request)
            except Exception:
                log.exception("The answer to a request could not be given")

    async def _call(self, send: Send) -> None:
        batch = send.batch
        call = Call(
            batch.lane_params,
            batch.payload(),
            batch.float_text,
            batch.user,
            send.first_byte_s,
            send.whole_s,
        )
        try:
            outcome = await self._callers[send.account].call(call)
        except Exception:
            log.exception("A provider call ended in an error of emr's own")
            outcome = Outcome(Verdict(Ending.TRANSIENT, message="an error inside emr"))
        now = self.clock()
        seconds = now - batch.sent_at
        out = self.roster.settle(send.account, batch, outcome, now)
        outcome = out.outcome or outcome
        self._log_call(send, outcome, seconds)
        self.observe(send, outcome, seconds)
        self._turn_soon()
        self._carry_out(out)

    def _log_call(self, send: Send, outcome: Outcome, seconds: float) -> None:
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
