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
from multiprocessing.connection import Connection

import uvloop

from emr.upstream.addresses import Reach
from emr.upstream.endpoint import Endpoint
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


async def _load(port: int, calls: int) -> tuple[float, float]:
    transport = Transport()
    endpoint = Endpoint("http", "127.0.0.1", port, "/", reach=Reach.LOOPBACK)

    async def worker(count: int) -> None:
        for _ in range(count):
            answer = await transport.exchange(endpoint, HEAD, REQUEST_BODY, 10.0, 10.0)
            assert answer.body == BODY

    await asyncio.gather(*[worker(20) for _ in range(IN_FLIGHT)])
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*[worker(calls // IN_FLIGHT) for _ in range(IN_FLIGHT)])
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    await transport.close()
    return cpu, wall


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    cpu, wall = uvloop.run(_load(ours.recv(), calls))
    server.kill()
    print(f"{calls} calls, {IN_FLIGHT} in flight: {cpu / calls * 1e6:.1f} us of CPU a call, ")
    print(f"{calls / wall:.0f} calls a second")


if __name__ == "__main__":
    main()
