"""The Python SDKs: openai, voyageai, cohere (v1 and v2), LangChain, LlamaIndex."""

from __future__ import annotations

import asyncio
import base64
import struct

import cohere
import openai
import pytest
import voyageai
import voyageai.error
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai import OpenAIEmbedding

from tests.clients.conftest import LOCAL_NAME
from tests.clients.expected import TEXTS, of_fake, of_local, same
from tests.support.processes import Router

OPENAI_MODEL = "text-embedding-3-small"
VOYAGE_MODEL = "voyage-code-3"
COHERE_MODEL = "embed-v4.0"


# openai


def openai_client(emr: Router) -> openai.OpenAI:
    """The client as its documentation has it, with another base URL and key."""
    return openai.OpenAI(base_url=f"{emr.url}/v1", api_key=emr.key)


@pytest.mark.parametrize("encoding", ["base64", "float", None])
def test_openai_list(emr: Router, encoding: str | None) -> None:
    with openai_client(emr) as client:
        more = {} if encoding is None else {"encoding_format": encoding}
        told = client.embeddings.create(model=f"openai/{OPENAI_MODEL}", input=TEXTS, **more)
    vectors = [each.embedding for each in told.data]
    if encoding == "base64":
        raws = [base64.b64decode(text) for text in vectors]
        vectors = [list(struct.unpack(f"<{len(raw) // 4}f", raw)) for raw in raws]
    assert same(vectors, of_fake(TEXTS, OPENAI_MODEL))
    assert [each.index for each in told.data] == [0, 1, 2, 3]
    assert told.usage.prompt_tokens == told.usage.total_tokens > 0


def test_openai_single_and_dimensions(emr: Router) -> None:
    with openai_client(emr) as client:
        told = client.embeddings.create(
            model=f"openai/{OPENAI_MODEL}", input="alone", dimensions=256
        )
    assert same([told.data[0].embedding], of_fake(["alone"], OPENAI_MODEL, dimensions=256))


@pytest.mark.parametrize("model", ["local/wordllama-256", "wordllama-256", LOCAL_NAME])
def test_openai_on_the_built_in_model(emr: Router, model: str) -> None:
    with openai_client(emr) as client:
        told = client.embeddings.create(model=model, input=TEXTS)
    assert same([each.embedding for each in told.data], of_local(emr, TEXTS))


def test_openai_token_ids(emr: Router) -> None:
    ids = [[15339, 1917], [9906]]
    with openai_client(emr) as client:
        told = client.embeddings.create(model=f"openai/{OPENAI_MODEL}", input=ids)
        assert len(told.data) == 2
        with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
            client.embeddings.create(model=f"voyage/{VOYAGE_MODEL}", input=ids)
        with pytest.raises(openai.BadRequestError, match="token ids"):
            client.embeddings.create(model="local/wordllama-256", input=ids)


def test_openai_errors(emr: Router) -> None:
    with openai_client(emr) as client:
        with pytest.raises(openai.NotFoundError, match="no enabled provider serves"):
            client.embeddings.create(model="no-such-model", input="x")
        with pytest.raises(openai.BadRequestError) as caught:
            client.embeddings.create(model=f"openai/{OPENAI_MODEL}", input=["a", ""])
        assert caught.value.param == "input[1]"
        models = [model.id for model in client.models.list()]
        assert {OPENAI_MODEL, VOYAGE_MODEL, LOCAL_NAME} <= set(models)
        assert client.models.retrieve(LOCAL_NAME).owned_by == "local"
    with (
        openai.OpenAI(base_url=f"{emr.url}/v1", api_key="emr_" + "x" * 32) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.embeddings.create(model=f"openai/{OPENAI_MODEL}", input="x")


def test_openai_many_at_a_time(emr: Router) -> None:
    async def ask() -> list[list[float]]:
        async with openai.AsyncOpenAI(base_url=f"{emr.url}/v1", api_key=emr.key) as client:
            model = f"openai/{OPENAI_MODEL}"
            tasks = [client.embeddings.create(model=model, input=f"text {n}") for n in range(100)]
            return [told.data[0].embedding for told in await asyncio.gather(*tasks)]

    assert same(asyncio.run(ask()), of_fake([f"text {n}" for n in range(100)], OPENAI_MODEL))


def test_azure(emr: Router) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=emr.url, api_key=emr.key, api_version="2024-10-21"
    ) as client:
        told = client.embeddings.create(model=OPENAI_MODEL, input=TEXTS)
    assert same([each.embedding for each in told.data], of_fake(TEXTS, OPENAI_MODEL))


# voyageai


@pytest.mark.parametrize("input_type", [None, "query", "document"])
def test_voyage(emr: Router, input_type: str | None) -> None:
    client = voyageai.Client(api_key=emr.key, base_url=f"{emr.url}/v1")
    told = client.embed(TEXTS, model=VOYAGE_MODEL, input_type=input_type)
    assert same(told.embeddings, of_fake(TEXTS, VOYAGE_MODEL, input_type))
    assert told.total_tokens > 0
    short = client.embed(["one"], model=VOYAGE_MODEL, output_dimension=512)
    assert same(short.embeddings, of_fake(["one"], VOYAGE_MODEL, dimensions=512))


def test_voyage_on_the_built_in_model(emr: Router) -> None:
    client = voyageai.Client(api_key=emr.key, base_url=f"{emr.url}/v1")
    told = client.embed(TEXTS, model="wordllama-256")
    assert same(told.embeddings, of_local(emr, TEXTS))


def test_voyage_errors(emr: Router) -> None:
    client = voyageai.Client(api_key=emr.key, base_url=f"{emr.url}/v1")
    with pytest.raises(voyageai.error.InvalidRequestError, match="empty"):
        client.embed(["a", ""], model=VOYAGE_MODEL)
    wrong = voyageai.Client(api_key="emr_" + "x" * 32, base_url=f"{emr.url}/v1")
    with pytest.raises(voyageai.error.AuthenticationError):
        wrong.embed(["a"], model=VOYAGE_MODEL)


# cohere


def test_cohere_v2(emr: Router) -> None:
    client = cohere.ClientV2(api_key=emr.key, base_url=emr.url)
    for input_type, told_as in (("search_query", "query"), ("search_document", "document")):
        told = client.embed(
            texts=TEXTS, model=COHERE_MODEL, input_type=input_type, embedding_types=["float"]
        )
        assert told.embeddings.float_ is not None
        wanted = of_fake(TEXTS, COHERE_MODEL, told_as)
        assert same(told.embeddings.float_, wanted)
    both = client.embed(
        texts=["one"], model=COHERE_MODEL, input_type="search_query",
        embedding_types=["float", "base64"],
    )  # fmt: skip
    assert both.embeddings.base64 is not None
    raw = base64.b64decode(both.embeddings.base64[0])
    vector = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    assert same([vector], of_fake(["one"], COHERE_MODEL, "query"))


def test_cohere_v1(emr: Router) -> None:
    client = cohere.Client(api_key=emr.key, base_url=emr.url)
    texts = [f"text {n}" for n in range(200)]  # the client cuts them into calls of 96
    told = client.embed(texts=texts, model=COHERE_MODEL, input_type="search_document")
    assert told.response_type == "embeddings_floats"
    assert same(told.embeddings, of_fake(texts, COHERE_MODEL, "document"))
    assert told.meta is not None
    assert told.meta.billed_units is not None


def test_cohere_on_the_built_in_model(emr: Router) -> None:
    client = cohere.ClientV2(api_key=emr.key, base_url=emr.url)
    told = client.embed(
        texts=TEXTS, model="wordllama-256", input_type="search_query", embedding_types=["float"]
    )
    assert told.embeddings.float_ is not None
    assert same(told.embeddings.float_, of_local(emr, TEXTS))


def test_cohere_errors(emr: Router) -> None:
    client = cohere.ClientV2(api_key=emr.key, base_url=emr.url)
    with pytest.raises(cohere.BadRequestError):
        client.embed(
            texts=["a", ""],
            model=COHERE_MODEL,
            input_type="search_query",
            embedding_types=["float"],
        )
    wrong = cohere.ClientV2(api_key="emr_" + "x" * 32, base_url=emr.url)
    with pytest.raises(cohere.UnauthorizedError):
        wrong.embed(texts=["a"], model=COHERE_MODEL, input_type="search_query")


# frameworks


@pytest.mark.parametrize("model", [f"openai/{OPENAI_MODEL}", LOCAL_NAME])
def test_langchain(emr: Router, model: str) -> None:
    client = OpenAIEmbeddings(
        model=model, base_url=f"{emr.url}/v1", api_key=emr.key, check_embedding_ctx_length=False
    )
    wanted = of_local(emr, TEXTS) if model == LOCAL_NAME else of_fake(TEXTS, OPENAI_MODEL)
    assert same(client.embed_documents(TEXTS), wanted)
    assert same([client.embed_query(TEXTS[1])], [wanted[1]])


@pytest.mark.parametrize("model", [OPENAI_MODEL, LOCAL_NAME])
def test_llama_index(emr: Router, model: str) -> None:
    client = OpenAIEmbedding(model_name=model, api_base=f"{emr.url}/v1", api_key=emr.key)
    texts = [text.replace("\n", " ") for text in TEXTS]  # as it does itself
    wanted = of_local(emr, texts) if model == LOCAL_NAME else of_fake(texts, OPENAI_MODEL)
    assert same(client.get_text_embedding_batch(texts), wanted)
    assert same([client.get_query_embedding(texts[0])], [wanted[0]])
