"""Members of a family: accounts that give the same vector for a text, so that any may answer.

A request may be answered by the accounts that it came with (its *members*): the keys of one
provider, or providers of the same model. It waits at the one with the least predicted wait, and of
equals at the one that got the least for its weight. When a member's gate is set, what waits there
moves to where it is answered sooner: decided ticket by ticket, at most once between two tries.

How long a member takes is only known while it is asked. One that was slow once, when it or the host
of emr was started, would never be asked again; so what is known of an idle member's time counts for
less with each request that passes it by. A twin that is really r times slower then gets one request
in PASSED·log2(r) of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emr.lane.forecast import forecast
from emr.lane.gate import TRIED_AGAIN, Reason
from emr.lane.ticket import Request, Ticket

if TYPE_CHECKING:
    from emr.lane.account import Account

CATCH_UP_TEXTS = 64.0  # for its weight of one
PASSED = 64  # requests that halve what an idle member is thought to take
LONG_AGO = 8  # requests that passed an idle member by: its next call counts more than those before
EQUAL_PART = 0.25  # waits are equal that differ by less than this part of the shortest


def healthy(account: Account) -> bool:
    """Whether it is not sin-binned, nor refuses the credential."""
    return account.gate.reason not in TRIED_AGAIN and not account.closed


def has_healthy_twin(account: Account) -> bool:
    """Whether another member could take over what comes for this account."""
    return any(member is not account and healthy(member) for member in account.family)


def choose(members: Sequence[Account], request: Request, now: float) -> Account:
    """The member at which the request is answered soonest; sick ones only when all are."""
    if len(members) == 1:
        return members[0]
    able = [member for member in members if healthy(member)] or list(members)
    waits = {member: _wait_s(member, request, now) for member in able}
    least = min(waits.values())
    equal = [member for member in able if waits[member] <= least * (1.0 + EQUAL_PART)]
    # who was away does not get everything until he has caught up
    behind = max([member.taken for member in equal]) - CATCH_UP_TEXTS
    for member in equal:
        member.taken = max(member.taken, behind)
    best = min(equal, key=lambda member: member.taken)
    if best.passed >= LONG_AGO:
        best.latency.doubt()
    for member in able:
        member.passed = 0 if member is best or member.flying else member.passed + 1
    return best


def _wait_s(account: Account, request: Request, now: float) -> float:
    """When a request would be answered, believed the less the longer nothing is known of it."""
    found = forecast(account, request, now)
    takes_s = found.answer_s - found.wait_s
    return found.wait_s + takes_s * math.exp2(-account.passed / PASSED)


def better(account: Account, ticket: Ticket, now: float) -> Account | None:
    """Where a ticket that waits at `account` would rather wait, None for here."""
    request = ticket.request
    others = [m for m in request.members if m is not account and healthy(m)]
    if not others or ticket.moved:
        return None
    best = choose(others, request, now)
    gate = account.gate
    if gate.reason in TRIED_AGAIN:
        return best
    if gate.reason is Reason.RATE and gate.until - now > forecast(best, request, now).answer_s:
        return best
    return None


def gate_changed(account: Account, now: float) -> None:
    """Members that are sin-binned and have no healthy twin any more are tried more often."""
    for member in account.family:
        if not has_healthy_twin(member):
            member.gate.left_alone(now)
            member.touched = True


def retry(account: Account, ticket: Ticket, now: float) -> None:
    """A ticket's back-off is over: another member tries it, if there is a healthy one.

    Not the one with the least wait: a provider that fails every call at once has the least.
    """
    request = ticket.request
    others = [member for member in request.members if member is not account and healthy(member)]
    if others and not ticket.moved:
        move(account, choose(others, request, now), ticket, now)
    else:
        account.put_back(ticket, now)


def move_out(account: Account, now: float) -> None:
    """The gate of `account` was set: let tickets wait where they are answered sooner."""
    if len(account.family) < 2:
        return
    for ticket in list(account.waiting()):
        target = better(account, ticket, now)
        if target is not None and not ticket.request.ended:
            account.release(ticket)
            move(account, target, ticket, now)


def move(source: Account, target: Account, ticket: Ticket, now: float) -> None:
    """A ticket goes to another member: a new tag there; the same deadline and tries.

    Who waits for its texts comes with it. Texts that are under way there already are waited for.
    """
    request = ticket.request
    if request.params.whole is None and not ticket.alone:
        waiting = dict(source.flights.end(request, ticket.places))
        ticket.places = [
            place
            for place in ticket.places
            if target.flights.adopt(request, place, waiting.get(place, ()))
        ]
        ticket.measure()
    request.answered_by = target.spec.provider
    target.touched = True
    if not ticket.places:
        return
    ticket.moved = True
    target.taken += len(ticket.places) / target.spec.weight
    wait_anew(target, ticket, now)


def wait_anew(account: Account, ticket: Ticket, now: float) -> None:
    """Let a ticket wait as if it came now: behind those of its new tag."""
    ticket.returned(now)
    ticket.tag = account.order.tag(ticket.request, ticket.tokens)
    account.lane_for(ticket.request).put(ticket)
