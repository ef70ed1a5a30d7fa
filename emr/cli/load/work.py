"""What the bench asks: texts, each new unless told otherwise, and requests as bytes.

A request is made by joining bytes: writing JSON anew for each would cost more than sending it.
Texts are numbered; the text of a number is always the same, so that a reply can be checked later
without keeping what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import orjson

POOL = 2000  # texts made beforehand; a number before each makes it new
SIGMA = 0.7  # of the lognormal lengths: p99 is five times the median, as of code and prose chunks
CHARS_MIN, CHARS_MAX = 8, 20_000
SYLLABLES = (
    "ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "xo", "zu",
    "ark", "ent", "ing", "ost", "ulm", "bra", "cle", "dri", "flo", "gru", "pla",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ask:
    """The same in every request. `form` names the API: openai, voyage or cohere."""

    form: str = "openai"
    model: str | None = None
    input_type: str | None = None
    dimensions: int | None = None
    base64: bool = False
    texts: int = 1
    extra: Mapping[str, object] = field(default_factory=dict)


class Texts:
    """The texts of the bench, by number."""

    def __init__(
        self, pool: Sequence[str], distinct: int, seed: int, numbered: bool = True
    ) -> None:
        """`distinct`: how many different texts there are, 0 for no end of them."""
        if not pool:
            raise ValueError("there are no texts to ask")
        self._pool = [text.encode() for text in pool]
        self._json = [orjson.dumps(text)[1:] for text in pool]
        self._distinct = distinct
        self._rng = Random(seed)
        self._numbered = numbered
        self._next = 0

    def take(self, count: int) -> list[int]:
        """The numbers of the next texts."""
        if self._distinct:
            return [self._rng.randrange(self._distinct) for _ in range(count)]
        first = self._next
        self._next += count
        return list(range(first, self._next))

    def json(self, number: int) -> bytes:
        """A text as JSON."""
        rest = self._json[number % len(self._json)]
        return b'"%d %b' % (number, rest) if self._numbered else b'"' + rest

    def text(self, number: int) -> str:
        """A text."""
        rest = self._pool[number % len(self._pool)].decode()
        return f"{number} {rest}" if self._numbered else rest


def make_pool(chars: int, seed: int) -> list[str]:
    """Texts of made-up words, their lengths spread as a lognormal around `chars`."""
    rng = Random(seed)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in range(1000)]
    pool = []
    for _ in range(POOL):
        length = rng.lognormvariate(0.0, SIGMA) * chars
        length = max(CHARS_MIN, min(CHARS_MAX, int(length)))
        made = " ".join(rng.choices(words, k=length // 4 + 2))
        pool.append(made[:length])
    return pool


def body_parts(ask: Ask) -> tuple[bytes, bytes]:
    """What stands before and after the texts in a body."""
    fields: dict[str, object] = {}
    if ask.model is not None:
        fields["model"] = ask.model
    if ask.form == "cohere":
        fields["input_type"] = f"search_{ask.input_type or 'document'}"
        fields["embedding_types"] = ["base64" if ask.base64 else "float"]
    elif ask.input_type is not None:
        fields["input_type"] = ask.input_type
    if ask.form != "cohere" and ask.base64:
        fields["encoding_format"] = "base64"
    if ask.dimensions is not None:
        name = "dimensions" if ask.form == "openai" else "output_dimension"
        fields[name] = ask.dimensions
    fields.update(ask.extra)
    texts = "texts" if ask.form == "cohere" else "input"
    rest = orjson.dumps(fields)[1:]
    return b'{"%b":[' % texts.encode(), b"]" + (b"," if fields else b"") + rest


class Requests:
    """Makes the requests of the bench: one head for each key, and bodies."""

    def __init__(
        self, ask: Ask, texts: Texts, host: str, path: str, keys: Sequence[str],
        headers: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.texts = texts
        self._count = ask.texts
        self._start, self._end = body_parts(ask)
        common = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json"]
        common += headers
        self._heads = []
        for key in keys or [""]:
            lines = [*common, *([f"Authorization: Bearer {key}"] if key else [])]
            self._heads.append("\r\n".join([*lines, "Content-Length: "]).encode())

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return len(self._heads)

    def make(self, key: int) -> tuple[bytes, list[int]]:
        """A request of that key, and the numbers of its texts."""
        numbers = self.texts.take(self._count)
        json = self.texts.json
        body = self._start + b",".join([json(n) for n in numbers]) + self._end
        return b"%b%d\r\n\r\n%b" % (self._heads[key], len(body), body), numbers
