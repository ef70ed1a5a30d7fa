"""Unmodified SDKs against a running router: the fake provider and the built-in model behind it.

The SDKs are a large install, so these tests have a script of their own (scripts/test-clients): it
sets EMR_TEST_CLIENTS, and without that nothing here is collected.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.clients import offline
from tests.support.processes import Router, fake, provider_row, router

if os.environ.get("EMR_TEST_CLIENTS"):
    offline.stay()
else:
    collect_ignore_glob = ["test_*.py"]

LOCAL_NAME = "local-by-alias"


@pytest.fixture(scope="session")
def emr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router whose providers are all forms of one fake provider, and the built-in model."""
    home = tmp_path_factory.mktemp("home")
    with fake(home, "--latency-ms", "5") as provider:
        rows = [
            provider_row("voyage", "voyage", f"{provider.url}/voyage/v1/embeddings"),
            provider_row("openai", "openai", f"{provider.url}/openai/v1/embeddings"),
            provider_row("cohere", "cohere", f"{provider.url}/cohere/v2/embed"),
            provider_row("cohere-v1", "cohere", f"{provider.url}/cohere/v1/embed"),
            provider_row(
                "compatible", "openai-compatible", f"{provider.url}/openai/v1/embeddings",
                model="text-embedding-3-small",
            ),
            '[[providers]]\nname = "local"\nprovider_type = "local"\n',
            f'[models]\n"{LOCAL_NAME}" = "local/wordllama-256"\n',
            # the clients ask for the same texts, and what comes from the cache costs no tokens
            "[cache]\nmax_bytes = 0\n",
        ]  # fmt: skip
        with router(home, "\n".join(rows)) as running:
            yield running
