"""What must hold of the core after every turn, whatever callers and providers do.

The numbers are those of the invariants in the law's list. A `Watch` looks at every call that is
sent, every reply that comes in, every answer, and at the whole state after every turn of the world.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from emr.lane.account import Account
from emr.lane.effects import Effects, Send
from emr.lane.fill import fill
from emr.lane.gate import LATCHES, TRIED_AGAIN
from emr.lane.retry import Credits
from emr.lane.settle import NOT_BILLED
from emr.lane.shape import shaped
from emr.lane.step import room_of
from emr.lane.ticket import Batch, Request, Ticket
from emr.lane.verdict import Dimension, Ending, Verdict
from tests.sim.model import Provider
from tests.sim.world import World

MOST_SLOTS = 32
DEAD_DEADLINES = 64
WORD = re.compile(r"secret(\d+)word")
POISON = b'"this one is poisoned"'
REFUSED_TEXT = re.compile(r"\] is refused|bad input")  # the words of tests.sim.model.Poison
ROUNDING_S = 1e-9


def word(number: int) -> bytes:
    """The word by which a text of request `number` is known again in an error."""
    return b"secret%dword" % number


class CountedCredits(Credits):
    """Credits whose spending can be compared with the law."""

    __slots__ = ("firsts", "since", "spent")

    def __init__(self, since: float) -> None:
        super().__init__()
        self.since = since
        self.firsts = self.spent = 0

    def first_attempt(self, now: float) -> None:
        self.firsts += 1
        super().first_attempt(now)

    def take(self, now: float) -> bool:
        paid = super().take(now)
        if paid:
            self.spent += 1
            most = 10.0 + 0.75 * self.firsts + (now - self.since)
            assert self.spent <= most + 1e-3, f"I9: {self.spent} retries, {most} allowed"
        return paid


def spent_by(account: Account) -> int:
    """The credits that a watched account spent."""
    assert isinstance(account.credits, CountedCredits)
    return account.credits.spent


class WatchedProvider(Provider):
    """A provider whose every incoming call is looked at first."""

    watch: Watch

    def send(self, world: World, send: Send) -> None:
        self.watch.sent(send)
        super().send(world, send)


def paced(account: Account, now: float) -> bool:
    """Whether pace holds back what would go next: the first lane that is ready, whichever it is."""
    room = room_of(account)
    for lane in account.lanes.values():
        filling = shaped(account, lane, fill(lane, room), room, now)
        burst_s = account.pace.burst_s(filling)
        if account.pace.wait(now, filling.tokens, filling.texts, burst_s) > 0.0:
            return True
    return False


def idle_hands(account: Account, now: float) -> None:
    """I8: what may go has gone, or is held back for less than the window."""
    gate = account.gate
    # a rounding error before its time it is stepped again; a learned limit grows, and the wake was
    # reckoned by the smaller one
    grows = any(meter.learner.learned for meter in account.pace.meters.values())
    soon = account.wake <= now + 1e-6 or (grows and account.wake < math.inf)
    if not account.lanes or now < gate.until or soon or paced(account, now):
        return
    assert account.flying, "I8: an idle account sends in the same step"
    tries = sum([batch.probe for batch in account.flying])
    if len(account.flying) < account.slots.limit and tries < gate.width:
        for lane in account.lanes.values():
            held = now - lane.waiting[0].held_at
            assert held < account.settings.batch_window_s, "I8: held back for too long"


def asked_once(account: Account) -> None:
    """I13: a text that several ask for waits, or flies, once."""
    tickets = [*account.waiting(), *(t for batch in account.flying for t in batch.tickets)]
    once: set[tuple[object, ...]] = set()
    for ticket in tickets:
        request = ticket.request
        if request.ended or ticket.alone or request.params.whole is not None:
            continue
        owner = "" if account.settings.share_flights else request.caller
        for place in ticket.places:
            key = (owner, request.params, request.texts[place])
            assert key not in once, "I13: a text is asked for twice"
            once.add(key)


class Log:
    """The calls of an account, kept apart from its pace: I6.

    A call counts from its sending until a minute after its reply: wherever between the two the
    provider booked it, none of its windows holds more.
    """

    def __init__(self) -> None:
        self._calls: dict[Batch, tuple[float, int]] = {}  # when it ended, and its texts

    def sent(self, account: Account, batch: Batch, now: float) -> None:
        """A call goes: it must have room beside those of the last minute."""
        self._calls = {b: call for b, call in self._calls.items() if call[0] > now - 60.0 + 1e-6}
        self._calls[batch] = (math.inf, batch.texts)
        counted = {
            Dimension.CALLS: (len(self._calls), 1),
            Dimension.ITEMS: (sum([texts for _, texts in self._calls.values()]), batch.texts),
        }
        for dimension, (used, own) in counted.items():
            limit = account.spec.limits.get(dimension)
            if limit is not None:
                most = max(limit.per_minute, own)  # one larger than the limit goes alone
                assert used <= most + 1e-6, f"I6: {used} {dimension.value} in a minute"

    def ended(self, batch: Batch, now: float, *, billed: bool) -> None:
        """Its reply came; the texts of one that was refused are given back."""
        self._calls[batch] = (now, batch.texts if billed else 0)


class Watch:
    """The checks of one world, and what they remember between turns."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.requests: dict[int, Request] = {}  # by number, those that are not resolved
        self.numbers: dict[Request, int] = {}
        self.trace: list[tuple[object, ...]] = []
        self._sent_in_turn: set[Account] = set()
        self._names: dict[Account, int] = {}
        self._logs: dict[Account, Log] = {}
        self._gone: set[Request] = set()  # their callers left
        self._broken: Counter[tuple[Request, int]] = Counter()  # calls that broke under a text
        self._told_texts: dict[Account, int] = {}  # caps that size errors told
        self._lived = 0  # requests after the turn before
        self._settle = world.roster.settle
        world.roster.settle = self.settle
        world.on_step = self.turn

    def account(self, account: Account) -> None:
        """Watch an account from now on."""
        self._names[account] = len(self._names)
        self._logs[account] = Log()
        account.credits = CountedCredits(self.world.now)

    # events

    def asked(self, number: int, request: Request) -> None:
        """A request came in, and was not refused at the door."""
        self.requests[number] = request
        self.numbers[request] = number

    def ended(self, number: int, request: Request) -> None:
        """A request was answered; I1 and I2 are checked by the caller."""
        self.requests.pop(number, None)
        refusal = request.refusal
        self.trace.append((self.world.now, "ended", number, refusal))
        if refusal is not None:
            words = {int(found) for found in WORD.findall(refusal.message)}
            assert words <= {number}, f"I16: {number} was told {refusal.message}"
            if REFUSED_TEXT.search(refusal.message):
                assert POISON in request.texts, f"I16: {number} is told of another's text"
        assert request not in self._gone, "I1: answered though its caller left"

    def left(self, number: int) -> None:
        """The caller of a request went away."""
        self._gone.add(self.requests.pop(number))

    def sent(self, send: Send) -> None:
        """A call leaves: I3, I7, I12."""
        account, batch, now = send.account, send.batch, self.world.now
        self._sent_in_turn.add(account)
        assert now >= account.gate.until, "I7: sent while the gate holds"
        assert account.gate.reason not in LATCHES or batch.probe, "I7: behind a latch only a try"
        texts = 0
        for ticket in batch.tickets:
            request = ticket.request
            assert request.params == batch.lane_params, "I3: two lanes in one call"
            assert not request.ended, "I12: nobody waits for it any more"
            assert request not in self._gone, "I12: sent though its caller left"
            assert now < request.deadline, "I12: sent though it expired"
            texts += len(ticket.places)
            broken = max([self._broken[request, place] for place in ticket.places], default=0)
            assert broken <= account.settings.max_retries, "tried again too often"
            if ticket.most_texts and request.params.whole is None:
                assert batch.texts <= ticket.most_texts
            if ticket.alone:
                assert batch.tickets == [ticket]
        assert texts == batch.texts == len(batch.payload())
        whole = batch.lane_params.whole is not None
        assert whole or texts <= self._told_texts.get(account, texts), "I4: over a told cap"
        assert whole or texts <= account.caps.max_texts, "I4: over a cap in texts"
        assert whole or texts == 1 or batch.tokens <= account.caps.max_tokens, "I4: in tokens"
        assert whole or texts == 1 or batch.bytes <= account.caps.max_bytes, "I4: in bytes"
        assert 0.0 < send.first_byte_s <= send.whole_s
        self._logs[account].sent(account, batch, now)
        self.trace.append(
            (now, "sent", self._names[account], batch.number, batch.payload(), batch.probe)
        )

    def settle(self, account: Account, batch: Batch, *end: Any) -> Effects:
        """A reply comes in: I10."""
        verdict = end[0] if isinstance(end[0], Verdict) else end[0].verdict
        gate, k = account.gate, account.threshold.value
        old = batch.epoch != gate.epoch
        before = (gate.reason, gate.epoch, gate.until)
        self.trace.append(
            (self.world.now, "came", self._names[account], batch.number, verdict.ending)
        )
        paid = spent_by(account)
        billed = sum([request.billed for request in self.numbers])
        self._logs[account].ended(batch, self.world.now, billed=verdict.ending not in NOT_BILLED)
        out = self._settle(account, batch, *end)
        if out.outcome is not None and out.outcome.reply is not None and not batch.canary:
            tokens = out.outcome.reply.tokens
            booked = sum([request.billed for request in self.numbers]) - billed
            assert tokens is None or booked == tokens, "I14: booked is not what was billed"
        self._retried(account, batch, verdict, spent_by(account) - paid)
        if old:
            assert gate.epoch == before[1], "I10: a reply of an earlier epoch changed the gate"
            assert gate.until >= before[2], "I10: and moved it back"
            if verdict.retry_after is None:
                assert (gate.reason, gate.until) == (before[0], before[2])
            assert account.threshold.value <= k, "I10: K doubled twice in an epoch"
        asked = verdict.retry_after
        waits = verdict.ending in (Ending.RATE, Ending.OVERLOAD, Ending.TRANSIENT)
        if waits and asked is not None and asked > 0.0 and gate.reason not in LATCHES:
            until = self.world.now + min(asked, 3600.0)
            assert gate.until >= until - ROUNDING_S, "a Retry-After was shortened"
        return out

    def _retried(self, account: Account, batch: Batch, verdict: Verdict, paid: int) -> None:
        """I9: a broken call that is tried again costs one credit, whatever it carried; I4."""
        whole = batch.lane_params.whole is not None
        if verdict.ending is Ending.SIZE_ITEMS and batch.texts > 1 and not whole:
            cap = verdict.cap if verdict.cap is not None else batch.texts
            told = self._told_texts.get(account, batch.texts)
            self._told_texts[account] = max(1, min(told, cap, batch.texts - 1))
        if verdict.ending in (Ending.TRANSIENT, Ending.PROTOCOL) and not batch.probe:
            self._broken.update((t.request, place) for t in batch.tickets for place in t.places)
            rests = {entry[2] for entry in account.resting._timed}
            again = bool(rests.intersection(batch.tickets))
            # behind a latch it was paid, and then there was nothing to wait for
            assert paid == again or account.gate.reason in LATCHES, "I9: tried again unpaid"
        else:
            assert paid == 0, "I9: paid for nothing"

    # after every turn

    def turn(self, world: World) -> None:
        """I5, I8, I12, I18, I19 and where each ticket is."""
        now = world.now
        at = world.roster.next_deadline()
        assert not math.isnan(at)
        for account in world.roster.accounts:
            self._slots(account)
            self._sums(account)
            asked_once(account)
            idle_hands(account, now)
            if account.lanes or account.resting.tickets:
                awake = account.wake < math.inf or account.flying
                assert awake, "I19: something waits, and nothing will wake it"
        self._sent_in_turn.clear()
        self._places(world)
        live = [request for request in self.requests.values() if not request.ended]
        assert world.roster.live == len(live) == len(self.requests), "I18"
        for request in live:
            assert now < request.deadline, "I12: it waits though it expired"
        deadlines = len(world.roster._deadlines)
        most = 2 * max(len(live), self._lived) + DEAD_DEADLINES
        assert deadlines <= most + 1, "deadlines of the dead gather"
        self._lived = len(live)

    def _slots(self, account: Account) -> None:
        slots, gate = account.slots, account.gate
        assert 1 <= slots.limit <= (account.spec.max_concurrency or MOST_SLOTS), "I5"
        if account in self._sent_in_turn:
            assert len(account.flying) <= slots.limit, "I5: too many in flight"
        if gate.reason in TRIED_AGAIN:
            probes = [batch for batch in account.flying if batch.probe]
            assert len(probes) <= gate.width, "I5: one probe at a time"

    def _sums(self, account: Account) -> None:
        for params, lane in account.lanes.items():
            waiting = lane.waiting
            assert waiting, "an idle lane is dropped"
            assert lane.params == params
            assert lane.texts == sum([len(t.places) for t in waiting]), "I18"
            assert lane.tokens == sum([t.tokens for t in waiting]), "I18"
            assert lane.bytes == sum([t.bytes for t in waiting]), "I18"
            assert lane.limited == sum([bool(t.alone or t.most_texts) for t in waiting]), "I18"
            tags = [t.tag for t in waiting]
            assert tags == sorted(tags)
            for ticket in waiting:
                tokens = [ticket.request.tokens[i] for i in ticket.places]
                assert ticket.tokens == sum(tokens), "I18"
        for ticket in account.waiting():
            request = ticket.request
            assert not request.ended, "what nobody waits for was dropped"
            if request.params.whole is None:
                assert ticket.bytes == sum([len(request.texts[i]) for i in ticket.places]), "I18"

    def _places(self, world: World) -> None:
        """Every text that somebody waits for is in exactly one place."""
        found: dict[Request, list[int]] = {request: [] for request in self.requests.values()}
        for account in world.roster.accounts:
            tickets: list[Ticket] = list(account.waiting())
            for batch in account.flying:
                tickets.extend(batch.tickets)
            for ticket in tickets:
                if ticket.request in found:
                    found[ticket.request].extend(ticket.places)
            for request, place in account.flights.waiters():
                if request in found:
                    found[request].append(place)
        for request, places in found.items():
            open_places = [i for i, vector in enumerate(request.vectors) if not vector]
            assert sorted(places) == open_places, "a text is lost, or in two places"
            if request.params.whole is None:
                assert request.missing == len(open_places), "I18"
