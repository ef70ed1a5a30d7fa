"""The caller itself: failures become verdicts, secrets stay, large replies leave the loop free."""

from __future__ import annotations

import asyncio
import struct
import threading
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emr.lane.ticket import Params
from emr.lane.verdict import Ending, Limits, Verdict
from emr.upstream.call import Call, Outcome, call_with
from emr.upstream.caller import MAX_HEADS, READ_ON_LOOP_MAX, HttpCaller
from emr.upstream.endpoint import Allow, check_endpoint
from emr.upstream.hosted import AZURE, COHERE, GEMINI, OPENAI, VOYAGE
from emr.upstream.kinds import Kind
from emr.upstream.link import Answer
from emr.upstream.self_hosted import INFINITY, OLLAMA
from emr.upstream.table import KINDS
from emr.upstream.transport import Transport, TransportSettings
from tests.support.aio import run
from tests.support.peer import Guest, Peer
from tests.upstream.calling import CALL, GOOD, caller_at, outcome_of
from tests.upstream.provider import KEY, VoyageForm, vector_of


def test_a_reset_may_be_tried_again() -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        guest.reset()

    outcome = outcome_of(script)
    assert outcome.verdict.ending is Ending.TRANSIENT
    assert not outcome.verdict.timed_out
    assert outcome.verdict.status is None
    assert outcome.verdict.message == "the provider broke the connection before it answered"
    assert outcome.first_byte_s is None


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_a_hang_is_a_timeout(before: bytes) -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        if before:
            await guest.write(before)
        await guest.gone()

    outcome = outcome_of(script, Call(Params("m"), [b'"a"'], first_byte_s=0.08, whole_s=0.1))
    assert outcome.verdict.ending is Ending.TRANSIENT
    assert outcome.verdict.timed_out


def test_too_large_an_answer_is_no_answer() -> None:
    async def script(guest: Guest) -> None:
        await guest.serve(GOOD + b" " * 1000)

    outcome = outcome_of(script, settings=TransportSettings(max_body_bytes=1000))
    assert outcome.verdict.ending is Ending.TRANSIENT


@pytest.mark.parametrize(
    ("texts", "ending"),
    [(256, Ending.TRANSIENT), (257, Ending.SIZE_ITEMS), (2048, Ending.SIZE_ITEMS)],
)
def test_too_large_an_answer_to_many_texts_is_asked_for_in_parts(
    texts: int, ending: Ending
) -> None:
    async def script(guest: Guest) -> None:
        await guest.serve(GOOD + b" " * 1000)

    settings = TransportSettings(max_body_bytes=1000)
    verdict = outcome_of(script, Call(Params("m"), [b'"a"'] * texts), settings).verdict
    assert verdict.ending is ending
    assert verdict.cap is None
    assert "larger than 1000 bytes" in verdict.message


def test_a_provider_that_is_not_there() -> None:
    async def main() -> None:
        async with Peer(lambda guest: guest.gone()) as peer:
            port = peer.port
        outcome = await call_with(caller_at(port, Transport()), CALL)
        assert outcome.verdict.ending is Ending.TRANSIENT
        assert "refused" in outcome.verdict.message

    run(main())


def test_a_cancelled_call_is_cancelled() -> None:
    arrived = asyncio.Event()

    async def script(guest: Guest) -> None:
        await guest.request()
        arrived.set()
        await guest.gone()

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            task = asyncio.create_task(call_with(caller_at(peer.port, transport), CALL))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert transport.idle == 0
            await transport.close()

    run(main())


def test_limits_come_with_good_replies_too() -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.answer(GOOD, 200, [("X-RateLimit-Limit-Requests", "60")])
        await guest.gone()

    outcome = outcome_of(script)
    assert outcome.verdict.ending is Ending.OK
    assert outcome.limits == Limits(calls=60.0)


@pytest.mark.parametrize("status", [201, 202, 299])
def test_any_2xx_is_read(status: int) -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.answer(GOOD, status)
        await guest.gone()

    assert outcome_of(script).verdict == Verdict(Ending.OK, 200)


def test_a_204_is_no_reply() -> None:
    async def script(guest: Guest) -> None:
        await guest.request()
        await guest.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await guest.gone()

    assert outcome_of(script).verdict.ending is Ending.TRANSIENT


@pytest.mark.parametrize("larger", [False, True])
def test_a_large_reply_is_read_in_a_thread(larger: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[bool] = []
    read = HttpCaller._read

    def spy(self: HttpCaller, call: Call, answer: Any) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return read(self, call, answer)

    monkeypatch.setattr(HttpCaller, "_read", spy)

    async def script(guest: Guest) -> None:
        await guest.serve(GOOD + b" " * (READ_ON_LOOP_MAX - len(GOOD) + larger))

    outcome = outcome_of(script)
    assert outcome.reply is not None
    assert outcome.reply.vectors == [b"[0.5]"]
    assert threads == [not larger]


def test_a_large_wrong_reply_read_in_a_thread_is_a_verdict_too() -> None:
    async def script(guest: Guest) -> None:
        await guest.serve(GOOD.replace(b'"index":0', b'"index":1') + b" " * READ_ON_LOOP_MAX)

    assert outcome_of(script).verdict.ending is Ending.PROTOCOL


def test_the_loop_is_not_held_up_by_a_large_reply() -> None:
    """reliability: no callback may take over 50 ms, also while 16 MB of vectors arrive."""
    numbers = ",".join(["0.0123456789"] * 1024)
    entries = [f'{{"index":{i},"embedding":[{numbers}]}}' for i in range(1000)]
    body = f'{{"data":[{",".join(entries)}]}}'.encode()
    assert len(body) > 12_000_000

    async def script(guest: Guest) -> None:
        await guest.serve(body)

    async def main() -> None:
        transport = Transport()
        async with Peer(script) as peer:
            call = Call(Params("m"), [b'"a"'] * 1000)
            task = asyncio.create_task(call_with(caller_at(peer.port, transport), call))
            loop = asyncio.get_running_loop()
            longest, last = 0.0, loop.time()
            while not task.done():
                await asyncio.sleep(0.001)
                longest, last = max(longest, loop.time() - last), loop.time()
            assert len((await task).reply.vectors) == 1000
            assert longest < 0.25, "generous: other processes run beside the tests"
            await transport.close()

    run(main())


# how a request is written, byte by byte


@pytest.mark.parametrize(
    ("kind", "call", "body"),
    [
        (OPENAI, Call(Params("m"), [b'"a"', b'"b"']),
         b'{"input":["a","b"],"model":"m","encoding_format":"float"}'),
        (OPENAI, Call(Params("m", dimensions=5), [b"[1,2]"], float_text=False, user="u"),
         b'{"input":[[1,2]],"model":"m","dimensions":5,"encoding_format":"base64","user":"u"}'),
        (VOYAGE, Call(Params("m"), [b'"a"']), b'{"input":["a"],"model":"m"}'),
        (VOYAGE, Call(Params("m", "query", 256, "none", "int8"), [b'"a"'], float_text=False),
         b'{"input":["a"],"model":"m","input_type":"query","truncation":false,'
         b'"output_dimension":256,"output_dtype":"int8","encoding_format":"base64"}'),
        (COHERE, Call(Params('m"\n'), [b'"\\u0041"']),
         b'{"texts":["\\u0041"],"model":"m\\"\\n","input_type":"search_document",'
         b'"embedding_types":["float"]}'),
    ],
)  # fmt: skip
def test_the_body_of_a_request(kind: Any, call: Call, body: bytes) -> None:
    caller = HttpCaller(kind, check_endpoint("", kind), KEY, Transport())
    head, written = caller._write(call)
    assert written == body
    assert head.endswith(b"Content-Length: %d\r\n\r\n" % len(body))
    assert head.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize(
    ("kind", "url", "model", "target"),
    [
        (AZURE, "https://x.openai.azure.com", "d-1",
         "/openai/deployments/d-1/embeddings?api-version=2024-10-21"),
        (AZURE, "https://x.openai.azure.com/?api-version=2023-05-15", "d 1/ü",
         "/openai/deployments/d%201%2F%C3%BC/embeddings?api-version=2023-05-15"),
        (AZURE, "https://x.openai.azure.com/openai/deployments/fixed/embeddings?a=b", "d-1",
         "/openai/deployments/fixed/embeddings?a=b&api-version=2024-10-21"),
        (GEMINI, "", "gemini-embedding-001",
         "/v1beta/models/gemini-embedding-001:batchEmbedContents"),
        (GEMINI, "https://h.example/v1beta", "m", "/v1beta/models/m:batchEmbedContents"),
        (OLLAMA, "", "m", "/api/embed"),
        (INFINITY, "http://localhost:7997", "m", "/embeddings"),
        (OPENAI, "https://h.example/{model}/embeddings", "a\r\nb", "/a%0D%0Ab/embeddings"),
    ],
)  # fmt: skip
def test_the_target_of_a_request(kind: Kind, url: str, model: str, target: str) -> None:
    caller = HttpCaller(kind, check_endpoint(url, kind), KEY, Transport())
    head, _ = caller._write(Call(Params(model), [b'"a"']))
    assert head.split(b" ")[1] == target.encode()
    assert head.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("models", [MAX_HEADS - 1, MAX_HEADS, MAX_HEADS + 1, 3 * MAX_HEADS])
def test_heads_are_not_kept_without_end(models: int) -> None:
    caller = HttpCaller(GEMINI, check_endpoint("", GEMINI), KEY, Transport())
    for number in range(models):
        head, _ = caller._write(Call(Params(f"m{number}"), [b'"a"']))
        assert b"/models/m%d:" % number in head
        assert len(caller._heads) <= MAX_HEADS


def test_the_whole_head() -> None:
    endpoint = check_endpoint("https://h.example:444/p/v1/embeddings?a=b", VOYAGE, Allow())
    caller = HttpCaller(VOYAGE, endpoint, KEY, Transport())
    head, _ = caller._write(Call(Params("m", whole=b"{}", path="/v1/other"), []))
    lines = head.decode().split("\r\n")
    assert lines[:3] == [
        "POST /p/v1/other?a=b HTTP/1.1", "Host: h.example:444", f"Authorization: Bearer {KEY}",
    ]  # fmt: skip
    assert lines[-3:] == ["Content-Length: 2", "", ""]


def test_many_calls_at_once_each_get_their_own() -> None:
    form = VoyageForm()

    async def main() -> None:
        transport = Transport()
        async with Peer(form.script) as peer:
            caller = caller_at(peer.port, transport)

            async def one(number: int) -> None:
                texts = [f"{number}-{i}" for i in range(number % 7 + 1)]
                call = Call(
                    Params("m"), [orjson.dumps(t) for t in texts], float_text=number % 2 == 0
                )
                outcome = await call_with(caller, call)
                assert outcome.reply is not None
                for text, vector in zip(texts, outcome.reply.vectors, strict=True):
                    value = orjson.loads(vector)
                    if type(value) is str:
                        value = list(struct.unpack("<8f", b64decode(value)))
                    assert value == vector_of(text, 8)

            await asyncio.gather(*[one(number) for number in range(150)])
            await transport.close()

    run(main())


def test_every_kind_over_http_has_its_dialect() -> None:
    for kind in KINDS.values():
        if kind.name != "local":
            url = kind.endpoint or "https://h.example"
            HttpCaller(kind, check_endpoint(url, kind), KEY, Transport())


class _Answers:
    """In the place of the transport: the same answer to everything."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def begin(self, endpoint: object, data: bytes, *times_and_done: Any) -> None:
        times_and_done[-1](self._answer)


@given(
    st.sampled_from([VOYAGE, COHERE, OPENAI]),
    st.sampled_from([200, 200, 201, 204, 302, 400, 401, 413, 429, 500, 503]),
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([GOOD, b'{"embeddings":{"float":[[0.5]]}}', b'{"error":{"code":429}}']),
        st.sampled_from([b"[]", b"{}", b"null", b'"x"', b'{"data":[[]]}', b'{"error":[{}]}']),
    ),
    st.dictionaries(
        st.sampled_from([b"retry-after", b"x-ratelimit-limit-tokens", b"content-type"]),
        st.binary(max_size=10),
    ),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_no_answer_makes_a_call_raise(
    kind: Kind, status: int, body: bytes, headers: dict[bytes, bytes], whole: bool
) -> None:
    transport: Any = _Answers(Answer(status, headers, body, 0.1))
    caller = HttpCaller(kind, check_endpoint("", kind), KEY, transport)
    call = Call(Params("m", whole=b"{}" if whole else None), [b'"a text of a caller"'])
    landed: list[Callable[[], Outcome]] = []
    caller.begin(call, landed.append)
    (read,) = landed
    outcome = read()
    assert type(outcome) is Outcome
    assert (outcome.reply is not None) is (outcome.verdict.ending is Ending.OK)
    assert outcome.first_byte_s == 0.1
