"""Stopping under load: no request that was sent goes without its answer."""

from __future__ import annotations

import asyncio
from collections import Counter

import h11

from emr.front.exchange import Exchange
from emr.front.listener import Listener
from tests.support.aio import run
from tests.support.server import Echo

CLIENTS = 20
ROUNDS = 10


class Later(Echo):
    """Answers in a later turn of the loop, some turns apart."""

    def handle(self, exchange: Exchange) -> None:
        self.handled.append(exchange)
        turns = len(self.handled) % 5
        loop = asyncio.get_running_loop()

        def wait(left: int) -> None:
            if left:
                loop.call_soon(wait, left - 1)
            else:
                self.answer(exchange)

        loop.call_soon(wait, turns)


async def keep_asking(port: int, name: int, seen: Counter[str]) -> None:
    """Ask on one connection after the other, each kept while the server keeps it, until none can
    be made. Counts what came of every request that was sent.
    """
    asked = 0
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        connection = h11.Connection(h11.CLIENT)
        while connection.our_state is h11.IDLE:
            asked += 1
            target = f"/{name}/{asked}"
            head = h11.Request(method="GET", target=target, headers=[("Host", "a")])
            writer.write(connection.send(head) or b"")
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            seen["asked"] += 1
            body = await read_answer(connection, reader)
            seen["right" if body == f"GET {target}?:".encode() else "wrong"] += 1
            if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
                connection.start_next_cycle()
        writer.close()


async def read_answer(connection: h11.Connection, reader: asyncio.StreamReader) -> bytes | None:
    """The body of the next answer, None when the connection broke before its end."""
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            try:
                connection.receive_data(await reader.read(65536))
            except ConnectionError:
                return None
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return body
        elif isinstance(event, h11.ConnectionClosed):
            return None


def test_a_stop_under_load_loses_no_request() -> None:
    async def main() -> None:
        for round_ in range(ROUNDS):
            seen: Counter[str] = Counter()
            service = Later()
            listener = Listener(service)
            await listener.start(["127.0.0.1:0"])
            port = int(listener.addresses[0].rpartition(":")[2])
            asking = [
                asyncio.ensure_future(keep_asking(port, name, seen)) for name in range(CLIENTS)
            ]
            while seen["right"] < 100 + 37 * round_:
                await asyncio.sleep(0)
            assert await listener.drain(10.0) == []
            await asyncio.gather(*asking)
            assert seen["wrong"] == 0
            assert seen["right"] == seen["asked"] == len(service.handled)

    run(main())
