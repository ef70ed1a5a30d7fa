"""What pace makes of a batch: smaller calls where waiting for a full one would cost more.

Three cuts (simulated, single texts' p99 beside bulk over their own, at 1M tokens a minute: 1.3 with
all of them, 43 without the second, 5 without the third):

1. calls are of an even size that uses a limit up: 6,000-token calls of a 10,000 limit use 60%;
2. headed by an interactive ticket: what may go now, at least that ticket;
3. while interactive texts were seen in the last minute, a batch that holds bulk takes no more
   tokens than come in the time of its own call (or half a second), so that they never queue behind
   a debt longer than that.

Bulk for which the log has no room waits for nearly a whole call. Refused: cutting it to half a call
at once. Every gap in the log then stays as small as it is, for ever: 0.92 of 1M tokens a minute was
used and 2.0 times the calls of a perfect packer, now 0.99 and 1.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emr.lane.fill import Filling, Room, fill
from emr.lane.lane import Lane
from emr.lane.pace import NEARLY
from emr.lane.verdict import Dimension

if TYPE_CHECKING:
    from emr.lane.account import Account

DEBT_MIN_S = 0.5


def shaped(account: Account, lane: Lane, filling: Filling, room: Room, now: float) -> Filling:
    """The batch that goes, which is `filling` (made for `room`) or smaller."""
    texts, tokens = float(room.texts), float(room.tokens)
    pace = account.pace
    head = lane.waiting[0]
    interactive = now <= pace.even_until
    if not head.request.bulk:
        burst_s = pace.burst_s(filling)
        now_tokens = pace.room_now(Dimension.TOKENS, burst_s, now)
        now_texts = pace.room_now(Dimension.ITEMS, burst_s, now)
        if filling.tokens > now_tokens:
            tokens = min(tokens, max(now_tokens, head.tokens))
        if filling.texts > now_texts:
            texts = min(texts, max(now_texts, len(head.places)))
    else:  # it goes as soon as nearly all of it has room
        if filling.tokens > pace.meters[Dimension.TOKENS].room:
            tokens = min(tokens, NEARLY * filling.tokens)
        if filling.texts > pace.meters[Dimension.ITEMS].room:
            texts = min(texts, NEARLY * filling.texts)
    if filling.bulk and interactive:
        span_s = max(account.latency.estimate_s(filling.tokens), DEBT_MIN_S)
        tokens = min(tokens, _debt(account, Dimension.TOKENS, span_s))
        texts = min(texts, _debt(account, Dimension.ITEMS, span_s))
    if texts >= filling.texts and tokens >= filling.tokens:
        return filling
    return fill(lane, Room(max(1, int(texts)), max(1, int(tokens)), room.bytes))


def _debt(account: Account, dimension: Dimension, span_s: float) -> float:
    limit = account.pace.meters[dimension].learner.w
    return max(span_s * limit / 60.0, account.pace.share(dimension))
