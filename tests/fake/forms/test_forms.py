"""Each form answers as the provider does, and refuses what it refuses, in its words."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from emr.fake.forms import FORMS, find_route
from emr.fake.forms.form import Form, Route, duration
from emr.fake.forms.voyage import context_keys
from emr.fake.forms.words import JSON, Complaint
from emr.fake.settings import FakeSettings
from emr.fake.vectors import expected_base64, expected_json, vector_of
from tests.fake.world import Fake, voyage

OPENAI = "/openai/v1/embeddings"
SMALL = "text-embedding-3-small"
V4 = {"model": "embed-v4.0", "input_type": "search_document", "embedding_types": ["float"]}
V3 = {"model": "embed-english-v3.0", "input_type": "search_query"}


@pytest.fixture
def fake() -> Fake:
    return Fake()


def openai(value: object, **more: object) -> dict[str, object]:
    return {"model": SMALL, "input": value} | more


def ok(fake: Fake, path: str, body: object) -> Any:
    answer = fake.ask(path, body)
    assert answer.status == 200, answer.body
    assert answer.headers[b"content-type"] == b"application/json"
    return answer.json


# good answers


def test_voyage(fake: Fake) -> None:
    got = ok(fake, "/v1/embeddings", voyage("a", "bcdefghi", input_type="query"))
    assert got == {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "embedding": orjson.loads(expected_json(text, "voyage-code-3", "query")),
                "index": index,
            }
            for index, text in enumerate(["a", "bcdefghi"])
        ],
        "model": "voyage-code-3",
        "usage": {"total_tokens": 3},
    }


def test_voyage_as_its_sdk_asks(fake: Fake) -> None:
    body = voyage(
        "a", input_type=None, truncation=True, output_dtype=None, output_dimension=256,
        encoding_format="base64",
    )  # fmt: skip
    got = ok(fake, "/voyage/v1/embeddings", body)
    assert got["data"][0]["embedding"].encode() == expected_base64("a", "voyage-code-3", None, 256)
    single = ok(fake, "/v1/embeddings", voyage() | {"input": "a"})
    assert single["data"][0]["embedding"] == orjson.loads(expected_json("a", "voyage-code-3"))


def test_voyage_in_whole_numbers(fake: Fake) -> None:
    got = ok(fake, "/v1/embeddings", voyage("a", output_dtype="int8"))
    assert got["data"][0]["embedding"] == vector_of("a", "voyage-code-3", None, 1024, "int8")
    got = ok(fake, "/v1/embeddings", voyage("a", output_dtype="binary", encoding_format="base64"))
    assert len(base64.b64decode(got["data"][0]["embedding"])) == 128


def test_voyage_cuts_long_texts_unless_told_not_to(fake: Fake) -> None:
    long = "x" * 4 * 32_001
    assert ok(fake, "/v1/embeddings", voyage(long))["usage"]["total_tokens"] == 32_000
    refused = fake.ask("/v1/embeddings", voyage("a", long, truncation=False))
    assert refused.status == 400
    assert "example at index 1 in your batch has too many tokens" in refused.json["detail"]


def test_voyage_contextualized(fake: Fake) -> None:
    documents = [["a", "b"], ["b"]]
    body = {"model": "voyage-context-3", "inputs": documents, "input_type": "document"}
    got = ok(fake, "/v1/contextualizedembeddings", body)
    assert [d["index"] for d in got["data"]] == [0, 1]
    assert [[c["index"] for c in d["data"]] for d in got["data"]] == [[0, 1], [0]]
    assert got["usage"] == {"total_tokens": 3}
    for document, entry in zip(documents, got["data"], strict=True):
        for key, chunk in zip(context_keys(document), entry["data"], strict=True):
            wanted = expected_json(key, "voyage-context-3", "document")
            assert chunk["embedding"] == orjson.loads(wanted)
    # the same chunk in another document is another vector
    assert got["data"][0]["data"][1] != got["data"][1]["data"][0]


def test_voyage_contextualized_queries_are_flat(fake: Fake) -> None:
    path = "/v1/contextualizedembeddings"
    body = {"model": "voyage-context-3", "inputs": ["a", "b"]}
    assert fake.ask(path, body).status == 400
    assert len(ok(fake, path, body | {"input_type": "query"})["data"]) == 2
    assert len(ok(fake, path, body | {"enable_auto_chunking": True})["data"]) == 2


def test_voyage_multimodal(fake: Fake) -> None:
    one = {"content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": "u"}]}
    two = {"content": [{"type": "text", "text": "a"}, {"type": "video_url", "video_url": "u"}]}
    body = {"model": "voyage-multimodal-3.5", "inputs": [one, two]}
    got = ok(fake, "/v1/multimodalembeddings", body)
    assert got["data"][0]["embedding"] != got["data"][1]["embedding"]
    assert got["usage"] == {
        "text_tokens": 2, "image_pixels": 640_000, "video_pixels": 640_000, "total_tokens": 2287
    }  # fmt: skip
    for bad in ([], [{}], [{"content": []}], [{"content": [{"type": "text"}]}],
                [{"content": [{"type": "sound", "sound": "u"}]}]):  # fmt: skip
        assert fake.ask("/v1/multimodalembeddings", body | {"inputs": bad}).status == 400


def test_openai(fake: Fake) -> None:
    got = ok(fake, OPENAI, openai(["a", "b"], user="u", encoding_format="float", dimensions=8))
    assert got["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    assert got["model"] == SMALL
    assert [d["index"] for d in got["data"]] == [0, 1]
    assert got["data"][1]["embedding"] == orjson.loads(expected_json("b", SMALL, None, 8))
    got = ok(fake, OPENAI, openai("a", encoding_format="base64"))
    assert got["data"][0]["embedding"].encode() == expected_base64("a", SMALL, None, 1536)


def test_openai_token_ids(fake: Fake) -> None:
    got = ok(fake, OPENAI, openai([1, 2, 3]))
    assert (len(got["data"]), got["usage"]["total_tokens"]) == (1, 3)
    many = ok(fake, OPENAI, openai([[1, 2, 3], [4]]))
    assert many["data"][0]["embedding"] == got["data"][0]["embedding"]
    assert many["usage"]["total_tokens"] == 4


def test_cohere(fake: Fake) -> None:
    body = V4 | {"texts": ["a", "b"], "embedding_types": ["float", "base64", "int8"]}
    got = ok(fake, "/v2/embed", body | {"output_dimension": 256, "truncate": "END"})
    assert got["response_type"] == "embeddings_by_type"
    assert got["texts"] == ["a", "b"]
    assert got["meta"]["billed_units"] == {"input_tokens": 2}
    assert got["embeddings"] == {
        "float": [orjson.loads(expected_json(t, "embed-v4.0", "document", 256)) for t in "ab"],
        "base64": [expected_base64(t, "embed-v4.0", "document", 256).decode() for t in "ab"],
        "int8": [vector_of(t, "embed-v4.0", "document", 256, "int8") for t in "ab"],
    }
    parts = {"inputs": [{"content": [{"type": "text", "text": "a"}]}]}
    assert ok(fake, "/cohere/v2/embed", V4 | parts)["texts"] == ["a"]


def test_cohere_v1_has_two_shapes(fake: Fake) -> None:
    floats = ok(fake, "/v1/embed", V3 | {"texts": ["a"]})
    assert floats["response_type"] == "embeddings_floats"
    wanted = orjson.loads(expected_json("a", "embed-english-v3.0", "query"))
    assert floats["embeddings"] == [wanted]
    typed = ok(fake, "/v1/embed", V3 | {"texts": ["a"], "embedding_types": ["float"]})
    assert typed["response_type"] == "embeddings_by_type"
    assert typed["embeddings"] == {"float": [wanted]}
    assert typed["meta"]["api_version"] == {"version": "1"}


def test_cohere_cuts_long_texts_unless_told_not_to(fake: Fake) -> None:
    long = {"texts": ["x" * 4 * 513]}
    assert ok(fake, "/v1/embed", V3 | long)["meta"]["tokens"] == {"input_tokens": 512}
    refused = fake.ask("/v1/embed", V3 | long | {"truncate": "NONE"})
    assert refused.json["message"].startswith("too many tokens: total number of tokens")
    body = V4 | {"texts": ["x" * 100], "max_tokens": 10}
    assert ok(fake, "/v2/embed", body)["meta"]["tokens"] == {"input_tokens": 10}


# refusals

REFUSED = [
    ("/v1/embeddings", voyage(), 400, "cannot contain empty strings or empty lists"),
    ("/v1/embeddings", voyage("a", ""), 400, "cannot contain empty strings or empty lists"),
    ("/v1/embeddings", voyage("a", dimensions=8), 400, "Argument 'dimensions' is not supported"),
    ("/v1/embeddings", voyage("a", encoding_format="float"), 400, "accepted values are 'base64'"),
    ("/v1/embeddings", voyage("a", input_type="search_query"), 400, "'input_type' is not valid"),
    ("/v1/embeddings", voyage("a", output_dimension=7), 400, "[256, 512, 1024, 2048]"),
    ("/v1/embeddings", voyage("a", model="voyage-3-lite", output_dimension=1024), 400,
     "Value '1024' supplied for argument 'output_dimension' is not valid"),
    ("/v1/embeddings", voyage("a", truncation="yes"), 400, "argument 'truncation'"),
    ("/v1/embeddings", voyage("a", output_dtype="int4"), 400, "'output_dtype' is not valid"),
    ("/v1/embeddings", voyage("a", model="voyage-9"), 400, "Model voyage-9 is not supported. Sup"),
    ("/v1/embeddings", voyage("a", model=None), 400, "missing one or more required arguments"),
    ("/v1/embeddings", voyage() | {"input": [7]}, 400, "Error for argument 'input'"),
    ("/v1/embeddings", voyage() | {"input": {}}, 400, "Error for argument 'input'"),
    ("/v1/embeddings", voyage(*["a"] * 1001), 400, "limit is 1000. Your batch size is 1001"),
    ("/v1/embeddings", voyage(*["a" * 4 * 1000] * 121), 400,
     "max allowed tokens per submitted batch is 120000. Your batch has 121000 tokens"),
    ("/v1/embeddings", b"{", 400, "not valid JSON"),
    ("/v1/embeddings", [1], 400, "not valid JSON"),
    ("/v1/contextualizedembeddings", {"model": "voyage-code-3", "inputs": [["a"]]}, 400,
     "Model voyage-code-3 is not supported"),
    ("/v1/contextualizedembeddings", {"model": "voyage-context-3", "inputs": [[]]}, 400, "empty"),
    ("/v1/contextualizedembeddings", {"model": "voyage-context-3", "inputs": []}, 400, "empty"),
    ("/v1/contextualizedembeddings", {"model": "voyage-context-3", "inputs": [["a"] * 16_001]},
     400, "limit is 16000"),
    ("/v1/contextualizedembeddings", {"model": "voyage-context-3", "inputs": [["a"], "b"]}, 400,
     "'inputs'"),
    (OPENAI, openai([]), 400, "'$.input' is invalid"),
    (OPENAI, openai(""), 400, "'$.input' is invalid"),
    (OPENAI, openai(["a", ""]), 400, "'$.input' is invalid"),
    (OPENAI, openai(["a", 1]), 400, "'$.input' is invalid"),
    (OPENAI, openai([["a"]]), 400, "'$.input' is invalid"),
    (OPENAI, openai([[-1]]), 400, "'$.input' is invalid"),
    (OPENAI, openai([[]]), 400, "'$.input' is invalid"),
    (OPENAI, openai(None), 400, "you must provide a input parameter"),
    (OPENAI, openai("a", model=None), 400, "you must provide a model parameter"),
    (OPENAI, openai("a", model="m"), 404, "The model `m` does not exist"),
    (OPENAI, openai("a", input_type="query"), 400, "argument supplied: input_type"),
    (OPENAI, openai("a", encoding_format="int8"), 400, "'int8' is not one of"),
    (OPENAI, openai("a", dimensions=0), 400, "'dimensions' = 0"),
    (OPENAI, openai("a", dimensions=1537), 400, "less than or equal to 1536"),
    (OPENAI, openai("a", dimensions="8"), 400, "'$.dimensions' is invalid"),
    (OPENAI, openai("a", dimensions=True), 400, "'$.dimensions' is invalid"),
    (OPENAI, openai("a", model="text-embedding-ada-002", dimensions=1536), 400,
     "does not support specifying dimensions"),
    (OPENAI, openai(["a"] * 2049), 400, "maximum length 2048, but got an array with length 2049"),
    (OPENAI, openai(["a", "x" * 4 * 8193]), 400,
     "Invalid 'input[1]': maximum input length is 8192 tokens."),
    (OPENAI, openai(["x" * 4 * 8000] * 38), 400,
     "Requested 304000 tokens, max 300000 tokens per request"),
    ("/v2/embed", V4 | {"texts": []}, 400, "list of texts must not be empty"),
    ("/v2/embed", V4 | {"texts": ["a", ""]}, 400, "empty string at index 1"),
    ("/v2/embed", V4 | {"texts": "a"}, 400, "texts has the wrong type"),
    ("/v2/embed", V4, 400, "texts parameter is required"),
    ("/v2/embed", V4 | {"texts": ["a"] * 97}, 400, "must be at most 96 - received 97"),
    ("/v2/embed", V4 | {"texts": ["a"], "model": "m"}, 404, "model 'm' not found"),
    ("/v2/embed", V4 | {"texts": ["a"], "dimensions": 9}, 422, "parameter 'dimensions'"),
    ("/v2/embed", V4 | {"texts": ["a"], "output_dimension": 9}, 400, "[256, 512, 1024, 1536]"),
    ("/v2/embed", V4 | {"texts": ["a"], "input_type": None}, 400, "valid input_type"),
    ("/v2/embed", V4 | {"texts": ["a"], "input_type": "query"}, 400, "input_type must be one of"),
    ("/v2/embed", V4 | {"texts": ["a"], "embedding_types": None}, 400, "embedding_types parameter"),
    ("/v2/embed", V4 | {"texts": ["a"], "embedding_types": ["int4"]}, 400, "embedding_types must"),
    ("/v2/embed", V4 | {"texts": ["a"], "truncate": "LEFT"}, 400, "truncate must be one of"),
    ("/v2/embed", V4 | {"texts": ["a"], "inputs": []}, 422, "parameter 'inputs'"),
    ("/v2/embed", V4 | {"inputs": [{"content": [{"type": "image_url"}]}]}, 400, "inputs has the"),
    ("/v1/embed", V3 | {"texts": ["a"], "output_dimension": 1024}, 422, "'output_dimension'"),
    ("/v2/embed", V3 | {"texts": ["a"], "output_dimension": 256}, 400, "is not supported"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "words"), REFUSED)
def test_strict_refusals(fake: Fake, path: str, body: object, status: int, words: str) -> None:
    answer = fake.ask(path, body)
    assert (answer.status, answer.headers[b"content-type"]) == (status, b"application/json")
    got = answer.json
    message = got.get("detail") or got.get("message") or got["error"]["message"]
    assert words in message


def test_voyage_names_the_code_of_a_batch_that_is_too_large(fake: Fake) -> None:
    answer = fake.ask("/v1/embeddings", voyage(*["a" * 4 * 1000] * 121))
    assert answer.json["error_code"] == "TOO_MANY_TOKENS_IN_BATCH"


def test_openai_errors_have_all_their_fields(fake: Fake) -> None:
    answer = fake.ask(OPENAI, openai("a", dimensions=1537))
    assert answer.json["error"].keys() == {"message", "type", "param", "code"}
    assert answer.json["error"]["param"] == "dimensions"
    answer = fake.ask(OPENAI, openai(["x" * 4 * 8000] * 38))
    assert answer.json["error"]["code"] == "max_tokens_per_request"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", voyage(*["a"] * 1000)),
        ("/v1/embeddings", voyage(*["a" * 4 * 1000] * 120)),
        (OPENAI, openai(["a"] * 2048)),
        (OPENAI, openai("x" * 4 * 8192)),
        (OPENAI, openai(["x" * 4 * 7500] * 40)),
        (OPENAI, openai("a", dimensions=1)),
        ("/v2/embed", V4 | {"texts": ["a"] * 96, "embedding_types": ["binary"]}),
    ],
)
def test_exactly_at_a_cap_is_good(fake: Fake, path: str, body: object) -> None:
    assert fake.ask(path, body).status == 200


LENIENT = [
    ("/v1/embeddings", voyage("", dimensions=8, encoding_format="float", model="any")),
    ("/v1/embeddings", voyage(*["a"] * 1001)),
    (OPENAI, openai(["a", ""], model="any", input_type="query", dimensions=99)),
    ("/v2/embed", {"model": "any", "texts": ["a"] * 97}),
    ("/v1/contextualizedembeddings", {"model": "any", "inputs": ["a"]}),
]


@pytest.mark.parametrize(("path", "body"), LENIENT)
def test_not_strict_takes_what_it_can(path: str, body: object) -> None:
    assert Fake(FakeSettings(strict=False)).ask(path, body, headers={}).status == 200
    assert Fake().ask(path, body).status >= 400


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/embeddings", voyage(7)), ("/v1/embeddings", voyage(model=3)),
     (OPENAI, openai("a", dimensions=20_000)), ("/v2/embed", {"model": "any"})],
)  # fmt: skip
def test_not_strict_still_needs_texts_and_a_model(path: str, body: object) -> None:
    assert 400 <= Fake(FakeSettings(strict=False)).ask(path, body).status < 500


def test_caps_can_be_set() -> None:
    fake = Fake(FakeSettings(max_texts=2, max_tokens=10, max_text_tokens=8, dimensions=64))
    for texts, status in ((["a", "b"], 200), (["a"] * 3, 400), (["x" * 20] * 2, 200),
                          (["x" * 24, "x" * 20], 400)):  # fmt: skip
        assert fake.ask("/v1/embeddings", voyage(*texts)).status == status
    assert fake.ask(OPENAI, openai("x" * 32)).status == 200
    assert fake.ask(OPENAI, openai("x" * 33)).status == 400
    assert len(fake.ask(OPENAI, openai("a")).json["data"][0]["embedding"]) == 64
    assert fake.ask("/v1/embeddings", voyage("a", output_dimension=64)).status == 200


# the table


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_has_words_for_every_complaint(form: Form) -> None:
    assert set(form.words) == set(Complaint)
    facts = {
        "key": "k", "path": "/p", "method": "GET", "field": "f", "value": 1, "allowed": [2],
        "model": "m", "known": ["m"], "index": 3, "most": 4, "got": 5, "limit": 6.0, "used": 7.0,
        "requested": 8.0, "wait": "9s", "retry": "9s", "rpm": "10K", "tpm": "1M", "text": "a text",
    }  # fmt: skip
    unknown = dict.fromkeys(("limit", "rpm", "used", "wait", "retry"))
    for complaint in Complaint:
        for given in (facts, facts | unknown):
            for route in set(form.routes.values()):
                said = form.refuse(complaint, given | {"route": route})
                assert 400 <= said.status < 600
                assert b"None" not in said.body.replace(b'"None"', b"")
                if said.content is JSON:
                    assert "{" not in str(words_in(orjson.loads(said.body)))
                else:
                    assert b"{" not in said.body


def words_in(value: Any) -> list[str]:
    """Every text of a JSON value."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in words_in(each)]
    if isinstance(value, list):
        return [text for each in value for text in words_in(each)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("default", FORMS)
def test_bare_paths_belong_to_the_default_form(default: str) -> None:
    def found(path: str) -> object:
        return find_route(path.replace("{model}", "a-model"), default)

    for name, form in FORMS.items():
        for path, route in form.routes.items():
            wanted = Route(route, "a-model" if "{model}" in path else "")
            assert found(f"/{name}{path}") == (form, wanted)
            assert found(path) is not None
            if name == default:
                assert found(path) == (form, wanted)
    assert find_route("/v2/embed", default) == (FORMS["cohere"], Route("v2"))
    for path in (
        "/", "/v2/embeddings", "/cohere/v1/embeddings", "/cohere", "/acme/v2/embed",
        "/azure/openai/deployments//embeddings", "/azure/openai/deployments/{model}/embedding",
        "/gemini/v1beta/models/m:embed",
    ):  # fmt: skip
        assert find_route(path, default) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.012, "12ms"), (0.9994, "999ms"), (1.0, "1s"), (1.5, "1.5s"), (59.999, "59.999s"),
     (60.0, "1m0s"), (360.0, "6m0s")],
)  # fmt: skip
def test_durations_as_go_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
