"""What a request costs in the front, without the wire: admit, handle, submit, done, reply.

    python -m tests.bench.forms [SECONDS]

Prints µs a request on one core for each case, over the doubles of tests/front: the desk answers at
once with vectors made beforehand. Best of five, as the machine may be busy with other things.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Mapping

import orjson

from emr.front.exchange import Exchange, Headers, Stage
from emr.lane.ticket import Request
from tests.front.double import KEY, DeskDouble, Front, Row, base64_of

DIMENSIONS = 1024


class FastDesk(DeskDouble):
    """Answers with one vector that is made once, so that the front alone is measured."""

    def __init__(self, vector: bytes) -> None:
        super().__init__({"voyage": Row("voyage-code-3")})
        self.ready = vector

    def submit(self, plan: object, request: Request) -> None:
        request.vectors = [self.ready] * len(request.texts)
        request.missing = 0
        request.answered_by = "voyage"
        request.billed = request.attempts = request.batch_texts = len(request.texts)
        self.asks.clear()
        request.done(request)


class Nowhere:
    """A Writer that drops what it gets."""

    def write_reply(self, exchange: Exchange, status: int, headers: Headers, body: bytes) -> None:
        assert status == 200, body

    def begin_stream(self, exchange: Exchange, status: int, headers: Headers) -> None:
        """Not used here."""

    async def write_chunk(self, exchange: Exchange, data: bytes) -> None:
        """Not used here."""

    def end_stream(self, exchange: Exchange) -> None:
        """Not used here."""

    def abort(self, exchange: Exchange) -> None:
        """Not used here."""


def case(vector: bytes, path: str, body: Mapping[str, object]) -> Callable[[], None]:
    """One request from its complete head to its answer."""
    front = Front(FastDesk(vector))
    service, writer, raw = front.service, Nowhere(), orjson.dumps(body)

    def once() -> None:
        exchange = Exchange(writer, "POST", path, "")
        exchange.headers = {b"authorization": b"Bearer " + KEY, b"host": b"localhost"}
        assert service.admit(exchange) is None
        exchange.body = raw
        exchange.stage = Stage.WAITING
        service.handle(exchange)
        front.counted.clear()

    return once


def measure(once: Callable[[], None], seconds: float) -> float:
    """µs for one, the best of five rounds."""
    once()
    best = float("inf")
    for _ in range(5):
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds / 5:
            for _ in range(20):
                once()
            count += 20
        best = min(best, (time.perf_counter() - start) / count)
    return best * 1e6


def main() -> None:
    """Print the table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    rng = random.Random(1)
    numbers = [rng.gauss(0.0, 0.03) for _ in range(DIMENSIONS)]
    floats, base64 = orjson.dumps([round(x, 9) for x in numbers]), orjson.dumps(base64_of(numbers))
    text = "How does a provider count the tokens of a text that was cut? " * 4
    one, many = {"input": text, "model": "voyage-code-3"}, {"input": [text] * 100}
    encoded = {**one, "encoding_format": "base64"}
    voyage = {
        "input": [text], "model": "voyage-code-3", "input_type": None, "truncation": True,
        "output_dtype": None, "output_dimension": None, "encoding_format": "base64",
    }  # fmt: skip
    cases = {
        "one text, floats as they came": case(floats, "/v1/embeddings", one),
        "one text, base64 as it came": case(base64, "/v1/embeddings", encoded),
        "one text, voyageai's body, base64": case(base64, "/v1/embeddings", voyage),
        "one text, cohere v2, floats": case(floats, "/v2/embed", {"texts": [text]}),
        "one text, base64 to floats": case(base64, "/v1/embeddings", one),
        "one text, floats to base64": case(floats, "/v1/embeddings", encoded),
        "100 texts, floats as they came": case(floats, "/v1/embeddings", many),
        "100 texts, base64 to floats": case(base64, "/v1/embeddings", many),
    }
    for name, once in cases.items():
        print(f"{name:40s}{measure(once, seconds):10.1f} µs")


if __name__ == "__main__":
    main()
