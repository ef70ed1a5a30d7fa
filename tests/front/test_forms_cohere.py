"""`/v1/embed` and `/v2/embed`: Cohere's clients, and the mixtures of types they may ask for."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest

from emr.lane.refusal import Refusal
from tests.front.double import DeskDouble, Front, Row, base64_of, floats_of

BOTH = pytest.mark.parametrize("path", ["/v1/embed", "/v2/embed"])
A, B = floats_of(b'"a"'), floats_of(b'"b"')


def cohere(**row: Any) -> Front:
    return Front(DeskDouble({"cohere": Row("embed-v4.0", **row)}))


def test_v1_without_types_is_a_bare_list() -> None:
    front = cohere()
    body = {"texts": ["a", "b"], "model": "embed-v4.0", "input_type": "search_query"}
    answer = front.post("/v1/embed", body, x_request_id="mine")
    assert answer.json == {
        "id": "mine",
        "response_type": "embeddings_floats",
        "embeddings": [A, B],
        "texts": ["a", "b"],
        "meta": {"api_version": {"version": "1"}, "billed_units": {"input_tokens": 6}},
    }
    ask = front.desk.asks[0]
    assert (ask.input_type, ask.param, ask.whole) == ("query", "texts", None)


@BOTH
def test_types(path: str) -> None:
    front = cohere()
    body = {"texts": ["a", "b"], "input_type": "search_document", "embedding_types": ["float"]}
    answer = front.post(path, body, x_request_id="mine")
    assert answer.json == {
        "id": "mine",
        "response_type": "embeddings_by_type",
        "embeddings": {"float": [A, B]},
        "texts": ["a", "b"],
        "meta": {"api_version": {"version": path[2]}, "billed_units": {"input_tokens": 6}},
    }
    assert front.desk.asks[0].input_type == "document"
    assert answer.headers["x-emr-model"] == "embed-v4.0"


def test_v2_without_types_is_float() -> None:
    assert cohere().post("/v2/embed", {"texts": ["a"]}).json["embeddings"] == {"float": [A]}
    body = {"texts": ["a"], "embedding_types": []}
    assert cohere().post("/v2/embed", body).json["embeddings"] == {"float": [A]}
    assert cohere().post("/v1/embed", body).json["embeddings"] == [A]


@pytest.mark.parametrize("came_base64", [False, True])
@pytest.mark.parametrize("types", [["float"], ["base64"], ["float", "base64"], ["base64", "float"]])
def test_float_and_base64_come_from_one_vector(types: list[str], came_base64: bool) -> None:
    front = cohere(base64=came_base64)
    body = {"texts": ["a", "b"], "embedding_types": types}
    embeddings = front.post("/v2/embed", body).json["embeddings"]
    want = {"float": [A, B], "base64": [base64_of(A), base64_of(B)]}
    assert embeddings == {name: want[name] for name in types}
    assert list(embeddings) == types
    (ask,) = front.desk.asks
    assert (ask.dtype, ask.whole) == ("float", None)
    assert front.desk.request.float_text is (types != ["base64"])


@BOTH
@pytest.mark.parametrize("dtype", ["int8", "uint8", "binary", "ubinary"])
def test_one_other_type(path: str, dtype: str) -> None:
    encoded = base64.b64encode(struct.pack("3B", 0, 1, 127)).decode()
    for came in ([0, 1, 127], encoded):
        front = cohere(dtypes={dtype: orjson.dumps(came)})
        body = {"texts": ["a"], "embedding_types": [dtype]}
        assert front.post(path, body).json["embeddings"] == {dtype: [[0, 1, 127]]}
        assert front.desk.asks[0].dtype == dtype


@BOTH
@pytest.mark.parametrize(
    "extra",
    [
        {"embedding_types": ["float", "int8"]},
        {"embedding_types": ["int8", "binary"]},
        {"embedding_types": ["base64", "ubinary", "float"]},
        {"max_tokens": 100},
        {"priority": 5},
        {"images": ["data:image/png;base64,AA=="]},
        {"anything": 1},
    ],
)
def test_what_one_call_cannot_give_travels_whole(path: str, extra: dict[str, Any]) -> None:
    front = cohere(body=b'{"id":"theirs"}')
    body = {"texts": ["a"], "model": "embed-v4.0", **extra}
    answer = front.post(path, {**body, "provider": "cohere"})
    assert answer.body == b'{"id":"theirs"}'
    (ask,) = front.desk.asks
    assert orjson.loads(ask.whole) == body
    assert ask.path == path
    assert ask.texts == [b'"a"']


@BOTH
@pytest.mark.parametrize("name", ["images", "inputs"])
def test_other_inputs_count_as_one_text(path: str, name: str) -> None:
    front = cohere()
    assert front.post(path, {name: [{"content": []}], "model": "embed-v4.0"}).status == 200
    (ask,) = front.desk.asks
    assert ask.texts == [ask.whole]


@BOTH
@pytest.mark.parametrize("name", ["images", "inputs", "texts"])
@pytest.mark.parametrize("given", ["a", {}, 1, []])
def test_other_inputs_must_be_lists(path: str, name: str, given: Any) -> None:
    answer = cohere().post(path, {name: given})
    assert (answer.status, answer.error["param"]) == (400, name)


@BOTH
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"texts": None}, "texts"),
        ({"texts": ["a", ""]}, "texts[1]"),
        ({"texts": ["a", 1]}, "texts[1]"),
        ({"texts": [1, 2]}, "texts[0]"),
        ({"texts": [[1]]}, "texts[0]"),
        ({"texts": ["a"] * 2049}, "texts"),
        ({"model": 4}, "model"),
        ({"input_type": 4}, "input_type"),
        ({"truncate": "MIDDLE"}, "truncate"),
        ({"truncate": True}, "truncate"),
        ({"output_dimension": "256"}, "output_dimension"),
        ({"embedding_types": "float"}, "embedding_types"),
        ({"embedding_types": ["float", "float64"]}, "embedding_types[1]"),
        ({"embedding_types": [None]}, "embedding_types[0]"),
    ],
)
def test_a_wrong_field_is_named(path: str, fields: dict[str, Any], param: str) -> None:
    front = cohere()
    answer = front.post(path, {"texts": ["a"], **fields})
    assert (answer.status, answer.error["param"]) == (400, param)
    assert answer.json["message"] == answer.error["message"]
    assert not front.desk.submitted


@BOTH
def test_nothing_to_embed(path: str) -> None:
    answer = cohere().post(path, {"model": "embed-v4.0"})
    assert (answer.status, answer.error["param"]) == (400, "texts")


@pytest.mark.parametrize(
    ("word", "meant"),
    [("NONE", "none"), ("START", "start"), ("END", "end"), ("end", "end"), (None, None)],
)
def test_truncate(word: str | None, meant: str | None) -> None:
    front = cohere()
    front.post("/v2/embed", {"texts": ["a"], "truncate": word})
    assert front.desk.asks[0].truncate == meant


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("search_document", "document"),
        ("search_query", "query"),
        ("classification", "classification"),
        ("clustering", "clustering"),
        (None, None),
    ],
)
def test_input_type(word: str | None, meant: str | None) -> None:
    front = cohere()
    front.post("/v2/embed", {"texts": ["a"], "input_type": word, "output_dimension": 256})
    assert front.desk.asks[0].input_type == meant
    assert front.desk.asks[0].dimensions == 256


@BOTH
def test_a_refused_text_is_named_in_coheres_words(path: str) -> None:
    front = cohere(refusal=Refusal("validation_error", "too long", param="input[1]"))
    answer = front.post(path, {"texts": ["a", "b"]})
    assert (answer.status, answer.error["param"]) == (400, "texts[1]")


def test_texts_are_echoed_as_they_were() -> None:
    texts = ['"\\', "世界\n", "\x00", "👩‍👩‍👧"]
    assert cohere().post("/v1/embed", {"texts": texts}).json["texts"] == texts


@BOTH
def test_a_bad_vector_is_a_clear_error(path: str) -> None:
    front = cohere(dtypes={"float": b"[1e39]"})
    answer = front.post(path, {"texts": ["a"], "embedding_types": ["base64"]})
    assert (answer.status, answer.error["type"]) == (502, "provider_error")
