"""The step of an account: the only place from which a call is sent.

It asks in this order: the gate (may anything go), slots (how many), isolation (first), fill with K
and the hold (how large), fairness (who: the tags), pace (when). These do not know each other.

Theory of operation. What arrives is stored; the shell has an account stepped once a turn of its
event loop if something happened to it. A lone text finds nothing in flight and goes in the same
step. While calls are in flight texts gather, up to the hold or to the calls that are cheap (E): the
natural batch, with no window. Waiting for pace is the batching delay under a limit (Nagle, with the
pacer as its clock): nothing is taken until the time has come, and the batch is made anew, larger.

Refused: a fixed batching window (50 ms for a lone caller, and nothing gained under load); a timer a
ticket (one wake an account tells the shell when to come back).
"""

from __future__ import annotations

from operator import attrgetter

from emr.lane import family, patience
from emr.lane.account import Account
from emr.lane.effects import Effects, Send
from emr.lane.fill import Filling, Room, fill, may_be_full, take
from emr.lane.gate import PROBE_TEXTS, TRIED_AGAIN
from emr.lane.lane import Lane
from emr.lane.pace import BURST_S
from emr.lane.poison import canary_ticket
from emr.lane.settings import Home
from emr.lane.shape import shaped
from emr.lane.ticket import Batch
from emr.lane.verdict import Dimension

EAGER_MIN = 2  # cheap calls where a limit is known: the one that is due, and one in its place
EAGER_HOSTED = 4  # cheap calls of a hosted service whose limit is not known
HOLD_PART = 4  # a text is held back for at most a quarter of the call that it waits for

first_tag = attrgetter("first_tag")


def step(account: Account, now: float, out: Effects) -> None:
    """Send what may go now, end what waited too long, and set `account.wake`."""
    account.touched = False
    account.outlook = None
    resting = account.resting
    for ticket in resting.over(now, account.credits):
        family.retry(account, ticket, now)
    if account.stale:
        account.sift(now)
    if now >= account.patience_ends:
        account.patience_ends = patience.run_out(account, now, out)
    account.wake = min(account.patience_ends, resting.next_at(now, account.credits))
    gate, slots = account.gate, account.slots
    account.pace.refresh(now)
    while account.lanes or account.isolation.trials:
        account.refresh(now)
        if now < gate.until:
            _wake_at(account, gate.until)
            return
        if len(account.flying) >= slots.limit or _tries(account) >= gate.width:
            return
        if not (_isolated_call(account, now, out) or _lane_call(account, now, out)):
            return
    _try_idle(account, now, out)


def _tries(account: Account) -> int:
    """The calls in flight that were sent to try the provider.

    The gate's width is theirs alone: calls that hang since before the bin would hold its one place
    for as long as they hang (simulated: a 10 s hang was noticed to be over after 6 to 13 s, and
    0.35 of those who came in it were served; so 3 s, and all).
    """
    if account.gate.reason not in TRIED_AGAIN:
        return 0
    return sum([batch.probe for batch in account.flying])


def _wake_at(account: Account, at: float) -> None:
    account.wake = min(account.wake, at)


def _paced(account: Account, tokens: int, texts: int, burst_s: float, now: float) -> bool:
    """Whether pace lets a call of that size go now; else `wake` is when it will."""
    wait = account.pace.wait(now, tokens, texts, burst_s)
    if wait > 0.0:
        _wake_at(account, now + wait)
    return wait <= 0.0


def _try_idle(account: Account, now: float, out: Effects) -> None:
    """Nothing waits: a member whose twin does its work is tried with the canary sentence."""
    gate = account.gate
    params = account.last_params
    if gate.reason not in TRIED_AGAIN or account.flying or params is None or account.closed:
        return
    if not family.has_healthy_twin(account):
        return
    if now < gate.until:
        _wake_at(account, gate.until)
        return
    batch = Batch(params._replace(whole=None, path=None, token_ids=False), [canary_ticket(params)])
    batch.canary = True
    if _paced(account, batch.tokens, batch.texts, BURST_S, now):
        _launch(account, batch, now, out)


def _isolated_call(account: Account, now: float, out: Effects) -> bool:
    """Send the next isolation call, if there is one and it may go."""
    isolation = account.isolation
    found = isolation.peek()
    if found is None:
        return False
    trial, group = found
    while not trial.fits(group, room_of(account)):
        group = trial.split(group)
    at = isolation.ready_at(now)
    if at > now:
        _wake_at(account, at)
        return False
    batch = Batch(trial.params, group[1])
    if not _paced(account, batch.tokens, batch.texts, BURST_S, now):
        return False
    isolation.take(trial, group)
    batch.trial, batch.part = trial, group[0]
    _launch(account, batch, now, out)
    return True


def _lane_call(account: Account, now: float, out: Effects) -> bool:
    """Send a batch of the lane whose turn it is, if one is ready and may go."""
    lanes = list(account.lanes.values())
    if len(lanes) > 1:
        lanes.sort(key=first_tag)
    room = room_of(account)
    for lane in lanes:
        filling = _ready(account, lane, room, now)
        if filling is not None:
            break
    else:
        return False
    filling = shaped(account, lane, filling, room, now)
    if not _paced(account, filling.tokens, filling.texts, account.pace.burst_s(filling), now):
        return False
    tickets = take(lane, filling, account.order)
    if not lane.waiting:
        del account.lanes[lane.params]
    account.order.served(tickets[0].tag, now)
    _launch(account, Batch(lane.params, tickets), now, out)
    return True


def room_of(account: Account) -> Room:
    """The most that the next call may carry, of an even size that uses the limits up."""
    caps, pace = account.caps, account.pace
    texts = int(pace.evenly(Dimension.ITEMS, caps.max_texts))
    tokens = int(pace.evenly(Dimension.TOKENS, caps.max_tokens))
    if account.gate.reason in TRIED_AGAIN:
        texts = min(texts, PROBE_TEXTS)
    return Room(max(1, texts), max(1, tokens), caps.max_bytes)


def _ready(account: Account, lane: Lane, room: Room, now: float) -> Filling | None:
    """What of the lane goes now; None when it is held back, with `wake` at the hold's end."""
    flying = len(account.flying)
    estimate_s = account.latency.estimate_s(min(lane.tokens, room.tokens))
    enough = lane.texts >= account.threshold.value
    if flying == 0 or (enough and flying < _eager(account, estimate_s)):
        return fill(lane, room)
    if may_be_full(lane, account.caps):
        filling = fill(lane, room)
        if filling.full:
            return filling
    hold_s = min(estimate_s / HOLD_PART, account.settings.batch_window_s)
    hold_ends = lane.waiting[0].held_at + hold_s
    if now >= hold_ends:
        return fill(lane, room)
    _wake_at(account, hold_ends)
    return None


def _eager(account: Account, estimate_s: float) -> float:
    """E: the calls that are cheap, because calls are left."""
    limit, home = account.slots.limit, account.spec.home
    if home is Home.LOCAL:
        return 1
    if account.pace.calls_per_minute:
        return min(limit, max(EAGER_MIN, account.rate_calls(estimate_s)))
    return min(limit, EAGER_HOSTED) if home is Home.HOSTED else limit


def _launch(account: Account, batch: Batch, now: float, out: Effects) -> None:
    """Ask for the call, and let the laws know of it."""
    account.calls += 1
    batch.number = account.calls
    batch.sent_at = now
    batch.epoch = account.gate.epoch
    batch.probe = account.gate.reason in TRIED_AGAIN
    for ticket in batch.tickets:
        request = ticket.request
        request.attempts += 1
        request.queue_s = max(request.queue_s, now - ticket.waited_from)
    account.pace.charge(now, batch)
    account.isolation.called(now)
    if batch.first_try:
        account.credits.first_attempt(now)
    account.flying.add(batch)
    first_byte_s = account.latency.first_byte_s(batch, account.settings, now)
    tail_s = account.latency.tail_s(batch.tokens)
    batch.short = tail_s is not None and first_byte_s < tail_s
    out.sends.append(Send(account, batch, first_byte_s, account.settings.call_timeout_s))
