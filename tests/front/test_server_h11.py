"""h11 as the other side: it makes requests that are read here, and reads the answers made here."""

from __future__ import annotations

import asyncio
from random import Random

import h11
import pytest

from emr.front.exchange import Exchange, ServerLimits
from emr.front.listener import Listener
from tests.support.aio import run
from tests.support.server import Echo, Server

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Varied(Echo):
    """Answers by the path: whole, streamed, empty, refused."""

    def __init__(self) -> None:
        super().__init__()
        self.streams: list[asyncio.Task[None]] = []

    def handle(self, exchange: Exchange) -> None:
        self.handled.append(exchange)
        if exchange.path == "/stream":
            self.streams.append(asyncio.get_running_loop().create_task(self.stream(exchange)))
        elif exchange.path == "/empty":
            exchange.reply(204, [], b"")
        else:
            self.answer(exchange)

    async def stream(self, exchange: Exchange) -> None:
        exchange.begin(200, [(b"content-type", b"application/x-ndjson")])
        for at in range(3):
            await exchange.send(b"line %d\n" % at)
        exchange.finish()


def make_request(random: Random, path: str) -> tuple[list[h11.Event], bytes]:
    """A request that h11 takes for good, and its body."""
    method = random.choice(METHODS)
    headers = [("Host", random.choice(["a", "a:80", "[::1]:1"])), ("User-Agent", "h11")]
    values = ["", "a", "a b", "a, b", "é" * 3, "x" * 500]
    headers += [(f"X-{at}", random.choice(values)) for at in range(random.randrange(10))]
    body = random.randbytes(random.choice([0, 1, 100, 70_000]))
    shape = random.choice(["none", "sized", "chunked"])
    if shape == "sized":
        headers.append(("Content-Length", str(len(body))))
    elif shape == "chunked":
        headers.append(("Transfer-Encoding", "chunked"))
    else:
        body = b""
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    events: list[h11.Event] = [h11.Request(method=method, target=path, headers=encoded)]
    at = 0
    while at < len(body):
        size = random.choice([1, 10, 1000, 50_000])
        events.append(h11.Data(data=body[at : at + size]))
        at += size
    trailers = [("X-Trailer", "1")] if shape == "chunked" and random.random() < 0.5 else []
    events.append(h11.EndOfMessage(headers=trailers))
    return events, body


def to_bytes(events: list[h11.Event]) -> bytes:
    connection = h11.Connection(h11.CLIENT)
    return b"".join(connection.send(event) or b"" for event in events)


@pytest.mark.parametrize("seed", range(20))
def test_requests_made_by_h11_are_read(seed: int) -> None:
    random = Random(seed)
    made = [make_request(random, f"/{at}?q={at}") for at in range(10)]
    client = Server().connect()
    stream = b"".join(to_bytes(events) for events, _ in made)
    while stream:
        cut = random.choice([1, 7, 100, 10_000, 100_000])
        client.send(stream[:cut])
        stream = stream[cut:]
    assert client.statuses == [200] * len(made)
    for (events, body), exchange in zip(made, client.server.service.handled, strict=True):
        request = events[0]
        assert isinstance(request, h11.Request)
        assert exchange.method.encode() == request.method
        assert f"{exchange.path}?{exchange.query}".encode() == request.target
        assert exchange.body == body
        assert exchange.headers == dict(request.headers)


async def exchange_with(
    connection: h11.Connection,
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    events: list[h11.Event],
) -> tuple[h11.Response, bytes, list[h11.InformationalResponse]]:
    """Send a request over h11, and read the answer with it."""
    reader, writer = streams
    for event in events:
        writer.write(connection.send(event) or b"")
    response: h11.Response | None = None
    before: list[h11.InformationalResponse] = []
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.InformationalResponse):
            before.append(event)
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert response is not None
            return response, body, before
        else:
            raise AssertionError(f"the connection ended early: {event}")


def test_answers_are_read_by_h11_over_sockets() -> None:
    async def main() -> None:
        service = Varied()
        listener = Listener(service)
        await listener.start(["127.0.0.1:0"])
        port = int(listener.addresses[0].rpartition(":")[2])
        streams = await asyncio.open_connection("127.0.0.1", port)
        connection = h11.Connection(h11.CLIENT)
        random = Random(1)
        for at in range(200):
            path = random.choice([f"/{at}", "/stream", "/empty"])
            events, sent = make_request(random, path)
            method = events[0].method.decode() if isinstance(events[0], h11.Request) else ""
            response, body, _ = await exchange_with(connection, streams, events)
            if path == "/empty":
                assert (response.status_code, body) == (204, b"")
            elif method == "HEAD":
                assert (response.status_code, body) == (200, b"")
            elif path == "/stream":
                assert body == b"line 0\nline 1\nline 2\n"
            else:
                assert body == f"{method} {path}?:".encode() + sent
            assert any(name == b"date" for name, _ in response.headers)
            connection.start_next_cycle()
        streams[1].close()
        assert listener.accepted == 1
        listener.close()
        await asyncio.gather(*service.streams)

    run(main())


def test_refusals_are_read_by_h11_over_sockets() -> None:
    async def main() -> None:
        listener = Listener(Echo(), ServerLimits(max_body_bytes=100))
        await listener.start(["127.0.0.1:0"])
        port = int(listener.addresses[0].rpartition(":")[2])
        big = [("Host", "a"), ("Content-Length", "1000")]
        refused = [("Host", "a"), ("Expect", "x")]
        for headers, status in ((big, 413), (refused, 417)):
            streams = await asyncio.open_connection("127.0.0.1", port)
            connection = h11.Connection(h11.CLIENT)
            request = h11.Request(method="POST", target="/", headers=headers)
            response, _, _ = await exchange_with(connection, streams, [request])
            assert response.status_code == status
            assert (b"connection", b"close") in response.headers
            assert connection.their_state is h11.MUST_CLOSE
            streams[1].close()
        listener.close()
        await asyncio.sleep(0)

    run(main())


def test_a_continue_is_read_by_h11_over_sockets() -> None:
    async def main() -> None:
        listener = Listener(Echo())
        await listener.start(["127.0.0.1:0"])
        port = int(listener.addresses[0].rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        connection = h11.Connection(h11.CLIENT)
        headers = [("Host", "a"), ("Expect", "100-continue"), ("Content-Length", "5")]
        request = h11.Request(method="POST", target="/", headers=headers)
        writer.write(connection.send(request) or b"")
        while not connection.they_are_waiting_for_100_continue:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.InformationalResponse):
                assert event.status_code == 100
                break
        rest: list[h11.Event] = [h11.Data(data=b"hello"), h11.EndOfMessage()]
        response, body, before = await exchange_with(connection, (reader, writer), rest)
        assert (response.status_code, body, before) == (200, b"POST /?:hello", [])
        writer.close()
        listener.close()
        await asyncio.sleep(0)

    run(main())
