"""A home-made batching proxy: Starlette, `batched`, and httpx as the client.

python -m tests.bench.peers.apps.batched PORT PROVIDER_URL
"""

from __future__ import annotations

import os
import sys
from typing import Any

import httpx
import orjson
import uvicorn
from batched.aio import dynamically
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

BATCH = 128  # what Voyage takes in a call, and what emr sends at most
KEY = os.environ["BENCH_API_KEY"]


def app_of(url: str) -> Starlette:
    """The app in front of the provider at that URL."""
    client = httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=60.0)

    async def call(texts: list[str], encoding: str) -> list[Any]:
        body = {"model": "voyage-code-3", "input": texts, "encoding_format": encoding}
        answer = await client.post(url, content=orjson.dumps(body))
        answer.raise_for_status()
        return [entry["embedding"] for entry in orjson.loads(answer.content)["data"]]

    @dynamically(batch_size=BATCH)
    async def floats(texts: list[str]) -> list[Any]:
        return await call(texts, "float")

    @dynamically(batch_size=BATCH)
    async def base64(texts: list[str]) -> list[Any]:
        return await call(texts, "base64")

    async def embeddings(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return Response(status_code=401)
        asked = orjson.loads(await request.body())
        texts = asked["input"]
        if isinstance(texts, str):
            texts = [texts]
        batcher = base64 if asked.get("encoding_format") == "base64" else floats
        vectors = await batcher(texts)
        data = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ]
        told = {"object": "list", "data": data, "model": asked["model"], "usage": {}}
        return Response(orjson.dumps(told), media_type="application/json")

    return Starlette(routes=[Route("/v1/embeddings", embeddings, methods=["POST"])])


if __name__ == "__main__":
    uvicorn.run(
        app_of(sys.argv[2]), port=int(sys.argv[1]), loop="uvloop", http="httptools",
        log_level="warning", access_log=False, backlog=4096,
    )  # fmt: skip
