"""The most that one call may carry: texts, tokens, bytes; and how many tokens a text will be.

A cap starts at the provider's table row and shrinks when the provider refuses a size: to the cap
that it names, or to half of what was refused. Tokens are estimated from bytes: a byte-level BPE
gives at most one token a byte, so bytes are the bound, and the ratio is corrected upwards from
what the provider counted. 0.9 of the token cap is used, because an estimate is not a count.
"""

from __future__ import annotations

from emr.lane.settings import AccountSpec
from emr.lane.ticket import Batch
from emr.lane.verdict import Ending, Verdict

USED = 0.9
RATIO_WEIGHT = 0.05  # of a new observation


class Caps:
    """What one call may carry, and the estimate of a text's tokens."""

    __slots__ = ("max_bytes", "max_texts", "max_tokens", "tokens_a_byte")

    def __init__(self, spec: AccountSpec) -> None:
        self.max_texts = spec.max_texts
        self.max_tokens = max(1, int(spec.max_tokens * USED))
        self.max_bytes = spec.max_bytes
        self.tokens_a_byte = spec.tokens_a_byte

    def tokens_of(self, text: bytes) -> int:
        """The estimate for one JSON text."""
        return int((len(text) - 2) * self.tokens_a_byte) + 1

    def counted(self, batch: Batch, billed: int) -> None:
        """The provider counted so many tokens for the batch."""
        if batch.bytes and not batch.lane_params.token_ids:
            seen = min(1.0, billed / batch.bytes)
            self.tokens_a_byte += RATIO_WEIGHT * (seen - self.tokens_a_byte)

    def refused(self, batch: Batch, verdict: Verdict) -> None:
        """The provider refused the size of the batch: the next ones are smaller."""
        named = verdict.cap
        if verdict.ending is Ending.SIZE_ITEMS:
            below = max(1, batch.texts // 2)
            self.max_texts = min(named, batch.texts - 1) if named else below
            self.max_texts = max(1, self.max_texts)
        elif verdict.ending is Ending.SIZE_BYTES:
            self.max_bytes = max(1024, batch.bytes // 2)
        else:
            if verdict.got and batch.tokens:
                scale = verdict.got / batch.tokens
                self.tokens_a_byte = min(1.0, self.tokens_a_byte * max(1.0, scale))
            named = int(named * USED) if named else batch.tokens // 2
            self.max_tokens = max(1, min(self.max_tokens, named))
