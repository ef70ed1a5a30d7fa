"""Verdicts by the providers' own words: every message that is known, with its expected ending."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emr.lane.verdict import Ending, Verdict
from emr.upstream.classify import RULES, classify, classify_misread
from emr.upstream.said import LISTEN_MAX, MESSAGE_MAX
from tests.upstream.messages import SAID

NOW = 1_700_000_000.0


def test_there_are_as_many_messages_as_promised() -> None:
    assert len(SAID) >= 60
    assert {expected["ending"] for *_, expected in SAID} == set(Ending) - {
        Ending.OK,
        Ending.PROTOCOL,
    }


@pytest.mark.parametrize(("status", "body", "expected"), [row[1:] for row in SAID],
                         ids=[row[0] for row in SAID])  # fmt: skip
def test_what_a_provider_says(status: int, body: Any, expected: dict[str, Any]) -> None:
    raw = body if type(body) is bytes else orjson.dumps(body)
    verdict = classify(status, {}, raw, NOW)
    blank = Verdict(Ending.OK, status, verdict.message)
    assert verdict == dataclasses.replace(blank, **expected)
    assert verdict.message
    assert verdict.message.isprintable()


STATUSES = {
    **dict.fromkeys((300, 301, 302, 303, 304, 307, 308), Ending.TRANSIENT),
    **dict.fromkeys((400, 422, 498), Ending.BAD_TEXT),
    **dict.fromkeys((401, 403, 407, 451), Ending.AUTH),
    402: Ending.QUOTA,
    **dict.fromkeys((404, 405, 406, 410, 411, 414, 415, 417), Ending.BAD_REQUEST),
    **dict.fromkeys((418, 426, 428, 431), Ending.BAD_REQUEST),
    **dict.fromkeys((501, 505), Ending.BAD_REQUEST),
    **dict.fromkeys((408, 409, 421, 424, 425, 499), Ending.TRANSIENT),
    413: Ending.SIZE_BYTES,
    429: Ending.RATE,
    **dict.fromkeys((503, 529), Ending.OVERLOAD),
    **dict.fromkeys((500, 502, 504, 507, 508, 520, 521, 522, 524, 530, 599), Ending.TRANSIENT),
}  # fmt: skip


@pytest.mark.parametrize(("status", "ending"), STATUSES.items())
@pytest.mark.parametrize("body", [b"", b"<html><title>Oops</title></html>", b"\xff\xfe", b"[1]"])
def test_a_status_without_words(status: int, ending: Ending, body: bytes) -> None:
    verdict = classify(status, {}, body, NOW)
    assert verdict.ending is ending
    assert verdict.status == status
    assert verdict.message


def test_the_words_are_passed_on() -> None:
    def message(body: bytes) -> str:
        return classify(500, {}, body, NOW).message

    odd = b'{"detail":"one\\r\\n two\\u0000\\u001b[31m\\u2028three"}'
    assert message(odd) == "one two [31m three"
    assert message(b"plain words") == "plain words"
    assert message(b"<html><head><title>502 Bad Gateway</title>") == "502 Bad Gateway"
    assert message(b"<html>no title") == "status 500, without words that emr knows"
    assert message(b'{"unknown":"shape"}') == "status 500, without words that emr knows"
    assert message(b'"just a string"') == "just a string"
    assert message(b"x" * (MESSAGE_MAX + 1)) == "status 500, without words that emr knows"
    fastapi = (
        b'{"detail":[{"loc":["body","input",0],"msg":"bad","input":"a secret text"},'
        b'{"msg":"worse"},{"loc":["x"]},"odd",5]}'
    )
    assert message(fastapi) == "body.input.0: bad; worse; odd"
    assert message(b'{"message":"' + b"x" * LISTEN_MAX + b'"}').startswith("status 500")


@pytest.mark.parametrize("length", [MESSAGE_MAX - 1, MESSAGE_MAX, MESSAGE_MAX + 1, 100_000])
def test_how_long_a_message_may_be(length: int) -> None:
    verdict = classify(500, {}, orjson.dumps({"message": "y" * length}), NOW)
    assert len(verdict.message) == min(length, MESSAGE_MAX)
    assert verdict.message.endswith("…") is (length > MESSAGE_MAX)


KEY = "pk9ZqX7mN2vR5tB8wE1yU4iO"


@pytest.mark.parametrize(
    "secret",
    [
        KEY, f"Bearer {KEY}", f"Bearer\t{KEY}", KEY[:12], KEY[4:16], KEY[-8:], KEY[:8] + "****",
        "Bearer abc", "sk-abcd********wxyz", "sk-proj-abc_DEF-123", "pa-AbCdEf123456789",
        "al-AbCdEf123456789", "emr_0123456789abcdef0123456789abcdef", "AIzaSyA-0123456789abcdef",
        "jina_0123456789abcdef", "hf_abcdefghijkl", "gsk_abcdefghijkl", "api_key=abcdefgh",
        "api key: abcdefgh", "xai-abcdefghij", "nvapi-abcdefghij", "token=abcdefgh",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["wrong key {} given", "({}).", '"{}"', "{}", "x={}&y"])
def test_what_looks_like_a_key_is_hidden(secret: str, form: str) -> None:
    said = form.format(secret)
    for body in (orjson.dumps({"detail": said}), orjson.dumps({"error": {"message": said}}),
                 said.encode()):  # fmt: skip
        verdict = classify(401, {}, body, NOW, KEY)
        assert secret not in verdict.message
        bare = secret.removeprefix("Bearer").strip()
        assert bare not in verdict.message
        assert "[hidden]" in verdict.message


def test_words_that_are_no_keys_stay() -> None:
    said = (
        "Request to model 'voyage-4-large' failed: text-embedding-3-small, task-specific, 2024-01"
    )
    assert classify(500, {}, orjson.dumps({"detail": said}), NOW, KEY).message == said
    assert classify(500, {}, orjson.dumps({"detail": said}), NOW, "").message == said
    assert classify(500, {}, orjson.dumps({"detail": said}), NOW, "abc").message == said


def test_no_text_of_a_caller_is_in_the_error() -> None:
    short, long = "patient 4711 has", "The quick brown fox " * 20 + "jumps at index 5"
    texts = [orjson.dumps(t) for t in (short, long, "the", "é\n\x01 odd spaces  here", "x")]

    def message(said: str) -> str:
        body = orjson.dumps({"message": said})
        return classify(400, {}, body, NOW, KEY, [*texts, b"[1,2,3]", b"not json"]).message

    assert message(f"cannot read '{short}' in the list") == "cannot read '[text]' in the list"
    assert message(f"cannot read: {long}") == "cannot read: [text]"
    assert message(f"cannot read: {long[:60]}... in the list") == "cannot read: [text]"
    assert message("bad: é\n\x01 odd spaces  here") == "bad: [text]"
    assert message("the words stay the words") == "the words stay the words"


def test_numbers_in_a_callers_text_are_not_the_providers() -> None:
    text = "Invalid 'input[22]': maximum input length is 8192 tokens"
    body = orjson.dumps({"message": f"I do not like: {text}"})
    assert classify(400, {}, body, NOW, "", [orjson.dumps(text)]).index is None
    assert classify(400, {}, body, NOW, "", [b'"another text"']).index == 22


def test_numbers_that_cannot_be() -> None:
    body = {"detail": f"The max allowed tokens per submitted batch is {'9' * 30}."}
    verdict = classify(400, {}, orjson.dumps(body), NOW)
    assert verdict.ending is Ending.SIZE_TOKENS
    assert verdict.cap is None


# a 200 that is none


def test_an_error_with_the_status_200() -> None:
    body = orjson.dumps({"error": {"message": "Requests rate limit exceeded", "code": 429}})
    verdict = classify_misread(body, Ending.PROTOCOL, "the reply has no list `data`")
    assert verdict.ending is Ending.RATE
    assert verdict.status == 429
    assert verdict.message == "Requests rate limit exceeded"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b'{"data":[]}', b'{"error":{"message":"x"}}', b'{"error":{"code":429}}',
        b'{"error":{"message":"x","code":200}}', b'{"error":{"message":"x","code":"429"}}',
        b'{"error":{"message":"x","code":4290}}',
    ],
)  # fmt: skip
def test_a_wrong_reply_is_what_it_is(body: bytes) -> None:
    verdict = classify_misread(body, Ending.PROTOCOL, "why")
    assert verdict == Verdict(Ending.PROTOCOL, 200, "why")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["error", "message", "detail", "code", "type", "status", "error_code", "error_type",
             "details", "msg", "loc", "violations", "quotaId", "@type", "retryDelay", "title"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(
    st.integers(200, 599),
    st.one_of(JSON.map(lambda v: orjson.dumps(v, default=str) if _fits(v) else b"{"),
              st.binary(max_size=100)),
    st.dictionaries(
        st.sampled_from([b"retry-after", b"retry-after-ms", b"x-ratelimit-limit-requests"]),
        st.binary(max_size=20),
    ),
)  # fmt: skip
@settings(max_examples=500, deadline=None)
def test_any_bytes_give_a_verdict(status: int, body: bytes, headers: dict[bytes, bytes]) -> None:
    verdict = classify(status, headers, body, NOW, KEY, [b'"a text"'])
    assert verdict.ending is not Ending.OK
    assert 0 < len(verdict.message) <= MESSAGE_MAX
    assert verdict.message.isprintable()
    assert verdict.retry_after is None or verdict.retry_after > 0.0
    misread = classify_misread(body, Ending.PROTOCOL, "why", KEY)
    assert misread.ending is not Ending.OK


def _fits(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


def test_no_rule_repeats_without_bound() -> None:
    """Words of 4,096 characters, made for it, would hold the loop for seconds."""
    patterns = [rule.pattern.pattern for rule in RULES if rule.pattern is not None]
    assert len(patterns) > 10
    for pattern in patterns:
        assert re.search(r"(?<!\\)[*+]|\{\d+,\}", pattern) is None, pattern
