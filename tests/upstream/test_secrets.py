"""The provider's key: where it goes, and everywhere that it does not."""

from __future__ import annotations

import orjson
import pytest

from emr.lane.ticket import Params
from emr.lane.verdict import Ending
from emr.upstream.call import Call, call_with
from emr.upstream.caller import HttpCaller
from emr.upstream.endpoint import check_endpoint
from emr.upstream.hosted import VOYAGE
from emr.upstream.transport import Transport
from tests.support.aio import run
from tests.support.peer import Guest, Peer
from tests.upstream.calling import CALL, caller_at, outcome_of
from tests.upstream.provider import KEY


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "a\nb", "a b", "\x00", "é", "a\tb"])
def test_a_key_that_would_change_the_head_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key has a character") as refused:
        caller_at(1, Transport(), key)
    assert key not in str(refused.value)


def test_the_key_is_in_nothing_that_is_printed() -> None:
    endpoint = check_endpoint("https://api.voyageai.com/v1/embeddings?token=hidden", VOYAGE)
    caller = HttpCaller(VOYAGE, endpoint, KEY, Transport())
    assert repr(caller) == "<HttpCaller voyage https://api.voyageai.com/v1/embeddings>"
    assert KEY not in repr(caller)
    with pytest.raises(TypeError):
        vars(caller)


@pytest.mark.parametrize("place", ["json", "plain", "header", "200"])
def test_the_key_is_in_no_verdict(place: str) -> None:
    async def script(guest: Guest) -> None:
        request = await guest.request()
        assert request is not None
        key = dict(request[0].headers)[b"authorization"].decode()
        bodies = {
            "json": orjson.dumps({"detail": f"your header was {key}"}),
            "plain": f"your header was {key}".encode(),
            "header": b"{}",
            "200": orjson.dumps({"error": {"message": f"no: {key}", "code": 500}}),
        }
        headers = [("X-Echo", key)] if place == "header" else []
        await guest.answer(bodies[place], 200 if place == "200" else 500, headers)
        await guest.gone()

    outcome = outcome_of(script)
    assert outcome.verdict.ending is not Ending.OK
    assert KEY not in repr(outcome)


@pytest.mark.parametrize("path", ["/v1/x\r\nX: 1", "/v1/a b", "/v1/\xe9"])
def test_a_path_that_would_change_the_head_is_refused(path: str) -> None:
    async def main() -> None:
        caller = caller_at(1, Transport())
        outcome = await call_with(caller, Call(Params("m", whole=b"{}", path=path), []))
        assert outcome.verdict.ending is Ending.BAD_REQUEST

    run(main())


def test_a_redirect_does_not_take_the_key_along() -> None:
    elsewhere: list[bytes] = []

    async def main() -> None:
        async def stranger(guest: Guest) -> None:
            request = await guest.request()
            elsewhere.append(b"" if request is None else request[1])

        transport = Transport()
        async with Peer(stranger) as other:

            async def script(guest: Guest) -> None:
                await guest.request()
                location = f"http://127.0.0.1:{other.port}/v1/embeddings"
                await guest.answer(b"", 307, [("Location", location)])
                await guest.gone()

            async with Peer(script) as peer:
                outcome = await call_with(caller_at(peer.port, transport), CALL)
                assert outcome.verdict.ending is Ending.TRANSIENT
                assert outcome.verdict.status == 307
            await transport.close()

    run(main())
    assert elsewhere == []
