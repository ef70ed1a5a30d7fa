"""How long a request would wait at an account: what is ahead, over the rate at which it leaves.

Only what has a smaller tag than its last piece is ahead: of each flow no more than waits, and no
more than the fair queue serves before that tag. Counting the whole queue instead would refuse every
interactive text beside bulk at a tier of three calls a minute. The wait is the largest over the
limits a minute and the slots; which of them it was tells a rate limit (429) from used up capacity
(503).

Flows that come while it waits start before it, and are not there to be counted. So the wait is also
at least the time in which V reaches its tag at the pace that V went lately: under ten times the
load that can be carried 0.01 of those who were let in are let down, without it 0.16 to 0.32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emr.lane.fair import flow_of, weight_of
from emr.lane.gate import Reason
from emr.lane.ticket import Request, Tag
from emr.lane.verdict import Dimension, Ending

if TYPE_CHECKING:
    from emr.lane.account import Account

ROUNDING = 1e-6  # of a tag, in tokens: the first tag of a flow is found by subtraction
OVERTAKEN = 2.0  # times all that waits: the most that flows which come meanwhile make of a wait
MARGIN = 1.1  # what is ahead takes a little longer than at the limits: calls are not all full
DEBT_MAX_S = 60.0  # no limit makes the next call wait longer; a log full of calls in flight may


@dataclass(slots=True)
class Ahead:
    """Texts and tokens that are served before."""

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
    order, caps = account.order, account.caps
    start = order.start(request)
    texts, tokens = len(request.wanted), sum(request.tokens)
    calls = max(texts / caps.max_texts, tokens / caps.max_tokens)
    before = max(0.0, 1.0 - 1.0 / calls) if calls else 0.0  # of itself, before its last call
    last = start + before * tokens / weight_of(flow_of(request))
    ahead = _ahead(account, (last, request.bulk))
    ahead.texts += before * texts
    ahead.tokens += before * tokens
    found = _time_of(account, ahead, now)
    most = OVERTAKEN * _time_of(account, _all(account, request), now).wait_s
    found.wait_s = max(found.wait_s, min(most, MARGIN * order.reaches_s(last, now)))
    gate = account.gate
    if now < gate.until and gate.until - now > found.wait_s:
        ending = Ending.OVERLOAD if gate.reason is Reason.BACKOFF else Ending.RATE
        found = Forecast(gate.until - now, ending)
    each = int(tokens / max(1.0, calls))
    found.answer_s = found.wait_s + account.latency.estimate_s(each)
    return found


@dataclass(slots=True)
class Outlook:
    """While no more texts and tokens than these wait, no forecast is longer."""

    texts: float
    tokens: float
    wait_s: float


def none_longer(account: Account, request: Request, left_s: float, now: float) -> bool:
    """Whether no forecast for a request that comes now is longer. Cheap: asked of every request.

    A lone request that goes at once has no forecast. For the others a first answer is for twice
    what waits and a call more, and is kept until the account's next step, for those who come by
    then.
    """
    if account.gate.until - now > left_s:
        return False
    if account.idle and _goes_at_once(account, request, now):
        return True
    coming = _all(account, request)
    kept = account.outlook
    if kept is None or coming.texts > kept.texts or coming.tokens > kept.tokens:
        caps = account.caps
        more = Ahead(2.0 * coming.texts + caps.max_texts, 2.0 * coming.tokens + caps.max_tokens)
        kept = Outlook(more.texts, more.tokens, OVERTAKEN * _time_of(account, more, now).wait_s)
        account.outlook = kept
    return kept.wait_s <= left_s or OVERTAKEN * _time_of(account, coming, now).wait_s <= left_s


def _goes_at_once(account: Account, request: Request, now: float) -> bool:
    """Whether a request with nothing ahead fits in one call, and its limits have room for it."""
    texts, tokens, caps = len(request.wanted), sum(request.tokens), account.caps
    if texts > caps.max_texts or tokens > caps.max_tokens or now < account.gate.until:
        return False
    return account.pace.wait(now, tokens, texts) <= 0.0


def _all(account: Account, request: Request) -> Ahead:
    """All that waits, and the request."""
    texts, tokens = len(request.wanted), sum(request.tokens)
    return Ahead(float(account.texts + texts), float(account.tokens + tokens))


def _ahead(account: Account, tag: Tag) -> Ahead:
    """What is served before a tag: of each flow what waits, bounded by its own tags.

    Of equal tags what came earlier is ahead: under more load than can be carried hundreds of flows
    start at V, and V stands still until they were served.
    """
    order = account.order
    last, bulk = tag
    ahead = Ahead()
    for lane in account.lanes.values():
        for flow, load in lane.flows.items():
            weight = weight_of(flow)
            first = order.finish(flow) - load.tokens / weight
            over = last - first + ROUNDING
            if over < 0.0 or not load.tokens or (over < 2.0 * ROUNDING and flow[1] > bulk):
                continue
            # a ticket is begun before the tag, and served to its end or to that of its call
            piece = min(load.tokens / load.tickets, account.caps.max_tokens)
            part = min(1.0, (over * weight + piece) / load.tokens)
            ahead.texts += load.texts * part
            ahead.tokens += load.tokens * part
    for ticket in account.aside():
        ahead.texts += len(ticket.places)
        ahead.tokens += ticket.tokens
    return ahead


def _time_of(account: Account, ahead: Ahead, now: float) -> Forecast:
    """How long what is ahead takes, after what pace owes already."""
    pace, caps = account.pace, account.caps
    debt_s = min(pace.wait(now, 1.0, 1.0), DEBT_MAX_S)
    if ahead.texts <= 0.0:
        return Forecast(debt_s, Ending.RATE)
    calls = max(ahead.texts / caps.max_texts, ahead.tokens / caps.max_tokens)
    rate_s = debt_s
    for dimension, load in (
        (Dimension.CALLS, calls),
        (Dimension.TOKENS, ahead.tokens),
        (Dimension.ITEMS, ahead.texts),
    ):
        learner = pace.meters[dimension].learner
        if learner.known:
            rate_s = max(rate_s, debt_s + MARGIN * load * 60.0 / learner.w)
    each_s = account.latency.estimate_s(int(ahead.tokens / max(1.0, calls)))
    slots_s = calls * each_s / account.slots.limit
    if slots_s > rate_s:
        return Forecast(slots_s, Ending.OVERLOAD)
    return Forecast(rate_s, Ending.RATE)
