"""A provider on loopback for the tests of the command line, in OpenAI's form.

The vector of a text is its length and its first byte. What it refuses is set by the test.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.cli.parts import PATIENCE_S

Refuse = Callable[[list[str]], tuple[int, dict[str, Any]] | None]


def vector(text: str) -> list[float]:
    """The vector of a text."""
    raw = text.encode()
    return [float(len(raw)), raw[0] / 256 if raw else 0.0]


def answer_to(texts: list[str], model: str = "m") -> dict[str, Any]:
    """A good answer."""
    return {
        "object": "list",
        "model": model,
        "provider": "stub",
        "data": [{"index": n, "embedding": vector(text)} for n, text in enumerate(texts)],
        "usage": {"prompt_tokens": len(texts), "total_tokens": len(texts)},
    }


class Provider:
    """The server. `asked` are the bodies that came; `refuse` may give a status and a body.

    `headers` are added to a refusal. Used as a context.
    """

    def __init__(self, refuse: Refuse | None = None, headers: dict[str, str] | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.refuse = refuse or (lambda texts: None)
        self.headers = headers or {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                provider.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request."""
        raw = request.rfile.read(int(request.headers["content-length"]))
        if not raw.endswith(b"}"):
            return  # who asked was killed meanwhile
        body = json.loads(raw)
        self.asked.append(body)
        self.keys.append(request.headers.get("authorization", ""))
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        refused = self.refuse(texts)
        status, told = refused or (200, answer_to(texts))
        raw = json.dumps(told).encode()
        request.send_response(status)
        request.send_header("content-length", str(len(raw)))
        for name, value in self.headers.items() if refused else ():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(raw)

    def __enter__(self) -> Provider:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join(PATIENCE_S)
        self._server.server_close()


def at_most(cap: int) -> Refuse:
    """Refuses more texts than `cap`, and says what the cap is."""

    def refuse(texts: list[str]) -> tuple[int, dict[str, Any]] | None:
        if len(texts) <= cap:
            return None
        message = f"batch size {len(texts)} is too large: at most {cap}"
        return 400, {"error": {"message": message, "type": "invalid_request_error"}}

    return refuse
