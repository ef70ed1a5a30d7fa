"""What waits: a request of a caller, and the tickets that are its share in a lane.

A request collects its vectors; a ticket says which of its texts wait together. A ticket is in
exactly one place: a lane's waiting list, back-off, a batch in flight, or done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from emr.lane.refusal import Refusal


class Params(NamedTuple):
    """Everything that must be equal for two texts to share a call, beside the account.

    `model` is the provider's model id. `input_type` is `query`, `document`, one of the provider's
    own words, or None. `truncate` is `none`, `start`, `end` or None (the provider's default).
    `dtype` is the type of the numbers (`float`, `int8`, …). `token_ids`: the texts are lists of
    token ids. `whole`: the body of a request that is passed on untouched in a call of its own,
    with `path` the provider's route for it when it is not the one for embeddings.
    """

    model: str
    input_type: str | None = None
    dimensions: int | None = None
    truncate: str | None = None
    dtype: str = "float"
    token_ids: bool = False
    whole: bytes | None = None
    path: str | None = None


class Request:
    """One caller's request to one provider: its texts, and the vectors as they come.

    `texts` are JSON texts as bytes (a string with its quotes, or a list of token ids). `tokens`
    are the estimates of each, computed once. `done` is called exactly once, in the turn in which
    the last vector or the first final error came; `refusal` tells which. `deadline` and `arrived`
    are in the core's clock, seconds.
    """

    __slots__ = (
        "answered_by", "arrived", "attempts", "batch_texts", "billed", "body", "bulk", "caller",
        "deadline", "done", "float_text", "left", "missing", "model", "params", "pinned",
        "provider_s", "queue_s", "refusal", "texts", "tokens", "user", "vectors",
    )  # fmt: skip

    def __init__(
        self,
        params: Params,
        texts: Sequence[bytes],
        caller: str,
        deadline: float,
        done: Callable[[Request], None],
    ) -> None:
        # what was asked
        self.params = params
        self.texts = texts
        self.caller = caller  # id of the key, or of the anonymous caller
        self.bulk = False
        self.pinned = False  # it names its provider, and stays with it
        self.user: str | None = None
        self.float_text = True  # the caller wants numbers, not base64
        self.arrived = 0.0
        self.deadline = deadline
        self.tokens: Sequence[int] = ()
        # how it goes
        self.vectors: list[bytes] = [b""] * len(texts)
        self.missing = len(texts)
        self.left = False  # the caller went away
        self.done = done
        # how it ended
        self.refusal: Refusal | None = None
        self.body: bytes | None = None  # the reply of a request passed on whole
        self.model = params.model
        self.answered_by = ""  # the provider's name
        self.billed = 0  # tokens, its exact share of what the provider billed
        self.attempts = 0  # calls that carried a part of it
        self.batch_texts = 0  # texts in the largest call that it shared
        self.queue_s = 0.0  # the longest that a part of it waited before its last call
        self.provider_s = 0.0  # the longest call among those that answered it

    @property
    def ended(self) -> bool:
        """Whether nothing more can come of it: answered, refused, or its caller left."""
        return self.missing == 0 or self.refusal is not None or self.left


class Ticket:
    """Some texts of one request that wait, or fly, together.

    `places` are the indexes of its texts in the request. `tag` orders tickets (the start tag of
    the fair queue). `tries` counts the calls that broke under it.
    """

    __slots__ = ("bytes", "held_at", "places", "request", "tag", "tokens", "tries", "waited_from")

    def __init__(self, request: Request, places: Sequence[int], tag: float, now: float) -> None:
        self.request = request
        self.places = places
        self.tag = tag
        self.tries = 0
        self.held_at = now  # from when the hold counts
        self.waited_from = now
        texts, tokens = request.texts, request.tokens
        self.bytes = sum(len(texts[i]) for i in places)
        self.tokens = sum(tokens[i] for i in places)
