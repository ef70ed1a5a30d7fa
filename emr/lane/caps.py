"""The most that one call may carry: texts, tokens, bytes; and how many tokens a text will be.

A cap starts at the provider's table row and shrinks when the provider refuses a size: to the cap
that it names, or to half of what was refused. Tokens are estimated from bytes: a byte-level BPE
gives at most one token a byte, so bytes are the bound, and the ratio is one that 95% of the bytes
stay under by what the provider counted. 0.9 of the token cap is used, because an estimate is not a
count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from emr.lane.settings import AccountSpec
from emr.lane.ticket import Batch, Ticket
from emr.lane.verdict import Ending, Verdict

USED = 0.9
GUESS_CALLS = 0.25  # what the guess weighs beside the first call
KEPT_CALLS = 20.0  # of the largest size seen lately: the memory of the ratio
LARGEST_LASTS = 0.99  # a call: a size that does not come again is forgotten after some hundred
SPREADS = 2.0  # mean deviations over the mean: of a normal spread 95% are below
STALE = 0.05  # of the ratio: what waits was weighed by one that is off by so much, and is again
LEAST_BYTES = 1024  # no server refuses a body for less


class Ratio:
    """Tokens a byte: the mean over the bytes of the last calls, and twice its mean deviation.

    By bytes and not by calls, because limits in tokens are spent by the large calls and the odd
    ratio of a text of ten bytes says nothing about them. Refused: following the 95th percentile of
    calls by steps. Down it takes 67 calls from 0.35 to 0.25, and it hovers 5% too high ever after:
    two calls of 75,000 tokens a minute then use 0.70 to 0.95 of a limit of 150,000.
    """

    __slots__ = ("_bytes", "_largest", "_spread", "_tokens", "value")

    def __init__(self, guess: float) -> None:
        self.value = guess
        self._largest = self._bytes = self._tokens = self._spread = 0.0

    def seen(self, tokens: int, size: int) -> None:
        """The provider counted so many tokens in so many bytes."""
        if not self._bytes:
            self._bytes = GUESS_CALLS * size
            self._tokens = self.value * self._bytes
        self._bytes += size
        self._tokens += tokens
        self._spread += abs(tokens - size * self._tokens / self._bytes)
        self._largest = max(float(size), LARGEST_LASTS * self._largest)
        kept = KEPT_CALLS * self._largest / self._bytes
        if kept < 1.0:
            self._bytes, self._tokens, self._spread = (
                each * kept for each in (self._bytes, self._tokens, self._spread)
            )
        self.value = min(1.0, (self._tokens + SPREADS * self._spread) / self._bytes)

    def raised(self, value: float) -> None:
        """It was too low: a call that was within the caps was refused for its tokens."""
        self.value = min(1.0, value)
        self._tokens, self._spread = self.value * self._bytes, 0.0


class Caps:
    """What one call may carry, and the estimate of a text's tokens."""

    __slots__ = (
        "_largest", "_ratio", "_weighed_by", "max_bytes", "max_texts", "max_tokens", "most_tokens",
    )  # fmt: skip

    def __init__(self, spec: AccountSpec) -> None:
        self.max_texts = spec.max_texts
        self.max_tokens = max(1, int(spec.max_tokens * USED))
        self.max_bytes = spec.max_bytes
        self._ratio = Ratio(spec.tokens_a_byte)
        self._weighed_by = spec.tokens_a_byte
        self.most_tokens = 0  # of any call that succeeded
        # successes by (time, texts), texts falling: the first is the largest of the last minute
        self._largest: deque[tuple[float, int]] = deque()

    @property
    def tokens_a_byte(self) -> float:
        """The tokens that a byte of text is taken for."""
        return self._ratio.value

    def guess(self, tokens_a_byte: float) -> None:
        """What is known of the tokens of a byte before the first call. Raises ValueError."""
        if not 0.0 < tokens_a_byte <= 1.0:
            raise ValueError("a byte is at most one token, and some part of it")
        self._ratio = Ratio(tokens_a_byte)
        self._weighed_by = tokens_a_byte

    def weigh(self, texts: Sequence[bytes], *, token_ids: bool) -> list[int]:
        """The estimates for JSON texts; of token ids the count."""
        if token_ids:
            return [text.count(b",") + 1 for text in texts]
        ratio = self.tokens_a_byte
        return [int((len(text) - 2) * ratio) + 1 for text in texts]

    def succeeded(self, batch: Batch, billed: int | None, now: float) -> bool:
        """The provider took the batch and counted so many tokens for it (None or 0: not told).

        True: the estimates changed so much that what waits should be weighed again.
        """
        if billed and batch.bytes and not batch.lane_params.token_ids:
            self._ratio.seen(min(billed, batch.bytes), batch.bytes)
        self.most_tokens = max(self.most_tokens, batch.tokens)
        largest = self._largest
        while largest and largest[-1][1] <= batch.texts:
            largest.pop()
        largest.append((now, batch.texts))
        if abs(self.tokens_a_byte / self._weighed_by - 1.0) <= STALE:
            return False
        self._weighed_by = self.tokens_a_byte
        return True

    def largest_success(self, now: float) -> int:
        """The texts of the largest call that succeeded in the last minute, 0 when none did."""
        while self._largest and self._largest[0][0] < now - 60.0:
            self._largest.popleft()
        return self._largest[0][1] if self._largest else 0

    def refused(self, batch: Batch, verdict: Verdict) -> bool:
        """The provider refused the size of the batch: the next ones are smaller.

        True: the estimates were too low, and what waits must be weighed again. Several calls that
        were out together may be refused for one reason: each is judged by the present estimates,
        so that they are corrected once. After it the same batch is over a cap, whatever the error
        says: so size errors come to an end.
        """
        named = verdict.cap
        if verdict.ending is Ending.SIZE_TOKENS:
            return self._too_many_tokens(batch, named, verdict.got)
        if verdict.ending is Ending.SIZE_BYTES and batch.bytes > LEAST_BYTES:
            self.max_bytes = max(LEAST_BYTES, min(self.max_bytes, batch.bytes // 2))
            return False
        if verdict.ending is Ending.SIZE_BYTES or named is None:
            below = batch.texts // 2
        else:
            below = min(named, batch.texts - 1)
        self.max_texts = max(1, min(self.max_texts, below))
        return False

    def _too_many_tokens(self, batch: Batch, named: int | None, got: int | None) -> bool:
        before = weight = self._weight(batch)
        counted = got or (named or 0) + 1
        if counted > weight and not batch.lane_params.token_ids:
            self._ratio.raised(self._ratio.value * counted / weight)
            weight = self._weight(batch)
        below = min(int(named * USED), weight - 1) if named else weight // 2
        self.max_tokens = max(1, min(self.max_tokens, below))
        return weight > before

    def _weight(self, batch: Batch) -> int:
        ids = batch.lane_params.token_ids
        return sum([sum(self.weigh(_texts(ticket), token_ids=ids)) for ticket in batch.tickets])


def _texts(ticket: Ticket) -> list[bytes]:
    texts = ticket.request.texts
    return [texts[place] for place in ticket.places]
