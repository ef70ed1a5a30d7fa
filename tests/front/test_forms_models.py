"""The lists of models, and the check of a key."""

from __future__ import annotations

import pytest

from emr.front.desk import Principal
from tests.front.double import DeskDouble, Front, KeysDouble, Row


def front(allowed: frozenset[str] | None = None) -> Front:
    rows = {"voyage": Row("voyage-code-3"), "tei": Row("BAAI/bge-m3")}
    return Front(DeskDouble(rows), KeysDouble(Principal("k", "n", allowed)))


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
def test_the_list(path: str) -> None:
    body = front().get(path).json
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["voyage-code-3", "BAAI/bge-m3"]
    assert body["data"][0]["owned_by"] == "voyage"
    assert body["data"][0]["dimensions"] == 8


@pytest.mark.parametrize("model", ["voyage-code-3", "BAAI/bge-m3"])
def test_one_model(model: str) -> None:
    answer = front().get(f"/v1/models/{model}")
    assert (answer.status, answer.json["id"]) == (200, model)


def test_an_unknown_model_lists_the_known() -> None:
    answer = front().get("/v1/models/gpt-9")
    assert (answer.status, answer.error["type"]) == (404, "model_not_found")
    assert "voyage-code-3, BAAI/bge-m3" in answer.error["message"]


def test_no_models() -> None:
    desk = DeskDouble()
    desk.rows = {}
    answer = Front(desk).get("/v1/models/x")
    assert answer.error["message"].endswith("known are: none")
    assert Front(desk).get("/v1/models").json["data"] == []
    assert Front(desk).get("/api/tags").json == {"models": []}


def test_a_key_sees_the_models_of_its_providers() -> None:
    only = front(frozenset({"tei"}))
    assert [model["id"] for model in only.get("/v1/models").json["data"]] == ["BAAI/bge-m3"]
    assert [model["name"] for model in only.get("/api/tags").json["models"]] == ["BAAI/bge-m3"]
    answer = only.get("/v1/models/voyage-code-3")
    assert answer.status == 404
    assert "voyage-code-3" not in answer.error["message"].split("known are")[1]


def test_the_check_of_a_key() -> None:
    answer = front().get("/v1/test")
    assert (answer.status, answer.body) == (200, b"")
    assert front().ask("GET", "/v1/test", b"", {}).status == 401
