"""The floor: a server on uvloop and httptools that answers every request with the same bytes.

    python -m tests.bench.peers.apps.floor PORT PROVIDER

The bytes, one for numbers and one for base64, are the provider's own answers to one text. Heads are
read by httptools into nothing, bodies are searched for "base64"; no gateway in Python on these
libraries can do less.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from typing import Any

import httptools
import uvloop


def answer_of(provider: int, encoding: str) -> bytes:
    """The provider's answer to one text, with a head."""
    body = json.dumps({"input": ["text"], "encoding_format": encoding}).encode()
    url = f"http://127.0.0.1:{provider}/v1/embeddings"
    with urllib.request.urlopen(url, body) as told:
        answer: bytes = told.read()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(answer) + answer


class Connection(asyncio.Protocol):
    """One client."""

    __slots__ = ("_answers", "_is_base64", "_parser", "_transport")

    def __init__(self, answers: tuple[bytes, bytes]) -> None:
        self._answers = answers
        self._is_base64 = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._is_base64 = b'"base64"' in body

    def on_message_complete(self) -> None:
        self._transport.write(self._answers[self._is_base64])


async def serve(port: int, provider: int) -> None:
    """Serve until the end of the process."""
    answers = answer_of(provider, "float"), answer_of(provider, "base64")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
