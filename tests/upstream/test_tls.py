"""TLS: whom the transport believes, and what it says when it does not."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from emr.upstream.addresses import Reach
from emr.upstream.connect import default_context
from emr.upstream.endpoint import Endpoint
from emr.upstream.fault import Fault, Stage
from emr.upstream.transport import Transport, TransportSettings
from tests.support.aio import run
from tests.support.certificates import EXPIRED, GOOD, client_context, server_context
from tests.support.peer import Guest, Peer

HEAD = b"POST / HTTP/1.1\r\nHost: provider.test\r\nContent-Length: 4\r\n\r\n"


async def to_loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


async def ask(transport: Transport, port: int, host: str = "provider.test") -> bytes:
    endpoint = Endpoint("https", host, port, "/", reach=Reach.ANY)
    answer = await transport.exchange(endpoint, HEAD + b"body", 1000.0, 1000.0)
    return answer.body


def test_a_good_certificate(tmp_path: Path) -> None:
    async def main() -> None:
        transport = Transport(resolve=to_loopback, context=client_context())
        async with Peer(lambda g: g.serve(b"ok"), server_context(GOOD, tmp_path)) as peer:
            assert await ask(transport, peer.port) == b"ok"
            assert await ask(transport, peer.port) == b"ok"
            assert peer.connections == 1
            assert await ask(transport, peer.port, "localhost") == b"ok"
            assert await ask(transport, peer.port, "127.0.0.1") == b"ok"
            await transport.close()

    run(main())


@pytest.mark.parametrize(
    ("certificate", "host", "trusting", "why"),
    [
        (GOOD, "other.test", True, "not valid for"),
        (GOOD, "provider.test", False, "unable to get local issuer"),
        (EXPIRED, "provider.test", True, "expired"),
    ],
)
def test_a_bad_certificate(
    certificate: str, host: str, trusting: bool, why: str, tmp_path: Path
) -> None:
    requests: list[bytes] = []

    async def script(guest: Guest) -> None:
        request = await guest.request()
        if request is not None:
            requests.append(request[1])

    async def main() -> None:
        context = client_context() if trusting else default_context()
        transport = Transport(resolve=to_loopback, context=context)
        async with Peer(script, server_context(certificate, tmp_path)) as peer:
            with pytest.raises(Fault) as caught:
                await ask(transport, peer.port, host)
            assert caught.value.stage is Stage.TLS
            assert why in caught.value.message.lower()
            assert transport.connections == 0
            await transport.close()

    run(main())
    assert requests == [], "a request, and the key in it, went to a stranger"


def test_a_peer_that_does_not_speak_tls() -> None:
    async def script(guest: Guest) -> None:
        await guest.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await guest.gone()

    async def main() -> None:
        transport = Transport(resolve=to_loopback, context=client_context())
        async with Peer(script) as peer:
            with pytest.raises(Fault) as caught:
                await ask(transport, peer.port)
            assert caught.value.stage is Stage.TLS
            assert not caught.value.timed_out
            await transport.close()

    run(main())


def test_a_handshake_that_does_not_end() -> None:
    async def main() -> None:
        settings = TransportSettings(connect_s=0.08)
        transport = Transport(settings, resolve=to_loopback, context=client_context())
        async with Peer(lambda guest: guest.gone()) as peer:
            with pytest.raises(Fault) as caught:
                await ask(transport, peer.port)
            assert caught.value.timed_out
            assert transport.connections == 0
            await transport.close()

    run(main())


def test_a_peer_that_closes_in_the_handshake() -> None:
    async def script(guest: Guest) -> None:
        guest.close()

    async def main() -> None:
        transport = Transport(resolve=to_loopback, context=client_context())
        async with Peer(script) as peer:
            with pytest.raises(Fault) as caught:
                await ask(transport, peer.port)
            assert caught.value.stage in (Stage.CONNECT, Stage.TLS)
            await transport.close()

    run(main())


def test_large_bodies_both_ways(tmp_path: Path) -> None:
    async def script(guest: Guest) -> None:
        request = await guest.request()
        assert request is not None
        await guest.answer(request[1])
        await guest.gone()

    async def main() -> None:
        transport = Transport(resolve=to_loopback, context=client_context())
        async with Peer(script, server_context(GOOD, tmp_path)) as peer:
            body = b"0123456789abcdef" * 200_000
            head = HEAD.replace(b": 4", b": %d" % len(body))
            endpoint = Endpoint("https", "provider.test", peer.port, "/", reach=Reach.ANY)
            answer = await transport.exchange(endpoint, head + body, 1000.0, 1000.0)
            assert answer.body == body
            await transport.close()

    run(main())


def test_a_cancelled_exchange_closes_its_connection(tmp_path: Path) -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def script(guest: Guest) -> None:
        await guest.request()
        arrived.set()
        await guest.gone()
        gone.set()

    async def main() -> None:
        transport = Transport(resolve=to_loopback, context=client_context())
        async with Peer(script, server_context(GOOD, tmp_path)) as peer:
            task = asyncio.create_task(ask(transport, peer.port))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await gone.wait()
            assert transport.connections == 0
            await transport.close()

    run(main())


def test_the_default_context_verifies() -> None:
    context = default_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
