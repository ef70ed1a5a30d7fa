"""The cells about replies with status 200 that are not right, or right in an unusual dress.

Each is asked for numbers and for base64. What is right in an unusual dress must be read, what is
not must end in an error that names the provider: never in a vector.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson

from emr.front.forms.vectors import as_numbers
from tests.table.bench import Bench, same_bits
from tests.table.errors import failed
from tests.table.features import vectors

TEXTS = [f"text {number} that nobody else may read" for number in range(3)]
Cell = Callable[[Bench], Awaitable[str]]


def wrong(fault: str) -> Cell:
    """The provider answers so, always: asked again, for half of the texts too, then an error."""

    async def cell(bench: Bench) -> str:
        said = set()
        for encoding in ("float", "base64"):
            if fault == "dimension":  # the length of some models is only known by their answers
                bench.become()
                vectors(await bench.ask())
            bench.become(faults=fault)
            told = await bench.ask(TEXTS, encoding_format=encoding)
            assert not any(text in told.text for text in TEXTS)
            said.add(f"{failed(bench, told)}, {bench.calls} calls")
        (words,) = said
        assert words.startswith("502 `provider_error`, final, "), words
        return "error"

    return cell


def strange(fault: str) -> Cell:
    """The provider answers so, and it is right all the same."""

    async def cell(bench: Bench) -> str:
        for encoding in ("float", "base64"):
            bench.become(faults=fault)
            got = vectors(await bench.ask(TEXTS, encoding_format=encoding))
            for text, vector in zip(TEXTS, got, strict=True):
                if encoding == "base64":
                    vector = orjson.loads(as_numbers(b'"%b"' % vector.encode(), "float"))
                assert same_bits(vector, bench.wanted(text))
            assert bench.calls == 1
        return "read"

    return cell


REPLIES: dict[str, Cell] = {
    "too few": wrong("short"),
    "too many": wrong("long"),
    "a number short": wrong("dimension"),
    "NaN": wrong("nan"),
    "infinity": wrong("infinity"),
    "null": wrong("null"),
    "cut off": wrong("truncated"),
    "HTML": wrong("html"),
    "nothing": wrong("empty"),
    "gzip": strange("gzip"),
    "as text/plain": strange("content-type"),
    "exponents": strange("exponent"),
    "shuffled": strange("shuffled"),
}
