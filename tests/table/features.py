"""The cells about vectors: each asks through emr and checks the vectors bit by bit.

A cell returns what stands in the table. What a provider does not offer must be a clear 400.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson

from emr.front.forms.vectors import as_numbers
from tests.table.bench import Bench, same_bits

DTYPES = ("int8", "uint8", "binary", "ubinary")
IDS = [[15339, 1917], [9906]]


def vectors(told: Any) -> list[Any]:
    """The vectors of a good answer, in order."""
    assert told.status_code == 200, told.text[:300]
    data = told.json()["data"]
    assert [entry["index"] for entry in data] == list(range(len(data)))
    return [entry["embedding"] for entry in data]


def refused(told: Any, *words: str) -> str:
    """The message of a clear 400, which must hold these words."""
    assert told.status_code == 400, told.text[:300]
    error = told.json()["error"]
    assert error["type"] == "validation_error"
    for word in words:
        assert word in error["message"], error["message"]
    message: str = error["message"]
    return message


def first(body: Any) -> Any:
    """The fields of a call; of Gemini's its first request."""
    return body["requests"][0] if "requests" in body else body


def difference(plain: Any, asked: Any) -> str:
    """The fields that one call has and the other has not, as `name: value`."""
    before, after = first(plain), first(asked)
    told = [
        f"`{name}: {orjson.dumps(value).decode()}`"
        for name, value in after.items()
        if name not in ("content", "input", "inputs", "texts") and before.get(name) != value
    ]
    return ", ".join(told)


async def query_and_document(bench: Bench) -> str:
    """Both types of input, and none."""
    if not bench.subject.path:
        plain, query, document = [
            vectors(await bench.ask(input_type=kind)) for kind in (None, "query", "document")
        ]
        assert plain == query == document
        return "the same"
    bench.become()
    words = []
    plain = vectors(await bench.ask())[0]
    assert same_bits(plain, bench.wanted("a text"))
    for kind in ("query", "document"):
        got = vectors(await bench.ask(input_type=kind))[0]
        told = kind if bench.subject.kind.input_types else None
        assert same_bits(got, bench.wanted("a text", told))
        calls = bench.sent()
        words.append(difference(calls[0], calls[-1]))
    return ", ".join(filter(None, words)) or "the same"


async def dimensions(bench: Bench) -> str:
    """A length that the model gives, one that it does not, and its own."""
    subject = bench.subject
    if subject.path:
        bench.become()
    if subject.sized is None:
        return f"400{_sizes(refused(await bench.ask(dimensions=subject.no_size)))}"
    model, size = subject.sized
    got = vectors(await bench.ask(model=model, dimensions=size))[0]
    if subject.path:
        assert same_bits(got, bench.wanted("a text", None, size, model=model))
        name = next(n for n, value in first(bench.sent()[-1]).items() if value == size)
        word = f"`{name}`"
    else:
        assert len(got) == size
        word = "yes"
    told = await bench.ask(model=model, dimensions=subject.no_size)
    if told.status_code != 400:
        assert told.status_code == 502, told.text[:300]
        assert f"where {subject.no_size} were asked for" in told.json()["error"]["message"]
        return f"{word}; it overlooks others: 502"
    return f"{word}; else 400{_sizes(refused(told))}"


def _sizes(message: str) -> str:
    """What a refusal says that there is."""
    _, has, sizes = message.partition("; it has ")
    return f": {sizes}" if has else " in its own words"


async def base64_and_float(bench: Bench) -> str:
    """The same bits, whichever way they are asked for."""
    if bench.subject.path:
        bench.become()
    numbers = vectors(await bench.ask(encoding_format="float"))[0]
    encoded = vectors(await bench.ask(encoding_format="base64"))[0]
    assert isinstance(encoded, str)
    again = orjson.loads(as_numbers(b'"%b"' % encoded.encode(), "float"))
    assert same_bits(numbers, again)
    if not bench.subject.path:
        return "yes"
    assert same_bits(numbers, bench.wanted("a text"))
    asked = first(bench.sent()[-1])
    names = [f"`{n}`" for n, value in asked.items() if value in ("base64", ["base64"])]
    return ", ".join(names) or "from its numbers"


async def dtypes(bench: Bench) -> str:
    """Each type of numbers, as numbers and as base64 of that type's bytes."""
    found = []
    for dtype in DTYPES:
        if bench.subject.path:
            bench.become()
        told = await bench.ask(output_dtype=dtype)
        if dtype not in bench.subject.kind.dtypes:
            refused(told, f"no vectors of type {dtype}", ", ".join(bench.subject.kind.dtypes))
            continue
        wanted = bench.wanted("a text", dtype=dtype)
        assert vectors(told)[0] == wanted
        encoded = vectors(await bench.ask(output_dtype=dtype, encoding_format="base64"))[0]
        signed = dtype in ("int8", "binary")
        assert [
            byte - 256 if signed and byte > 127 else byte for byte in base64.b64decode(encoded)
        ] == wanted
        found.append(dtype)
    return ", ".join(found) or "400: float"


async def truncation(bench: Bench) -> str:
    """Whether, and at which end, a text that is too long may be cut."""
    if bench.subject.path:
        bench.become()
    vectors(await bench.ask())
    words = []
    for name, asked in (("no", False), ("at the end", True)):
        words.append(_truncated(bench, name, await bench.ask(truncation=asked)))
    start = {"provider": bench.row, "texts": ["a text"], "truncate": "START",
             "input_type": "search_document", "embedding_types": ["float"]}  # fmt: skip
    words.append(_truncated(bench, "at the start", await bench.post("/v2/embed", start)))
    return "; ".join(words)


def _truncated(bench: Bench, name: str, told: Any) -> str:
    if told.status_code != 200:
        refused(told)
        return f"{name}: 400"
    if not bench.subject.path:
        return f"{name}: yes"
    calls = bench.sent()
    return f"{name}: {difference(calls[0], calls[-1]) or 'not said'}"


async def usage(bench: Bench) -> str:
    """What callers are told of tokens, against what the fake billed."""
    if bench.subject.path:
        bench.become(bytes_per_token=3.0)
    told = await bench.ask(["some words", "and some more of them"])
    vectors(told)
    counted = told.json()["usage"]
    assert counted["prompt_tokens"] == counted["total_tokens"] > 0
    if not bench.subject.path:
        return "its own count"
    return "as billed" if counted["total_tokens"] == bench.tokens else "estimated"


async def token_ids(bench: Bench) -> str:
    """Lists of token ids in the place of texts."""
    if bench.subject.path:
        bench.become()
    told = await bench.ask(IDS)
    if told.status_code == 200:
        assert len(vectors(told)) == len(IDS)
        assert bench.sent()[-1]["input"] == IDS
        return "yes"
    refused(told, "check_embedding_ctx_length=False")
    return "400"


async def user(bench: Bench) -> str:
    """The field `user`, which goes to those that have it."""
    if not bench.subject.path:
        vectors(await bench.ask(user="somebody"))
        return "left out"
    bench.become()
    vectors(await bench.ask(user="somebody"))
    return "`user`" if first(bench.sent()[-1]).get("user") == "somebody" else "left out"


async def many_texts(bench: Bench) -> str:
    """One text more than a call takes: split, called, and put together in order."""
    subject = bench.subject
    most = min(filter(None, (subject.texts, subject.kind.max_texts)))
    asked = [f"text {number}" for number in range(most + 1)]
    if not subject.path:
        assert len(vectors(await bench.ask(asked))) == most + 1
        return f"{most} a call"
    bench.become()
    got = vectors(await bench.ask(asked))
    for text, vector in zip(asked, got, strict=True):
        assert same_bits(vector, bench.wanted(text))
    return f"{most} a call"


FEATURES = {
    "query, document": query_and_document,
    "dimensions": dimensions,
    "base64": base64_and_float,
    "other types": dtypes,
    "cutting a long text": truncation,
    "usage": usage,
    "token ids": token_ids,
    "user": user,
    "more texts": many_texts,
}
