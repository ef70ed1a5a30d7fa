"""CPU a call of the transport: small bodies, 64 calls in flight, a trivial server on loopback.

    python -m tests.bench.transport [calls]

The server is a process of its own that answers every request with the same bytes; only the CPU of
the client's process is counted.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

import uvloop

from emr.lane.ticket import Params
from emr.upstream.addresses import Reach
from emr.upstream.call import Call, call_with
from emr.upstream.caller import HttpCaller
from emr.upstream.endpoint import Endpoint
from emr.upstream.hosted import OPENAI
from emr.upstream.transport import Transport

IN_FLIGHT = 64
BODY = b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}]}'
HEADERS = b"".join(b"x-header-%d: some value\r\n" % i for i in range(12))
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    + HEADERS
    + b"Content-Length: %d\r\n\r\n" % len(BODY)
    + BODY
)
HEAD = (
    b"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer x\r\n"
    b"Content-Type: application/json\r\nContent-Length: 30\r\n\r\n"
)
REQUEST_BODY = b"x" * 30


class _Server(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER)


def _serve(pipe: Connection) -> None:
    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        server = await asyncio.get_running_loop().create_server(_Server, sock=listener)
        pipe.send(listener.getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())


async def _load(port: int, calls: int) -> None:
    transport = Transport()
    endpoint = Endpoint("http", "127.0.0.1", port, "/", reach=Reach.LOOPBACK)
    caller = HttpCaller(OPENAI, endpoint, "key", transport)
    call = Call(Params("m"), [b'"a text"'])

    async def exchange() -> None:
        answer = await transport.exchange(endpoint, HEAD + REQUEST_BODY, 10.0, 10.0)
        assert answer.body == BODY

    async def whole() -> None:
        outcome = await call_with(caller, call)
        assert outcome.reply is not None

    for name, one in (("exchange", exchange), ("call, written and read", whole)):
        await _run(one, 20 * IN_FLIGHT)
        cpu, wall = time.process_time(), time.perf_counter()
        await _run(one, calls)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(
            f"{name:24} {cpu / calls * 1e6:6.1f} us of CPU a call, "
            f"{calls / wall:6.0f} a second, {IN_FLIGHT} in flight"
        )
    await transport.close()


async def _run(one: Callable[[], Awaitable[None]], calls: int) -> None:
    async def worker() -> None:
        for _ in range(calls // IN_FLIGHT):
            await one()

    await asyncio.gather(*[worker() for _ in range(IN_FLIGHT)])


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    uvloop.run(_load(ours.recv(), calls))
    server.kill()


if __name__ == "__main__":
    main()
