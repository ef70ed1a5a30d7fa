"""One router and one fake provider for the tests that change nothing which lasts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.processes import Router, Running, fake, provider_row, router

# for tests that ask the same texts again and look at the calls for them
NO_CACHE = "[cache]\nmax_bytes = 0\n"
AMPLE = {"requests_per_minute": 1_000_000, "tokens_per_minute": 1_000_000_000}


def voyage_row(provider: Running, name: str = "voyage", **more: object) -> str:
    """A row of type voyage at the fake, with limits that hold nothing back."""
    endpoint = f"{provider.url}/voyage/v1/embeddings"
    return provider_row(name, "voyage", endpoint, **(AMPLE | more))


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A fake provider that answers in 20 ms."""
    with fake(tmp_path_factory.mktemp("fake"), "--latency-ms", "20") as running:
        yield running


@pytest.fixture(scope="session")
def emr(provider: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router in front of it, with a second provider that nothing befalls."""
    config = (
        NO_CACHE
        + voyage_row(provider)
        + provider_row("openai", "openai", f"{provider.url}/openai/v1/embeddings", **AMPLE)
    )
    with router(tmp_path_factory.mktemp("home"), config) as running:
        yield running
