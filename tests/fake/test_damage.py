"""What each fault does to a reply, as float and as base64."""

from __future__ import annotations

import gzip
import math
from base64 import b64decode
from struct import pack, unpack
from typing import Any

import orjson
import pytest

from emr.fake.settings import FakeSettings
from emr.fake.vectors import vector_of
from tests.fake.world import Connection, Fake, voyage

TEXTS = ("a", "b", "c")


def struck(fault: str, *texts: str, **more: object) -> Connection:
    fake = Fake(FakeSettings(latency_ms=0.0, faults=fault))
    return fake.ask("/v1/embeddings", voyage(*(texts or TEXTS), **more))


def entries(got: Connection) -> list[tuple[int, Any]]:
    return [(d["index"], d["embedding"]) for d in got.json["data"]]


def right(text: str) -> list[float]:
    return [float(x) for x in vector_of(text, "voyage-code-3")]


def floats(value: str | list[float]) -> list[float]:
    """A vector as float32 values, whichever way it was written."""
    if isinstance(value, str):
        raw = b64decode(value)
        return list(unpack(f"<{len(raw) // 4}f", raw))
    return [unpack("<f", pack("<f", x))[0] for x in value]


@pytest.mark.parametrize("more", [{}, {"encoding_format": "base64"}])
def test_wrong_counts_and_orders(more: dict[str, object]) -> None:
    good = [(i, right(t)) for i, t in enumerate(TEXTS)]

    def got(fault: str, *texts: str) -> list[tuple[int, Any]]:
        return [(i, floats(v)) for i, v in entries(struck(fault, *texts, **more))]

    assert got("none") == good
    assert got("short") == good[:2]
    assert got("short", "a") == []
    assert got("long") == [*good, (3, right("c"))]
    assert got("shuffled") == good[::-1]
    assert got("duplicate") == [good[0], good[1], (0, right("c"))]
    assert got("duplicate", "a") == [(1, right("a"))]
    assert got("dimension") == [good[0], good[1], (2, right("c")[:-1])]


def test_numbers_that_are_none() -> None:
    assert struck("nan").body.count(b",NaN]") == 1
    assert struck("infinity").body.count(b",Infinity]") == 1
    assert entries(struck("null"))[2][1][-1] is None
    nan = floats(entries(struck("nan", encoding_format="base64"))[2][1])
    assert math.isnan(nan[-1])
    assert nan[:-1] == right("c")[:-1]
    infinite = floats(entries(struck("infinity", encoding_format="base64"))[2][1])
    assert math.isinf(infinite[-1])
    assert entries(struck("null", encoding_format="base64"))[2][1] is None


def test_numbers_with_exponents_are_the_same_numbers() -> None:
    got = struck("exponent")
    assert got.body.count(b"e-0") > 3000
    assert [floats(v) for _, v in entries(got)] == [right(t) for t in TEXTS]
    whole = struck("exponent", output_dtype="int8")
    assert entries(whole)[0][1] == vector_of("a", "voyage-code-3", None, 1024, "int8")


def test_wrong_bodies() -> None:
    good = struck("none").body
    assert struck("empty").body == b""
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(struck("garbage").body)
    assert struck("truncated").body == good[: len(good) // 2]
    html = struck("html")
    assert (html.status, html.headers[b"content-type"][:9]) == (200, b"text/html")
    assert html.body.startswith(b"<html>")
    assert struck("error-200").json == {"detail": "Internal Server Error"}


def test_unusual_dress() -> None:
    good = struck("none").body
    zipped = struck("gzip")
    assert zipped.headers[b"content-encoding"] == b"gzip"
    assert gzip.decompress(zipped.body) == good
    plain = struck("content-type")
    assert plain.headers[b"content-type"] == b"text/plain"
    assert plain.body == good


def test_lists_without_indexes_are_never_shuffled() -> None:
    body = {"model": "embed-v4.0", "texts": ["a", "b"], "input_type": "search_query",
            "embedding_types": ["float"]}  # fmt: skip
    good = Fake(FakeSettings()).ask("/v2/embed", body).body
    for fault in ("shuffled", "duplicate"):
        fake = Fake(FakeSettings(faults=fault))
        assert fake.ask("/v2/embed", body).body == good
        assert fake.stats()["by_fault"] == {}
        assert fake.stats()["good"]["calls"] == 1
