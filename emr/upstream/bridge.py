"""httpx over emr's own transport, for the CLI and the tests: one way to speak HTTP and to fail.

Not for provider calls: httpx's Request and Response alone cost as much as a whole exchange.
"""

from __future__ import annotations

from collections.abc import Iterable

import httpx

from emr.upstream.endpoint import Allow, check_endpoint
from emr.upstream.fault import Fault, Stage
from emr.upstream.self_hosted import OPENAI_COMPATIBLE
from emr.upstream.transport import Transport

_DEFAULT_S = 60.0
_OUR_OWN = (b"accept-encoding", b"connection", b"content-length", b"transfer-encoding")
_ERRORS = {
    Stage.CONNECT: (httpx.ConnectError, httpx.ConnectTimeout),
    Stage.TLS: (httpx.ConnectError, httpx.ConnectTimeout),
    Stage.WRITE: (httpx.WriteError, httpx.WriteTimeout),
    Stage.FIRST_BYTE: (httpx.ReadError, httpx.ReadTimeout),
    Stage.BODY: (httpx.ReadError, httpx.ReadTimeout),
    Stage.PROTOCOL: (httpx.RemoteProtocolError, httpx.RemoteProtocolError),
    Stage.TOO_LARGE: (httpx.RemoteProtocolError, httpx.RemoteProtocolError),
}


class HttpxBridge(httpx.AsyncBaseTransport):
    """An httpx transport. Follows the endpoint rules of a server that the operator named."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Called by httpx. Raises its exceptions, and Refused for a URL that is none of ours."""
        if request.method in ("HEAD", "CONNECT"):
            raise httpx.UnsupportedProtocol(f"{request.method} is not spoken here")
        allow = Allow(http=True, private=True)
        endpoint = check_endpoint(str(request.url), OPENAI_COMPATIBLE, allow)
        target = request.url.raw_path
        if any(b"\r" in value or b"\n" in value for _, value in request.headers.raw):
            raise httpx.LocalProtocolError("a header has a line end", request=request)
        body = await request.aread()
        head = b"%s %s HTTP/1.1\r\n" % (request.method.encode("ascii"), target)
        head += b"".join(_fields(request.headers.raw))
        head += b"Accept-Encoding: identity\r\nContent-Length: %d\r\n\r\n" % len(body)
        wanted = request.extensions.get("timeout", {}).get("read")
        wait_s = _DEFAULT_S if wanted is None else float(wanted)
        try:
            answer = await self._transport.exchange(endpoint, head + body, wait_s, wait_s)
        except Fault as fault:
            error = _ERRORS[fault.stage][fault.timed_out]
            raise error(fault.message, request=request) from None
        raw = [(n, v) for n, v in answer.headers.items() if n != b"content-encoding"]
        return httpx.Response(answer.status, headers=raw, content=answer.body, request=request)


def _fields(raw: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
    return (b"%s: %s\r\n" % (n, v) for n, v in raw if n.lower() not in _OUR_OWN)
