"""LangChain as it is out of the box: it sends token ids, to whatever provider."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.resources import files

import pytest
from langchain_openai import OpenAIEmbeddings

from emr.control.vocabulary import NAME
from tests.clients.expected import TEXTS, of_fake, same
from tests.support.processes import Router, fake, provider_row, router


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router that finds tiktoken's data, of which LiteLLM has a copy."""
    home = tmp_path_factory.mktemp("knowing")
    data = files("litellm.litellm_core_utils.tokenizers") / NAME
    (home / "vocabulary").mkdir()
    shutil.copy(str(data), home / "vocabulary" / NAME)
    with fake(home, "--latency-ms", "5") as provider:
        rows = [
            provider_row("voyage", "voyage", f"{provider.url}/voyage/v1/embeddings"),
            provider_row("cohere", "cohere", f"{provider.url}/cohere/v2/embed"),
        ]
        with router(home, "\n".join(rows)) as running:
            yield running


@pytest.mark.parametrize(
    ("model", "input_type"), [("voyage-code-3", None), ("embed-v4.0", "document")]
)
def test_langchain(knowing: Router, model: str, input_type: str | None) -> None:
    client = OpenAIEmbeddings(model=model, base_url=f"{knowing.url}/v1", api_key=knowing.key)
    assert same(client.embed_documents(TEXTS), of_fake(TEXTS, model, input_type))
