"""Refusals: each type's status, the body that every client reads, and the headers."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emr.front.refusals import STATUS, headers_of, json_text, one_line, render, status_of
from emr.lane.refusal import Refusal

# the table of the contract, written a second time on purpose
TABLE = {
    400: ["validation_error", "unknown_provider"],
    401: ["unauthorized"],
    403: ["forbidden"],
    404: ["not_found", "model_not_found"],
    405: ["method_not_allowed"],
    408: ["timeout"],
    409: ["conflict"],
    413: ["too_large"],
    429: ["rate_limited", "quota_exceeded"],
    502: ["provider_error", "policy_failure", "all_providers_failed", "internal_error"],
    503: ["overloaded", "provider_unavailable", "storage_error"],
    504: ["deadline_exceeded"],
}


@pytest.mark.parametrize(("status", "kind"), [(s, k) for s, ks in TABLE.items() for k in ks])
def test_every_type_has_its_status(status: int, kind: str) -> None:
    got, _, body = render("/v1/embeddings", Refusal(kind, "why"))
    assert got == status
    assert orjson.loads(body)["error"]["type"] == kind


def test_the_table_is_whole() -> None:
    assert set(STATUS) == {kind for kinds in TABLE.values() for kind in kinds} | {"bad_request"}


@pytest.mark.parametrize("status", [414, 417, 421, 431, 501, 505])
def test_a_refusal_may_name_its_status(status: int) -> None:
    assert status_of(Refusal("bad_request", "why", status=status)) == status


def test_an_unknown_type_is_a_fault_of_ours() -> None:
    assert status_of(Refusal("never_heard_of", "why")) == 502


def test_the_body_is_one_superset() -> None:
    _, headers, body = render(
        "/v1/embeddings", Refusal("validation_error", "too bad", param="input[3]")
    )
    assert orjson.loads(body) == {
        "error": {
            "type": "validation_error",
            "message": "too bad",
            "code": "validation_error",
            "param": "input[3]",
        },
        "detail": "too bad",
        "message": "too bad",
    }
    assert (b"content-type", b"application/json") in headers


def test_param_is_null_when_no_field_is_at_fault() -> None:
    _, _, body = render("/", Refusal("overloaded", "full"))
    assert orjson.loads(body)["error"]["param"] is None


def test_further_members_come_behind() -> None:
    _, _, body = render("/", Refusal("policy_failure", "no"), b',"failed":{"x":1}')
    assert orjson.loads(body)["failed"] == {"x": 1}


@pytest.mark.parametrize("path", ["/api/embed", "/api/tags", "/api/nothing"])
def test_ollama_reads_a_string(path: str) -> None:
    _, headers, body = render(path, Refusal("overloaded", "full", param="input"), b',"failed":{}')
    assert orjson.loads(body) == {"error": "full"}
    assert (b"retry-after", b"1") in headers


@pytest.mark.parametrize(
    ("wait", "seconds", "ms"),
    [
        (0.0, b"1", b"1"),
        (-5.0, b"1", b"1"),
        (float("nan"), b"1", b"1"),
        (0.0004, b"1", b"1"),
        (0.2, b"1", b"200"),
        (1.0, b"1", b"1000"),
        (1.0001, b"2", b"1001"),
        (59.5, b"60", b"59500"),
        (float("inf"), b"31536000", b"31536000000"),
    ],
)
def test_retry_after_is_rounded_up(wait: float, seconds: bytes, ms: bytes) -> None:
    headers = dict(headers_of(Refusal("rate_limited", "slow down", retry_after=wait)))
    assert (headers[b"retry-after"], headers[b"retry-after-ms"]) == (seconds, ms)


@pytest.mark.parametrize("kind", ["rate_limited", "overloaded", "provider_unavailable"])
def test_when_to_come_back_is_always_said(kind: str) -> None:
    headers = dict(headers_of(Refusal(kind, "later")))
    assert (headers[b"retry-after"], headers[b"retry-after-ms"]) == (b"1", b"1000")


@pytest.mark.parametrize("kind", ["provider_error", "validation_error", "quota_exceeded"])
def test_others_say_it_only_when_known(kind: str) -> None:
    assert b"retry-after" not in dict(headers_of(Refusal(kind, "no")))
    assert b"retry-after" in dict(headers_of(Refusal(kind, "no", retry_after=3.0)))


def test_final_tells_sdks_to_stop() -> None:
    assert dict(headers_of(Refusal("provider_error", "no", final=True)))[b"x-should-retry"] == (
        b"false"
    )
    assert b"x-should-retry" not in dict(headers_of(Refusal("provider_error", "no")))


@pytest.mark.parametrize("kind", ["rate_limited", "overloaded"])
def test_final_never_stands_beside_retry_after(kind: str) -> None:
    headers = dict(headers_of(Refusal(kind, "later", retry_after=2.0, final=True)))
    assert b"retry-after" in headers
    assert b"x-should-retry" not in headers


def test_405_has_allow_and_401_a_challenge() -> None:
    headers = dict(headers_of(Refusal("method_not_allowed", "no", allow=("GET", "HEAD"))))
    assert headers[b"allow"] == b"GET, HEAD"
    headers = dict(headers_of(Refusal("unauthorized", "no")))
    assert headers[b"www-authenticate"] == b'Bearer realm="emr"'
    assert b"www-authenticate" not in dict(headers_of(Refusal("forbidden", "no")))


@settings(deadline=None)
@given(st.text(st.characters(), max_size=80))
def test_any_message_is_one_line_of_json(message: str) -> None:
    for path in ("/v1/embeddings", "/api/embed"):
        _, _, body = render(path, Refusal("provider_error", message, param=message))
        orjson.loads(body)
        said = orjson.loads(body)["error"]
        said = said if isinstance(said, str) else said["message"]
        assert len(said.splitlines()) <= 1
        assert b"\n" not in body


def test_control_characters_become_spaces() -> None:
    assert one_line("a\r\nb\x1b[0mc\x00\u2028d\x85") == "a  b [0mc  d "
    assert one_line("Grüße, 世界 🌍") == "Grüße, 世界 🌍"


def test_a_lone_surrogate_does_not_raise() -> None:
    assert json_text("a\ud800b") == b'"a?b"'
