"""How a call ended, in a closed set of endings, and what a good one brought.

Made once, at the edge (`emr.upstream.classify`); the gate, pace, slots, caps and retries see
verdicts and never a status code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Ending(Enum):
    """The closed set of ways in which a provider call can end."""

    OK = "ok"
    SIZE_ITEMS = "size_items"  # more texts than the provider takes in one call
    SIZE_TOKENS = "size_tokens"  # more tokens than it takes in one call
    SIZE_BYTES = "size_bytes"  # a larger body than it takes
    BAD_TEXT = "bad_text"  # one of the texts is refused
    BAD_REQUEST = "bad_request"  # the parameters are refused, the same for every text
    AUTH = "auth"  # the credential is refused
    QUOTA = "quota"  # the account has nothing left: money or a monthly cap
    RATE = "rate"  # too many calls, tokens or items in a time
    OVERLOAD = "overload"  # the provider's capacity is used up
    TRANSIENT = "transient"  # 5xx, a reset, a timeout, malformed JSON: may pass when tried again
    PROTOCOL = "protocol"  # a 200 with a wrong count, index, dimension, or a number not finite


class Dimension(Enum):
    """What a provider counts against a limit a minute."""

    CALLS = "calls"
    TOKENS = "tokens"
    ITEMS = "items"  # texts

    __hash__ = object.__hash__  # there is one of each; Enum's own is a call, 40 times a request


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits a minute as a reply tells them, in its headers or its words; None: not told.

    The `_left` are what the provider says remains of each in its present window.
    """

    calls: float | None = None
    tokens: float | None = None
    items: float | None = None
    calls_left: float | None = None
    tokens_left: float | None = None
    items_left: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One call's ending with what the provider said about it.

    `message` is the provider's own words: one line, at most 500 characters, free of keys.
    `retry_after` is in seconds from the receipt, as asked, None when absent or unreadable.
    `cap` is the limit that a SIZE_ error names, `got` the amount that the provider counted.
    `index` is the place of a refused text among the texts of the call. `timed_out` marks the
    TRANSIENT of a call that was given up. `limits` are what a 429's text says of the limits a
    minute ("3 RPM and 10K TPM"), and `dimension` which of them was met, when it says so.
    """

    ending: Ending
    status: int | None = None
    message: str = ""
    retry_after: float | None = None
    cap: int | None = None
    got: int | None = None
    index: int | None = None
    timed_out: bool = False
    limits: Limits | None = None
    dimension: Dimension | None = None


@dataclass(slots=True)
class Reply:
    """What an OK call brought. A vector is its JSON text, as bytes: `[0.1,…]` or `"base64"`.

    `vectors` has one entry for each text of the call, in the call's order. `dimensions` is the
    common length of the vectors. `tokens` is what the provider billed, None when it does not say.
    `body` is the whole reply of a request that was passed on whole; it then has no vectors.
    """

    vectors: list[bytes]
    dimensions: int
    tokens: int | None
    model: str
    body: bytes | None = None


@dataclass(slots=True)
class Outcome:
    """How a call ended: a verdict, the reply when it is OK, and the provider's own time.

    `first_byte_s` is the time from the request's last byte to the reply's first, None when none
    came. `limits` are those of the reply's rate limit headers, None when it has none.
    """

    verdict: Verdict
    reply: Reply | None = None
    first_byte_s: float | None = None
    limits: Limits | None = None


OK = Verdict(Ending.OK, 200)
