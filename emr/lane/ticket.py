"""What waits: a request of a caller, and the tickets that are its share in a lane.

A request collects its vectors; a ticket says which of its texts wait together. A ticket is in
exactly one place: a lane's waiting list, back-off, a batch in flight, or done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from emr.lane.refusal import Refusal
from emr.lane.verdict import OK, Verdict

if TYPE_CHECKING:
    from emr.lane.account import Account
    from emr.lane.caps import Caps
    from emr.lane.poison import Part, Trial


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

    @property
    def of_texts(self) -> Params:
        """The same without a body that is passed on whole, which may have megabytes."""
        return self if self.whole is None else self._replace(whole=None, path=None)


class Origin(NamedTuple):
    """What vectors are: so many numbers, of the model that the reply named, by this provider.

    `provider` is empty where it is not known any more.
    """

    length: int
    model: str
    provider: str

    def is_of(self, other: Origin) -> bool:
        """Whether both are of one model, whoever answered."""
        return self.length == other.length and self.model == other.model

    def was_exchanged(self, now: Origin) -> bool:
        """Whether vectors that come `now` are of another model than these were.

        Two providers of a family may call one model by two names; the same provider has exchanged
        it, as behind a name like `latest`.
        """
        if self.length != now.length:
            return True
        return self.model != now.model and self.provider in ("", now.provider)


# the order of tickets: S of the fair queue; of equals, interactive (False) before bulk
Tag = tuple[float, bool]


class Request:
    """One caller's request to one provider: its texts, and the vectors as they come.

    `texts` are JSON texts as bytes (a string with its quotes, or a list of token ids). `tokens`
    are the estimates of each, computed once. `done` is called exactly once, in the turn in which
    the last vector or the first final error came; `refusal` tells which. `deadline` and `arrived`
    are in the core's clock, seconds.

    `space` names whose vectors these are: requests of equal space and params get equal vectors for
    equal texts. None keeps a request out of the cache. `wanted` are the places of the texts that
    the cache did not have; only these wait in lanes.
    """

    __slots__ = (
        "answered_by",
        "arrived",
        "attempts",
        "batch_texts",
        "billed",
        "body",
        "bulk",
        "cached",
        "caller",
        "deadline",
        "done",
        "failed_at",
        "failed_by",
        "float_text",
        "left",
        "members",
        "missing",
        "mixed",
        "model",
        "no_store",
        "number",
        "origin",
        "params",
        "provider_s",
        "queue_s",
        "refusal",
        "space",
        "texts",
        "tokens",
        "user",
        "vectors",
        "wanted",
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
        self.texts = texts if type(texts) is list else list(texts)
        self.caller = caller  # id of the key, or of the anonymous caller
        self.bulk = False
        self.members: Sequence[Account] = ()  # the accounts that may answer it
        self.user: str | None = None
        self.float_text = True  # the caller wants numbers, not base64
        self.no_store = False  # the caller wants nothing of the cache, and nothing kept in it
        self.space: str | None = None
        self.arrived = 0.0
        self.deadline = deadline
        self.tokens: Sequence[int] = ()
        self.number = 0  # among those let in, from 1
        # how it goes
        self.vectors: list[bytes] = [b""] * len(texts)
        self.wanted: Sequence[int] = range(len(texts))
        self.cached = 0  # texts that the cache had
        self.origin: Origin | None = None  # of its vectors, None while there is none
        self.mixed = False  # it got vectors of two lengths; beside the cache's, of two models
        # the body of one that is passed on whole counts as one, even if it has no texts
        self.missing = len(texts) if params.whole is None else 1
        self.left = False  # the caller went away
        self.failed_at = 0.0  # when its first call broke, 0 while none did
        self.failed_by: Verdict = OK  # the verdict of its last broken call
        self.done = done
        # how it ended
        self.refusal: Refusal | None = None
        self.body: bytes | None = None  # the reply of a request passed on whole
        self.model = params.model
        self.answered_by = ""  # the provider where it waits, or that answered it
        self.billed = 0  # tokens, its exact share of what the provider billed
        self.attempts = 0  # calls that carried a part of it
        self.batch_texts = 0  # texts in the largest call that it shared
        self.queue_s = 0.0  # the longest that a part of it waited before its last call
        self.provider_s = 0.0  # the longest call among those that answered it

    @property
    def ended(self) -> bool:
        """Whether nothing more can come of it: answered, refused, or its caller left."""
        return self.missing == 0 or self.refusal is not None or self.left

    def recall(self, wanted: Sequence[int], origin: Origin) -> None:
        """Vectors of the cache are in place, for all but `wanted`."""
        self.cached += len(self.wanted) - len(wanted)
        self.wanted = wanted
        self.missing = len(wanted)
        self.model = origin.model
        self.origin = origin

    def measure(self, origin: Origin) -> None:
        """It gets a vector of a call."""
        known = self.origin
        if known is None:
            self.origin = origin
        elif known.length != origin.length or (self.cached and known.was_exchanged(origin)):
            self.mixed = True

    def ask_anew(self) -> None:
        """What the cache had is of a model that was exchanged: all of it is wanted."""
        self.wanted = range(len(self.texts))
        self.missing = len(self.texts)
        self.cached = 0
        self.origin = None
        self.mixed = False

    def weigh(self, caps: Caps) -> None:
        """Estimate the tokens of each text; what the cache had weighs nothing."""
        self.tokens = weighed = caps.weigh(self.texts, token_ids=self.params.token_ids)
        if self.cached:
            self.tokens = tokens = [0] * len(weighed)
            for place in self.wanted:
                tokens[place] = weighed[place]


class Ticket:
    """Some texts of one request that wait, or fly, together.

    `places` are the indexes of its texts in the request. `tag` orders tickets (the start tag of
    the fair queue). `tries` counts the calls that broke under it. `most_texts` is the largest
    call that it may travel in, 0 for any; `alone` keeps it out of calls with others.
    """

    __slots__ = (
        "alone", "bytes", "held_at", "most_texts", "moved", "places", "request", "tag", "tokens",
        "tries", "waited_from",
    )  # fmt: skip

    def __init__(self, request: Request, places: Sequence[int], tag: Tag, now: float) -> None:
        self.request = request
        self.places = places
        self.tag = tag
        self.tries = 0
        self.most_texts = 0
        self.alone = False
        self.moved = False  # to another member, since its last try
        self.held_at = now  # from when the hold counts
        self.waited_from = now
        self.bytes = self.tokens = 0
        self.measure()

    def measure(self) -> None:
        """Count bytes and tokens anew."""
        texts, whole = self.request.texts, self.request.params.whole
        if whole is not None:
            self.bytes = len(whole)
        elif len(texts) == 1:
            self.bytes = len(texts[0])
        else:
            self.bytes = sum([len(texts[i]) for i in self.places])
        self.weigh_again()

    def weigh_again(self) -> None:
        """Take the tokens from the request's estimates."""
        tokens = self.request.tokens
        self.tokens = tokens[0] if len(tokens) == 1 else sum([tokens[i] for i in self.places])

    def returned(self, now: float) -> None:
        """It was out, and waits again: its hold starts anew, by the estimates of today."""
        self.held_at = self.waited_from = now
        self.weigh_again()

    def cut(self, texts: int, tag: Tag) -> Ticket:
        """Keep the first `texts` texts; the rest comes back as a ticket of its own at `tag`."""
        rest = Ticket(self.request, self.places[texts:], tag, self.held_at)
        rest.tries, rest.most_texts, rest.alone = self.tries, self.most_texts, self.alone
        rest.waited_from = self.waited_from
        self.places = self.places[:texts]
        self.bytes -= rest.bytes
        self.weigh_again()  # by the estimates of today, as the rest is
        return rest


class Batch:
    """The tickets of one lane that travel in one call, in the order of their texts."""

    __slots__ = (
        "bill", "bytes", "canary", "epoch", "first_try", "float_text", "lane_params", "number",
        "part", "probe", "sent_at", "short", "texts", "tickets", "tokens", "trial", "user",
    )  # fmt: skip

    def __init__(self, params: Params, tickets: list[Ticket]) -> None:
        self.lane_params = params
        self.tickets = tickets
        self.texts = sum([len(t.places) for t in tickets])
        self.tokens = sum([t.tokens for t in tickets])
        self.bytes = sum([t.bytes for t in tickets])
        self.float_text = all(t.request.float_text for t in tickets)
        self.first_try = any(t.tries == 0 for t in tickets)
        self.probe = self.canary = False
        first = tickets[0].request
        self.user = first.user if all(t.request is first for t in tickets) else None
        # set when it is sent
        self.number = 0
        self.sent_at = 0.0
        self.epoch = 0  # of the gate
        # `probe`: sent to try a provider that is sin-binned, or latched; `canary`: with a sentence
        # that nobody waits for
        self.trial: Trial | None = None  # an isolation call: of this trial, and what it is in it
        self.part: Part | None = None
        self.short = False  # its time to the first byte is under what such calls need
        # set when the reply came: who pays how many of the tokens that the provider billed
        self.bill: Sequence[tuple[Request, int]] = ()

    def payload(self) -> list[bytes]:
        """The JSON texts, in the order in which the vectors come back."""
        tickets = self.tickets
        if len(tickets) == 1 and len(tickets[0].places) == len(tickets[0].request.texts):
            return list(tickets[0].request.texts)
        return [t.request.texts[i] for t in tickets for i in t.places]

    @property
    def callers(self) -> int:
        """How many requests share the call."""
        return len({id(t.request) for t in self.tickets})
