"""httpx over the transport: what the CLI and the tests see."""

from __future__ import annotations

import httpx
import pytest

from emr.lane.refusal import Refused
from emr.upstream.bridge import HttpxBridge
from emr.upstream.transport import Transport
from tests.support.aio import run
from tests.support.peer import Guest, Peer


async def echo(guest: Guest) -> None:
    while (request := await guest.request()) is not None:
        head, body = request
        line = head.method + b" " + head.target + b" " + body
        await guest.answer(line, 201, [("X-A", "1"), ("X-A", "2")])


def test_requests_of_httpx() -> None:
    async def main() -> None:
        transport = Transport()
        async with Peer(echo) as peer:
            base = f"http://127.0.0.1:{peer.port}"
            async with httpx.AsyncClient(transport=HttpxBridge(transport), base_url=base) as client:
                answer = await client.post("/v1/x?a=b%20c", json={"k": 1})
                assert answer.status_code == 201
                assert answer.text == 'POST /v1/x?a=b%20c {"k":1}'
                assert answer.headers["x-a"] == "1, 2"
                assert (await client.get("/")).text == "GET / "
                assert (await client.delete("/y")).text == "DELETE /y "
            assert peer.connections == 1
            await transport.close()

    run(main())


async def error_of(script: object, timeout_s: float = 1000.0) -> Exception:
    transport = Transport()
    async with Peer(script) as peer:
        async with httpx.AsyncClient(transport=HttpxBridge(transport), timeout=timeout_s) as client:
            with pytest.raises(httpx.TransportError) as caught:
                await client.get(f"http://127.0.0.1:{peer.port}/")
        await transport.close()
    return caught.value


def test_errors_are_those_of_httpx() -> None:
    async def hang(guest: Guest) -> None:
        await guest.request()
        await guest.gone()

    async def reset(guest: Guest) -> None:
        await guest.request()
        guest.reset()

    async def junk(guest: Guest) -> None:
        await guest.request()
        await guest.write(b"junk\r\n\r\n")
        await guest.gone()

    async def half(guest: Guest) -> None:
        await guest.request()
        await guest.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        guest.close()

    assert type(run(error_of(hang, 0.08))) is httpx.ReadTimeout
    assert type(run(error_of(reset))) is httpx.ReadError
    assert type(run(error_of(junk))) is httpx.RemoteProtocolError
    assert type(run(error_of(half))) is httpx.ReadError


def test_nobody_listens() -> None:
    async def main() -> None:
        async with Peer(echo) as peer:
            url = f"http://127.0.0.1:{peer.port}/"
        async with httpx.AsyncClient(transport=HttpxBridge(Transport())) as client:
            with pytest.raises(httpx.ConnectError, match="refused"):
                await client.get(url)

    run(main())


def test_what_the_bridge_does_not_speak() -> None:
    async def main() -> None:
        async with httpx.AsyncClient(transport=HttpxBridge(Transport())) as client:
            with pytest.raises(httpx.UnsupportedProtocol):
                await client.head("http://127.0.0.1:1/")
            with pytest.raises(Refused):
                await client.get("http://169.254.169.254/")
            with pytest.raises(httpx.LocalProtocolError):
                await client.get("http://127.0.0.1:1/", headers={"X": "a\r\nEvil: 1"})

    run(main())
