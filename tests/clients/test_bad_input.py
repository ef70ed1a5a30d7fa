"""Every field of every form with a wrong value, as the real SDKs send it.

The answer must be a 4xx that the SDK raises as its own error, with the words of emr: they begin
with the field's name, or name it. What an SDK refuses by itself never comes here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cohere
import cohere.core
import httpx
import ollama
import openai
import pytest
import voyageai
import voyageai.error
from mistralai.client import Mistral
from mistralai.client import errors as mistral_errors

from tests.support.processes import Router

OPENAI_MODEL = "text-embedding-3-small"
VOYAGE_MODEL = "voyage-code-3"
COHERE_MODEL = "embed-v4.0"
UNKNOWN = "no-such-model"
INPUTS = [
    ("", "input"), ([], "input"), (5, "input"), ({"a": 1}, "input"), (True, "input"),
    (["a", ""], "input[1]"), (["a", 5], "input[1]"), (["a", None], "input[1]"),
    (["a", ["b"]], "input[1]"), ([None], "input[0]"), ([{}], "input[0]"),
    ([[]], "input[0]"), ([[1], "a"], "input[1]"), ([[1, -1]], "input[0][1]"),
    ([1, "a"], "input[1]"), ([1, 2**31], "input[1]"), ([1, 1.5], "input[1]"),
    (["a"] * 2049, "input"), ("x" * (1024 * 1024 + 1), "input"),
]  # fmt: skip
# fields of /v1/embeddings, of whatever client
FIELDS = [
    ("model", ""), ("model", 5), ("model", ["a"]),
    ("encoding_format", "hex"), ("encoding_format", 5),
    ("dimensions", 0), ("dimensions", -1), ("dimensions", 7.5), ("dimensions", "7"),
    ("dimensions", True), ("dimensions", 2**40), ("dimensions", 1537),
    ("user", 5), ("user", ["a"]),
    ("input_type", ""), ("input_type", 5), ("input_type", "x" * 65),
    ("truncation", "yes"), ("truncation", 1),
    ("output_dimension", 0), ("output_dimension", "7"), ("output_dimension", 1537),
    ("output_dtype", "int4"), ("output_dtype", 5), ("output_dtype", "int8"),
    ("provider", ""), ("provider", 5), ("provider", "nobody"),
    ("providers", []), ("providers", "openai"), ("providers", [5]), ("providers", ["nobody"]),
    ("policy", "some"), ("policy", 5),
]  # fmt: skip


# openai


@pytest.fixture(scope="module")
def client(emr: Router) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{emr.url}/v1", api_key=emr.key, max_retries=0) as made:
        yield made


@pytest.mark.parametrize(("given", "param"), INPUTS, ids=lambda value: repr(value)[:24])
def test_openai_input(client: openai.OpenAI, given: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=f"openai/{OPENAI_MODEL}", input=given)
    assert caught.value.param == param
    assert caught.value.type == "validation_error"
    assert caught.value.body["message"].startswith(param)


@pytest.mark.parametrize(("field", "value"), FIELDS, ids=lambda value: repr(value)[:24])
def test_openai_fields(client: openai.OpenAI, field: str, value: Any) -> None:
    """With a model of OpenAI's, which has 1,536 numbers and no other types."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=OPENAI_MODEL, input="a", extra_body={field: value})
    told = str(caught.value.param)
    if field == "output_dimension" and value == 1537:
        field = "dimensions"  # they are one and the same
    if field == "providers" and value == ["nobody"]:
        field = "provider"
    assert told.partition("[")[0] == field


def test_openai_the_rest(client: openai.OpenAI) -> None:
    create = client.embeddings.create
    with pytest.raises(openai.NotFoundError, match="no enabled provider serves"):
        create(model=UNKNOWN, input="a")
    with pytest.raises(openai.NotFoundError, match="openai does not serve"):
        create(model=f"openai/{UNKNOWN}", input="a")
    with pytest.raises(openai.BadRequestError, match="input is missing"):
        create(model=OPENAI_MODEL, input=None)
    with pytest.raises(openai.BadRequestError, match="name a model or a provider"):
        client.post("/embeddings", body={"input": "a"}, cast_to=httpx.Response)
    with pytest.raises(openai.BadRequestError, match="frobnicate"):  # the provider's own words
        create(model=OPENAI_MODEL, input="a", extra_body={"frobnicate": 1})
    with pytest.raises(openai.BadRequestError, match="x-emr-timeout-ms"):
        create(model=OPENAI_MODEL, input="a", extra_headers={"x-emr-timeout-ms": "soon"})
    with pytest.raises(openai.BadRequestError, match="x-emr-priority"):
        create(model=OPENAI_MODEL, input="a", extra_headers={"x-emr-priority": "high"})
    with pytest.raises(openai.APIStatusError) as caught:
        create(model=OPENAI_MODEL, input=["x" * 1_000_000] * 18)
    assert caught.value.status_code == 413
    with pytest.raises(openai.NotFoundError, match="/v1/moderations"):
        client.moderations.create(input="a")
    with pytest.raises(openai.NotFoundError, match=UNKNOWN):
        client.models.retrieve(UNKNOWN)


@pytest.mark.parametrize("given", ["", [], ["a", ""], [[]], 5])
def test_azure(emr: Router, given: Any) -> None:
    with (
        openai.AzureOpenAI(
            azure_endpoint=emr.url, api_key=emr.key, api_version="2024-10-21", max_retries=0
        ) as azure,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        azure.embeddings.create(model=OPENAI_MODEL, input=given)
    assert str(caught.value.param).startswith("input")


def test_azure_the_rest(emr: Router) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=emr.url, api_key=emr.key, api_version="2024-10-21", max_retries=0
    ) as azure:
        with pytest.raises(openai.NotFoundError, match="no enabled provider serves"):
            azure.embeddings.create(model=UNKNOWN, input="a")
        with pytest.raises(openai.BadRequestError, match="dimensions"):
            azure.embeddings.create(model=OPENAI_MODEL, input="a", dimensions=0)
    with (
        openai.AzureOpenAI(
            azure_endpoint=emr.url, api_key="wrong", api_version="2024-10-21", max_retries=0
        ) as azure,
        pytest.raises(openai.AuthenticationError),
    ):
        azure.embeddings.create(model=OPENAI_MODEL, input="a")


# voyageai


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("texts", ""), ("texts", []), ("texts", 5), ("texts", ["a", ""]), ("texts", ["a", 5]),
        ("texts", [None]), ("texts", ["a"] * 2049),
        ("model", ""), ("model", 5),
        ("input_type", ""), ("input_type", 5), ("input_type", "frobnicate"),
        ("truncation", "yes"), ("truncation", 5),
        ("output_dtype", "int4"), ("output_dtype", 5),
        ("output_dimension", 0), ("output_dimension", 7), ("output_dimension", "7"),
    ],
    ids=lambda value: repr(value)[:24],
)  # fmt: skip
def test_voyage(emr: Router, field: str, value: Any) -> None:
    client = voyageai.Client(api_key=emr.key, base_url=f"{emr.url}/v1", max_retries=1)
    asked = {"texts": ["a"], "model": VOYAGE_MODEL} | {field: value}
    with pytest.raises(voyageai.error.InvalidRequestError) as caught:
        client.embed(**asked)
    assert caught.value.http_status == 400
    names = {"texts": "input", "output_dimension": "dimension"}
    assert names.get(field, field) in str(caught.value)


def test_voyage_the_rest(emr: Router) -> None:
    client = voyageai.Client(api_key=emr.key, base_url=f"{emr.url}/v1", max_retries=1)
    with pytest.raises(voyageai.error.APIError, match="no enabled provider serves") as caught:
        client.embed(["a"], model=UNKNOWN)  # it has no class of its own for a 404
    assert caught.value.http_status == 404
    with pytest.raises(voyageai.error.InvalidRequestError, match="empty"):  # the provider's words
        client.contextualized_embed([[""]], model="voyage-context-3")
    with pytest.raises(voyageai.error.InvalidRequestError, match="nothing like"):
        client.contextualized_embed([["a"]], model=COHERE_MODEL)
    with pytest.raises(voyageai.error.InvalidRequestError, match="nothing like"):
        client.multimodal_embed([["a"]], model=OPENAI_MODEL)


# cohere

COHERE_FIELDS = [
    ("texts", []), ("texts", [""]), ("texts", ["a", 5]), ("texts", [None]), ("texts", 5),
    ("model", ""), ("model", 5),
    ("input_type", ""), ("input_type", 5), ("input_type", "frobnicate"),
    ("embedding_types", ["int4"]), ("embedding_types", "float"), ("embedding_types", [5]),
    ("truncate", "MIDDLE"), ("truncate", 5),
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *COHERE_FIELDS, ("texts", ["a"] * 2049),
        ("output_dimension", 0), ("output_dimension", 7), ("output_dimension", "x"),
        ("max_tokens", "x"),
    ],
    ids=lambda value: repr(value)[:24],
)  # fmt: skip
def test_cohere_v2(emr: Router, field: str, value: Any) -> None:
    client = cohere.ClientV2(api_key=emr.key, base_url=emr.url)
    asked = {
        "texts": ["a"], "model": COHERE_MODEL, "input_type": "search_query",
        "embedding_types": ["float"],
    } | {field: value}  # fmt: skip
    with pytest.raises(cohere.BadRequestError) as caught:
        client.embed(**asked)
    told = caught.value.body["message"]
    assert ("dimension" if field == "output_dimension" else field) in told


@pytest.mark.parametrize(("field", "value"), COHERE_FIELDS, ids=lambda value: repr(value)[:24])
def test_cohere_v1(emr: Router, field: str, value: Any) -> None:
    client = cohere.Client(api_key=emr.key, base_url=emr.url)
    asked = {"texts": ["a"], "model": "cohere-v1", "input_type": "search_query"} | {field: value}
    with pytest.raises(cohere.BadRequestError) as caught:
        client.embed(**asked, batching=False)
    assert field in caught.value.body["message"]


def test_cohere_the_rest(emr: Router) -> None:
    client = cohere.ClientV2(api_key=emr.key, base_url=emr.url)
    with pytest.raises(cohere.NotFoundError) as caught:
        client.embed(texts=["a"], model=UNKNOWN, input_type="search_query")
    assert "no enabled provider serves" in caught.value.body["message"]
    with pytest.raises(cohere.BadRequestError, match="texts"):
        client.embed(model=COHERE_MODEL, input_type="search_query")
    with pytest.raises(cohere.NotFoundError):
        client.rerank(model="rerank-v3.5", query="a", documents=["b"])


# ollama, mistralai: what their own checks let through


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"model": OPENAI_MODEL, "input": ""}, "input"),
        ({"model": OPENAI_MODEL, "input": []}, "input"),
        ({"model": OPENAI_MODEL, "input": ["a", ""]}, "input[1]"),
        ({"model": OPENAI_MODEL, "input": "a", "dimensions": 0}, "dimensions"),
        ({"model": OPENAI_MODEL, "input": "a", "dimensions": 1537}, "dimensions"),
        ({"model": OPENAI_MODEL, "input": "a", "options": {"seed": 1}}, "ollama"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_ollama(emr: Router, asked: dict[str, Any], word: str) -> None:
    client = ollama.Client(host=emr.url, headers={"Authorization": f"Bearer {emr.key}"})
    with pytest.raises(ollama.ResponseError) as caught:
        client.embed(**asked)
    assert caught.value.status_code == 400
    assert word in caught.value.error


def test_ollama_the_rest(emr: Router) -> None:
    client = ollama.Client(host=emr.url, headers={"Authorization": f"Bearer {emr.key}"})
    with pytest.raises(ollama.ResponseError) as caught:
        client.embed(model=UNKNOWN, input="a")
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError) as caught:
        ollama.Client(host=emr.url).embed(model=OPENAI_MODEL, input="a")
    assert caught.value.status_code == 401


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"inputs": ""}, "input"), ({"inputs": []}, "input"), ({"inputs": ["a", ""]}, "input[1]"),
        ({"inputs": "a", "output_dimension": 0}, "output_dimension"),
        ({"inputs": "a", "output_dimension": 7}, "dimensions"),
    ],
    ids=lambda value: repr(value)[:60],
)  # fmt: skip
def test_mistral(emr: Router, asked: dict[str, Any], word: str) -> None:
    with Mistral(api_key=emr.key, server_url=emr.url) as client:
        with pytest.raises(mistral_errors.MistralError) as caught:
            client.embeddings.create(model=VOYAGE_MODEL, **asked)
        assert caught.value.status_code == 400
        assert word in caught.value.body
        with pytest.raises(mistral_errors.MistralError) as caught:
            client.embeddings.create(model=UNKNOWN, inputs="a")
        assert caught.value.status_code == 404
