"""How long a request may wait when its provider is in trouble, and what it is told then.

Two waits end before the deadline does, both of interactive requests only: behind the sin-bin
`binned_wait_s`, from the later of the arrival and the bin's start; and `cumulative_cap_s` after the
first failed call, whatever the provider asked for. A short break is so ridden out unseen, a long
one gives quick clear errors, and nothing hangs. Bulk waits to its deadline.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emr.lane import family, words
from emr.lane.effects import Effects
from emr.lane.gate import LATCHES, Gate, Reason
from emr.lane.refusal import Refusal
from emr.lane.ticket import Request
from emr.lane.verdict import Ending

if TYPE_CHECKING:
    from emr.lane.account import Account


def ends_at(account: Account, request: Request) -> float:
    """When the request's patience ends, infinite when only its deadline counts."""
    if request.bulk:
        return math.inf
    settings, gate = account.settings, account.gate
    ends = math.inf
    if request.failed_at:
        ends = request.failed_at + settings.cumulative_cap_s
    if gate.reason is Reason.BINNED:
        ends = min(ends, max(request.arrived, gate.bin.started) + settings.binned_wait_s)
    return ends


def run_out(account: Account, now: float, out: Effects) -> float:
    """End the waiting requests whose patience is over; returns when the next one's is."""
    earliest = account.patience_ends = math.inf
    for ticket in account.waiting():
        request = ticket.request
        ends = ends_at(account, request)
        if ends <= now:
            out.refuse(request, refusal(account, request, now))
            account.stale = True
        else:
            earliest = min(earliest, ends)
    if account.stale:
        account.sift(now)
        earliest = min(earliest, account.patience_ends)  # of who waits for a text in their place
    return earliest


def refusal(account: Account, request: Request, now: float) -> Refusal:
    """What a request is told whose patience is over."""
    provider, gate = account.spec.provider, account.gate
    wait_s = gate.until - now
    if gate.reason is Reason.BINNED:
        return words.binned(provider, gate.failures, wait_s)
    verdict = request.failed_by
    if verdict.ending in (Ending.RATE, Ending.OVERLOAD):
        return words.held_back(provider, verdict.ending, wait_s, "")
    return words.failed(provider, verdict, "")


def shed(account: Account, now: float, out: Effects) -> None:
    """The gate was set: move who is answered sooner elsewhere, answer who cannot wait for it.

    Behind AUTH and QUOTA that is everyone, in the provider's own words; behind RATE and BACKOFF
    those whose deadline or patience ends before.
    """
    gate, provider = account.gate, account.spec.provider
    family.move_out(account, now)
    if gate.reason in LATCHES:
        while waiting := list(account.waiting()):
            for ticket in waiting:
                out.refuse(ticket.request, latched(gate, provider))
            account.sift(now)  # who waited for their texts is next
    elif gate.reason in (Reason.RATE, Reason.BACKOFF):
        ending = Ending.RATE if gate.reason is Reason.RATE else Ending.OVERLOAD
        for ticket in account.waiting():
            request = ticket.request
            if min(request.deadline, ends_at(account, request)) < gate.until:
                told = words.held_back(provider, ending, gate.until - now, "")
                out.refuse(request, told)
    account.sift(now)


def latched(gate: Gate, provider: str) -> Refusal:
    """What everyone is told while the credential is refused or the account has nothing left."""
    status = "" if gate.status is None else f" {gate.status}"
    said = f": {gate.message}" if gate.message else ""
    return Refusal("provider_error", f"{provider} answered{status}{said}", final=True)
