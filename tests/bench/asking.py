"""One request on a connection of its own, by the standard library: next to no CPU of the bench.

The bench asks while it measures; a client that reads certificates first would be in the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException

ANSWER_S = 60.0


class NoAnswer(Exception):
    """Nobody there, or no HTTP."""


def ask(
    port: int, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """GET, or POST a body; returns status and body. Raises NoAnswer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        connection.request("GET" if body is None else "POST", path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException) as error:
        raise NoAnswer(f"port {port}: {error!r}") from None
    finally:
        connection.close()
