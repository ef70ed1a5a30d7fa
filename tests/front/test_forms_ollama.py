"""Ollama's clients: `/api/embed`, the lists they look at, and errors as they read them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import pytest

from emr import __version__
from emr.lane.refusal import Refusal
from tests.front.double import DeskDouble, Front, Row, floats_of

A, B = floats_of(b'"a"'), floats_of(b'"b"')
URL = "/api/embed"


def ollama(**row: Any) -> Front:
    return Front(DeskDouble({"local": Row("nomic-embed-text", **row)}))


@pytest.mark.parametrize("came_base64", [False, True])
@pytest.mark.parametrize(("given", "vectors"), [("a", [A]), (["a"], [A]), (["a", "b"], [A, B])])
def test_embed(given: Any, vectors: list[list[float]], came_base64: bool) -> None:
    front = ollama(base64=came_base64)
    answer = front.post(URL, {"model": "nomic-embed-text", "input": given})
    assert answer.json == {
        "model": "nomic-embed-text",
        "embeddings": vectors,
        "total_duration": 181_200_000,
        "load_duration": 0,
        "prompt_eval_count": 3 * len(vectors),
    }
    assert answer.headers["x-emr-provider"] == "local"


def test_fields() -> None:
    front = ollama()
    body = {
        "model": "nomic-embed-text", "input": ["a"], "truncate": False, "dimensions": 4,
        "keep_alive": "5m", "options": {},
    }  # fmt: skip
    assert front.post(URL, body).status == 200
    (ask,) = front.desk.asks
    assert (ask.truncate, ask.dimensions, ask.whole) == ("none", 4, None)
    front.post(URL, {"input": "a", "truncate": True, "keep_alive": -1})
    assert front.desk.asks[1].truncate == "end"


@pytest.mark.parametrize("extra", [{"options": {"num_ctx": 512}}, {"anything": 1}])
def test_what_may_change_the_vectors_travels_whole(extra: dict[str, Any]) -> None:
    front = ollama(body=b'{"embeddings":[[1]]}')
    answer = front.post(URL, {"input": "a", "provider": "local", "keep_alive": 1, **extra})
    assert answer.body == b'{"embeddings":[[1]]}'
    (ask,) = front.desk.asks
    assert orjson.loads(ask.whole) == {"input": "a", "keep_alive": 1, **extra}
    assert ask.path == URL


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "not valid JSON"),
        ({}, "input is missing"),
        ({"input": None}, "input is missing"),
        ({"input": ""}, "input is an empty string"),
        ({"input": []}, "input must not be an empty list"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [1, 2]}, "token ids"),
        ({"input": [[1, 2]]}, "token ids"),
        ({"input": "a", "model": 1}, "model"),
        ({"input": "a", "truncate": "END"}, "truncate"),
        ({"input": "a", "options": []}, "options"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
    ],
)
def test_errors_are_one_string(body: Any, named: str) -> None:
    answer = ollama().post(URL, body)
    assert answer.status == 400
    assert list(answer.json) == ["error"]
    assert named in answer.json["error"]


def test_other_errors_too() -> None:
    refusal = Refusal("overloaded", "full", retry_after=2.0)
    answer = ollama(refusal=refusal).post(URL, {"input": "a"})
    assert (answer.status, answer.json) == (503, {"error": "full"})
    assert answer.headers["retry-after"] == "2"
    answer = ollama().post(URL, {"input": "a", "model": "llama"})
    assert (answer.status, list(answer.json)) == (404, ["error"])
    answer = ollama().post("/api/generate", {})
    assert (answer.status, list(answer.json)) == (404, ["error"])


def test_tags() -> None:
    answer = ollama().get("/api/tags")
    (model,) = answer.json["models"]
    assert (model["name"], model["model"]) == ("nomic-embed-text", "nomic-embed-text")
    assert datetime.fromisoformat(model["modified_at"]).timestamp() == 1_700_000_000
    assert model["details"]["family"] == "local"
    assert type(model["size"]) is int


def test_version() -> None:
    assert ollama().get("/api/version").json == {"version": __version__}
