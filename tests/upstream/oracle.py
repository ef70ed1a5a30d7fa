"""A second reader of replies, by orjson alone and in the plainest way, to judge the first."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import orjson

from emr.lane.ticket import Params
from emr.lane.verdict import Ending, Reply
from emr.upstream.reply import (
    COHERE_FLOATS_SHAPE,
    OPENAI_SHAPE,
    Shape,
    Unreadable,
    cohere_shape,
    read_reply,
)
from emr.upstream.vector import DTYPES

FLOAT = DTYPES["float"]
PARAMS = Params("model")
V2 = cohere_shape("float")
LARGEST = 3.4028234663852886e38


def b64(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def openai(*entries: tuple[int, str], more: str = '"usage":{"total_tokens":7}') -> bytes:
    data = ",".join(
        f'{{"object":"embedding","index":{i},"embedding":{vector}}}' for i, vector in entries
    )
    return f'{{"object":"list","data":[{data}],"model":"said",{more}}}'.encode()


def numbers_of(text: bytes) -> list[float]:
    value = orjson.loads(text)
    if type(value) is str:
        raw = base64.b64decode(value)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return [float(v) for v in value]


def oracle(body: bytes, shape: Shape, texts: int) -> list[list[float]] | None:
    """The vectors by orjson alone, None when the reply must be refused."""
    try:
        value = orjson.loads(body)
        if shape is OPENAI_SHAPE:
            data = value["data"]
            if type(data) is not list or len(data) != texts:
                return None
            by_index = {e["index"]: e["embedding"] for e in data if type(e["index"]) is int}
            found = [by_index[i] for i in range(texts)]
        else:
            found = (
                value["embeddings"]
                if shape is COHERE_FLOATS_SHAPE
                else value["embeddings"]["float"]
            )
            if type(found) is not list or len(found) != texts:
                return None
        vectors = [_plain(v) for v in found]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IndexError):
        return None
    if len({len(v) for v in vectors}) != 1 or not vectors[0]:
        return None
    return vectors


def _plain(value: Any) -> list[float]:
    if type(value) is str:
        raw = base64.b64decode(value, validate=True)
        if len(raw) % 4:
            raise ValueError
        value = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    if type(value) is not list:
        raise ValueError
    for v in value:
        if type(v) not in (int, float) or not math.isfinite(v) or abs(v) > LARGEST:
            raise ValueError
    return [float(v) for v in value]


def agree(body: bytes, shape: Shape, texts: int) -> Reply | None:
    """Read `body`; the outcome must be the oracle's, vector for vector."""
    expected = oracle(body, shape, texts)
    reply, refused = None, None
    try:
        reply = read_reply(body, shape, PARAMS, texts)
    except Unreadable as error:
        refused = error
    if refused is not None or reply is None:
        assert expected is None, "refused a good reply"
        assert refused is not None
        assert refused.ending in (Ending.PROTOCOL, Ending.TRANSIENT)
        assert refused.message
        return None
    assert expected is not None, "let a bad reply through"
    assert [numbers_of(v) for v in reply.vectors] == expected
    assert reply.dimensions == len(expected[0])
    for vector in reply.vectors:
        assert b" " not in vector
        assert b"\n" not in vector
    return reply
