"""Right replies pass, however they are written; every kind of wrong one is told."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from emr.cli.load.check import Checker, Wrong, is_written
from emr.cli.load.work import Ask
from emr.fake.settings import FakeSettings
from tests.fake.world import Fake, voyage

TEXTS = ["one", "two", "three"]


def reply(faults: str = "", texts: list[str] | None = None, **more: object) -> bytes:
    fake = Fake(FakeSettings(latency_ms=0.0, faults=faults))
    return fake.ask("/v1/embeddings", voyage(*(texts or TEXTS), **more)).body


def checker(**ask: Any) -> Checker:
    return Checker(Ask("voyage", "voyage-code-3", **ask))


def edit(body: bytes, change: Any) -> bytes:
    read = orjson.loads(body)
    change(read)
    return orjson.dumps(read)


@pytest.mark.parametrize("base64", [False, True])
@pytest.mark.parametrize("dimensions", [None, 1024])
def test_right_replies(base64: bool, dimensions: int | None) -> None:
    body = reply(**({"encoding_format": "base64"} if base64 else {}))
    check = checker(base64=base64, dimensions=dimensions)
    for _ in range(2):
        check.check("", TEXTS, body)
    check.check("voyage-code-3", TEXTS, body)
    # the same numbers written by another hand
    check.check("", TEXTS, orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2))


def test_numbers_in_other_words_are_right() -> None:
    checker(dimensions=1024).check("", TEXTS, reply("exponent"))


@pytest.mark.parametrize("base64", [False, True])
@pytest.mark.parametrize(
    "fault",
    ["short", "long", "shuffled", "duplicate", "nan", "infinity", "null", "dimension", "empty",
     "garbage", "truncated", "html", "error-200", "gzip"],
)  # fmt: skip
def test_wrong_replies(fault: str, base64: bool) -> None:
    body = reply(fault, **({"encoding_format": "base64"} if base64 else {}))
    for dimensions in (None, 1024):
        with pytest.raises(Wrong):
            checker(base64=base64, dimensions=dimensions).check("", TEXTS, body)


def swap(read: Any) -> None:
    data = read["data"]
    data[0]["embedding"], data[1]["embedding"] = data[1]["embedding"], data[0]["embedding"]


@pytest.mark.parametrize("dimensions", [None, 1024])
@pytest.mark.parametrize("base64", [False, True])
def test_swapped_vectors_are_wrong(base64: bool, dimensions: int | None) -> None:
    body = edit(reply(**({"encoding_format": "base64"} if base64 else {})), swap)
    with pytest.raises(Wrong, match="vector 0 of 3 is not that of its text"):
        checker(base64=base64, dimensions=dimensions).check("", TEXTS, body)


def test_right_vectors_under_wrong_indexes_are_wrong() -> None:
    body = reply().replace(b'"index":1', b'"index":2')
    with pytest.raises(Wrong, match="indexes"):
        checker(dimensions=1024).check("", TEXTS, body)


def test_one_bit_makes_a_difference() -> None:
    def change(read: Any) -> None:
        read["data"][2]["embedding"][500] += 1e-7

    with pytest.raises(Wrong, match="vector 2"):
        checker(dimensions=1024).check("", TEXTS, edit(reply(), change))


def test_the_vectors_of_another_question_are_wrong() -> None:
    for other in ({"input_type": "query"}, {"model": "voyage-4"}, {"output_dimension": 512}):
        with pytest.raises(Wrong):
            checker(dimensions=1024).check("", TEXTS, reply(**other))
    with pytest.raises(Wrong):
        checker().check("", ["one", "two", "four"], reply())
    with pytest.raises(Wrong):
        checker().check("", TEXTS[:2], reply())
    with pytest.raises(Wrong):
        checker().check("another-model", TEXTS, reply())


def test_the_first_reply_sets_the_size() -> None:
    check = checker()
    check.check("", TEXTS, reply(output_dimension=512))
    with pytest.raises(Wrong):
        check.check("", TEXTS, reply())


def test_what_is_written_as_asked_counts() -> None:
    with pytest.raises(Wrong, match="not written as was asked"):
        checker(base64=True).check("", TEXTS, reply())
    with pytest.raises(Wrong, match="not written as was asked"):
        checker().check("", TEXTS, reply(encoding_format="base64"))
    with pytest.raises(Wrong, match="no base64"):
        checker(base64=True).check("", ["a"], b'{"data":[{"index":0,"embedding":"!!"}]}')


@pytest.mark.parametrize("base64", [False, True])
def test_cohere(base64: bool) -> None:
    body = {"model": "embed-v4.0", "texts": TEXTS, "input_type": "search_document",
            "embedding_types": ["base64" if base64 else "float"]}  # fmt: skip
    good = Fake(FakeSettings()).ask("/v2/embed", body).body
    for dimensions in (None, 1536):
        check = Checker(Ask("cohere", "embed-v4.0", None, dimensions, base64))
        check.check("", TEXTS, good)
        with pytest.raises(Wrong):
            check.check("", TEXTS[::-1], good)


def test_letter_for_letter() -> None:
    good = b'{"data":[{"embedding":[1],"index":0},{"embedding":[2],"index":1}]}'
    assert is_written(good, [b"[1]", b"[2]"])
    assert not is_written(good, [b"[1]"])
    assert not is_written(good, [b"[1]", b"[2]", b"[3]"])
    assert not is_written(good, [b"[2]", b"[1]"])
    assert not is_written(good.replace(b"[2]", b"[2,3]"), [b"[1]", b"[2]"])
    assert not is_written(good.replace(b":1}", b":0}"), [b"[1]", b"[2]"])
    assert not is_written(good[:-1], [b"[1]", b"[2]"])
    assert not is_written(b"", [b"[1]"])
    assert not is_written(b"[]", [])
