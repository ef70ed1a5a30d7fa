"""The answer of `/v1/embeddings`: one body for all clients, every vector as its caller wants it."""

from __future__ import annotations

import base64
import struct

import orjson
import pytest

from emr.front.forms.superset import KEPT
from emr.lane.ticket import Request
from tests.front.double import DeskDouble, Front, Row, base64_of, few, floats_of

URL = "/v1/embeddings"


def test_the_superset_answer() -> None:
    front = Front()
    answer = front.post(URL, {"input": ["a", "b"]}, x_request_id="mine")
    numbers = [floats_of(b'"a"'), floats_of(b'"b"')]
    assert answer.json == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": numbers[0]},
            {"object": "embedding", "index": 1, "embedding": numbers[1]},
        ],
        "model": "voyage-code-3",
        "provider": "voyage",
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
        "id": "mine",
    }
    assert answer.headers == {
        "content-type": "application/json",
        "x-emr-provider": "voyage",
        "x-emr-model": "voyage-code-3",
        "x-emr-batch": "2",
        "x-emr-cache": "miss",
        "x-emr-attempts": "1",
        "server-timing": "queue;dur=1.2, provider;dur=180.0",
        "x-request-id": "mine",
    }


def test_one_and_many_are_written_alike() -> None:
    one, many = (Front().post(URL, {"input": i}, x_request_id="r").json for i in ("a", ["a", "b"]))
    del many["data"][1]
    many["usage"] = one["usage"]
    assert many == one
    assert list(many) == list(one)


@pytest.mark.parametrize("count", [2, 3, KEPT - 1, KEPT, KEPT + 1, 3000])
def test_every_text_has_its_place(count: int) -> None:
    front = Front(few(5000))
    answer = front.post(URL, {"input": [f"text {i}" for i in range(count)]})
    data = answer.json["data"]
    assert [entry["index"] for entry in data] == list(range(count))
    for i in (0, 1, count // 2, count - 1):
        assert data[i]["embedding"] == floats_of(orjson.dumps(f"text {i}"))


class Spaced(DeskDouble):
    """Vectors in a writing that no one else would choose."""

    @staticmethod
    def vector(row: Row, request: Request, text: bytes) -> bytes:
        return b"[ 1.50,-0.0 ,2E-3 , 10 ]" if not row.base64 else b'"AACAP\\/8="'


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("encoded", [False, True])
def test_a_vector_passes_through_untouched(encoded: bool, count: int) -> None:
    front = Front(Spaced({"p": Row("m", base64=encoded)}))
    encoding = "base64" if encoded else "float"
    body = {"input": ["a"] * count, "encoding_format": encoding}
    raw = b'"AACAP\\/8="' if encoded else b"[ 1.50,-0.0 ,2E-3 , 10 ]"
    assert front.post(URL, body).body.count(b'"embedding":' + raw) == count


@pytest.mark.parametrize("wanted", ["float", "base64"])
@pytest.mark.parametrize("came", ["float", "base64"])
def test_each_writing_from_each(came: str, wanted: str) -> None:
    front = Front(DeskDouble({"p": Row("m", base64=came == "base64")}))
    answer = front.post(URL, {"input": ["a", "b"], "encoding_format": wanted})
    numbers = [floats_of(b'"a"'), floats_of(b'"b"')]
    want = [base64_of(each) for each in numbers] if wanted == "base64" else numbers
    assert [entry["embedding"] for entry in answer.json["data"]] == want


class Mixed(DeskDouble):
    """A request that travelled in several calls: each may bring its own writing."""

    @staticmethod
    def vector(row: Row, request: Request, text: bytes) -> bytes:
        row.base64 = not row.base64
        return DeskDouble.vector(row, request, text)


@pytest.mark.parametrize("wanted", ["float", "base64"])
def test_writings_that_came_mixed_leave_as_one(wanted: str) -> None:
    answer = Front(Mixed()).post(URL, {"input": ["a", "b", "c"], "encoding_format": wanted})
    kind = str if wanted == "base64" else list
    assert {type(entry["embedding"]) for entry in answer.json["data"]} == {kind}


@pytest.mark.parametrize(
    ("dtype", "numbers", "packed"),
    [
        ("int8", [-128, 0, 127], b"\x80\x00\x7f"),
        ("binary", [-128, 0, 127], b"\x80\x00\x7f"),
        ("uint8", [0, 128, 255], b"\x00\x80\xff"),
        ("ubinary", [0, 128, 255], b"\x00\x80\xff"),
    ],
)
def test_base64_of_a_dtype_is_its_bytes(dtype: str, numbers: list[int], packed: bytes) -> None:
    text = base64.b64encode(packed).decode()
    for came in (numbers, text):
        rows = {"p": Row("m", dtypes={dtype: orjson.dumps(came)})}
        body = {"input": ["a"], "output_dtype": dtype}
        answer = Front(DeskDouble(rows)).post(URL, body)
        assert answer.json["data"][0]["embedding"] == numbers
        answer = Front(DeskDouble(rows)).post(URL, {**body, "encoding_format": "base64"})
        assert answer.json["data"][0]["embedding"] == text


@pytest.mark.parametrize(
    ("encoding", "vector"),
    [
        ("base64", b"[1e39]"),
        ("base64", b"[-1e39,1e39]"),
        ("base64", b'["a"]'),
        ("base64", b"[null]"),
        ("base64", b"[1,2"),
        ("float", b'"AADAfw=="'),  # NaN
        ("float", b'"AACAfw=="'),  # infinite
        ("float", b'"AACA/w=="'),  # minus infinite
        ("float", b'"AAAA"'),  # three bytes
        ("float", b'"AAA"'),
        ("float", b'"A@=="'),
    ],
)
def test_a_number_that_is_none_never_leaves(encoding: str, vector: bytes) -> None:
    rows = {"p": Row("m", dtypes={"float": vector})}
    answer = Front(DeskDouble(rows)).post(URL, {"input": "a", "encoding_format": encoding})
    assert answer.status == 502
    assert answer.error["type"] == "provider_error"
    assert answer.error["message"].startswith("p: a vector ")
    assert answer.headers["x-should-retry"] == "false"


def test_base64_with_escaped_slashes_is_read() -> None:
    rows = {"p": Row("m", dtypes={"float": b'"\\/\\/8AAA=="'})}
    (entry,) = Front(DeskDouble(rows)).post(URL, {"input": "a"}).json["data"]
    assert struct.pack("<f", *entry["embedding"]) == b"\xff\xff\x00\x00"


def test_names_out_of_a_reply_cannot_break_a_header() -> None:
    front = Front(DeskDouble({"p": Row("modèle\r\nset-cookie: a=b 100%")}))
    answer = front.post(URL, {"input": "a"})
    assert answer.headers["x-emr-model"] == "mod%C3%A8le%0D%0Aset-cookie: a=b 100%25"
    assert answer.json["model"] == "modèle\r\nset-cookie: a=b 100%"


def test_the_limit_of_a_name_in_a_header() -> None:
    for length in (255, 256, 257, 5000):
        answer = Front(DeskDouble({"p": Row("x" * length)})).post(URL, {"input": "a"})
        assert len(answer.headers["x-emr-model"]) == min(length, 256)
        assert len(answer.json["model"]) == length
