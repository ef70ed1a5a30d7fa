"""A text's vector is the same float32 numbers, bit for bit, whichever way it came.

Asked as numbers or as base64, written by the provider as numbers or as base64, and by one member of
a family or another, of another type: over sockets, and held against the fake's own.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from itertools import product
from pathlib import Path
from struct import pack
from typing import Any

import orjson

from emr.fake.server import FakeServer
from emr.fake.settings import FakeSettings
from emr.fake.vectors import maker
from tests.support.processes import PROVIDER_KEY, provider_row
from tests.support.running import Running, running

MODEL = "text-embedding-3-small"
DIMENSIONS = 256
TEXTS = [f"text {number}" for number in range(50)]
WANTED = [maker(MODEL, None, DIMENSIONS).raw(text) for text in TEXTS]
WRITINGS = ("float", "base64")
MEMBERS = {
    "openai": "/openai/v1/embeddings",
    "azure": "/azure/openai/deployments/{model}/embeddings",
}


def rows(url: str) -> str:
    """One at a time, so that what comes meanwhile shares a call."""
    return "\n".join(
        provider_row(
            name, name, url + path, model=MODEL, family="small", max_concurrency=1,
            api_key_env_var="V_API_KEY", requests_per_minute=1_000_000,
            tokens_per_minute=1_000_000_000,
        )
        for name, path in MEMBERS.items()
    )  # fmt: skip


async def ask(emr: Running, writing: str, texts: list[str], **more: Any) -> list[bytes]:
    """The bytes of the vectors as they were asked for."""
    body = {"input": texts, "dimensions": DIMENSIONS, "encoding_format": writing} | more
    headers = {"Authorization": f"Bearer {emr.key}", "Cache-Control": "no-store"}
    told = await emr.http.post("/v1/embeddings", json=body, headers=headers)
    assert told.status_code == 200, told.text[:300]
    vectors = [entry["embedding"] for entry in told.json()["data"]]
    if writing == "base64":
        return [b64decode(vector, validate=True) for vector in vectors]
    return [pack(f"<{len(vector)}f", *vector) for vector in vectors]


async def asked_by(emr: Running, fake: FakeServer, member: str, written: str) -> dict[str, Any]:
    """Both writings from a provider that must write in one: by whom they share the call with.

    emr asks for numbers only when everyone in the call wants numbers. So a caller who wants the
    other writing shares the call, behind a first one which keeps the provider busy.
    """
    fake.service.provider.recent.clear()
    found: dict[str, Any] = {}
    for writing in WRITINGS:
        first = asyncio.create_task(ask(emr, "float", ["keeps it busy"], provider=member))
        while not fake.service.provider.recent:
            await asyncio.sleep(0)
        asks = [ask(emr, writing, TEXTS, provider=member)]
        if written == "base64":
            asks.append(ask(emr, "base64", ["a neighbour"], provider=member))
        found[writing] = (await asyncio.gather(*asks))[0]
        await first
        bodies = [orjson.loads(str(call["body"])) for call in fake.service.provider.recent]
        assert len(bodies) == 2, "they did not share a call"
        wanted = "base64" if writing == "base64" else written
        assert bodies[1]["encoding_format"] == wanted
        fake.service.provider.recent.clear()
    return found


async def every_way(folder: Path) -> dict[tuple[str, str, str], list[bytes]]:
    """The vectors by member, by how the provider wrote them, and by how they were asked for."""
    settings = FakeSettings(latency_ms=30.0, keys=PROVIDER_KEY, record=10)
    found = {}
    async with (
        FakeServer(settings) as fake,
        running(folder, rows(fake.url), V_API_KEY=PROVIDER_KEY) as emr,
    ):
        for member, written in product(MEMBERS, WRITINGS):
            for writing, vectors in (await asked_by(emr, fake, member, written)).items():
                found[member, written, writing] = vectors
    return found


def test_every_way_to_a_vector_gives_the_same_bits(tmp_path: Path) -> None:
    found = asyncio.run(every_way(tmp_path))
    assert found.keys() == set(product(MEMBERS, WRITINGS, WRITINGS))
    for way, vectors in found.items():
        assert vectors == WANTED, way
