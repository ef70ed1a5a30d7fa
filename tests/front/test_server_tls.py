"""TLS and mutual TLS on real sockets, with certificates made here."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from emr.front.connection import TURNED_AWAY_MAX
from emr.front.exchange import ServerLimits
from emr.front.listener import Listener
from emr.front.tls import TlsError, load_chain, server_context
from tests.front.cases import fields, post
from tests.support.aio import run
from tests.support.certs import Certs, Pair, make_certs
from tests.support.server import Echo, read_answers

CLOSING_GET = fields(b"Connection: close")


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certs:
    return make_certs(tmp_path_factory.mktemp("certs"))


@asynccontextmanager
async def listening(
    tls: ssl.SSLContext, limits: ServerLimits | None = None
) -> AsyncIterator[tuple[Listener, int]]:
    listener = Listener(Echo(), limits)
    await listener.start(["127.0.0.1:0"], tls=tls)
    try:
        yield listener, int(listener.addresses[0].rpartition(":")[2])
    finally:
        listener.close()
        await asyncio.sleep(0)


def client_context(certs: Certs, pair: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certs.authority.cert)
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return context


async def ask(port: int, context: ssl.SSLContext, data: bytes = CLOSING_GET) -> list[int]:
    """The statuses that `data` gets over TLS, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(data)
        return [answer.status for answer in read_answers(await reader.read())]
    finally:
        writer.close()


def test_requests_over_tls(certs: Certs) -> None:
    async def main() -> None:
        context = server_context(certs.server.cert, certs.server.key)
        async with listening(context) as (listener, port):
            client = client_context(certs)
            client.set_alpn_protocols(["h2", "http/1.1"])
            assert await ask(port, client) == [200]
            assert await ask(port, client, fields() * 3 + CLOSING_GET) == [200] * 4
            assert await ask(port, client, b"BROKEN\r\n\r\n") == [400]
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            body = os.urandom(2_000_000)
            writer.write(post(b"Content-Length: 2000000", body=body))
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(2_000_000 + len("POST /?:")) == b"POST /?:" + body
            writer.close()
            assert listener.accepted == 4

    run(main())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls(certs: Certs, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        context = server_context(certs.server.cert, certs.server.key)
        async with listening(context) as (_, port):
            client = client_context(certs)
            client.minimum_version = client.maximum_version = version
            assert await ask(port, client) == [200]

    run(main())


def test_older_tls_is_refused(certs: Certs) -> None:
    context = server_context(certs.server.cert, certs.server.key)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_mutual_tls(certs: Certs, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        context = server_context(certs.server.cert, certs.server.key, certs.authority.cert)
        context.minimum_version = context.maximum_version = version
        async with listening(context) as (listener, port):
            assert await ask(port, client_context(certs, certs.client)) == [200]
            for stranger in (None, certs.stranger):
                try:  # in TLS 1.3 a client may see no more than the end
                    assert await ask(port, client_context(certs, stranger)) == []
                except (ssl.SSLError, ConnectionError):
                    continue
            assert listener.requests == 1, "a client without a certificate got through"
            assert listener.open_connections == 0

    run(main())


def test_plain_http_on_a_tls_port(certs: Certs) -> None:
    async def main() -> None:
        context = server_context(certs.server.cert, certs.server.key)
        async with listening(context) as (listener, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(CLOSING_GET)
            assert b"200" not in await reader.read()
            writer.close()
            assert listener.requests == 0
            assert await ask(port, client_context(certs)) == [200]

    run(main())


def test_tls_on_a_plain_port_is_refused_at_once(certs: Certs) -> None:
    async def main() -> None:
        listener = Listener(Echo())
        await listener.start(["127.0.0.1:0"])
        port = int(listener.addresses[0].rpartition(":")[2])
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await ask(port, client_context(certs))
        assert listener.refused == {400: 1}
        listener.close()
        await asyncio.sleep(0)

    run(main())


def test_a_handshake_that_never_ends_is_reaped(certs: Certs) -> None:
    async def main() -> None:
        context = server_context(certs.server.cert, certs.server.key)
        async with listening(context, ServerLimits(head_timeout_s=0.2)) as (listener, port):
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
            half = await asyncio.open_connection("127.0.0.1", port)
            half[1].write(b"\x16\x03\x01\x02\x00")
            while listener._register.arriving < 6:
                await asyncio.sleep(0)
            assert await ask(port, client_context(certs)) == [200]  # others go on meanwhile
            for reader, writer in [*silent, half]:
                assert await reader.read() == b""
                writer.close()
            while listener._register.arriving:
                await asyncio.sleep(0)
            assert listener.open_connections == 0

    run(main())


def test_handshakes_count_as_connections(certs: Certs) -> None:
    async def main() -> None:
        context = server_context(certs.server.cert, certs.server.key)
        async with listening(context, ServerLimits(max_connections=1)) as (listener, port):
            waiting = []
            for _ in range(1 + TURNED_AWAY_MAX):
                sock = socket.create_connection(("127.0.0.1", port))
                waiting.append(sock)
            while listener._register.arriving < 1 + TURNED_AWAY_MAX:
                await asyncio.sleep(0)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b"", "one more is closed before a handshake"
            writer.close()
            for sock in waiting:
                sock.close()

    run(main())


def test_a_chain_can_be_renewed_while_it_runs(certs: Certs) -> None:
    async def main() -> None:
        context = server_context(certs.stranger.cert, certs.stranger.key)
        async with listening(context) as (_, port):
            with pytest.raises(ssl.SSLError):
                await ask(port, client_context(certs))
            load_chain(context, certs.server.cert, certs.server.key)
            assert await ask(port, client_context(certs)) == [200]

    run(main())


def test_a_drain_over_tls(certs: Certs) -> None:
    async def main() -> None:
        context = server_context(certs.server.cert, certs.server.key)
        async with listening(context) as (listener, port):
            client = client_context(certs)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
            writer.write(fields())
            await reader.readuntil(b"GET /?:")
            assert await listener.drain(20.0) == []
            assert await reader.read() == b""
            writer.close()

    run(main())


def test_unusable_certificates_are_clear_errors(certs: Certs, tmp_path: Path) -> None:
    junk, locked = tmp_path / "junk.pem", tmp_path / "locked.key"
    junk.write_text("junk")
    key = Path(certs.server.key).read_text()
    locked.write_text(key.replace(
        "-----BEGIN EC PRIVATE KEY-----\n",
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
        "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n",
    ))  # fmt: skip
    server, missing = certs.server, str(tmp_path / "missing.pem")
    for cert, key_path, client_ca, words in [
        (missing, server.key, None, "tls_cert .*missing.pem: No such file"),
        (server.cert, missing, None, "tls_key .*missing.pem: No such file"),
        (str(junk), server.key, None, "not a PEM file"),
        (server.cert, str(junk), None, "not a PEM file"),
        (server.cert, certs.client.key, None, "not the one of the certificate"),
        (server.cert, str(locked), None, "encrypted; store it without a passphrase"),
        (server.cert, server.key, missing, "client_ca .*missing.pem: No such file"),
        (server.cert, server.key, str(junk), "client_ca .*junk.pem: not a PEM file"),
    ]:
        with pytest.raises(TlsError, match=words):
            server_context(cert, key_path, client_ca)
