"""The table of kinds holds together."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from emr.lane.settings import Home
from emr.upstream.addresses import Reach
from emr.upstream.dialects import DIALECTS, dialect_of
from emr.upstream.dialects.cohere import CohereV1, CohereV2
from emr.upstream.endpoint import Endpoint, check_endpoint
from emr.upstream.hosted import COHERE, OPENAI, VOYAGE
from emr.upstream.kinds import Kind, Model
from emr.upstream.resolve import addresses_of, system_resolve
from emr.upstream.self_hosted import LOCAL
from emr.upstream.table import KINDS, say_dimensions
from emr.upstream.vector import DTYPES
from tests.support.aio import run

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


def test_every_type_of_the_contract_is_there() -> None:
    assert set(KINDS) == {
        "voyage", "cohere", "openai", "azure", "mistral", "jina", "gemini", "tei", "infinity",
        "ollama", "vllm", "openai-compatible", "emr", "local",
    }  # fmt: skip
    assert set(DIALECTS) == set(KINDS) - {"local"}


@every_kind
def test_a_row_holds_together(kind: Kind) -> None:
    assert KINDS[kind.name] is kind
    assert kind.max_texts > 0
    assert kind.max_tokens > 0
    assert kind.max_bytes > 0
    assert set(kind.dtypes) <= set(DTYPES)
    assert kind.dtypes[0] == "float"
    assert set(kind.truncations) <= {"none", "start", "end"}
    assert "model" in kind.independent
    assert kind.default_model in kind.models or not kind.default_model
    if kind.endpoint:
        endpoint = check_endpoint("", kind)
        assert str(endpoint) == kind.endpoint
        assert endpoint.path == kind.path
        hosted = kind.home is Home.HOSTED
        assert endpoint.reach is (Reach.PUBLIC if hosted else Reach.LOOPBACK)
        assert kind.key_variable.endswith("_API_KEY") is hosted
    for name, model in kind.models.items():
        assert name
        assert len(set(model.dimensions)) == len(model.dimensions)
        assert model.price is None or model.price >= 0.0
        for cap in (model.max_text_tokens, model.max_call_tokens, model.tokens_per_minute):
            assert cap is None or cap > 0
        assert model.max_call_tokens is None or model.tokens_per_minute is None or (
            model.max_call_tokens <= model.tokens_per_minute
        ), "a call that no minute has room for"  # fmt: skip


@every_kind
def test_a_row_cannot_be_changed(kind: Kind) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind.max_texts = 1
    with pytest.raises(TypeError):
        kind.models["x"] = Model()


def test_a_hosted_kind_never_starts_without_a_limit() -> None:
    for kind in KINDS.values():
        if kind.home is Home.HOSTED:
            assert kind.calls_per_minute
            assert kind.tokens_per_minute or kind.items_per_minute


def test_the_defaults_of_models() -> None:
    assert VOYAGE.models["voyage-code-3"].dimensions[0] == 1024
    assert OPENAI.models["text-embedding-3-small"].dimensions[0] == 1536
    assert OPENAI.models["text-embedding-3-large"].dimensions[-1] == 1
    assert COHERE.models["embed-v4.0"].dimensions[0] == 1536
    assert LOCAL.models["wordllama-256"].dimensions == (256, 64, 128)


@pytest.mark.parametrize(
    ("dimensions", "words"),
    [
        ((), "its own"),
        ((1024,), "1024"),
        ((1024, 256, 512, 2048), "256, 512, 1024 or 2048"),
        ((1536, *range(1535, 0, -1)), "1 to 1536"),
        ((2, 1), "1 or 2"),
    ],
)
def test_dimensions_in_words(dimensions: tuple[int, ...], words: str) -> None:
    assert say_dimensions(Model(dimensions)) == words


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/embed", CohereV1), ("/v1/embed/", CohereV1), ("/gateway/v1/embed", CohereV1),
        ("/v2/embed", CohereV2), ("/embed", CohereV2), ("/xv1/embed", CohereV2), ("", CohereV2),
    ],
)  # fmt: skip
def test_the_path_chooses_coheres_version(path: str, dialect: type) -> None:
    endpoint = check_endpoint(f"https://h.example{path}", COHERE)
    assert type(dialect_of(COHERE, endpoint)) is dialect


# names


def test_the_systems_resolver() -> None:
    async def main() -> None:
        assert await system_resolve("127.0.0.1", 80) == ["127.0.0.1"]
        assert set(await system_resolve("localhost", 80)) <= {"127.0.0.1", "::1"}

    run(main())


@pytest.mark.parametrize(
    ("found", "turns"),
    [
        (["1.1.1.1"], ["1.1.1.1"]),
        (["2600::1", "2600::2", "1.1.1.1"], ["2600::1", "1.1.1.1", "2600::2"]),
        (["1.1.1.1", "2600::1", "2600::2"], ["1.1.1.1", "2600::1", "2600::2"]),
        (["1.1.1.1", "1.1.1.2"], ["1.1.1.1", "1.1.1.2"]),
    ],
)
def test_families_take_turns(found: list[str], turns: list[str]) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return found

    async def main() -> None:
        endpoint = Endpoint("https", "provider.test", 443, "/")
        assert await addresses_of(endpoint, resolve) == turns

    run(main())


def test_an_address_is_not_looked_up() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async def main() -> None:
        endpoint = Endpoint("https", "8.8.8.8", 443, "/")
        assert await addresses_of(endpoint, resolve) == ["8.8.8.8"]

    run(main())
