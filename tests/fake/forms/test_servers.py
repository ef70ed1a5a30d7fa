"""TEI, Infinity, Ollama, vLLM, a compatible server and another emr: answers and refusals."""

from __future__ import annotations

import pytest

from emr.fake.settings import FakeSettings
from emr.fake.vectors import expected_base64, vector_of
from tests.fake.forms.asking import numbers, ok, said
from tests.fake.world import Fake, of, voyage

BGE = "BAAI/bge-m3"
TEI, NATIVE = "/tei/v1/embeddings", "/tei/embed"
INFINITY = "/infinity/embeddings"
OLLAMA, OLLAMA_V1 = "/ollama/api/embed", "/ollama/v1/embeddings"
VLLM = "/vllm/v1/embeddings"
COMPATIBLE = "/openai-compatible/v1/embeddings"
EMR = "/emr/v1/embeddings"


@pytest.fixture
def fake() -> Fake:
    return Fake()


def nomic(*texts: str, **more: object) -> dict[str, object]:
    return of("nomic-embed-text", *texts) | more


def bge(*texts: str, **more: object) -> dict[str, object]:
    return of(BGE, *texts) | more


# good answers


def test_tei_looks_at_no_name(fake: Fake) -> None:
    answer = fake.ask(TEI, of("whatever", "a", "bcdefghi") | {"dimensions": 8, "strange": 1})
    got = answer.json
    assert got["data"][1]["embedding"] == numbers("bcdefghi", "whatever", None, 8)
    assert got["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert answer.headers[b"x-compute-tokens"] == b"3"
    base64 = ok(fake, TEI, bge("a", encoding_format="base64"))["data"][0]["embedding"]
    assert base64.encode() == expected_base64("a", BGE)


def test_tei_s_own_route_answers_a_bare_list(fake: Fake) -> None:
    answer = fake.ask(NATIVE, {"inputs": ["a", "b"], "truncate": True, "normalize": True})
    assert answer.json == [numbers(text, BGE) for text in "ab"]
    assert answer.headers[b"x-compute-tokens"] == b"2"
    assert ok(fake, NATIVE, {"inputs": "a", "dimensions": 8}) == [numbers("a", BGE, None, 8)]


def test_tei_cuts_unless_it_is_told_not_to(fake: Fake) -> None:
    long = "x" * 4 * 8193
    assert ok(fake, TEI, bge(long))["usage"]["total_tokens"] == 8192
    assert fake.ask(NATIVE, {"inputs": long}).status == 200
    refused = fake.ask(NATIVE, {"inputs": long, "truncate": False})
    assert refused.status == 422
    assert refused.json["error_type"] == "validation"
    assert "must have less than 8192 tokens. Given: 8193" in said(refused)


def test_infinity_strips_and_counts_characters(fake: Fake) -> None:
    got = ok(fake, INFINITY, bge(" äb ", "c", user=None, other=1))
    assert got["data"][0]["embedding"] == numbers("äb", BGE)
    assert got["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert got["id"].startswith("infinity-")
    small = ok(fake, INFINITY, bge("a", dimensions=8, encoding_format="base64"))
    assert small["data"][0]["embedding"].encode() == expected_base64("a", BGE, None, 8)
    large = ok(fake, INFINITY, bge("a", dimensions=2048))["data"][0]["embedding"]
    assert large == numbers("a", BGE), "a size over its own is overlooked"


def test_ollama(fake: Fake) -> None:
    got = ok(fake, OLLAMA, nomic("a", "bcdefghi", keep_alive="5m", options={}, truncate=None))
    wanted = [numbers(text, "nomic-embed-text", None, 768) for text in ("a", "bcdefghi")]
    assert got["embeddings"] == wanted
    assert (got["prompt_eval_count"], got["model"]) == (3, "nomic-embed-text")
    assert got["total_duration"] > got["load_duration"] > 0
    latest = ok(fake, OLLAMA, of("bge-m3:latest", "a") | {"dimensions": 8})
    assert latest["embeddings"] == [numbers("a", "bge-m3:latest", None, 8)]
    over = ok(fake, OLLAMA, nomic("a", dimensions=4096))["embeddings"][0]
    assert len(over) == 768, "a size over its own is overlooked"
    other = ok(fake, OLLAMA_V1, nomic("a", encoding_format="base64"))
    wanted_base64 = expected_base64("a", "nomic-embed-text", None, 768)
    assert other["data"][0]["embedding"].encode() == wanted_base64


def test_ollama_cuts_unless_it_is_told_not_to(fake: Fake) -> None:
    long = "x" * 4 * 2049
    assert ok(fake, OLLAMA, nomic(long))["prompt_eval_count"] == 2048
    refused = fake.ask(OLLAMA, nomic(long, truncate=False))
    assert refused.json == {"error": "the input length exceeds the context length"}


def test_vllm(fake: Fake) -> None:
    got = ok(fake, VLLM, bge("a", user=None, dimensions=None, chat_template="x"))
    assert got["data"][0]["embedding"] == numbers("a", BGE)
    assert got["id"].startswith("embd-")
    sized = of("jinaai/jina-embeddings-v3", "a") | {"dimensions": 64, "encoding_format": "base64"}
    base64 = ok(fake, VLLM, sized)["data"][0]["embedding"].encode()
    assert base64 == expected_base64("a", "jinaai/jina-embeddings-v3", None, 64)
    long = "x" * 4 * 8193
    assert fake.ask(VLLM, bge(long, truncate_prompt_tokens=-1)).status == 200


def test_a_compatible_server_answers_numbers_whatever_is_asked(fake: Fake) -> None:
    got = ok(fake, COMPATIBLE, of("bge-m3", "a") | {"encoding_format": "base64"})
    assert got["data"][0]["embedding"] == numbers("a", "bge-m3")


def test_another_emr(fake: Fake) -> None:
    answer = fake.ask(EMR, voyage("a", input_type="query", output_dimension=256, odd=1))
    got = answer.json
    assert got["data"][0]["embedding"] == numbers("a", "voyage-code-3", "query", 256)
    assert (got["provider"], got["usage"]["prompt_tokens"]) == ("behind", 1)
    assert answer.headers[b"x-emr-provider"] == b"behind"
    packed = voyage("a", output_dtype="binary", encoding_format="base64", truncation=None)
    wanted = expected_base64("a", "voyage-code-3", None, 1024, "binary")
    assert ok(fake, EMR, packed)["data"][0]["embedding"].encode() == wanted
    int8 = ok(fake, EMR, voyage("a", output_dtype="int8"))["data"][0]["embedding"]
    assert int8 == vector_of("a", "voyage-code-3", None, 1024, "int8")


# refusals

REFUSED = [
    (TEI, {"model": BGE}, 422, "missing field `input`"),
    (TEI, bge(), 400, '"type":"empty"'),
    (TEI, bge("a", ""), 400, "`inputs` cannot be empty"),
    (TEI, {"input": [[1, 2]]}, 422, "input: invalid type"),
    (TEI, bge("a", encoding_format="int8"), 422, "unknown variant `int8`"),
    (TEI, bge("a", encoding_format=None), 422, "encoding_format: invalid type"),
    (TEI, bge(*["a"] * 33), 422, "batch size 33 > maximum allowed batch size 32"),
    (TEI, bge("a", dimensions=1025), 422, "between 1 and 1024. Given: 1025"),
    (NATIVE, {"inputs": ["a"] * 33}, 422, '"error_type":"validation"'),
    (NATIVE, {"inputs": "a", "normalize": None}, 422, "normalize: invalid type"),
    (NATIVE, {"input": "a"}, 422, "missing field `inputs`"),
    (NATIVE, b"{", 400, "Failed to parse"),
    (INFINITY, bge(), 422, "at least 1 item"),
    (INFINITY, bge(*["a"] * 2049), 422, "at most 2048 items after validation, not 2049"),
    (INFINITY, bge("a", "x" * 122_881), 422, '"loc":["body","input",1]'),
    (INFINITY, {"model": BGE, "input": [[1]]}, 422, '"loc":["body","input"]'),
    (INFINITY, bge("a", encoding_format=None), 422, '"loc":["body","encoding_format"]'),
    (INFINITY, bge("a", dimensions=None), 422, '"loc":["body","dimensions"]'),
    (INFINITY, of("other", "a"), 400, "Engine for model name `other` not found"),
    (OLLAMA, {"model": "nomic-embed-text", "input": [[1]]}, 400, "EmbedRequest.input"),
    (OLLAMA, nomic("a", truncate="yes"), 400, "EmbedRequest.truncate"),
    (OLLAMA, of("other", "a"), 404, '{"error":"model "other" not found, try pulling it first"}'),
    (OLLAMA, {"input": "a"}, 404, "not found"),
    (OLLAMA_V1, of("other", "a"), 404, '"type":"not_found_error"'),
    (OLLAMA_V1, nomic("a", encoding_format="int8"), 400, "encoding_format"),
    (VLLM, bge("a", dimensions=1024), 400, "does not support matryoshka representation"),
    (VLLM, of("jinaai/jina-embeddings-v3", "a") | {"dimensions": 9}, 400, "matryoshka dimensions"),
    (VLLM, bge("a", encoding_format="int8"), 400, "encoding_format: Input should be"),
    (VLLM, bge("a", encoding_format=None), 400, "encoding_format"),
    (VLLM, of("other", "a"), 404, "The model `other` does not exist."),
    (VLLM, bge("x" * 4 * 8193), 400, "maximum context length is 8192 tokens"),
    (COMPATIBLE, of("bge-m3", *["a"] * 11), 400, "should not be larger than 10.: input.contents"),
    (COMPATIBLE, of("bge-m3", "a") | {"encoding_format": None}, 400, "'$.encoding_format'"),
    (COMPATIBLE, of("bge-m3", "a") | {"input_type": "query"}, 400, "input_type"),
    (COMPATIBLE, of("text-embedding-v4", "a") | {"dimensions": 9}, 400, "'dimensions' = 9"),
    (EMR, voyage("a", ""), 400, '"param":"input[1]"'),
    (EMR, {"model": "voyage-code-3"}, 400, '"param":"input"'),
    (EMR, voyage("a", dimensions=9), 400, "behind has no vectors of 9 dimensions"),
    (EMR, voyage("a", model="other"), 404, '"code":"model_not_found"'),
    (EMR, voyage(*["a"] * 2049), 400, "has 2049 texts, and a request may have 2048"),
    (EMR, voyage("a", "x" * 4 * 32_001, truncation=False), 400, '"param":"input[1]"'),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "words"), REFUSED)
def test_strict_refusals(fake: Fake, path: str, body: object, status: int, words: str) -> None:
    answer = fake.ask(path, body)
    assert answer.status == status, answer.body
    assert words in said(answer)


@pytest.mark.parametrize(
    ("path", "body"),
    [(TEI, bge(*["a"] * 32)), (NATIVE, {"inputs": "x" * 4 * 8192, "truncate": False}),
     (INFINITY, bge(*["a"] * 2048)), (INFINITY, bge("x" * 122_880)), (VLLM, bge("x" * 4 * 8192)),
     (OLLAMA, nomic("x" * 4 * 2048, truncate=False)), (COMPATIBLE, of("bge-m3", *["a"] * 10)),
     (EMR, voyage(*["a"] * 2048))],
)  # fmt: skip
def test_exactly_at_a_cap_is_good(fake: Fake, path: str, body: object) -> None:
    assert fake.ask(path, body).status == 200


def test_a_server_wants_a_key_only_when_there_is_one() -> None:
    for path, body in ((TEI, bge("a")), (OLLAMA, nomic("a")), (COMPATIBLE, of("bge-m3", "a"))):
        assert Fake().ask(path, body, {}).status == 200
        locked = Fake(FakeSettings(keys="k"))
        assert locked.ask(path, body, {}).status == 401
        assert locked.ask(path, body, {b"authorization": b"Bearer k"}).status == 200
    assert Fake().ask(EMR, voyage("a"), {}).status == 401
    assert Fake().ask(EMR, voyage("a"), {b"api-key": b"k"}).status == 200


def test_infinity_quotes_the_text_that_it_refuses(fake: Fake) -> None:
    refused = fake.ask(INFINITY, bge("a", "mine " + "x" * 122_880)).json
    assert refused["detail"][0]["input"].startswith("mine ")
