"""How long a request would wait at an account: what is ahead, over the rate at which it leaves.

Only what has a smaller tag is ahead: of each flow no more than waits, and no more than the fair
queue serves before this tag. Counting the whole queue instead would refuse every interactive text
beside bulk at a tier of three calls a minute. The wait is the largest over the limits a minute and
the slots; which of them it was tells a rate limit (429) from used up capacity (503).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emr.lane.fair import Flow, flow_of, weight_of
from emr.lane.gate import Reason
from emr.lane.ticket import Request
from emr.lane.verdict import Dimension, Ending

if TYPE_CHECKING:
    from emr.lane.account import Account


@dataclass(slots=True)
class Load:
    """Texts and tokens that wait."""

    texts: float = 0.0
    tokens: float = 0.0


@dataclass(slots=True)
class Forecast:
    """Seconds until the call is sent, and whose doing the wait is: RATE or OVERLOAD.

    `answer_s` is until its reply.
    """

    wait_s: float
    ending: Ending
    answer_s: float = 0.0


def forecast(account: Account, request: Request, now: float) -> Forecast:
    """When a request that comes now would be answered."""
    ahead = _ahead(account, request)
    found = _time_of(account, ahead, now)
    gate = account.gate
    if now < gate.until and gate.until - now > found.wait_s:
        ending = Ending.OVERLOAD if gate.reason is Reason.BACKOFF else Ending.RATE
        found = Forecast(gate.until - now, ending)
    found.answer_s = found.wait_s + account.latency.estimate_s(sum(request.tokens))
    return found


def longest(account: Account, now: float) -> float:
    """No request that comes now waits longer: all that waits counted as ahead. Cheap."""
    load = Load(float(account.texts), float(account.tokens))
    return max(_time_of(account, load, now).wait_s, account.gate.until - now)


def _ahead(account: Account, request: Request) -> Load:
    """What is served before a request that comes now: flow by flow what waits, bounded by tags."""
    order = account.order
    start = order.start(request)
    if start <= order.v:
        return Load()
    waiting: dict[Flow, Load] = {}
    largest: dict[Flow, float] = {}
    for ticket in account.waiting():
        flow = flow_of(ticket.request)
        load = waiting.setdefault(flow, Load())
        load.texts += len(ticket.places)
        load.tokens += ticket.tokens
        largest[flow] = max(largest.get(flow, 0.0), ticket.tokens)
    ahead = Load()
    for flow, load in waiting.items():
        served = (start - order.v) * weight_of(flow) + largest[flow]
        part = min(1.0, served / load.tokens) if load.tokens else 1.0
        ahead.texts += load.texts * part
        ahead.tokens += load.tokens * part
    return ahead


def _time_of(account: Account, ahead: Load, now: float) -> Forecast:
    """How long what is ahead takes; with nothing ahead, how long pace makes one text wait."""
    pace, caps = account.pace, account.caps
    if ahead.texts <= 0.0:
        wait = pace.wait(now, 1.0, 1.0)
        return Forecast(min(wait, 60.0), Ending.RATE)
    calls = max(ahead.texts / caps.max_texts, ahead.tokens / caps.max_tokens)
    rate_s = 0.0
    for dimension, load in (
        (Dimension.CALLS, calls),
        (Dimension.TOKENS, ahead.tokens),
        (Dimension.ITEMS, ahead.texts),
    ):
        learner = pace.meters[dimension].learner
        if learner.known:
            rate_s = max(rate_s, load * 60.0 / learner.w)
    each_s = account.latency.estimate_s(int(ahead.tokens / max(1.0, calls)))
    slots_s = calls * each_s / account.slots.limit
    if slots_s > rate_s:
        return Forecast(slots_s, Ending.OVERLOAD)
    return Forecast(rate_s, Ending.RATE)
