"""`/v1/embeddings`: what each client sends, what every field must be, and what travels whole."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest

from tests.front.double import DeskDouble, Front, Row, asked, floats_of, refused, with_key

URL = "/v1/embeddings"


# what clients send


def test_openai_python() -> None:
    """It adds base64 whenever the caller names no format."""
    front = Front()
    body = {"model": "voyage-code-3", "input": ["a", "b"], "encoding_format": "base64"}
    answer = front.post(URL, body, x_stainless_read_timeout="600", x_stainless_retry_count="0")
    assert answer.status == 200
    for place, entry in enumerate(answer.json["data"]):
        assert entry["index"] == place
        assert entry["object"] == "embedding"
        numbers = struct.unpack("<8f", base64.b64decode(entry["embedding"]))
        assert list(numbers) == floats_of(orjson.dumps("ab"[place]))
    assert front.desk.request.float_text is False


def test_openai_node_sends_one_string() -> None:
    front = Front()
    body = {"model": "voyage-code-3", "input": "a", "encoding_format": "base64", "dimensions": 4}
    answer = front.post("/embeddings", body, x_stainless_timeout="30")
    ask = front.desk.asks[-1]
    assert (ask.single, ask.texts, ask.dimensions) == (True, [b'"a"'], 4)
    assert base64.b64decode(answer.json["data"][0]["embedding"]) == struct.pack(
        "<4f", *floats_of(b'"a"', 4)
    )


@pytest.mark.parametrize("dimension", [None, 512])
@pytest.mark.parametrize("input_type", [None, "query", "document"])
def test_voyageai_sends_explicit_nulls(input_type: str | None, dimension: int | None) -> None:
    ask = asked(
        {
            "input": ["a", "b"],
            "model": "voyage-code-3",
            "input_type": input_type,
            "truncation": True,
            "output_dtype": None,
            "output_dimension": dimension,
            "encoding_format": "base64",
        }
    )
    assert ask.texts == [b'"a"', b'"b"']
    assert (ask.input_type, ask.dimensions, ask.truncate) == (input_type, dimension, "end")
    assert (ask.dtype, ask.base64, ask.whole) == ("float", True, None)


def test_llama_index_and_haystack() -> None:
    ask = asked(
        {"input": ["a b"], "model": "voyage-code-3", "encoding_format": "float", "user": ""}
    )
    assert (ask.base64, ask.user, ask.whole) == (False, "", None)


def test_langchain_sends_token_ids() -> None:
    ask = asked({"input": [[1, 2, 100257], [3]], "model": "voyage-code-3"})
    assert (ask.texts, ask.token_ids, ask.single) == ([b"[1,2,100257]", b"[3]"], True, False)


def test_one_list_of_token_ids_is_one_text() -> None:
    ask = asked({"input": [1, 2, 3]})
    assert (ask.texts, ask.token_ids, ask.single) == ([b"[1,2,3]"], True, True)


def test_the_routers_own() -> None:
    ask = asked({"input": ["a"], "provider": "voyage"})
    assert (ask.provider, ask.model, ask.single) == ("voyage", None, False)


def test_provider_wins_over_providers() -> None:
    front = Front()
    body = {"input": ["a"], "provider": "cohere", "providers": ["voyage"], "policy": "all"}
    answer = front.post(URL, body)
    assert answer.json["provider"] == "cohere"
    assert len(front.desk.submitted) == 1


def test_mistral() -> None:
    ask = asked({"model": "voyage-code-3", "input": ["a"], "output_dtype": "float"})
    assert (ask.dtype, ask.whole) == ("float", None)


def test_content_type_is_not_needed() -> None:
    front = Front()
    assert front.post(URL, {"input": "a"}, content_type="text/plain").status == 200
    assert front.post(URL, {"input": "a"}).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/openai/deployments/my-model/embeddings?api-version=2024-06-01",
        "/deployments/my-model/embeddings",
    ],
)
def test_azures_deployment_is_the_model(path: str) -> None:
    front = Front(DeskDouble({"azure": Row("my-model")}))
    ask = asked({"input": "a", "model": "text-embedding-3-small"}, path, front)
    assert ask.model == "my-model"


def test_a_deployment_may_have_slashes() -> None:
    front = Front(DeskDouble({"tei": Row("BAAI/bge-m3")}))
    ask = asked({"input": "a"}, "/openai/deployments/BAAI/bge-m3/embeddings", front)
    assert ask.model == "BAAI/bge-m3"


# fields


@pytest.mark.parametrize(
    "name",
    [
        "model", "encoding_format", "dimensions", "output_dimension", "input_type", "truncation",
        "output_dtype", "user", "provider", "providers", "policy", "late_chunking", "anything",
    ],
)  # fmt: skip
def test_null_is_the_same_as_absent(name: str) -> None:
    assert asked({"input": "a", name: None}) == asked({"input": "a"})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 1}, "model"),
        ({"model": ""}, "model"),
        ({"model": ["a"]}, "model"),
        ({"encoding_format": "bytes"}, "encoding_format"),
        ({"encoding_format": ""}, "encoding_format"),
        ({"encoding_format": 1}, "encoding_format"),
        ({"encoding_format": ["base64"]}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": -1}, "dimensions"),
        ({"dimensions": 1_000_001}, "dimensions"),
        ({"dimensions": "512"}, "dimensions"),
        ({"dimensions": 512.0}, "dimensions"),
        ({"dimensions": True}, "dimensions"),
        ({"output_dimension": [512]}, "output_dimension"),
        ({"dimensions": 512, "output_dimension": 256}, "output_dimension"),
        ({"output_dimension": 512, "dimensions": 256}, "dimensions"),
        ({"input_type": 1}, "input_type"),
        ({"input_type": ""}, "input_type"),
        ({"input_type": "x" * 65}, "input_type"),
        ({"truncation": "END"}, "truncation"),
        ({"truncation": 1}, "truncation"),
        ({"output_dtype": "float64"}, "output_dtype"),
        ({"output_dtype": 8}, "output_dtype"),
        ({"user": 1}, "user"),
        ({"user": {}}, "user"),
        ({"provider": ""}, "provider"),
        ({"provider": {"order": ["voyage"]}}, "provider"),
        ({"providers": "voyage"}, "providers"),
        ({"providers": []}, "providers"),
        ({"providers": ["voyage", 1]}, "providers[1]"),
        ({"providers": ["voyage", ""]}, "providers[1]"),
        ({"providers": ["voyage", None]}, "providers[1]"),
        ({"providers": ["voyage"], "policy": "most"}, "policy"),
        ({"provider": "voyage", "policy": "most"}, "policy"),
        ({"policy": 1}, "policy"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    got, message = refused({"input": "a", **fields})
    assert got == param
    assert message.startswith(param + " ")


def test_choices_are_listed() -> None:
    assert "float, base64" in refused({"input": "a", "encoding_format": "hex"})[1]
    assert "ubinary" in refused({"input": "a", "output_dtype": "bits"})[1]
    assert "any, all" in refused({"input": "a", "policy": "most"})[1]


def test_a_long_wrong_word_is_shown_in_part() -> None:
    assert len(refused({"input": "a", "policy": "x" * 100_000})[1]) < 200


def test_the_limit_of_a_shown_word() -> None:
    for length, whole in ((59, True), (60, True), (61, False)):
        message = refused({"input": "a", "policy": "x" * length})[1]
        assert message.endswith("x'" if whole else "x...'")
        assert message.count("x") == min(length, 60)


def test_the_limits_of_dimensions() -> None:
    for dimensions in (999_999, 1_000_000):
        front = Front(DeskDouble(hold=True))
        body = orjson.dumps({"input": "a", "dimensions": dimensions})
        front.client.send("POST", "/v1/embeddings", body, with_key())
        assert front.desk.asks[0].dimensions == dimensions
    assert asked({"input": "a", "dimensions": 1}).dimensions == 1
    assert asked({"input": "a", "dimensions": 3, "output_dimension": 3}).dimensions == 3


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("query", "query"),
        ("document", "document"),
        ("search_query", "query"),
        ("search_document", "document"),
        ("classification", "classification"),
        ("x" * 64, "x" * 64),
    ],
)
def test_input_types(word: str, meant: str) -> None:
    assert asked({"input": "a", "input_type": word}).input_type == meant


def test_truncation() -> None:
    assert asked({"input": "a", "truncation": True}).truncate == "end"
    assert asked({"input": "a", "truncation": False}).truncate == "none"
    assert asked({"input": "a"}).truncate is None


def test_providers_are_taken_once_each() -> None:
    front = Front()
    front.post(URL, {"input": "a", "providers": ["cohere", "voyage", "cohere"], "policy": "all"})
    assert [plan.provider for plan, _ in front.desk.submitted] == ["cohere", "voyage"]


def test_the_user_travels_beside_the_lane() -> None:
    front = Front()
    asked({"input": "a", "user": "u1"}, front=front)
    assert front.desk.request.user == "u1"


# whole


@pytest.mark.parametrize(
    "extra", [{"late_chunking": True}, {"late_chunking": False}, {"task": "x"}, {"priority": 0}]
)
def test_an_unknown_field_sends_a_request_whole(extra: dict[str, Any]) -> None:
    front = Front(DeskDouble({"jina": Row("v4", body=b'{ "object":"list", "data":[1.50] }')}))
    body = {"input": ["a", "b"], "model": "v4", "provider": "jina", "policy": "any", **extra}
    answer = front.post(URL, body)
    ask = front.desk.asks[-1]
    assert orjson.loads(ask.whole) == {"input": ["a", "b"], "model": "v4", **extra}
    assert ask.path is None
    assert ask.texts == [b'"a"', b'"b"']
    assert answer.body == b'{ "object":"list", "data":[1.50] }'
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-emr-provider"] == "jina"


def test_emrs_own_fields_do_not_travel_even_as_null() -> None:
    ask = asked({"input": "a", "x": 1, "provider": None, "providers": None, "policy": None})
    assert orjson.loads(ask.whole) == {"input": "a", "x": 1}


def test_a_whole_request_is_what_was_checked() -> None:
    """Of a name that stands twice the last counts, for emr and for the provider."""
    ask = asked(b'{"model":"dear","input":["",""],"x":1,"model":"voyage-code-3","input":["a"]}')
    assert orjson.loads(ask.whole) == {"model": "voyage-code-3", "input": ["a"], "x": 1}
    assert ask.whole.count(b"model") == 1


def test_a_whole_request_is_validated_too() -> None:
    assert refused({"input": ["a", ""], "x": 1})[0] == "input[1]"
