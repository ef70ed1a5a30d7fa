"""Voyage's contextualized and multimodal embeddings: passed on whole, answered as they came."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from emr.lane.refusal import Refusal
from tests.front.double import DeskDouble, Front, Row

PATHS = pytest.mark.parametrize(
    "path", ["/v1/contextualizedembeddings", "/v1/multimodalembeddings"]
)
INPUTS = [
    [["one", "two"], ["three"]],
    [{"content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": "x"}]}],
]


@PATHS
@pytest.mark.parametrize("inputs", INPUTS)
def test_passed_on_and_back_untouched(path: str, inputs: Any) -> None:
    theirs = b'{"object":"list", "data":[ {"index":0} ]}'
    front = Front(DeskDouble({"voyage": Row("voyage-context-3", body=theirs)}))
    body = {"inputs": inputs, "model": "voyage-context-3", "input_type": None, "x": 0.1}
    answer = front.post(path, {**body, "provider": "voyage"})
    assert answer.body == theirs
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-emr-model"] == "voyage-context-3"
    (ask,) = front.desk.asks
    assert orjson.loads(ask.whole) == body
    assert (ask.path, ask.model, ask.provider) == (path, "voyage-context-3", "voyage")
    assert ask.texts == [ask.whole]
    assert front.desk.request.params.whole == ask.whole


@PATHS
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "inputs"),
        ({"inputs": None}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": "a"}, "inputs"),
        ({"inputs": [["a"]], "model": 1}, "model"),
        ({"inputs": [["a"]], "provider": 1}, "provider"),
    ],
)
def test_a_wrong_field_is_named(path: str, fields: dict[str, Any], param: str) -> None:
    answer = Front().post(path, fields)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert answer.json["detail"] == answer.error["message"]


@PATHS
def test_a_refusal_of_the_provider(path: str) -> None:
    front = Front(DeskDouble({"voyage": Row("m", refusal=Refusal("rate_limited", "slowly"))}))
    answer = front.post(path, {"inputs": [["a"]]})
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
