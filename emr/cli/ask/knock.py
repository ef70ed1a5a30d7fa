"""One plain GET by hand, for what must be quick: a health check, and whether an emr answers.

Theory of operation: HTTP/1.0, so that the answer ends with the connection and is never chunked.
The library that the rest of the commands use takes longer to import than all of this to run.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from emr.cli.ask.address import Address

if TYPE_CHECKING:
    import ssl

TIMEOUT_S = 5.0  # as long as a busy loop may take; a health check of Docker waits 30 s
ANSWER_MAX = 4 << 20  # bytes: /health/providers of thousands of providers
_PART = 65_536


class Nobody(Exception):
    """Nothing listens there: the message says where, and what the system says."""


class NoAnswer(Exception):
    """Something takes the connection and does not answer as an HTTP server does."""


class Answer(NamedTuple):
    """An answer: its status and its body."""

    status: int
    body: bytes


def get(
    address: Address,
    path: str,
    context: ssl.SSLContext | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """GET `path` within `timeout_s` seconds, whole. Raises Nobody, NoAnswer."""
    until = time.monotonic() + timeout_s
    try:
        link = _connect(address, timeout_s)
    except OSError as error:
        raise Nobody(f"nothing listens at {address}: {_reason(error)}") from error
    with link:
        try:
            if address.scheme == "https":
                assert context is not None, "https without a context: a bug"
                link = context.wrap_socket(link, server_hostname=address.host)
            head = f"GET {address.prefix}{path} HTTP/1.0\r\nHost: {address.authority}\r\n\r\n"
            link.sendall(head.encode("ascii"))
            return _read(link, until)
        except (OSError, ValueError) as error:
            raise NoAnswer(f"{address} does not answer as emr does: {_reason(error)}") from error
        finally:
            link.close()


def _connect(address: Address, timeout_s: float) -> socket.socket:
    if not address.socket:
        return socket.create_connection((address.host, address.port), timeout_s)
    link = socket.socket(socket.AF_UNIX)
    try:
        link.settimeout(timeout_s)
        link.connect(address.socket)
    except OSError:
        link.close()
        raise
    return link


def _read(link: socket.socket, until: float) -> Answer:
    """The answer to its end. Raises OSError, and ValueError for what is no HTTP."""
    parts: list[bytes] = []
    size = 0
    while True:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("it takes too long")
        link.settimeout(left_s)
        part = link.recv(_PART)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > ANSWER_MAX:
            raise ValueError("it answers without end")
    head, end, body = b"".join(parts).partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if not end or not words[0].startswith(b"HTTP/1.") or not words[1:2] or not words[1].isdigit():
        raise ValueError("it does not speak HTTP")
    return Answer(int(words[1]), body)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it takes too long"
    return getattr(error, "strerror", None) or str(error)
