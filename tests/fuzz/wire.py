"""Fuzzes the server's wire with mutated streams, in process and over sockets, against h11.

    python -m tests.fuzz.wire --in-process 1000000 --sockets 20000 --seed 1

Invariants, for every stream:
- nothing raises, and nothing is logged as a fault;
- the answers are well formed; their statuses are 200 and the server's own refusals (501 and 505
  are among them: what HTTP calls a method or a version that is not spoken, no fault of a server);
- there is one answer to each request that was handled, and at most one refusal behind them;
- however the stream is cut into reads, the requests and the answers are the same;
- where h11 takes the stream too, the requests are the first of those that h11 sees, by method and
  body: a request is never made of what h11 takes for something else;
- the server answers a good request afterwards.

Where h11 refuses earlier, it must be for one of the reasons listed; they are counted and printed.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import h11
import uvloop

from emr.front.exchange import Exchange, Headers, ServerLimits
from emr.front.listener import Listener
from emr.lane.refusal import Refusal
from tests.fuzz.mutate import good_requests, mutate
from tests.support.server import Server, read_answers

CORPUS = 2000
STATUSES = frozenset({100, 200, 400, 408, 413, 414, 417, 431, 501, 505})
GOOD = b"POST /good HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
AT_ONCE = 100  # connections at the same time
CHECKED_EVERY = 1000  # streams, with a good request

# Requests: method, body, and whether the body came in chunks.
Seen = list[tuple[str, bytes, bool]]

# Why h11 refuses what is served here. Both are by RFC 9112 and 9110: empty lines before a request
# line are skipped (2.2), and a field in a trailer is no header (6.5.1), so that the second may
# only come of a chunked request.
EMPTY_LINE = "no request line received"
OF_TRAILERS = (
    "Only Transfer-Encoding: chunked is supported",
    "bad Content-Length",
    "conflicting Content-Length headers",
    "multiple Transfer-Encoding headers",
)


class Recorder:
    """A service that answers 200 and records what it was asked."""

    def __init__(self) -> None:
        self.seen: Seen = []
        self.headers: list[dict[bytes, bytes]] = []

    def admit(self, exchange: Exchange) -> Refusal | None:
        return None

    def handle(self, exchange: Exchange) -> None:
        is_chunked = b"transfer-encoding" in exchange.headers
        self.seen.append((exchange.method, exchange.body, is_chunked))
        self.headers.append(exchange.headers)
        exchange.reply(200, [(b"x-method", exchange.method.encode())], b"ok")

    def render(self, exchange: Exchange | None, refusal: Refusal) -> tuple[int, Headers, bytes]:
        assert refusal.status is not None
        method = b"" if exchange is None else exchange.method.encode()
        return refusal.status, [(b"x-method", method)], refusal.message.encode()


class Broken(Exception):
    """An invariant does not hold for a stream."""


class Faults(logging.Handler):
    """Whatever is logged as a fault while a stream is read."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record.getMessage())


@contextmanager
def watching() -> Iterator[Faults]:
    faults = Faults()
    logging.getLogger().addHandler(faults)
    try:
        yield faults
    finally:
        logging.getLogger().removeHandler(faults)


def serve(server: Server, pieces: list[bytes]) -> tuple[list[int], Seen]:
    """The statuses and the requests that come of a stream in these pieces."""
    seen = server.service.seen = []
    server.service.headers = []
    client = server.connect()
    for piece in pieces:
        client.send(piece)
    statuses = [answer.status for answer in client.answers]
    client.leave()
    if server.register.guests:
        raise Broken("a connection is left over")
    return statuses, seen


def look_with_h11(stream: bytes) -> tuple[Seen, str]:
    """The whole requests that h11 sees, and why it refused the rest ("" when it did not).

    h11 never keeps a connection of HTTP/1.0; where the request asks for it, the rest of the
    stream is looked at with a new one.
    """
    seen: Seen = []
    connection, request, body = _h11(stream), None, b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                is_chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
                seen.append((request.method.decode(), body, is_chunked))
                connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.DONE:
                    connection.start_next_cycle()
                elif _is_kept_of_1_0(request):
                    connection = _h11(connection.trailing_data[0])
                else:
                    return seen, ""
            else:
                return seen, ""
    except h11.RemoteProtocolError as error:
        return seen, str(error)


def _h11(stream: bytes) -> h11.Connection:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    if stream:
        connection.receive_data(stream)
    return connection


def _is_kept_of_1_0(request: h11.Request) -> bool:
    values = [value for name, value in request.headers if name == b"connection"]
    tokens = {token.strip() for value in values for token in value.lower().split(b",")}
    return request.http_version == b"1.0" and b"keep-alive" in tokens and b"close" not in tokens


def check_statuses(statuses: list[int], requests: int) -> None:
    if not set(statuses) <= STATUSES:
        raise Broken(f"statuses {statuses}")
    final = [status for status in statuses if status != 100]
    if final[:requests] != [200] * requests or len(final) > requests + 1:
        raise Broken(f"statuses {statuses} for {requests} requests")


def compare(statuses: list[int], seen: Seen, stream: bytes, counts: Counter[str]) -> None:
    """Against h11, which is asked only when there is something to compare."""
    if not seen:
        counts["nothing served"] += 1
        return
    theirs, refused = look_with_h11(stream)
    if not refused:
        if seen != theirs[: len(seen)]:
            raise Broken(f"{seen} where h11 sees {theirs}")
        counts["h11 agrees" if len(seen) == len(theirs) else "h11 serves more"] += 1
    elif len(seen) <= len(theirs):
        counts["h11 agrees, and refuses the rest"] += 1
    elif refused == EMPTY_LINE or (refused in OF_TRAILERS and seen[len(theirs)][2]):
        counts[f"h11 refuses earlier: {refused}"] += 1
    else:
        raise Broken(f"{seen} where h11 sees {theirs} and then: {refused}")


def check_cut(server: Server, pieces: list[bytes], statuses: list[int], seen: Seen) -> None:
    """However it is cut, the same comes of it, but for the question for a body that is not here.

    In pieces a head is always read, and whole perhaps remembered: the headers must be the same.
    """
    headers = server.service.headers
    other_statuses, other_seen = serve(server, pieces)
    final = [status for status in statuses if status != 100]
    if final != [status for status in other_statuses if status != 100] or seen != other_seen:
        raise Broken(f"statuses {statuses}, but {other_statuses} when it is cut")
    if headers != server.service.headers:
        raise Broken(f"headers {headers}, but {server.service.headers} when it is cut")


def cut(random: Random, stream: bytes) -> list[bytes]:
    """The stream in some reads."""
    if random.random() < 0.3:
        return [stream[at : at + 1] for at in range(len(stream))]
    pieces = []
    while stream:
        size = random.choice([1, 2, 3, 10, 50, 200])
        pieces.append(stream[:size])
        stream = stream[size:]
    return pieces


def run_in_process(count: int, seed: int) -> Counter[str]:
    """Feed `count` streams to the protocol class. Raises Broken, with the stream in its notes."""
    random = Random(seed)
    corpus = good_requests(random, CORPUS)
    server = Server(service=Recorder())
    counts: Counter[str] = Counter()
    with watching() as faults:
        for at in range(count):
            stream = mutate(random, corpus)
            try:
                statuses, seen = serve(server, [stream])
                check_statuses(statuses, len(seen))
                compare(statuses, seen, stream, counts)
                if at % 4 == 0:
                    check_cut(server, cut(random, stream), statuses, seen)
                if at % CHECKED_EVERY == 0 and serve(server, [GOOD])[0] != [200]:
                    raise Broken("a good request is not answered afterwards")
                if faults.records:
                    raise Broken(f"logged: {faults.records}")
            except Exception as error:
                error.add_note(f"seed {seed}, stream {at}: {stream!r}")
                raise
            counts["streams"] += 1
            counts.update(f"status {status}" for status in statuses)
    return counts


async def run_over_sockets(count: int, seed: int) -> Counter[str]:
    """Send `count` streams over TCP. Raises Broken."""
    random = Random(seed)
    corpus = good_requests(random, CORPUS)
    # short times, since a stream may end in the middle of a request that never goes on
    limits = ServerLimits(head_timeout_s=0.3, body_timeout_s=0.3, keepalive_s=0.3)
    listener = Listener(Recorder(), limits)
    await listener.start(["127.0.0.1:0"])
    port = int(listener.addresses[0].rpartition(":")[2])
    counts: Counter[str] = Counter()
    streams = iter([mutate(random, corpus) for _ in range(count)])

    async def send_all() -> None:
        for stream in streams:
            try:
                statuses = await send(port, stream + LAST)
                if not set(statuses) <= STATUSES:
                    raise Broken(f"statuses {statuses}")
            except Exception as error:
                error.add_note(f"seed {seed}, stream {stream!r}")
                raise
            counts["streams"] += 1
            counts.update(f"status {status}" for status in statuses)

    with watching() as faults:
        await asyncio.gather(*(send_all() for _ in range(min(AT_ONCE, count))))
        if await send(port, LAST) != [200]:
            raise Broken("a good request is not answered afterwards")
        if faults.records:
            raise Broken(f"logged: {faults.records}")
    cut_off = await listener.drain(5.0)
    if cut_off:
        raise Broken(f"left over: {cut_off}")
    return counts


async def send(port: int, data: bytes) -> list[int]:
    """Send it all and read until the server closes; the statuses that came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    got = await reader.read()
    writer.close()
    return [answer.status for answer in read_answers(got)]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Fuzz the server's wire.")
    parser.add_argument("--in-process", type=int, default=20_000, metavar="STREAMS")
    parser.add_argument("--sockets", type=int, default=500, metavar="STREAMS")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    start = time.monotonic()
    for name, counts in (
        ("in process", run_in_process(options.in_process, options.seed)),
        ("over sockets", uvloop.run(run_over_sockets(options.sockets, options.seed))),
    ):
        print(f"{name}, seed {options.seed}:")
        for what, times in sorted(counts.items()):
            print(f"  {times:9d}  {what}")
    print(f"all invariants held; {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
