"""The router's own bodies: answers of several providers, and a batch of requests in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from emr.front.desk import Ask
from emr.front.forms import openai, superset
from emr.front.forms.document import load
from emr.front.forms.fields import kind_of, one_of, wrong
from emr.front.forms.vectors import to_convert
from emr.front.refusals import json_text, one_line
from emr.lane.refusal import Refusal, Refused
from emr.lane.ticket import Request

REQUESTS_MAX = 256  # sub-requests of one batch call
ON_ERROR = ("fail", "continue")
SUB_FIELDS = frozenset(("id",))  # what a sub-request has beside the fields of a single one

# refusals that count as a rate limit in the answers of several providers
RATE_LIMITED = ("rate_limited", "quota_exceeded")


class SubRequest(NamedTuple):
    """A sub-request of a batch call: the caller's id as JSON, and what is asked."""

    id: bytes
    ask: Ask


@dataclass(slots=True)
class BatchAsk:
    """A batch call. `on_error` is `fail` or `continue`."""

    requests: list[SubRequest]
    on_error: str = "fail"

    @property
    def texts(self) -> int:
        """The texts of all sub-requests together."""
        return sum([len(sub.ask.texts) for sub in self.requests])


def parse_batch(body: bytes, most_texts: int) -> BatchAsk:
    """Read a batch call; `most_texts` is the most that all of it together may have.

    Raises Refused: validation_error, with `param` naming the sub-request and its field.
    """
    values = load(body)
    requests = values.get("requests")
    if requests is None:
        raise wrong("requests", "is missing: send a list of requests")
    if type(requests) is not list:
        raise wrong("requests", f"must be a list, not {kind_of(requests)}")
    if len(requests) > REQUESTS_MAX:
        raise wrong("requests", f"has {len(requests)} entries, and a call may have {REQUESTS_MAX}")
    on_error = values.get("on_error")
    asked = BatchAsk([_sub_request(each, i, most_texts) for i, each in enumerate(requests)])
    if on_error is not None:
        asked.on_error = one_of(on_error, "on_error", ON_ERROR)
    if asked.texts > most_texts:
        raise wrong(
            "requests",
            f"hold {asked.texts} texts together, and a call may have {most_texts}"
            " (server.max_texts_per_request); send them in parts",
        )
    return asked


def _sub_request(values: Any, i: int, most_texts: int) -> SubRequest:
    at = f"requests[{i}]"
    if type(values) is not dict:
        raise wrong(at, f"must be an object, not {kind_of(values)}")
    given = values.get("id")
    if given is not None and type(given) not in (str, int):
        raise wrong(f"{at}.id", f"must be a string, not {kind_of(given)}")
    ask = openai.ask_of(values, most_texts, f"{at}.", SUB_FIELDS)
    if ask.provider is None and ask.providers:
        ask.provider = ask.providers[0]
    return SubRequest(orjson.dumps(given), ask)


# answers


def cost_of(ask: Ask, request: Request) -> int:
    """How many bytes of vectors an entry of an answer must write anew."""
    if request.refusal is not None or request.body is not None:
        return 0
    return to_convert(request.vectors, superset.writing_of(ask))


def batch_entry(sub: SubRequest, request: Request) -> list[bytes]:
    """A sub-request's entry in `results`, as parts to be joined.

    Raises Refused: provider_error.
    """
    if request.body is not None:
        return _whole_entry(sub, request)
    parts = [b'{"id":', sub.id, b",", *superset.data_parts(sub.ask, request)]
    parts.append(b'"provider":%b,%b}' % (json_text(request.answered_by), superset.usage(request)))
    return parts


def failed_entry(sub: SubRequest, refusal: Refusal) -> list[bytes]:
    """The entry of a sub-request that failed, with `"on_error": "continue"`."""
    return [b'{"id":%b,"error":%b}' % (sub.id, failure(refusal.type, refusal))]


def failure(kind: str, refusal: Refusal) -> bytes:
    """What went wrong with one of several, in two words."""
    return b'{"type":%b,"message":%b}' % (json_text(kind), json_text(one_line(refusal.message)))


def provider_result(name: str, ask: Ask, request: Request) -> list[bytes]:
    """A provider's member of `results`, as parts to be joined.

    Raises Refused: provider_error.
    """
    if request.body is not None:
        return [json_text(name), b":", orjson.dumps(_document(request))]
    parts = [json_text(name), b":{", *superset.data_parts(ask, request)]
    parts.append(superset.usage(request) + b"}")
    return parts


def failed_member(failed: Sequence[tuple[str, Refusal]]) -> bytes:
    """The member `failed`: each provider's name with `rate_limited` or `provider_error`."""
    members = [
        json_text(name)
        + b":"
        + failure("rate_limited" if refusal.type in RATE_LIMITED else "provider_error", refusal)
        for name, refusal in failed
    ]
    return b'"failed":{%b}' % b",".join(members)


def _whole_entry(sub: SubRequest, request: Request) -> list[bytes]:
    """The entry of a request that travelled whole: the provider's own members, and ours."""
    document = _document(request)
    for own in ("id", "provider"):
        document.pop(own, None)
    head = b'{"id":%b,"provider":%b' % (sub.id, json_text(request.answered_by))
    rest = orjson.dumps(document)
    return [head, b"}" if rest == b"{}" else b"," + rest[1:]]


def _document(request: Request) -> dict[str, Any]:
    """The provider's body, which must be an object to stand inside of another."""
    assert request.body is not None
    try:
        document = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        document = None
    if type(document) is not dict:
        raise Refused(
            Refusal(
                "provider_error",
                f"{request.answered_by} answered with something other than a JSON object",
                final=True,
            )
        )
    return document
