"""Refusals as bytes: the one place in front where a type has its status, headers and body.

Rules of this file. A status code stands here and nowhere else in `emr.front`. Every error body is
one superset in which the OpenAI (`error`), Voyage (`detail`) and Cohere (`message`) clients find
their field; Ollama's clients read `error` as a string, so under `/api/` it is one. A message is
one line of valid JSON whatever a caller or a provider put into it.
"""

from __future__ import annotations

import math

import orjson

from emr.front.exchange import Headers
from emr.lane.refusal import Refusal

OK = 200
CREATED = 201
NO_CONTENT = 204

STATUS = {
    "validation_error": 400,
    "unknown_provider": 400,
    "bad_request": 400,  # a refusal of the server's, which names its status
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "model_not_found": 404,
    "method_not_allowed": 405,
    "timeout": 408,
    "conflict": 409,
    "too_large": 413,
    "rate_limited": 429,
    "quota_exceeded": 429,
    "provider_error": 502,
    "policy_failure": 502,
    "all_providers_failed": 502,
    "internal_error": 502,
    "overloaded": 503,
    "provider_unavailable": 503,
    "storage_error": 503,
    "deadline_exceeded": 504,
}

# these always say when to come back, 1 s when nobody knows better
COME_BACK = ("rate_limited", "overloaded", "provider_unavailable")
OLLAMA_PATHS = "/api/"
RETRY_AFTER_MAX_S = 31_536_000.0  # a year: what a client makes of more is its own guess

JSON = (b"content-type", b"application/json")
CHALLENGE = (b"www-authenticate", b'Bearer realm="emr"')

# control characters, and the two separators that some readers of lines take for an end
_ONE_LINE = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")


def json_text(text: str) -> bytes:
    """`text` as JSON; what cannot be UTF-8 (a lone surrogate) becomes a question mark."""
    try:
        return orjson.dumps(text)
    except TypeError:
        return orjson.dumps(text.encode("utf-8", "replace").decode("utf-8"))


def one_line(message: str) -> str:
    """The message without line ends and control characters."""
    return message if message.isprintable() else message.translate(_ONE_LINE)


def status_of(refusal: Refusal) -> int:
    """The status of a refusal. A type that the contract does not know is a fault of emr's own."""
    return refusal.status or STATUS.get(refusal.type, STATUS["internal_error"])


def headers_of(refusal: Refusal) -> Headers:
    """The headers that a refusal brings: when to come back, what is allowed, how to sign in."""
    headers: Headers = [JSON]
    status = status_of(refusal)
    wait = refusal.retry_after
    if wait is None and refusal.type in COME_BACK:
        wait = 1.0
    if wait is not None:
        wait = min(wait, RETRY_AFTER_MAX_S) if wait > 0.0 else 0.0  # NaN too becomes 0
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(wait))))
        headers.append((b"retry-after-ms", b"%d" % max(1, math.ceil(wait * 1000.0))))
    if refusal.final and (wait is None or status not in (429, 503)):
        headers.append((b"x-should-retry", b"false"))
    if refusal.allow:
        headers.append((b"allow", ", ".join(refusal.allow).encode("ascii")))
    if status == STATUS["unauthorized"]:
        headers.append(CHALLENGE)
    return headers


def superset(refusal: Refusal, more: bytes = b"") -> bytes:
    """The error body for every client but Ollama's; `more` are further members, comma first."""
    message = json_text(one_line(refusal.message))
    param = b"null" if refusal.param is None else json_text(one_line(refusal.param))
    kind = json_text(refusal.type)
    return b'{"error":{"type":%b,"message":%b,"code":%b,"param":%b},"detail":%b,"message":%b%b}' % (
        kind, message, kind, param, message, message, more,
    )  # fmt: skip


def render(path: str, refusal: Refusal, more: bytes = b"") -> tuple[int, Headers, bytes]:
    """Status, headers and body of the answer to a request for `path` (empty: not known)."""
    if path.startswith(OLLAMA_PATHS):
        body = b'{"error":%b}' % json_text(one_line(refusal.message))
    else:
        body = superset(refusal, more)
    return status_of(refusal), headers_of(refusal), body
