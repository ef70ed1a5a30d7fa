"""The fake over sockets, asked by a foreign client."""

from __future__ import annotations

import asyncio
import struct
from base64 import b64decode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from emr.fake.provider import Answer
from emr.fake.server import FakeServer
from emr.fake.settings import FakeSettings
from emr.fake.vectors import vector_of
from emr.front.binds import BindError
from tests.fake.world import voyage
from tests.support.aio import run

HEADERS = {"Authorization": "Bearer k"}


def asked(
    test: Callable[[httpx.AsyncClient, FakeServer], Awaitable[None]], **settings: Any
) -> None:
    async def main() -> None:
        made = FakeSettings(**({"latency_ms": 0.0, "refusal_ms": 0.0} | settings))
        async with (
            FakeServer(made) as fake,
            httpx.AsyncClient(base_url=fake.url, headers=HEADERS, trust_env=False) as client,
        ):
            await test(client, fake)

    run(main())


def test_all_forms_and_the_control_routes() -> None:
    async def test(client: httpx.AsyncClient, fake: FakeServer) -> None:
        got = await client.post("/v1/embeddings", json=voyage("a", "é", encoding_format="base64"))
        assert got.status_code == 200
        for entry, text in zip(got.json()["data"], ("a", "é"), strict=True):
            numbers = list(struct.unpack("<1024f", b64decode(entry["embedding"])))
            assert numbers == vector_of(text, "voyage-code-3")
        body = {"model": "text-embedding-3-small", "input": "a"}
        got = await client.post("/openai/v1/embeddings", json=body)
        assert len(got.json()["data"][0]["embedding"]) == 1536
        body = {"model": "embed-english-v3.0", "texts": ["a"], "input_type": "search_query"}
        got = await client.post("/cohere/v1/embed", json=body)
        assert got.json()["response_type"] == "embeddings_floats"
        got = await client.post("/_fake/settings", json={"rpm": 1})
        assert got.json()["rpm"] == 1.0
        assert (await client.get("/_fake/stats")).json()["by_status"] == {"200": 3}
        assert (await client.post("/_fake/reset")).status_code == 200
        assert (await client.get("/_fake/stats")).json()["calls"] == 0

    asked(test)


@pytest.mark.parametrize("fault", ["reset", "cut"])
def test_broken_replies_are_errors_of_the_client(fault: str) -> None:
    async def test(client: httpx.AsyncClient, fake: FakeServer) -> None:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await client.post("/v1/embeddings", json=voyage("a"))

    asked(test, faults=fault)


@pytest.mark.parametrize("fault", ["hang", "stall"])
def test_a_client_that_gives_up_is_noticed(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(client: httpx.AsyncClient, fake: FakeServer) -> None:
        provider = fake.service.provider
        noticed = asyncio.Event()
        left = provider.left

        def tell(answer: Answer, now: float) -> None:
            left(answer, now)
            noticed.set()

        monkeypatch.setattr(provider, "left", tell)
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/embeddings", json=voyage("a"), timeout=0.1)
        await noticed.wait()
        assert (provider.tally.left.calls, provider.calls.used) == (1, 0)

    asked(test, faults=fault)


@pytest.mark.parametrize("fault", ["gzip", "exponent", "content-type"])
def test_unusual_replies_are_right_all_the_same(fault: str) -> None:
    async def test(client: httpx.AsyncClient, fake: FakeServer) -> None:
        got = await client.post("/v1/embeddings", json=voyage("a"))
        read = struct.pack("<1024f", *got.json()["data"][0]["embedding"])
        assert read == struct.pack("<1024f", *vector_of("a", "voyage-code-3"))

    asked(test, faults=fault)


def test_calls_at_the_same_time_share_the_latency() -> None:
    async def test(client: httpx.AsyncClient, fake: FakeServer) -> None:
        calls = [client.post("/v1/embeddings", json=voyage(str(i))) for i in range(20)]
        assert {got.status_code for got in await asyncio.gather(*calls)} == {200}
        assert fake.service.provider.calls.most_seen == 20

    asked(test, latency_ms=100.0)


def test_a_unix_socket(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "fake.sock"
        async with FakeServer(FakeSettings(latency_ms=0.0), f"unix:{path}") as fake:
            assert fake.url == f"unix:{path}"
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(transport=transport, headers=HEADERS) as client:
                got = await client.post("http://fake/v1/embeddings", json=voyage("a"))
                assert got.status_code == 200

    run(main())


def test_a_taken_port_is_an_error() -> None:
    async def main() -> None:
        async with FakeServer(FakeSettings()) as fake:
            other = FakeServer(FakeSettings(), fake.address)
            with pytest.raises(BindError):
                await other.start()
            await other.stop()

    run(main())


def test_bad_settings_are_an_error() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="no fault is called"):
            await FakeServer(FakeSettings(faults="x")).start()

    run(main())
