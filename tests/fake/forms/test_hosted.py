"""Azure, Mistral, Jina and Gemini: good answers, and what each refuses in which words."""

from __future__ import annotations

import pytest

from emr.fake.settings import FakeSettings
from emr.fake.vectors import expected_base64, vector_of
from tests.fake.forms.asking import numbers, ok, said
from tests.fake.world import AZURE, GEMINI, Fake, gemini, of

SMALL = "text-embedding-3-small"
MISTRAL = "/mistral/v1/embeddings"
JINA = "/jina/v1/embeddings"
SINGLE = "/gemini/v1beta/models/gemini-embedding-2:embedContent"


@pytest.fixture
def fake() -> Fake:
    return Fake()


def mistral(*texts: str, **more: object) -> dict[str, object]:
    return of("mistral-embed", *texts) | more


def jina(*texts: str, **more: object) -> dict[str, object]:
    return of("jina-embeddings-v3", *texts) | more


# good answers


def test_azure(fake: Fake) -> None:
    got = ok(fake, AZURE, {"input": ["a"], "model": "whatever", "dimensions": 8})
    assert got["data"][0]["embedding"] == numbers("a", SMALL, None, 8)
    assert got["usage"] == {"prompt_tokens": 1, "total_tokens": 1}
    base64 = ok(fake, AZURE, {"input": "a", "encoding_format": "base64"})
    assert base64["data"][0]["embedding"].encode() == expected_base64("a", SMALL, None, 1536)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({b"api-key": b"k"}, 200), ({b"authorization": b"Bearer k"}, 200), ({}, 401),
     ({b"api-key": b"other"}, 401)],
)  # fmt: skip
def test_azure_takes_its_key_in_a_header_of_its_own(
    headers: dict[bytes, bytes], status: int
) -> None:
    fake = Fake(FakeSettings(keys="k"))
    assert fake.ask(AZURE, {"input": "a"}, headers).status == status


def test_azure_wants_a_version(fake: Fake) -> None:
    bare = AZURE.partition("?")[0]
    for path in (bare, bare + "?api-version=", bare + "?version=1"):
        answer = fake.ask(path, {"input": "a"})
        assert (answer.status, answer.json["error"]["message"]) == (404, "Resource not found")
    assert Fake(FakeSettings(strict=False)).ask(bare, {"input": "a"}).status == 200


def test_mistral(fake: Fake) -> None:
    got = ok(fake, MISTRAL, mistral("a", "b", encoding_format="float", output_dimension=None))
    assert [entry["index"] for entry in got["data"]] == [0, 1]
    assert got["data"][1]["embedding"] == numbers("b", "mistral-embed")
    assert got["usage"] == {"prompt_tokens": 2, "total_tokens": 2, "completion_tokens": 0}
    assert got["id"]
    code = of("codestral-embed", "a") | {"output_dimension": 256, "output_dtype": "int8"}
    assert ok(fake, MISTRAL, code)["data"][0]["embedding"] == vector_of(
        "a", "codestral-embed", None, 256, "int8"
    )
    packed = of("codestral-embed", "a") | {"output_dtype": "binary", "encoding_format": "base64"}
    assert ok(fake, MISTRAL, packed)["data"][0]["embedding"].encode() == expected_base64(
        "a", "codestral-embed", None, 1536, "binary"
    )


def test_jina(fake: Fake) -> None:
    body = jina("a", "b", task="retrieval.query", dimensions=64, embedding_type="float")
    got = ok(fake, JINA, body | {"truncate": None})
    assert got["data"][1]["embedding"] == numbers("b", "jina-embeddings-v3", "query", 64)
    passage = ok(fake, JINA, jina("b", task="retrieval.passage"))
    assert passage["data"][0]["embedding"] == numbers("b", "jina-embeddings-v3", "document")
    base64 = ok(fake, JINA, jina("a", embedding_type="base64"))["data"][0]["embedding"]
    assert base64.encode() == expected_base64("a", "jina-embeddings-v3")
    packed = ok(fake, JINA, jina("a", embedding_type="ubinary"))["data"][0]["embedding"]
    assert packed == vector_of("a", "jina-embeddings-v3", None, 1024, "ubinary")


def test_jina_cuts_long_texts_only_when_told_to(fake: Fake) -> None:
    long = "x" * 4 * 8193
    assert ok(fake, JINA, jina(long, truncate=True))["usage"]["total_tokens"] == 8192
    refused = fake.ask(JINA, jina("a", long))
    assert refused.json["code"] == "INPUT_TOKEN_LIMIT_EXCEEDED"
    assert "index 1" in said(refused)


def test_jina_lets_late_chunks_depend_on_each_other(fake: Fake) -> None:
    apart = ok(fake, JINA, jina("a", "b"))["data"]
    late = ok(fake, JINA, jina("a", "b", late_chunking=True))["data"]
    other = ok(fake, JINA, jina("a", "c", late_chunking=True))["data"]
    vectors = [each[0]["embedding"] for each in (apart, late, other)]
    assert vectors[0] != vectors[1] != vectors[2] != vectors[0]


def test_gemini(fake: Fake) -> None:
    got = ok(fake, GEMINI, gemini("a", "b", taskType="RETRIEVAL_QUERY", outputDimensionality=768))
    wanted = [numbers(text, "gemini-embedding-001", "query", 768) for text in "ab"]
    assert got == {"embeddings": [{"values": vector} for vector in wanted]}
    plain = ok(fake, GEMINI, gemini("a"))["embeddings"][0]["values"]
    assert plain == numbers("a", "gemini-embedding-001", None, 3072)


def test_gemini_s_newer_model_counts_tokens_and_one_text_has_a_route(fake: Fake) -> None:
    newer = GEMINI.replace("-001", "-2")
    got = ok(fake, newer, gemini("abcd" * 3, model="gemini-embedding-2"))
    assert got["usageMetadata"] == {"promptTokenCount": 3}
    one = ok(fake, SINGLE, {"content": {"parts": [{"text": "a"}]}})
    assert one == {"embedding": {"values": numbers("a", "gemini-embedding-2", None, 3072)}}


def test_gemini_cuts_what_is_too_long(fake: Fake) -> None:
    assert fake.ask(GEMINI, gemini("x" * 4 * 2049)).status == 200


# refusals

REFUSED = [
    (AZURE, {"input": []}, 400, "'$.input' is invalid"),
    (AZURE, {"input": "a", "input_type": "query"}, 400, "argument supplied: input_type"),
    (AZURE, {"input": "a", "dimensions": None}, 400, "'$.dimensions' is invalid"),
    (AZURE, {"input": ["a"] * 2049}, 400, "Too many inputs. The max number of inputs is 2048."),
    (AZURE, {"input": "x" * 4 * 8193}, 400, "maximum context length is 8192 tokens"),
    (AZURE.replace(SMALL, "mine"), {"input": "a"}, 404, "DeploymentNotFound"),
    (MISTRAL, mistral(), 400, "Input cannot be an empty list"),
    (MISTRAL, mistral("a", ""), 400, "Input text cannot be empty"),
    (MISTRAL, mistral("a", dimensions=8), 422, "Extra inputs are not permitted"),
    (MISTRAL, mistral("a", user="u"), 422, '"loc":["body","user"]'),
    (MISTRAL, mistral("a", encoding_format=None), 422, "Input should be a valid type"),
    (MISTRAL, mistral("a", output_dtype="int4"), 422, '"input":"int4"'),
    (MISTRAL, {"model": "mistral-embed", "input": [[1, 2]]}, 422, "valid type"),
    (MISTRAL, mistral("a", output_dimension=256), 400, "does not support output_dimension."),
    (MISTRAL, of("codestral-embed", "a") | {"output_dimension": 3073}, 400, "at most 3072"),
    (MISTRAL, of("m", "a"), 400, "Invalid model: m"),
    (MISTRAL, mistral(*["a"] * 513), 400, "Too many inputs in request, split into more batches."),
    (MISTRAL, mistral("x" * 4 * 8193), 400, "more than the model's 8192"),
    (MISTRAL, mistral(*["x" * 4 * 5462] * 3), 400, "Max is 16384 got 16386"),
    (MISTRAL, b"{", 422, "json_invalid"),
    (JINA, jina(), 422, "cannot be empty"),
    (JINA, jina("a", encoding_format="float"), 422, "Extra inputs are not permitted"),
    (JINA, jina("a", task="query"), 422, "Input should be"),
    (JINA, jina("a", embedding_type="int8"), 422, "Input should be"),
    (JINA, jina("a", truncate="yes"), 422, "body -> truncate"),
    (JINA, jina("a", dimensions=1025), 422, "less than or equal to 1024"),
    (JINA, jina("a", ""), 422, "at least 1 character"),
    (JINA, {"model": "jina-embeddings-v3", "input": [[1]]}, 422, "valid type"),
    (JINA, of("jina-embeddings-v9", "a"), 400, "INPUT_MODEL_NOT_FOUND"),
    (JINA, of("jina-embeddings-v2-base-en", "a") | {"task": "separation"}, 422, "body -> task"),
    (JINA, jina(*["a"] * 513), 400, "can contain at most 512 items"),
    (GEMINI, {"requests": []}, 400, "requests is not specified"),
    (GEMINI, gemini("a", ""), 400, "requests[1].content: contains an empty Part"),
    (GEMINI, gemini("a", title=1), 400, "Invalid value at 'requests[0].title'"),
    (GEMINI, gemini("a", dims=1), 400, 'Unknown name "requests[0].dims": Cannot find field.'),
    (GEMINI, gemini("a") | {"user": "u"}, 400, 'Unknown name "user"'),
    (GEMINI, gemini("a", taskType="query"), 400, "Invalid value at 'requests[0].taskType'"),
    (GEMINI, gemini("a", outputDimensionality=3073), 400, "from 128 to 3072"),
    (GEMINI, gemini("a", outputDimensionality=127), 400, "from 128 to 3072"),
    (GEMINI, gemini("a", model="other"), 400, "requests[0].model"),
    (GEMINI, gemini(*["a"] * 101), 400, "at most 100 requests can be in one batch"),
    (GEMINI.replace("-001", "-9"), gemini("a"), 404, "is not found for API version v1beta"),
    (GEMINI, {"requests": [{"model": "models/gemini-embedding-001", "content": {"parts": []}}]},
     400, "content is not specified"),
    (GEMINI, {"requests": [{"model": "models/gemini-embedding-001",
                            "content": {"parts": [{"inline_data": {}}]}}]}, 400, "parts"),
    (GEMINI, {"requests": ["a"]}, 400, "requests[0]"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "words"), REFUSED)
def test_strict_refusals(fake: Fake, path: str, body: object, status: int, words: str) -> None:
    answer = fake.ask(path, body)
    assert (answer.status, answer.headers[b"content-type"]) == (status, b"application/json")
    assert words in said(answer)


@pytest.mark.parametrize(
    ("path", "body"),
    [(AZURE, {"input": ["a"] * 2048}), (AZURE, {"input": "x" * 4 * 8192}),
     (MISTRAL, mistral(*["a"] * 512)), (MISTRAL, mistral(*["x" * 4 * 8192] * 2)),
     (MISTRAL, of("codestral-embed", "a") | {"output_dimension": 3072}),
     (JINA, jina(*["a"] * 512)), (JINA, jina("x" * 4 * 8192)), (JINA, jina("a", dimensions=1)),
     (GEMINI, gemini(*["a"] * 100)), (GEMINI, gemini("a", outputDimensionality=3072))],
)  # fmt: skip
def test_exactly_at_a_cap_is_good(fake: Fake, path: str, body: object) -> None:
    assert fake.ask(path, body).status == 200


@pytest.mark.parametrize(
    ("path", "key", "status", "words"),
    [(MISTRAL, {}, 401, "Unauthorized"), (JINA, {}, 401, "AUTH_MISSING_API_KEY"),
     (GEMINI, {b"authorization": b"Bearer k"}, 403, "unregistered callers"),
     (GEMINI, {b"x-goog-api-key": b"other"}, 400, "API key not valid"),
     (JINA, {b"authorization": b"Bearer other"}, 401, "AUTH_INVALID_API_KEY")],
)  # fmt: skip
def test_keys(path: str, key: dict[bytes, bytes], status: int, words: str) -> None:
    fake = Fake(FakeSettings(keys="k"))
    bodies = {MISTRAL: mistral("a"), JINA: jina("a"), GEMINI: gemini("a")}
    answer = fake.ask(path, bodies[path], key)
    assert answer.status == status
    assert words in said(answer)
    good = {b"authorization": b"Bearer k", b"x-goog-api-key": b"k"}
    assert fake.ask(path, bodies[path], good).status == 200


def test_validators_quote_what_they_were_given(fake: Fake) -> None:
    jina_said = fake.ask(JINA, jina("a", task="my own")).json
    assert jina_said["errors"][0]["input"] == "my own"
    mistral_said = fake.ask(MISTRAL, mistral("a", output_dtype="my own")).json
    assert mistral_said["message"] == mistral_said["detail"]
    assert mistral_said["message"][0]["input"] == "my own"
