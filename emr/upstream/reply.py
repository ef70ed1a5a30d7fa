"""From the body of a good reply to its vectors, in the order of the call's texts.

A `Shape` says where a provider puts its vectors; what is checked is the same for all: as many as
texts, `index` a permutation (a shuffled reply is put right), one length, the length that was asked
for, numbers that are finite and of the asked type. What fails is PROTOCOL; what is not JSON at all
is TRANSIENT, because that is how a proxy in front of a provider fails.

A reply without any `index` is refused too, although its order is most likely right: "most likely"
is not what emr promises, and every known provider of that shape numbers its vectors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from emr.lane.ticket import Params
from emr.lane.verdict import Ending, Reply
from emr.upstream.cut import Doubt, Slice, cut_each, cut_listed, read_whole
from emr.upstream.vector import DTYPES, Dtype, Unfit

MAX_TOKENS = 1 << 53  # beyond what a float counts exactly: no bill
MAX_MODEL = 200  # characters of a model's name


_NOT_FINITE = re.compile(".?(nan|inf)", re.IGNORECASE | re.DOTALL)


class Unreadable(Exception):
    """A reply with status 200 that does not answer the call: how it ends, and why."""

    def __init__(self, ending: Ending, message: str) -> None:
        super().__init__(message)
        self.ending = ending
        self.message = message


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a reply has its vectors.

    `key`, with quotes and colon, stands before each vector, or before their list when `listed`.
    `order` takes the reply's value and the count of texts and returns what stands where the
    vectors are, in the order of the texts (raises Unreadable). `billed` finds the tokens.
    """

    key: bytes
    listed: bool
    order: Callable[[Any, int], list[Any]]
    billed: Callable[[Any], int | None]


def read_reply(body: bytes, shape: Shape, params: Params, texts: int) -> Reply:
    """The vectors of `body`. Raises Unreadable."""
    dtype = DTYPES[params.dtype]
    cut = cut_listed if shape.listed else cut_each
    try:
        value, slices = cut(body, shape.key, dtype)
        found = [slices.get(v) if type(v) is str else None for v in shape.order(value, texts)]
        vectors = [s for s in found if s is not None]
        if len(vectors) != texts:
            raise Doubt
    except Doubt:
        value = _load(body)
        vectors = _read_each(shape.order(value, texts), dtype)
    dimensions = _common_length(vectors, dtype, params.dimensions)
    return Reply(
        [text for text, _ in vectors], dimensions, shape.billed(value), model_of(value, params)
    )


def read_passed_on(body: bytes, params: Params) -> Reply:
    """The reply of a request that was passed on whole: it must be JSON, and is given back."""
    value = _load(body)
    if type(value) is not dict:
        _refuse("the reply is not an object")
    billed = openai_billed(value)
    if billed is None:
        billed = cohere_billed(value)
    return Reply([], 0, billed, model_of(value, params), body)


def model_of(value: Any, params: Params) -> str:
    """The model that the reply names; the asked one when it names none that could be one."""
    model = value.get("model") if type(value) is dict else None
    if type(model) is str and 0 < len(model) <= MAX_MODEL and model.isprintable():
        return model
    return params.model


def _load(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # the place is that of the word, or behind its minus sign
        near = error.doc[max(0, error.pos - 1) : error.pos + 3]
        if "infinity" in error.msg or _NOT_FINITE.match(near):
            raise _not_finite() from None
        raise Unreadable(Ending.TRANSIENT, "the reply is not JSON") from None


def _read_each(values: list[Any], dtype: Dtype) -> list[Slice]:
    try:
        return [read_whole(value, dtype) for value in values]
    except Unfit as unfit:
        _refuse(str(unfit))


def _common_length(vectors: list[Slice], dtype: Dtype, asked: int | None) -> int:
    lengths = {length for _, length in vectors}
    if len(lengths) != 1:
        _refuse("the vectors of the reply differ in length")
    (length,) = lengths
    if asked is not None and length != dtype.length(asked):
        _refuse(f"the vectors of the reply have {length} numbers where {asked} were asked for")
    return length


def members_of(value: Any, key: str, texts: int) -> list[Any]:
    """The list at `key` of an object, as long as there are texts. Raises Unreadable."""
    members = value.get(key) if type(value) is dict else None
    if type(members) is not list:
        _refuse(f"the reply has no list `{key}`")
    if len(members) != texts:
        _refuse(f"the reply has {len(members)} vectors for {texts} texts")
    return members


# OpenAI's shape: {"data": [{"index": 0, "embedding": …}, …], "usage": {…}}


def _by_index(value: Any, texts: int) -> list[Any]:
    ordered: list[Any] = [None] * texts
    seen = 0
    for entry in members_of(value, "data", texts):
        if type(entry) is not dict:
            _refuse("an entry of `data` is not an object")
        index = entry.get("index")
        if type(index) is not int or not 0 <= index < texts:
            _refuse("an `index` of the reply is missing or out of range")
        embedding = entry.get("embedding")
        if ordered[index] is not None or embedding is None:
            _refuse("an `index` of the reply stands twice, or an entry has no vector")
        ordered[index] = embedding
        seen += 1
    assert seen == texts, "places and entries differ: a bug"
    return ordered


def openai_billed(value: Any) -> int | None:
    """`usage.total_tokens`, or `prompt_tokens` where there is no total."""
    usage = value.get("usage") if type(value) is dict else None
    if type(usage) is not dict:
        return None
    total = tokens_of(usage.get("total_tokens"))
    return tokens_of(usage.get("prompt_tokens")) if total is None else total


OPENAI_SHAPE = Shape(b'"embedding":', False, _by_index, openai_billed)


# Cohere's: {"embeddings": {"float": [[…], …]}, "meta": {…}}, and v1's {"embeddings": [[…], …]}


def cohere_billed(value: Any) -> int | None:
    """`meta.billed_units.input_tokens`, which its SDK types as a float."""
    for key in ("meta", "billed_units"):
        value = value.get(key) if type(value) is dict else None
    return tokens_of(value.get("input_tokens")) if type(value) is dict else None


def cohere_shape(word: str) -> Shape:
    """The shape of a reply that was asked for `embedding_types: [word]`."""

    def order(value: Any, texts: int) -> list[Any]:
        by_type = value.get("embeddings") if type(value) is dict else None
        return members_of(by_type, word, texts)

    return Shape(b'"%s":' % word.encode(), True, order, cohere_billed)


def _floats(value: Any, texts: int) -> list[Any]:
    return members_of(value, "embeddings", texts)


COHERE_FLOATS_SHAPE = Shape(b'"embeddings":', True, _floats, cohere_billed)


def tokens_of(value: Any) -> int | None:
    """A count of tokens, None when it cannot be one."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < MAX_TOKENS else None


def _not_finite() -> Unreadable:
    return Unreadable(Ending.PROTOCOL, "a number of the reply is not finite")


def _refuse(message: str) -> NoReturn:
    raise Unreadable(Ending.PROTOCOL, message)
