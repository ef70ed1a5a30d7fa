"""Every client against providers of three types: right vectors, whoever asks whom.

Each client is as its documentation has it, with another base URL and key. What a client calls a
query or a document must be one for the provider, where both have a word for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cohere
import litellm
import ollama
import openai
import pytest
import voyageai
from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.utils import Secret
from langchain_openai import OpenAIEmbeddings
from langchain_voyageai import VoyageAIEmbeddings
from llama_index.embeddings.openai import OpenAIEmbedding
from mistralai.client import Mistral

from tests.clients.expected import TEXTS, of_fake, same
from tests.clients.offline import put_vocabulary
from tests.support.processes import Router

Vectors = list[list[float]]
MODELS = ["openai/text-embedding-3-small", "voyage/voyage-code-3", "cohere/embed-v4.0"]
# without line ends: some clients write a blank for each
PLAIN = [text.replace("\n", " ") for text in TEXTS]


def plain(texts: Sequence[str], model: str) -> Vectors:
    """What a caller gets who says nothing about queries and documents."""
    return typed(texts, model, None)


def typed(texts: Sequence[str], model: str, input_type: str | None) -> Vectors:
    """What a caller gets who does."""
    provider, _, name = model.partition("/")
    if provider == "cohere":
        input_type = input_type or "document"  # it demands a type
    elif provider == "openai":
        input_type = None  # it has none
    return of_fake(texts, name, input_type)


def openai_python(emr: Router, model: str) -> Vectors:
    with openai.OpenAI(base_url=f"{emr.url}/v1", api_key=emr.key) as client:
        told = client.embeddings.create(model=model, input=PLAIN)
    return [each.embedding for each in told.data]


def azure(emr: Router, model: str) -> Vectors:
    with openai.AzureOpenAI(
        azure_endpoint=emr.url, api_key=emr.key, api_version="2024-10-21"
    ) as client:
        told = client.embeddings.create(model=model, input=PLAIN)
    return [each.embedding for each in told.data]


def langchain(emr: Router, model: str) -> Vectors:
    client = OpenAIEmbeddings(
        model=model, base_url=f"{emr.url}/v1", api_key=emr.key, check_embedding_ctx_length=False
    )
    return client.embed_documents(PLAIN)


def llama_index(emr: Router, model: str) -> Vectors:
    client = OpenAIEmbedding(model_name=model, api_base=f"{emr.url}/v1", api_key=emr.key)
    return client.get_text_embedding_batch(PLAIN)


def haystack(emr: Router, model: str) -> Vectors:
    client = OpenAIDocumentEmbedder(
        model=model, api_base_url=f"{emr.url}/v1", api_key=Secret.from_token(emr.key),
        progress_bar=False,
    )  # fmt: skip
    told = client.run([Document(content=text) for text in PLAIN])
    return [each.embedding for each in told["documents"]]


def haystack_text(emr: Router, model: str) -> Vectors:
    client = OpenAITextEmbedder(
        model=model, api_base_url=f"{emr.url}/v1", api_key=Secret.from_token(emr.key)
    )
    return [client.run(text)["embedding"] for text in PLAIN]


def by_litellm(prefix: str, path: str = "/v1", **more: Any) -> Callable[[Router, str], Vectors]:
    """LiteLLM, in the words of one of its providers."""

    def ask(emr: Router, model: str) -> Vectors:
        told = litellm.embedding(
            model=f"{prefix}/{model}", input=PLAIN, api_base=emr.url + path, api_key=emr.key, **more
        )
        return [each["embedding"] for each in told.data]

    return ask


def by_ollama(emr: Router, model: str) -> Vectors:
    client = ollama.Client(host=emr.url, headers={"Authorization": f"Bearer {emr.key}"})
    return [list(each) for each in client.embed(model=model, input=PLAIN)["embeddings"]]


def by_mistral(emr: Router, model: str) -> Vectors:
    with Mistral(api_key=emr.key, server_url=emr.url) as client:
        told = client.embeddings.create(model=model, inputs=PLAIN)
    return [list(each.embedding or ()) for each in told.data]


CLIENTS: dict[str, Callable[[Router, str], Vectors]] = {
    "openai": openai_python,
    "azure": azure,
    "langchain": langchain,
    "llama-index": llama_index,
    "haystack": haystack,
    "haystack, one by one": haystack_text,
    "litellm as openai": by_litellm("openai"),
    "litellm as voyage": by_litellm("voyage", "/v1/embeddings"),
    "litellm as jina_ai": by_litellm("jina_ai"),
    "litellm as infinity": by_litellm("infinity", ""),
    "litellm as hosted_vllm": by_litellm("hosted_vllm"),
    "ollama": by_ollama,
    "mistralai": by_mistral,
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("client", CLIENTS)
def test_texts(emr: Router, client: str, model: str) -> None:
    assert same(CLIENTS[client](emr, model), plain(PLAIN, model))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("input_type", ["query", "document"])
def test_voyage(emr: Router, model: str, input_type: str) -> None:
    client = voyageai.Client(api_key=emr.key, base_url=f"{emr.url}/v1")
    told = client.embed(TEXTS, model=model, input_type=input_type)
    assert same(told.embeddings, typed(TEXTS, model, input_type))


@pytest.mark.parametrize("model", MODELS)
def test_langchain_voyage(emr: Router, model: str) -> None:
    name = model.partition("/")[2]  # it looks for a vocabulary of that name
    put_vocabulary(f"voyageai/{name}")
    client = VoyageAIEmbeddings(model=name, api_key=emr.key, base_url=f"{emr.url}/v1")
    assert same(client.embed_documents(TEXTS), typed(TEXTS, model, "document"))
    assert same([client.embed_query(TEXTS[0])], typed(TEXTS[:1], model, "query"))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("input_type", ["query", "document"])
def test_cohere(emr: Router, model: str, input_type: str) -> None:
    wanted = typed(TEXTS, model, input_type)
    word = f"search_{input_type}"
    told = cohere.ClientV2(api_key=emr.key, base_url=emr.url).embed(
        texts=TEXTS, model=model, input_type=word, embedding_types=["float"]
    )
    assert told.embeddings.float_ is not None
    assert same(told.embeddings.float_, wanted)
    old = cohere.Client(api_key=emr.key, base_url=emr.url).embed(
        texts=TEXTS, model=model, input_type=word
    )
    assert same(old.embeddings, wanted)


@pytest.mark.parametrize("model", MODELS)
def test_litellm_as_cohere(emr: Router, model: str) -> None:
    ask = by_litellm("cohere", "/v2/embed", input_type="search_query")
    assert same(ask(emr, model), typed(PLAIN, model, "query"))
