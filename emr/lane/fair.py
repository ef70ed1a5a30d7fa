"""Who goes first: start-time fair queueing between the flows of an account.

A flow is a key in a class. A ticket's tag is S = max(V, F of its flow), its flow's next one starts
at F = S + tokens / weight, and V, the account's clock, is S of the *first* ticket of the batch that
was taken, never backwards. A flow that was away starts at V: single texts so overtake bulk without
a reserve, an ageing rule or a second queue. Riders do not move V: one from the far end of a lane
would put every newcomer behind all other lanes (25 s against 1.6 s, simulated).

Bound: |served_i / w_i - served_j / w_j| <= largest_i + largest_j while both wait, plus one batch.

Source: Goyal, Vin and Cheng, Start-time Fair Queuing, SIGCOMM 1996. Refused: strict priority
(hardly better for single texts, and it can starve bulk); arrival order (30 s, to never).
"""

from __future__ import annotations

import math
from collections import deque

from emr.lane.ticket import Request, Tag, Ticket

WEIGHT_INTERACTIVE = 4.0
WEIGHT_BULK = 1.0
FLOWS_SWEPT = 256  # flows remembered before those that would start at V anyway are forgotten
PACE_OVER_S = 10.0  # over which V's own pace is taken: some turns of the slowest flows
PACE_STEP_S = 0.5  # between two looks at V
PACE_MARKS = 4  # looks without which its pace is not known

Flow = tuple[str, bool]  # the key's id, and whether it is bulk


class FairOrder:
    """The clock of an account's fair queue, and where each flow's next ticket would start."""

    __slots__ = ("_finish", "_marks", "_sweep_at", "v")

    def __init__(self) -> None:
        self.v = 0.0
        self._marks: deque[tuple[float, float]] = deque()  # V as it was: (time, V)
        self._finish: dict[Flow, float] = {}
        self._sweep_at = FLOWS_SWEPT

    def start(self, request: Request) -> float:
        """S of a ticket that would come now."""
        return self.finish(flow_of(request))

    def tag(self, request: Request, tokens: int) -> Tag:
        """The tag of a new ticket, or of one that goes to the back of its flow."""
        start = self.start(request)
        flow = flow_of(request)
        self._finish[flow] = start + tokens / weight_of(flow)
        if len(self._finish) > self._sweep_at:
            self._sweep()
        return start, request.bulk

    @staticmethod
    def tag_of_rest(ticket: Ticket, tokens: int) -> Tag:
        """The tag of what is left of a ticket when so many of its tokens were cut off."""
        start, bulk = ticket.tag
        return start + tokens / weight_of(flow_of(ticket.request)), bulk

    def served(self, tag: Tag, now: float) -> None:
        """A batch was taken whose first ticket had this tag."""
        self.v = max(self.v, tag[0])
        marks = self._marks
        if not marks or now - marks[-1][0] >= PACE_STEP_S:
            self._forget(now)
            marks.append((now, self.v))

    def finish(self, flow: Flow) -> float:
        """Where a flow's next ticket would start."""
        return max(self.v, self._finish.get(flow, 0.0))

    def reaches_s(self, start: float, now: float) -> float:
        """When V reaches `start`, if it goes on as it went lately; 0 when that is not known.

        What is ahead is not all that will be served before: flows that come meanwhile start at V.
        V's own pace has them in it; while hundreds of them have their first turn it stands still.
        """
        self._forget(now)
        marks = self._marks
        if len(marks) < PACE_MARKS or start <= self.v:
            return 0.0
        at, v = marks[0]
        return (start - self.v) * (now - at) / (self.v - v) if self.v > v else math.inf

    def _forget(self, now: float) -> None:
        marks = self._marks
        while marks and marks[0][0] < now - PACE_OVER_S:
            marks.popleft()

    def _sweep(self) -> None:
        self._finish = {flow: f for flow, f in self._finish.items() if f > self.v}
        self._sweep_at = max(FLOWS_SWEPT, 2 * len(self._finish))


def weight_of(flow: Flow) -> float:
    """The share of a flow."""
    return WEIGHT_BULK if flow[1] else WEIGHT_INTERACTIVE


def flow_of(request: Request) -> Flow:
    """The flow of a request: its key in its class."""
    return request.caller, request.bulk
