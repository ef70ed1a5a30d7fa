"""The value that crosses the providers' side: what one call asks; how one ends is an Outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from emr.lane.ticket import Params
from emr.lane.verdict import Outcome

__all__ = ["Call", "Caller", "Outcome"]


@dataclass(slots=True)
class Call:
    """One request to a provider: `texts` are JSON texts as bytes, in order.

    `float_text`: every caller of the call wants numbers; else base64 is asked where the provider
    has it. `user` is set only when the call is one caller's. The two times are in seconds and
    count from the start of the call: to the first byte of the reply, and to its end.
    """

    params: Params
    texts: Sequence[bytes]
    float_text: bool = True
    user: str | None = None
    first_byte_s: float = 60.0
    whole_s: float = 60.0


class Caller(Protocol):
    """Whatever can make a call for an account: a provider over HTTP, or the embedded model."""

    async def call(self, call: Call) -> Outcome:
        """Make the call. Never raises but on cancellation: every failure is a verdict."""
