"""Every route of callers holds a key to its limits, before anything is sent."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from emr.front.callers import FORMS
from emr.front.desk import Principal
from emr.front.exchange import Headers
from emr.front.routes import FrontService
from emr.lane.refusal import Refusal
from tests.front.double import CALLER, Client, DeskDouble, Front, Row

OVER = Refusal("quota_exceeded", "this key may send 5 requests a minute", retry_after=12.3)
BATCH = "/v1/embeddings/batch"


def body_for(path: str) -> dict[str, Any]:
    """A request that the route takes."""
    if path == BATCH:
        return {"requests": [{"input": "a", "provider": p} for p in ("voyage", "cohere", "voyage")]}
    if path in ("/v1/embed", "/v2/embed"):
        return {"texts": ["a"], "model": "voyage", "input_type": "search_document"}
    name = "inputs" if path.startswith(("/v1/context", "/v1/multi")) else "input"
    return {name: ["a"], "model": "voyage"}


PATHS = [path.replace("{deployment...}", "voyage") for path in FORMS] + [BATCH]


@pytest.mark.parametrize("path", PATHS)
def test_each_request_is_held_against_the_limits_once(path: str) -> None:
    front = Front()
    front.client.send("POST", path, orjson.dumps(body_for(path)))
    providers = ["voyage", "cohere", "voyage"] if path == BATCH else ["voyage"]
    assert front.desk.admitted == [(CALLER.id, providers, len(providers))]
    assert [plan.provider for plan, _ in front.desk.submitted] == providers


@pytest.mark.parametrize("path", PATHS)
def test_what_is_over_them_is_a_429_and_nothing_is_sent(path: str) -> None:
    front = Front()
    front.desk.over = OVER
    answer = front.post(path, body_for(path))
    assert answer.status == 429
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("13", "12300")
    assert "x-should-retry" not in answer.headers
    if path == "/api/embed":
        assert answer.json == {"error": OVER.message}
    else:
        assert answer.error["type"] == answer.error["code"] == "quota_exceeded"
        assert answer.json["message"] == answer.json["detail"] == OVER.message
    assert front.desk.submitted == []


@pytest.mark.parametrize(
    ("policy", "held"), [(None, ["one"]), ("any", ["one"]), ("all", ["one", "two"])]
)
def test_several_providers_are_one_request_with_the_tokens_of_those_asked(
    policy: str | None, held: list[str]
) -> None:
    front = Front(DeskDouble({"one": Row("m"), "two": Row("n")}))
    given = {"input": "a", "providers": ["one", "two"], "policy": policy}
    assert front.post("/v1/embeddings", given).status == 200
    assert front.desk.admitted == [(CALLER.id, held, 1)]
    front.desk.over = OVER
    answer = front.post("/v1/embeddings", given)
    assert (answer.status, answer.error["type"]) == (429, "quota_exceeded")
    assert len(front.desk.submitted) == len(held)


def test_what_is_wrong_with_a_request_does_not_count() -> None:
    front = Front()
    assert front.post("/v1/embeddings", {"input": []}).status == 400
    assert front.post("/v1/embeddings", {"input": "a", "provider": "gone"}).status == 400
    bad = {"requests": [{"input": "a", "provider": "voyage"}, {"input": []}]}
    assert front.post(BATCH, bad).status == 400
    assert front.desk.admitted == []


def test_lists_of_models_and_the_check_of_a_key_do_not_count() -> None:
    front = Front()
    for path in ("/v1/models", "/v1/test", "/api/tags", "/api/version"):
        assert front.get(path).status == 200
    assert front.desk.admitted == []


def test_a_key_is_told_what_it_has_left() -> None:
    def limits(principal: Principal) -> Headers:
        return [(b"x-ratelimit-remaining-requests", principal.id.encode())]

    front = Front()
    service = FrontService(front.service.routes, front.keys, front.clock, None, limits)
    client = Client(service)
    answer = client.post("/v1/embeddings", {"input": "a", "model": "voyage"})
    assert answer.headers["x-ratelimit-remaining-requests"] == CALLER.id
    assert answer.headers["x-request-id"]
    refused = client.ask("GET", "/v1/models", b"", {})
    assert refused.status == 401
    assert "x-ratelimit-remaining-requests" not in refused.headers
