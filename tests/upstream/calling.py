"""How the tests of the caller make a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from emr.lane.ticket import Params
from emr.upstream.call import Call, Outcome, call_with
from emr.upstream.caller import HttpCaller
from emr.upstream.endpoint import check_endpoint
from emr.upstream.hosted import VOYAGE
from emr.upstream.transport import Transport, TransportSettings
from tests.support.aio import run
from tests.support.peer import Guest, Peer
from tests.upstream.provider import KEY

CALL = Call(Params("m"), [b'"a"'], first_byte_s=1000.0, whole_s=1000.0)
GOOD = b'{"data":[{"index":0,"embedding":[0.5]}]}'


def caller_at(port: int, transport: Transport, key: str = KEY) -> HttpCaller:
    return HttpCaller(VOYAGE, check_endpoint(f"http://127.0.0.1:{port}", VOYAGE), key, transport)


def outcome_of(
    script: Callable[[Guest], Awaitable[None]],
    call: Call = CALL,
    settings: TransportSettings | None = None,
) -> Outcome:
    async def main() -> Outcome:
        transport = Transport(settings)
        async with Peer(script) as peer:
            outcome = await call_with(caller_at(peer.port, transport), call)
            await transport.close()
            return outcome

    return run(main())
