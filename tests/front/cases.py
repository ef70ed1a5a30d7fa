"""What a raw case is: bytes of a client, the statuses they get, and whether the connection ends."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class End(Enum):
    """What becomes of the connection."""

    STAYS = "stays"
    CLOSES = "closes"


class Case(NamedTuple):
    """Bytes from a client and what it must get for them, however they are cut into reads."""

    name: str
    data: bytes
    statuses: tuple[int, ...]
    end: End


def served(name: str, data: bytes, answers: int = 1) -> Case:
    """Every request is answered 200 and the connection stays."""
    return Case(name, data, (200,) * answers, End.STAYS)


def last(name: str, data: bytes, answers: int = 1) -> Case:
    """Every request is answered 200, and the connection ends with the last."""
    return Case(name, data, (200,) * answers, End.CLOSES)


def refused(name: str, data: bytes, status: int = 400, after: int = 0) -> Case:
    """Refused with `status`, after so many requests that were answered 200."""
    return Case(name, data, (200,) * after + (status,), End.CLOSES)


def line(text: bytes) -> bytes:
    """A request whose request line is `text`."""
    return text + b"\r\nHost: a\r\n\r\n"


def fields(*lines: bytes) -> bytes:
    """A GET with a Host and these header lines."""
    return b"".join(
        (b"GET / HTTP/1.1\r\nHost: a\r\n", *(text + b"\r\n" for text in lines), b"\r\n")
    )


def post(*lines: bytes, body: bytes = b"") -> bytes:
    """A POST with a Host, these header lines, and `body` behind the head."""
    head = b"".join(
        (b"POST / HTTP/1.1\r\nHost: a\r\n", *(text + b"\r\n" for text in lines), b"\r\n")
    )
    return head + body


def chunked(body: bytes) -> bytes:
    """A POST with a chunked body of these bytes."""
    return post(b"Transfer-Encoding: chunked", body=body)
