"""A clock moved by hand, a connection that keeps what it is told, and calls to a fake service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from heapq import heappop, heappush
from typing import Any

import orjson

from emr.fake.service import FakeService
from emr.fake.settings import FakeSettings
from emr.front.exchange import Exchange, Headers, Stage

# a key wherever a form looks for one
KEY = {
    b"authorization": b"Bearer fake-key-1",
    b"api-key": b"fake-key-1",
    b"x-goog-api-key": b"fake-key-1",
}


class Timer:
    """A call that is due."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Clock:
    """Time as a number; what is due happens in `advance`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tasks: list[Coroutine[Any, Any, None]] = []
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        self._count += 1
        heappush(self._heap, (self.now + delay, self._count, timer))
        return timer

    def create_task(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        raise AssertionError("replies in parts are tested on a real loop")

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self._heap and self._heap[0][0] <= until + 1e-9:
            at, _, timer = heappop(self._heap)
            self.now = max(self.now, at)
            if timer.callback is not None:
                timer.callback()
        self.now = until


class Connection:
    """The writer of one exchange."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.replied_at: float | None = None
        self.aborted = False
        self.ended = False
        self.clock: Clock | None = None
        self.told = asyncio.Event()

    def write_reply(self, exchange: Exchange, status: int, headers: Headers, body: bytes) -> None:
        self.begin_stream(exchange, status, headers)
        self.body = body
        self.ended = True
        if self.clock is not None:
            self.replied_at = self.clock.now

    def begin_stream(self, exchange: Exchange, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}

    async def write_chunk(self, exchange: Exchange, data: bytes) -> None:
        self.body += data
        self.told.set()

    def end_stream(self, exchange: Exchange) -> None:
        self.ended = True
        self.told.set()

    def abort(self, exchange: Exchange) -> None:
        self.aborted = True
        self.told.set()

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Fake:
    """A fake service on a clock moved by hand."""

    def __init__(self, settings: FakeSettings | None = None, clock: Any = None) -> None:
        self.clock = clock or Clock()
        self.service = FakeService(settings or FakeSettings(), self.clock)

    def send(
        self,
        path: str,
        body: object,
        headers: Mapping[bytes, bytes] = KEY,
        method: str = "POST",
    ) -> tuple[Exchange, Connection]:
        """A request comes in; its answer comes when the clock moves."""
        connection = Connection()
        connection.clock = self.clock if isinstance(self.clock, Clock) else None
        path, _, query = path.partition("?")
        exchange = Exchange(connection, method, path, query)
        exchange.headers = dict(headers)
        exchange.body = body if isinstance(body, bytes) else orjson.dumps(body)
        exchange.stage = Stage.WAITING
        self.service.handle(exchange)
        return exchange, connection

    def ask(
        self,
        path: str,
        body: object,
        headers: Mapping[bytes, bytes] = KEY,
        method: str = "POST",
    ) -> Connection:
        """A request and its answer, the clock moved as far as it takes."""
        connection = self.send(path, body, headers, method)[1]
        if connection.status == 0:
            self.clock.advance(100_000.0)
        return connection

    def stats(self) -> Any:
        return self.ask("/_fake/stats", b"", {}, "GET").json


AZURE = "/azure/openai/deployments/text-embedding-3-small/embeddings?api-version=2024-10-21"
GEMINI = "/gemini/v1beta/models/gemini-embedding-001:batchEmbedContents"


def gemini(*texts: str, **more: object) -> dict[str, object]:
    """A body in Gemini's form."""
    model = more.pop("model", "gemini-embedding-001")
    return {
        "requests": [
            {"model": f"models/{model}", "content": {"parts": [{"text": text}]}} | more
            for text in texts
        ]
    }


def voyage(*texts: str, **more: object) -> dict[str, object]:
    """A body in Voyage's form."""
    return {"model": "voyage-code-3", "input": list(texts)} | more


def cohere(*texts: str) -> dict[str, object]:
    """A body in Cohere's form."""
    return {"model": "embed-v4.0", "texts": list(texts), "input_type": "search_query",
            "embedding_types": ["float"]}  # fmt: skip


def of(model: str, *texts: str) -> dict[str, object]:
    """A body in OpenAI's form."""
    return {"model": model, "input": list(texts)}


# a good call to each route for texts that the fake has, but for the v1 forms of old
BODIES: dict[str, dict[str, object]] = {
    "/v1/embeddings": voyage("a"),
    "/openai/v1/embeddings": of("text-embedding-3-small", "a"),
    "/cohere/v2/embed": cohere("a"),
    AZURE: {"input": ["a"]},
    "/mistral/v1/embeddings": of("mistral-embed", "a"),
    "/jina/v1/embeddings": of("jina-embeddings-v3", "a"),
    GEMINI: gemini("a"),
    "/tei/v1/embeddings": of("any", "a"),
    "/tei/embed": {"inputs": ["a"]},
    "/infinity/embeddings": of("BAAI/bge-m3", "a"),
    "/ollama/api/embed": of("nomic-embed-text", "a"),
    "/ollama/v1/embeddings": of("nomic-embed-text:latest", "a"),
    "/vllm/v1/embeddings": of("BAAI/bge-m3", "a"),
    "/openai-compatible/v1/embeddings": of("bge-m3", "a"),
    "/emr/v1/embeddings": voyage("a"),
}
