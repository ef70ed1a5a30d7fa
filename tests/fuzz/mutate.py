"""Makes broken streams of requests from good ones, from a seed: each can be made again."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import h11

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
TARGETS = ("/", "/v1/embeddings", "/health", "/v1/models/a%2Fb?x=1", "http://a/v1/test", "/a?b=%20")
BODY = b'{"input":["the quick brown fox","\\u00e9"],"model":"voyage-code-3"}'

# What a smuggler would put in: framing fields, line ends, sizes, whole requests.
PIECES = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b" ", b"\t", b":", b";", b",", b"%",
    b"0", b"1", b"9", b"f", b"00", b"\x0b", b"\x7f", b"\x80", b"\xff", b"+", b"-", b"_", b"x",
    b"0x", b'"', b"#", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0",
    b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Content-Length: 40\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"transfer-encoding:\tchunked\r\n", b"Transfer-Encoding : chunked\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: Upgrade\r\n",
    b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Host: b\r\n", b"Host: a\r\n",
    b" folded\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"1;a=b\r\nx\r\n", b"ffffffffffffffff\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)  # fmt: skip


def good_requests(random: Random, count: int) -> list[bytes]:
    """Requests that h11 made, each whole."""
    return [_good_request(random) for _ in range(count)]


def _good_request(random: Random) -> bytes:
    headers = [("Host", "a"), ("User-Agent", "fuzz"), ("Authorization", "Bearer emr_" + "x" * 32)]
    random.shuffle(headers)
    shape = random.choice(["none", "sized", "sized", "chunked", "chunked"])
    body = BODY[: random.choice([0, 1, 5, len(BODY)])] if shape != "none" else b""
    if shape == "sized":
        headers.append(("Content-Length", str(len(body))))
    elif shape == "chunked":
        headers.append(("Transfer-Encoding", "chunked"))
    if random.random() < 0.1:
        headers.append(("Connection", random.choice(["close", "keep-alive"])))
    if random.random() < 0.05:
        headers += [("Connection", "Upgrade"), ("Upgrade", "h2c")]
    request = h11.Request(
        method=random.choice(METHODS), target=random.choice(TARGETS), headers=headers
    )
    connection = h11.Connection(h11.CLIENT)
    parts = [connection.send(request)]
    while body:
        size = random.randrange(1, len(body) + 1)
        parts.append(connection.send(h11.Data(data=body[:size])))
        body = body[size:]
    trailers = [("X-T", "1")] if shape == "chunked" and random.random() < 0.3 else []
    parts.append(connection.send(h11.EndOfMessage(headers=trailers)))
    return b"".join(part or b"" for part in parts)


def mutate(random: Random, corpus: list[bytes]) -> bytes:
    """One to six good requests behind each other, broken in none to four places."""
    count = random.choice([1, 1, 1, 2, 2, 3])
    if random.random() < 0.5:
        data = b"".join(random.choices(corpus, k=count))
    else:  # the same again and again, as one client sends it
        data = random.choice(corpus) * (2 * count)
    for _ in range(random.choice([0, 1, 1, 1, 1, 2, 2, 3, 4])):
        data = random.choice(_MUTATIONS)(random, data, corpus)
    return data


def _flip(random: Random, data: bytes, corpus: list[bytes]) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]


def _replace(random: Random, data: bytes, corpus: list[bytes]) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + random.choice(PIECES) + data[at + 1 :]


def _insert(random: Random, data: bytes, corpus: list[bytes]) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(PIECES) + data[at:]


def _insert_line(random: Random, data: bytes, corpus: list[bytes]) -> bytes:
    """A piece behind one of the line ends, where it means most."""
    ends = [at + 2 for at in range(len(data)) if data.startswith(b"\r\n", at)]
    at = random.choice(ends) if ends else 0
    return data[:at] + random.choice(PIECES) + data[at:]


def _delete(random: Random, data: bytes, corpus: list[bytes]) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.choice([1, 1, 2, 4, 16]) :]


def _cut(random: Random, data: bytes, corpus: list[bytes]) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _duplicate(random: Random, data: bytes, corpus: list[bytes]) -> bytes:
    at = random.randrange(len(data) + 1)
    part = data[at : at + random.choice([1, 2, 8, 32, 128])]
    to = random.choice([at, random.randrange(len(data) + 1)])
    return data[:to] + part + data[to:]


def _duplicate_line(random: Random, data: bytes, corpus: list[bytes]) -> bytes:
    lines = data.split(b"\r\n")
    line = random.choice(lines)
    lines.insert(random.randrange(len(lines) + 1), line)
    return b"\r\n".join(lines)


def _swap_lines(random: Random, data: bytes, corpus: list[bytes]) -> bytes:
    lines = data.split(b"\r\n")
    one, two = random.randrange(len(lines)), random.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return b"\r\n".join(lines)


def _splice(random: Random, data: bytes, corpus: list[bytes]) -> bytes:
    other = random.choice(corpus)
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def _other_digit(random: Random, data: bytes, corpus: list[bytes]) -> bytes:
    """Another digit: a length or a size that does not fit any more."""
    digits = [at for at in range(len(data)) if data[at] in b"0123456789"]
    if not digits:
        return data
    at = random.choice(digits)
    return data[:at] + random.choice(b"0123456789af").to_bytes(1, "big") + data[at + 1 :]


_MUTATIONS: tuple[Callable[[Random, bytes, list[bytes]], bytes], ...] = (
    _flip, _replace, _insert, _insert_line, _insert_line, _delete, _cut, _duplicate,
    _duplicate_line, _swap_lines, _splice, _other_digit,
)  # fmt: skip
