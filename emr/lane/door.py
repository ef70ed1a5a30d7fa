"""At the door: whether a request may wait at all, before it takes any room.

A request is refused here when it could only be refused later: the provider refuses the credential,
the sin-bin is older than anyone may wait, what is ahead takes longer than the deadline; or when a
bound is reached: requests a lane, waiting bytes, lanes.
"""

from __future__ import annotations

from collections.abc import Collection

from emr.lane import patience, words
from emr.lane.account import Account
from emr.lane.forecast import forecast, none_longer
from emr.lane.gate import LATCHES, TRIED_AGAIN, Reason
from emr.lane.refusal import Refusal
from emr.lane.ticket import Request

TEXT_BYTES = 200  # that emr keeps of a text that waits beside its own (measured: 190 to 210)
FULL_RETRY_S = 1.0  # what to wait when a bound of emr's own is reached: queues drain in seconds


def refused(
    account: Account, request: Request, accounts: Collection[Account], now: float
) -> Refusal | None:
    """Why the request may not wait at `account`, or None."""
    return (
        _gate_says_no(account, request, now)
        or _full(account, request, accounts)
        or _too_long(account, request, now)
    )


def _gate_says_no(account: Account, request: Request, now: float) -> Refusal | None:
    gate, provider = account.gate, account.spec.provider
    if now >= request.deadline:
        return words.too_late(provider)
    if gate.reason is Reason.BINNED:
        old = now - gate.bin.started >= account.settings.binned_wait_s
        # the next probe needs someone's request
        if old and not request.bulk and not account.idle:
            return words.binned(provider, gate.failures, gate.until - now)
        return None
    if now >= gate.until:
        return None
    if gate.reason in LATCHES:
        return patience.latched(gate, provider)
    return None


def _too_long(account: Account, request: Request, now: float) -> Refusal | None:
    """Whether the wait would pass the deadline: asked in full only when it could at all."""
    left = request.deadline - now
    if account.gate.reason in TRIED_AGAIN or none_longer(account, request, left, now):
        return None
    found = forecast(account, request, now)
    # what goes at once is not refused for the time of its call: that is only known from calls
    if found.wait_s <= 0.0 or found.answer_s <= left:
        return None
    return words.held_back(account.spec.provider, found.ending, found.answer_s - left, "")


def _full(account: Account, request: Request, accounts: Collection[Account]) -> Refusal | None:
    settings = account.settings
    size = _size_of(request)
    total = sum([each.bytes + TEXT_BYTES * each.texts for each in accounts]) + size
    if total > settings.max_queue_bytes:
        return _overloaded(f"what waits takes {settings.max_queue_bytes} bytes (max_queue_bytes)")
    half = settings.max_queue_bytes // 2
    if total > half and _bytes_of(request.caller, accounts) + size > half:
        return _overloaded(f"what waits of this key takes {half} bytes (half of max_queue_bytes)")
    lane = account.lanes.get(request.params)
    if lane is not None:
        if len(lane.waiting) >= settings.channel_capacity:
            return _overloaded(
                f"{settings.channel_capacity} requests wait for {account.spec.provider} "
                "(channel_capacity)"
            )
        return None
    lanes = [lane for each in accounts for lane in each.lanes.values()]
    if len(lanes) >= settings.max_lanes:
        return _overloaded(f"all {settings.max_lanes} lanes are in use")
    if sum([lane.owner == request.caller for lane in lanes]) >= settings.max_lanes_a_caller:
        return _overloaded(
            f"this key uses {settings.max_lanes_a_caller} lanes: requests with equal parameters "
            "share one"
        )
    return None


def _size_of(request: Request) -> int:
    """The bytes of memory that it would take."""
    room = TEXT_BYTES * len(request.wanted)
    if request.params.whole is not None:
        return room + len(request.params.whole)
    texts = request.texts
    if request.cached:
        texts = [texts[place] for place in request.wanted]
    return room + sum([len(text) for text in texts])


def _bytes_of(caller: str, accounts: Collection[Account]) -> int:
    """The bytes of memory that what waits for one key takes."""
    waiting = [ticket for account in accounts for ticket in account.waiting()]
    its = [ticket for ticket in waiting if ticket.request.caller == caller]
    return sum([ticket.bytes + TEXT_BYTES * len(ticket.places) for ticket in its])


def _overloaded(what: str) -> Refusal:
    return Refusal("overloaded", f"{what}; try again later", retry_after=FULL_RETRY_S)
