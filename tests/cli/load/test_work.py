"""Texts by number, and requests as bytes."""

from __future__ import annotations

import statistics

import orjson
import pytest

from emr.cli.load.work import CHARS_MAX, CHARS_MIN, Ask, Requests, Texts, make_pool


def body_of(request: bytes) -> dict[str, object]:
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    read: dict[str, object] = orjson.loads(body)
    return read


def test_texts_have_the_lengths_of_real_ones() -> None:
    lengths = [len(text) for text in make_pool(400, 1)]
    assert statistics.median(lengths) == pytest.approx(400, rel=0.1)
    assert statistics.quantiles(lengths, n=100)[98] == pytest.approx(400 * 5.1, rel=0.3)
    assert min(lengths) >= CHARS_MIN
    assert max(len(t) for t in make_pool(100_000, 1)) == CHARS_MAX
    assert make_pool(50, 1) == make_pool(50, 1) != make_pool(50, 2)


def test_every_text_is_new() -> None:
    texts = Texts(["a", "b"], 0, 1)
    numbers = texts.take(3) + texts.take(2)
    assert [texts.text(n) for n in numbers] == ["0 a", "1 b", "2 a", "3 b", "4 a"]
    assert [orjson.loads(texts.json(n)) for n in numbers] == [texts.text(n) for n in numbers]


def test_texts_of_a_file_are_asked_as_they_are() -> None:
    texts = Texts(['say "hi"', "é\n"], 0, 1, numbered=False)
    assert [texts.text(n) for n in texts.take(3)] == ['say "hi"', "é\n", 'say "hi"']
    assert orjson.loads(texts.json(0)) == 'say "hi"'


def test_a_few_distinct_texts() -> None:
    texts = Texts(["a"], 5, 1)
    assert {texts.text(n) for n in texts.take(1000)} == {f"{i} a" for i in range(5)}


def test_no_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="no texts"):
        Texts([], 0, 1)


@pytest.mark.parametrize(
    ("ask", "fields"),
    [
        (Ask(), {"input": ["0 a"]}),
        (Ask(model="m", texts=2, base64=True, dimensions=256, input_type="query",
             extra={"provider": "p"}),
         {"input": ["0 a", "1 b"], "model": "m", "encoding_format": "base64", "dimensions": 256,
          "input_type": "query", "provider": "p"}),
        (Ask("voyage", "m", dimensions=256), {"input": ["0 a"], "model": "m",
                                             "output_dimension": 256}),
        (Ask("cohere", "m"), {"texts": ["0 a"], "model": "m", "input_type": "search_document",
                             "embedding_types": ["float"]}),
        (Ask("cohere", "m", "query", 512, True),
         {"texts": ["0 a"], "model": "m", "input_type": "search_query",
          "embedding_types": ["base64"], "output_dimension": 512}),
    ],
)  # fmt: skip
def test_bodies(ask: Ask, fields: dict[str, object]) -> None:
    requests = Requests(ask, Texts(["a", "b"], 0, 1), "h:1", "/p", ["k"])
    request, numbers = requests.make(0)
    assert body_of(request) == fields
    assert numbers == list(range(ask.texts))


def test_heads() -> None:
    requests = Requests(Ask(), Texts(["a"], 0, 1), "h:1", "/p?q", ["k1", "k2"], ["X-B: c"])
    assert requests.keys == 2
    head = requests.make(1)[0].partition(b"\r\n\r\n")[0]
    assert head.startswith(b"POST /p?q HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/json\r\n")
    assert b"\r\nX-B: c\r\nAuthorization: Bearer k2\r\n" in head
    none = Requests(Ask(), Texts(["a"], 0, 1), "h", "/", [])
    assert b"Authorization" not in none.make(0)[0]
    assert none.keys == 1
