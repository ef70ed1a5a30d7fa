"""The desk: a request in the words of its provider, and what a provider cannot give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from emr.control.rows import Row
from emr.front.desk import Ask
from emr.lane.ticket import Params
from tests.control.routed import ask_of, no_plan_of, plan_of, row_of, server

CODE = "voyage-code-3"
VOYAGE, COHERE = row_of("voyage", "voyage"), row_of("cohere", "cohere")
SECOND = row_of("second", "voyage")
OPENAI = row_of("openai", "openai")
BGE = server("tei", "BAAI/bge-m3")


# in which words


def params(ask: Ask, *rows: Row, **more: Any) -> Params:
    return plan_of(ask, *rows, **more).params


def test_the_input_type_goes_to_who_tells_them_apart() -> None:
    assert params(ask_of(CODE, input_type="query"), VOYAGE).input_type == "query"
    asked = ask_of("text-embedding-3-small", input_type="query")
    assert params(asked, OPENAI).input_type is None


@pytest.mark.parametrize(
    ("row", "model", "dimensions", "has"),
    [
        (VOYAGE, CODE, 1000, "256, 512, 1024 or 2048"),
        (OPENAI, "text-embedding-3-small", 1537, "1 to 1536"),
        (OPENAI, "text-embedding-ada-002", 1024, "1536"),
        (server("own", dimensions=[64, 128]), "m", 65, "64 or 128"),
    ],
)
def test_a_length_that_a_model_has_not(row: Row, model: str, dimensions: int, has: str) -> None:
    refusal = no_plan_of(ask_of(model, dimensions=dimensions), row)
    assert (refusal.type, refusal.param) == ("validation_error", "dimensions")
    assert f"has no vectors of {dimensions} dimensions" in refusal.message
    assert refusal.message.endswith(f"it has {has}")


@pytest.mark.parametrize(
    ("row", "model", "dimensions", "sent"),
    [
        (VOYAGE, CODE, 1024, 1024),
        (VOYAGE, CODE, 2048, 2048),
        (
            row_of("voyage", "voyage", models=["new"]),
            "new",
            333,
            333,
        ),  # nobody knows: the provider will say
        (OPENAI, "text-embedding-3-small", 1, 1),
        (OPENAI, "text-embedding-3-small", 1536, 1536),
        (OPENAI, "text-embedding-ada-002", 1536, None),  # it refuses to be told its only length
        (OPENAI, "text-embedding-ada-002", None, None),
    ],
)
def test_a_length_that_it_has(row: Row, model: str, dimensions: int, sent: int | None) -> None:
    assert params(ask_of(model, dimensions=dimensions), row).dimensions == sent


@pytest.mark.parametrize("dtype", ["int8", "binary"])
def test_numbers_of_another_type(dtype: str) -> None:
    assert params(ask_of(CODE, dtype=dtype), VOYAGE).dtype == dtype
    refusal = no_plan_of(ask_of("text-embedding-3-small", dtype=dtype), OPENAI)
    assert (refusal.type, refusal.param) == ("validation_error", "output_dtype")
    assert "it has float" in refusal.message


def test_texts_that_are_too_long_are_shortened_as_asked_or_not_at_all() -> None:
    assert params(ask_of(provider="cohere", truncate="start"), COHERE).truncate == "start"
    assert params(ask_of(CODE, truncate="none"), VOYAGE).truncate == "none"
    refusal = no_plan_of(ask_of(CODE, truncate="start"), VOYAGE)
    assert (refusal.type, refusal.param) == ("validation_error", "truncate")
    assert "none, end" in refusal.message


def test_token_ids() -> None:
    ids = Ask([b"[1,2]"], token_ids=True, model="text-embedding-3-small")
    assert params(ids, OPENAI).token_ids
    azure = row_of("azure", "azure", model="d", api_key_env_var="X_API_KEY",
                   endpoint="https://x.example/openai/deployments/{model}/embeddings")  # fmt: skip
    assert params(replace(ids, model="d"), azure).token_ids
    for row, model in ((VOYAGE, CODE), (COHERE, "embed-v4.0"), (BGE, "BAAI/bge-m3")):
        refusal = no_plan_of(replace(ids, model=model), row)
        assert (refusal.type, refusal.param) == ("validation_error", "input")
        assert "check_embedding_ctx_length=False" in refusal.message
        assert "type openai" in refusal.message


def test_a_whole_request_names_the_providers_model_and_nothing_else_changes() -> None:
    whole = orjson.dumps({"input": "a", "model": "alias", "late_chunking": True})
    got = params(ask_of("alias", whole=whole, dimensions=3, dtype="int8"), VOYAGE,
                 models={"alias": f"voyage/{CODE}"})  # fmt: skip
    assert got == Params(CODE, whole=got.whole)
    assert got.whole is not None
    assert orjson.loads(got.whole) == {"input": "a", "model": CODE, "late_chunking": True}


def test_a_route_that_a_provider_has_not() -> None:
    ask = ask_of(provider="cohere", whole=b"{}", path="/v1/multimodalembeddings")
    refusal = no_plan_of(ask, COHERE)
    assert (refusal.type, refusal.param) == ("validation_error", "provider")
    assert "type voyage or emr" in refusal.message
    assert params(replace(ask, provider="voyage"), VOYAGE).path == "/v1/multimodalembeddings"
