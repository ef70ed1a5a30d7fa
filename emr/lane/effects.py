"""What the core asks of its shell: calls to make, requests to answer, lines to log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emr.lane.refusal import Refusal
from emr.lane.ticket import Batch, Request
from emr.lane.verdict import Outcome

if TYPE_CHECKING:
    from emr.lane.account import Account


@dataclass(slots=True)
class Send:
    """Make this call. The times are in seconds from its start."""

    account: Account
    batch: Batch
    first_byte_s: float
    whole_s: float


@dataclass(frozen=True, slots=True)
class Note:
    """Something that an operator wants in the log, with its figures."""

    account: Account
    event: str
    figures: dict[str, object]


@dataclass(slots=True)
class Effects:
    """Everything that one or more decisions ask for. `ended` holds each request at most once.

    `outcome` is that of the call that was settled, as the core took it: broken, when its vectors
    have a wrong length.
    """

    sends: list[Send] = field(default_factory=list)
    ended: list[Request] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    outcome: Outcome | None = None

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """End a request by a refusal, unless it ended before."""
        if not request.ended:
            request.refusal = refusal
            self.ended.append(request)
