"""Callers who ask, check every number, and sort what they are told.

Each request goes to one of several providers, in one of several forms of asking. A good answer is
held against the fake's vectors as float32 bytes; an error must name the provider and show no text.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from struct import error as PackError
from struct import pack
from typing import Any

from emr.fake.vectors import maker
from tests.support.crowd import Caller, NoAnswer, Told
from tests.support.processes import PROVIDER_KEY

SECRET = "nobody else may read this"
EXAMPLES = 5  # of each kind of trouble that are kept


@dataclass(frozen=True, slots=True)
class Subject:
    """A provider: its name in emr and the type there, and where it is on the fake.

    `dimensions` are asked for, 0 to ask for none; `length` is what then comes.
    """

    name: str
    path: str
    model: str
    length: int
    dimensions: int = 0
    types: tuple[str | None, ...] = (None, "query", "document")
    kind: str = ""


# short vectors where they can be had: what is tried is what becomes of replies, not their length
SUBJECTS: tuple[Subject, ...] = (
    Subject("voyage", "/voyage/v1/embeddings", "voyage-code-3", 256, 256),
    Subject("cohere", "/cohere/v2/embed", "embed-v4.0", 256, 256, ("query", "document")),
    Subject("openai", "/openai/v1/embeddings", "text-embedding-3-small", 64, 64, (None,)),
    Subject("tei", "/tei/embed", "BAAI/bge-m3", 64, 64, (None,)),
    Subject("gemini", "/gemini/v1beta/models/{model}:batchEmbedContents",
            "gemini-embedding-001", 128, 128),
    Subject("ollama", "/ollama/api/embed", "nomic-embed-text", 64, 64, (None,)),
    # its length is told by nobody: only what it answered before says what is right
    Subject("unknown", "/openai-compatible/v1/embeddings", "bge-m3", 1024, 0, (None,),
            "openai-compatible"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of what. `pool` is how many different texts there are."""

    requests: int = 100_000
    callers: int = 200
    pool: int = 20_000
    seed: int = 1
    timeout_ms: int = 30_000
    no_store: bool = False


@dataclass(slots=True)
class Tally:
    """What became of the requests."""

    seconds: float = 0.0
    right: int = 0
    vectors: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    cached: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    nameless: list[str] = field(default_factory=list)
    leaking: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def good(self) -> bool:
        """Whether nothing happened that must never happen."""
        return not any(self.counts.values())

    def trouble(self, kind: str, example: str) -> None:
        """Count something that must not be."""
        self.counts[kind] += 1
        examples: list[str] = getattr(self, kind)
        if len(examples) < EXAMPLES:
            examples.append(example[:300])


def asked_of(rng: Random, pool: int, subject: Subject) -> tuple[dict[str, Any], list[str]]:
    """A request and its texts; mostly one text, sometimes some, seldom many."""
    count = rng.choices((1, rng.randint(2, 8), 40), (0.7, 0.28, 0.02))[0]
    # the smaller the number the more often, as with the questions that people ask
    texts = [f"{SECRET} {int(pool * rng.random() ** 3)}" for _ in range(count)]
    body: dict[str, Any] = {
        "provider": subject.name,
        "input": texts if count > 1 else rng.choice((texts, texts[0])),
        "encoding_format": rng.choice(("float", "base64")),
        "input_type": rng.choice(subject.types),
        "dimensions": subject.dimensions or None,
    }
    return body, texts


def judge(tally: Tally, subject: Subject, body: Any, texts: Sequence[str], told: Told) -> None:
    """Sort an answer."""
    if told.status != 200:
        judge_error(tally, subject, told)
        return
    make = maker(subject.model, body["input_type"], subject.length)
    try:
        data: Any = told.body
        found = [entry["embedding"] for entry in data["data"]]
        numbered = [entry["index"] for entry in data["data"]] == list(range(len(texts)))
        if body["encoding_format"] == "base64":
            raws = [b64decode(vector, validate=True) for vector in found]
        else:
            raws = [pack(f"<{len(vector)}f", *vector) for vector in found]
    except (LookupError, TypeError, ValueError, PackError) as error:
        tally.trouble("wrong", f"{subject.name}: not of the form that was asked for: {error!r}")
        return
    wanted = [make.raw(text) for text in texts]
    if not numbered or raws != wanted:
        sizes = sorted({len(raw) // 4 for raw in raws})
        tally.trouble("wrong", f"{subject.name}: other vectors, of {sizes} numbers")
        return
    tally.right += 1
    tally.vectors += len(texts)
    _, has, rest = told.head.partition(b"\r\nx-emr-cache: ")
    tally.cached[rest.partition(b"\r\n")[0].decode() if has else "not said"] += 1


def judge_error(tally: Tally, subject: Subject, told: Told) -> None:
    """An error: 4xx or 5xx, naming the provider, without a text or a key."""
    text = str(told.body)
    try:
        body: Any = told.body
        kind, message = body["error"]["type"], body["error"]["message"]
    except (LookupError, TypeError):
        tally.trouble("nameless", f"{told.status} {text}")
        return
    tally.errors[f"{told.status} {kind}"] += 1
    if subject.name not in message:
        tally.trouble("nameless", f"{told.status} {kind}: {message}")
    if SECRET in text or PROVIDER_KEY in text:
        tally.trouble("leaking", f"{told.status} {kind}: {message}")


async def run_load(url: str, key: str, plan: Plan) -> Tally:
    """All callers, each with its share of the requests, one after the other."""
    tally = Tally()
    shares = [len(range(n, plan.requests, plan.callers)) for n in range(plan.callers)]
    head = "Cache-Control: no-store\r\n" if plan.no_store else ""

    async def caller(number: int, requests: int) -> None:
        rng = Random(f"{plan.seed} {number}")
        one = Caller(url, key, plan.timeout_ms / 1000 + 15.0, plan.timeout_ms)
        for _ in range(requests):
            subject = rng.choice(SUBJECTS)
            body, texts = asked_of(rng, plan.pool, subject)
            try:
                told = await one.ask(body, head=head)
            except NoAnswer as error:
                tally.trouble("hung", f"{subject.name}: {error}")
            else:
                judge(tally, subject, body, texts, told)
        one.close()

    started = time.monotonic()
    await asyncio.gather(*(caller(n, share) for n, share in enumerate(shares)))
    tally.seconds = time.monotonic() - started
    return tally
