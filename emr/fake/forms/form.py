"""What the fake needs to know of a provider's API: its routes, fields, answers and words.

A form reads a body into an `Asked`, writes the answer to it, and has the provider's own words for
each complaint of a closed set. It knows nothing of time, limits and faults. A new provider is one
file beside this one and one row in the table of `emr.fake.forms`.

Facts and messages are those of the providers' documentation, SDKs, sources and recorded replies;
where none was found, the comment says so.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from string import Formatter
from typing import Any, NamedTuple

import orjson

from emr.fake.forms.words import JSON, PLAIN, Complain, Complaint, Headers, Saying, Words
from emr.fake.vectors import DIMENSIONS, DIMENSIONS_MAX, Text, maker, tokens_of


class Route(NamedTuple):
    """Where a call came in: the route's name, the model that its path names, and its query."""

    name: str
    model: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """A model: the sizes of vector that it gives, its own first, and its caps in tokens.

    `any_size`: every size up to the first of `dimensions` may be asked.
    """

    dimensions: tuple[int, ...]
    max_text_tokens: int
    max_call_tokens: int = 0  # 0: none
    any_size: bool = False


@dataclass(frozen=True, slots=True)
class Caps:
    """What the settings say about reading: 0 in a cap is the provider's own."""

    strict: bool = True
    dimensions: int = 0
    max_texts: int = 0
    max_tokens: int = 0
    max_text_tokens: int = 0
    bytes_per_token: float = 4.0


@dataclass(frozen=True, slots=True)
class Field:
    """What a field of a request may hold: types of JSON, and values when they are few.

    `null`: a null is taken for an absent field, and not for a wrong type.
    """

    types: tuple[type, ...]
    values: tuple[object, ...] = ()
    required: bool = False
    null: bool = True


@dataclass(frozen=True, slots=True)
class Output:
    """One way in which the vectors are wanted: numbers of a type, or its bytes in base64."""

    name: str = "float"
    dtype: str = "float"
    base64: bool = False


@dataclass(slots=True)
class Asked:
    """A call as it was understood. `route` is the name of the route.

    `texts` are what is embedded; `keys` what the vectors are functions of, when that is more than
    the text (a part of a document depends on the others). `tokens` are what each text is billed,
    cut to the model's length where the provider cuts. `groups` are the sizes of the documents.
    """

    route: str
    model: str
    texts: Sequence[Text]
    tokens: Sequence[int]
    input_type: str | None = None
    dimensions: int = 0
    outputs: tuple[Output, ...] = (Output(),)
    keys: Sequence[Text] = ()
    groups: Sequence[int] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Tokens of the call."""
        return sum(self.tokens)


@dataclass(slots=True)
class Vectors:
    """The vectors of an answer, as JSON texts: a list for each output; and their indexes."""

    outputs: list[list[bytes]]
    indexes: list[int]


@dataclass(frozen=True, slots=True)
class LimitState:
    """Where a limit stands, for headers: amounts, and seconds until nothing counts any more."""

    limit: float
    left: float
    reset_s: float


class Form(ABC):
    """A provider's API. `{model}` in the path of a route stands for the name of a model."""

    name: str
    routes: Mapping[str, str]  # path: the route's name
    needs_key = True
    models: Mapping[str, Model]
    max_texts: int
    words: Mapping[Complaint, Words]
    unnumbered: frozenset[str] = frozenset()  # routes whose answers do not number their vectors
    tells_limits = False  # the real one's answers have rate limit headers
    tells_retry = False  # the real one's 429s have Retry-After
    refuses_own_size = False  # a model of one size refuses to be asked even for that
    refuses_unknown = True  # a field that it does not know, where others look away

    @abstractmethod
    def read(self, route: Route, body: dict[str, Any], caps: Caps) -> Asked:
        """Understand a body; raises Complain as the provider would refuse it."""

    @abstractmethod
    def write(self, asked: Asked, vectors: Vectors) -> bytes:
        """The body of the answer."""

    @abstractmethod
    def error(self, words: Words, message: str, facts: Mapping[str, object]) -> bytes:
        """The body of a refusal.

        `facts` are those of the complaint, with the `complaint` itself and the `route`'s name.
        """

    def route(self, path: str) -> Route | None:
        """The route of a path, None when it is not this form's."""
        name = self.routes.get(path)
        if name is not None:
            return Route(name) if "{" not in path else None
        for pattern, name in self.routes.items():
            if "{" in pattern:
                match = compiled(pattern).fullmatch(path)
                if match is not None:
                    return Route(name, match.group(1))
        return None

    def key(self, headers: Mapping[bytes, bytes]) -> str | None:
        """The API key of a request, None when it has none."""
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            return None
        return token.strip().decode("latin-1")

    def limit_headers(self, limits: Mapping[str, LimitState]) -> Headers:
        """The headers about limits: `requests`, `tokens` and `inputs`, as far as each is set."""
        headers: Headers = []
        for name, state in limits.items():
            end = name.encode()
            headers.append((b"x-ratelimit-limit-" + end, b"%d" % state.limit))
            headers.append((b"x-ratelimit-remaining-" + end, b"%d" % state.left))
            if state.reset_s >= 0.0:
                headers.append((b"x-ratelimit-reset-" + end, duration(state.reset_s).encode()))
        return headers

    def answer_headers(self, asked: Asked) -> Headers:
        """Further headers of a good answer."""
        return []

    def refuse(self, complaint: Complaint, facts: Mapping[str, object]) -> Saying:
        """A refusal; a fact needed that is None makes the words vague."""
        words = self.words[complaint]
        text = words.text
        if words.vague is not None:
            needed = [name for _, name, _, _ in Formatter().parse(text) if name]
            if any(facts.get(name) is None for name in needed):
                text = words.vague
        if words.param is not None:
            words = replace(words, param=words.param.format(**facts))
        message = text.format(**facts)
        if words.plain:
            return Saying(words.status, PLAIN, message.encode())
        body = self.error(words, message, {**facts, "complaint": complaint})
        return Saying(words.status, JSON, body)

    def vectors(self, asked: Asked) -> Vectors:
        """Make the vectors of an answer."""
        texts = asked.keys or asked.texts
        made = []
        for output in asked.outputs:
            one = maker(asked.model, asked.input_type, asked.dimensions, output.dtype)
            if output.base64:
                made.append([b'"%b"' % one.base64(text) for text in texts])
            else:
                made.append([one.json(text) for text in texts])
        return Vectors(made, list(range(len(texts))))

    # what readers share

    def check_fields(
        self, body: Mapping[str, Any], known: Mapping[str, Field], caps: Caps, at: str = ""
    ) -> None:
        """Raises Complain for a field that is missing, unknown, or holds what it may not.

        When not strict only what is required is looked at. `at` stands before a field's name.
        """
        strict = caps.strict
        for name, value in body.items():
            what = known.get(name)
            if what is None:
                if strict and self.refuses_unknown:
                    raise Complain(Complaint.UNKNOWN_FIELD, field=at + name)
            elif value is None:
                if strict and not what.null:
                    raise Complain(Complaint.WRONG_TYPE, field=at + name)
            elif strict or what.required:
                if type(value) not in what.types:
                    raise Complain(Complaint.WRONG_TYPE, field=at + name)
                if what.values and value not in what.values:
                    allowed = ", ".join(repr(v) for v in what.values)
                    raise Complain(
                        Complaint.BAD_VALUE, field=at + name, value=value, allowed=allowed
                    )
        for name, what in known.items():
            if what.required and body.get(name) is None:
                raise Complain(Complaint.MISSING, field=at + name)

    def model(self, name: object, caps: Caps, only: Mapping[str, Model] | None = None) -> Model:
        """The model of that name; any other has the caps of none when not strict."""
        models = self.models if only is None else only
        known = models.get(name) if isinstance(name, str) else None
        if known is None:
            if caps.strict:
                raise Complain(Complaint.UNKNOWN_MODEL, model=name, known=list(models))
            return Model((), 0)
        return known

    def size(self, name: str, model: Model, asked: int | None, caps: Caps) -> int:
        """How many numbers a vector has; raises Complain for what the model does not give."""
        sizes = model.dimensions
        if asked is None:
            return caps.dimensions or (sizes[0] if sizes else DIMENSIONS)
        if not sizes or not caps.strict or asked == caps.dimensions:
            if not 1 <= asked <= DIMENSIONS_MAX:
                raise Complain(
                    Complaint.BAD_DIMENSIONS, model=name, value=asked, allowed=DIMENSIONS_MAX
                )
        elif model.any_size:
            if not 1 <= asked <= sizes[0]:
                raise Complain(Complaint.BAD_DIMENSIONS, model=name, value=asked, allowed=sizes[0])
        elif len(sizes) == 1:
            if asked != sizes[0] or self.refuses_own_size:
                raise Complain(Complaint.NO_DIMENSIONS, model=name, value=asked, allowed=sizes)
        elif asked not in sizes:
            raise Complain(Complaint.BAD_DIMENSIONS, model=name, value=asked, allowed=sorted(sizes))
        return asked

    def weigh(self, texts: Sequence[Text], model: Model, caps: Caps, cut: bool) -> list[int]:
        """The tokens of each text, cut to the model's length or refused."""
        tokens = [tokens_of(text, caps.bytes_per_token) for text in texts]
        most = caps.max_text_tokens or (model.max_text_tokens if caps.strict else 0)
        if most and max(tokens) > most:
            if not cut:
                at = next(i for i, n in enumerate(tokens) if n > most)
                raise Complain(
                    Complaint.TEXT_TOO_LONG, index=at, most=most, got=tokens[at], text=texts[at]
                )
            tokens = [min(n, most) for n in tokens]
        return tokens

    def check_count(self, got: int, caps: Caps) -> None:
        """Raises Complain for more texts than a call may have."""
        most = caps.max_texts or (self.max_texts if caps.strict else 0)
        if most and got > most:
            raise Complain(Complaint.TOO_MANY_TEXTS, most=most, got=got)

    def check_tokens(self, name: str, model: Model, tokens: Sequence[int], caps: Caps) -> None:
        """Raises Complain for more tokens than a call may have."""
        most = caps.max_tokens or (model.max_call_tokens if caps.strict else 0)
        if most:
            got = sum(tokens)
            if got > most:
                raise Complain(Complaint.TOO_MANY_TOKENS, model=name, most=most, got=got)


def check_texts(texts: Sequence[object], name: str, strict: bool) -> None:
    """Raises Complain unless all are texts, and none is empty when strict."""
    if not texts:
        raise Complain(Complaint.NO_TEXTS)
    for index, text in enumerate(texts):
        if type(text) is not str:
            raise Complain(Complaint.WRONG_TYPE, field=name)
        if not text and strict:
            raise Complain(Complaint.EMPTY_TEXT, index=index, text=text)


@lru_cache(maxsize=64)
def compiled(pattern: str) -> re.Pattern[str]:
    """A path with a place for a model, as an expression."""
    before, after = pattern.split("{model}")
    return re.compile(f"{re.escape(before)}([^/]+){re.escape(after)}")


def duration(seconds: float) -> str:
    """As Go writes times, and OpenAI in its headers: `6m0s`, `1.5s`, `12ms`."""
    if seconds < 1.0:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60.0)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:g}s"


def dumps(value: object) -> bytes:
    """JSON."""
    return orjson.dumps(value)
