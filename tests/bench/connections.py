"""Idle connections: many are opened on a subject and left alone."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.peers.peer import Door

ANSWER_S = 30.0


def request_of(door: Door) -> bytes:
    """An embedding request of one text."""
    body = json.dumps({"model": door.model, "input": ["an idle connection's only text"]}).encode()
    lines = [f"POST {door.path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in door.headers().items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def opened(door: Door, count: int) -> Iterator[list[socket.socket]]:
    """That many connections to a subject; closed at the end."""
    connections: list[socket.socket] = []
    try:
        while len(connections) < count:
            connections.append(socket.create_connection(("127.0.0.1", door.port), ANSWER_S))
        yield connections
    finally:
        for each in connections:
            each.close()


def use(door: Door, connections: list[socket.socket]) -> None:
    """One embedding request over each connection, answered before the next is sent."""
    request = request_of(door)
    for each in connections:
        each.sendall(request)
        read_answer(each)


def read_answer(connection: socket.socket) -> bytes:
    """A whole answer; raises ConnectionError for another status than 200, or an early end."""
    told = b""
    while b"\r\n\r\n" not in told:
        told += _some(connection)
    head, _, body = told.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise ConnectionError(f"an idle connection got {told[:200]!r}")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields[b"content-length"])
    while len(body) < length:
        body += _some(connection)
    return body


def _some(connection: socket.socket) -> bytes:
    told = connection.recv(65536)
    if not told:
        raise ConnectionError("an idle connection was closed")
    return told
