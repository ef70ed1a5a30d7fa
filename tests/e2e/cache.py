"""Random requests of many callers at a small cache: every vector, its place, the bill.

`python -m tests.e2e.cache [--requests 100000] [--callers 32] [--seed 1]` asks a router with a
cache in memory and on disk, both so small that vectors come and go all the time. Requests have 1
to 24 texts, popular ones by Zipf's law and new ones, some twice, in any of the input types,
dimensions, dtypes and encodings; some with `no-store`; and the cache is cleared now and then. Each
vector is compared bit for bit with the fake provider's own of that text and those parameters. At
the end the tokens of all answers must sum to what the fake billed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from struct import pack

import httpx
import orjson

from emr.fake.vectors import DIMENSIONS, Maker, maker
from tests.e2e.burst import Answers, address_of, body_of
from tests.e2e.conftest import voyage_row
from tests.support.processes import Router, Running, fake, router

MODEL = "voyage-code-3"
POPULAR = 3000  # texts
MANY_TEXTS = 24
CLEARED_EACH = 500  # rounds
SMALL = 'max_bytes = "2 MiB"\nmax_disk_bytes = "4 MiB"\n'


@dataclass(frozen=True, slots=True)
class Kind:
    """The parameters of a request, and how its vectors are to be written."""

    input_type: str | None
    dimensions: int | None
    dtype: str
    base64: bool

    @property
    def maker(self) -> Maker:
        """What makes the right vectors."""
        return maker(MODEL, self.input_type, self.dimensions or DIMENSIONS, self.dtype)

    def fields(self) -> dict[str, object]:
        """As a body has them."""
        told: dict[str, object] = {"model": MODEL, "output_dtype": self.dtype}
        if self.input_type is not None:
            told["input_type"] = self.input_type
        if self.dimensions is not None:
            told["dimensions"] = self.dimensions
        if self.base64:
            told["encoding_format"] = "base64"
        return told


KINDS = [
    Kind(input_type, dimensions, dtype, base64)
    for input_type in (None, "query", "document")
    for dimensions, dtype in ((256, "float"), (None, "float"), (256, "int8"), (256, "binary"))
    for base64 in (False, True)
]


class Crowd:
    """The callers. `counts` has what came of their requests: `hit`, `partial`, `miss`, texts."""

    def __init__(self, emr: Router, callers: int, seed: int) -> None:
        self._rng = Random(seed)
        host, port = address_of(emr.url)
        self._head = (
            f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {emr.key}"
        )
        self._answers = Answers((host, port), callers)
        self._callers = callers
        self._new = 0
        self.counts: Counter[str] = Counter()
        self.tokens = 0

    def round(self) -> None:
        """One request of each, all at one time."""
        asked = [(self._rng.choice(KINDS), self._texts()) for _ in range(self._callers)]
        requests = []
        for kind, texts in asked:
            body = orjson.dumps({"input": texts} | kind.fields())
            store = "\r\nCache-Control: no-store" if self._rng.random() < 0.03 else ""
            head = f"{self._head}{store}\r\nContent-Length: {len(body)}\r\n\r\n"
            requests.append(head.encode() + body)
        _, answers = self._answers.ask(requests)
        for (kind, texts), request, answer in zip(asked, requests, answers, strict=True):
            self._check(kind, texts, answer, no_store=b"no-store" in request)

    def _texts(self) -> list[str]:
        rng = self._rng
        texts = []
        for _ in range(min(MANY_TEXTS, int(rng.paretovariate(0.8)))):
            if rng.random() < 0.2:
                self._new += 1
                texts.append(f"new {self._new}")
            else:
                texts.append(f'"{min(POPULAR, int(rng.paretovariate(0.6)))}" größer\n')
        if rng.random() < 0.1:
            texts.append(rng.choice(texts))
        return texts

    def _check(self, kind: Kind, texts: list[str], answer: bytes, *, no_store: bool) -> None:
        reply = orjson.loads(body_of(answer))
        head = answer.partition(b"\r\n\r\n")[0].lower()
        said = head.partition(b"x-emr-cache: ")[2].partition(b"\r\n")[0].decode()
        entries = reply["data"]
        assert [entry["index"] for entry in entries] == list(range(len(texts)))
        assert (reply["model"], reply["provider"]) == (MODEL, "voyage")
        one = kind.maker
        for entry, text in zip(entries, texts, strict=True):
            assert raw_of(entry["embedding"], kind) == one.raw(text), f"{kind} {text!r} {said}"
        tokens = reply["usage"]["total_tokens"]
        assert (said == "hit") <= (tokens == 0), "what was found is free"
        assert not (no_store and said != "miss")
        self.tokens += tokens
        self.counts[said] += 1
        self.counts["texts"] += len(texts)

    def close(self) -> None:
        """Close the connections."""
        self._answers.close()


def raw_of(vector: str | list[float], kind: Kind) -> bytes:
    """The bytes of a vector's numbers, written as its caller wanted it."""
    if kind.base64:
        assert isinstance(vector, str)
        return b64decode(vector, validate=True)
    assert isinstance(vector, list)
    return pack(f"<{len(vector)}{'f' if kind.dtype == 'float' else 'b'}", *vector)


def config_of(provider: Running, path: Path) -> str:
    """A router with a small cache, on disk too."""
    return f"[cache]\npath = {orjson.dumps(str(path)).decode()}\n{SMALL}" + voyage_row(provider)


def check_bill(crowd: Crowd, provider: Running) -> None:
    """The answers' tokens are those that the fake billed."""
    billed = httpx.get(f"{provider.url}/_fake/stats").json()["tokens"]
    assert crowd.tokens == billed, f"{crowd.tokens} told, {billed} billed"


def play(emr: Router, provider: Running, requests: int, callers: int, seed: int) -> Crowd:
    """So many requests, and the bill."""
    crowd = Crowd(emr, callers, seed)
    for number in range(-(-requests // callers)):
        if number % CLEARED_EACH == CLEARED_EACH - 1:
            assert emr.admin("DELETE", "/admin/cache").status_code == 200
        crowd.round()
    crowd.close()
    check_bill(crowd, provider)
    return crowd


def main() -> None:
    """Play, and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            fake(folder, "--latency-ms", "1") as provider,
            router(folder, config_of(provider, folder / "vectors.db")) as emr,
        ):
            started = time.monotonic()
            crowd = play(emr, provider, args.requests, args.callers, args.seed)
            seconds = time.monotonic() - started
            told = emr.admin("GET", "/admin/cache").json()
    counts = crowd.counts
    asked = counts["hit"] + counts["partial"] + counts["miss"]
    print(
        f"seed {args.seed}: {asked} requests with {counts['texts']} texts in {seconds:.0f} s: "
        f"{counts['hit']} hits, {counts['partial']} partial, {counts['miss']} misses; every "
        f"vector, index and the bill right"
    )
    print(orjson.dumps(told).decode())


if __name__ == "__main__":
    main()
