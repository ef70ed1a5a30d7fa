"""Bodies: how deep, how many, what is JSON and what is not, as a body and as a text in it."""

from __future__ import annotations

import json
import random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emr.front.forms import document
from emr.front.forms.document import MAX_DEPTH, MAX_VALUES, load
from emr.front.offload import attempt
from emr.lane.refusal import Refused
from tests.front.double import Front

# bodies that are not JSON (RFC 8259), named for what is wrong with them
NOT_JSON = {
    "nothing": b"",
    "a space": b" ",
    "a word": b"hello",
    "an open object": b"{",
    "an open list": b'{"input":["a"',
    "an open string": b'{"input":"a',
    "a closing brace alone": b"}",
    "one brace too many": b'{"input":"a"}}',
    "a second document": b'{"input":"a"}{"input":"b"}',
    "a trailing comma in an object": b'{"input":"a",}',
    "a trailing comma in a list": b'{"input":["a",]}',
    "a double comma": b'{"input":["a",,"b"]}',
    "a leading comma": b'{"input":[,"a"]}',
    "no comma": b'{"input":"a" "model":"b"}',
    "no colon": b'{"input" "a"}',
    "two colons": b'{"input"::"a"}',
    "a colon in a list": b'{"input":["a":1]}',
    "a key without quotes": b'{input:"a"}',
    "single quotes": b"{'input':'a'}",
    "a number as key": b'{1:"a"}',
    "null as key": b'{null:"a"}',
    "a comment": b'{"input":"a"/**/}',
    "a line comment": b'{"input":"a"}//',
    "mismatched brackets": b'{"input":["a"}]',
    "NaN": b'{"input":"a","x":NaN}',
    "Infinity": b'{"input":"a","x":Infinity}',
    "minus Infinity": b'{"input":"a","x":-Infinity}',
    "a number too large": b'{"input":"a","x":1e999}',
    "a leading zero": b'{"input":"a","x":012}',
    "a plus": b'{"input":"a","x":+1}',
    "a bare point": b'{"input":"a","x":1.}',
    "no digit before the point": b'{"input":"a","x":.5}',
    "hex": b'{"input":"a","x":0x1F}',
    "an empty exponent": b'{"input":"a","x":1e}',
    "two minuses": b'{"input":"a","x":--1}',
    "digits grouped": b'{"input":"a","x":1_000}',
    "wide digits": '{"input":"a","x":\uff11}'.encode(),
    "True": b'{"input":"a","x":True}',
    "half a literal": b'{"input":"a","x":nul}',
    "undefined": b'{"input":undefined}',
    "a raw newline in a string": b'{"input":"a\nb"}',
    "a raw tab in a string": b'{"input":"a\tb"}',
    "a raw NUL in a string": b'{"input":"a\x00b"}',
    "an unknown escape": b'{"input":"a\\xb"}',
    "a broken unicode escape": b'{"input":"\\u00g0"}',
    "a short unicode escape": b'{"input":"\\u12"}',
    "an escape at the end": b'{"input":"a\\"}',
    "a lone high surrogate": b'{"input":"\\ud800"}',
    "a lone low surrogate": b'{"input":"\\udc00"}',
    "surrogates in the wrong order": b'{"input":"\\udc00\\ud800"}',
    "a high surrogate and a letter": b'{"input":"\\ud800a"}',
    "bytes that are not UTF-8": b'{"input":"\xff"}',
    "a UTF-8 text cut short": b'{"input":"\xe2\x82"}',
    "an overlong UTF-8 slash": b'{"input":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"input":"\xed\xa0\x80"}',
    "beyond Unicode": b'{"input":"\xf5\x80\x80\x80"}',
    "a byte order mark": b'\xef\xbb\xbf{"input":"a"}',
    "UTF-16": '{"input":"a"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"input":"a"}'.encode("utf-16-le"),
    "UTF-32": '{"input":"a"}'.encode("utf-32"),
    "a NUL behind it": b'{"input":"a"}\x00',
    "a form feed as space": b'{"input":\x0c"a"}',
    "a no-break space": b'{"input":\xc2\xa0"a"}',
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "a form": b"input=hello",
    "a hundred thousand brackets": b"[" * 100_000,
    "brackets that only close": b"]" * 1000,
    "an odd number of quotes and brackets": b'{"' + b"[" * 100 + b'":"' + b"\\" * 3,
}

# JSON, but no object
NOT_OBJECTS = [b"null", b"true", b"1", b"-0.0", b'"input"', b"[]", b'[{"input":"a"}]', b" [] "]

# JSON objects that say the same as {"input": "a"}
SAME = [
    b'{"input":"a"}',
    b' \t\r\n{ "input" : "a" } \n',
    b'{"\\u0069nput":"\\u0061"}',
    b'{"input":"b","input":"a"}',
    b'{"input":["x"],"input":"a"}',
    b'{"input":"a","model":null}',
]

# values that are JSON, each written in its own way
VALUES = [
    b"0", b"-0", b"-0.0", b"1E22", b"1e+2", b"1E-2", b"0e1", b"123.456e78", b"-1e-310", b"5e-324",
    b"1.7976931348623157e308", b"18446744073709551615", b"-9223372036854775808", b"0.1e1",
    b"true", b"false", b'""', b"[]", b"{}", b"[ ]", b'[null,1,"1",{}]', b'{"":0}', b'{"a":{"a":0}}',
    b'"\\u0000"', b'"\\u2028\\u2029"', b'"\\uD83D\\uDE00"', b'"\\udbff\\udfff"',
    b'"\\/\\b\\f\\n\\r\\t"',
    b'"\\uFFFF"', b'"\xef\xbf\xbf"', b'"\x7f"', b'"\xe2\x80\xa8"', b'"\xf4\x8f\xbf\xbf"',
    b'"\\\\u0061"',
    b"\t[\n1\r, 2 ]",
]  # fmt: skip

# whether these are JSON is a matter of taste; an answer they must get
TASTE = [
    b"1e400", b"-1e400", b"1e-400", b"123123e100000", b"-18446744073709551616",
    b"100000000000000000000", b"0." + b"1" * 5000, b"1" + b"0" * 300, b'"\xed\xa0\xbd\xed\xb8\x80"',
    b'"\\uD800\\uD800\\n"', b'"\\uDADA"', b'"\xf8\x88\x80\x80\x80"', b'{"a":1,"a":2}',
]  # fmt: skip

# texts that have broken programs; the Desk must get each of them as it is
TEXTS = [
    "a",
    " ",
    "\t\n\r",
    "\x00",
    "\x01\x08\x0b\x0c\x1b\x1f\x7f",
    "\x80\x9f\xa0\xad",
    "\u2028\u2029",
    "\ufeff",
    "\ufffe\uffff",
    "\ufffd",
    "\u200b\u200d\u2060\u00ad",
    "\u202eabc\u202c",
    "\u0300e\u0301",
    "e\u0301 \u00e9",
    "Ω≈ç√∫˜µ≤≥÷",
    "田中さんにあげて下さい",
    "הָיְתָה",
    "﷽",
    "𝒯𝒽ℯ 𝓆𝓊𝒾𝒸𝓀",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇺🇸",
    "\U0010ffff\U0001f600",
    '"',
    "\\",
    '\\"',
    "\\\\",
    '{"input":["a"]}',
    "[[[[[[",
    "]]]]}}}}",
    "'; DROP TABLE keys; --",
    "<script>alert(1)</script>",
    "../../etc/passwd%00",
    "${jndi:ldap://x}",
    "%s%n%x {0} {{}}",
    "null",
    "undefined",
    "NaN",
    "-0",
    "1e400",
    "True",
    "\r\nx-request-id: other\r\n\r\n",
    "data: [DONE]\n\n",
    "a" * 70_000,
    "[" * 70_000,
    "\\" * 9_999,
    '"' * 9_999,
]


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_not_json_is_refused(body: bytes) -> None:
    for path in ("/v1/embeddings", "/v1/embeddings/batch", "/v1/embed", "/v2/embed"):
        front = Front()
        answer = front.post(path, body)
        assert answer.status == 400
        assert answer.error["type"] == "validation_error"
        assert not front.desk.asks


@pytest.mark.parametrize("body", NOT_OBJECTS)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    answer = Front().post("/v1/embeddings", body)
    assert answer.status == 400
    assert "must be a JSON object" in answer.error["message"]


@pytest.mark.parametrize("body", SAME)
def test_one_meaning_in_many_writings(body: bytes) -> None:
    front = Front()
    assert front.post("/v1/embeddings", body).status == 200
    assert front.desk.request.texts == [b'"a"']


@pytest.mark.parametrize("value", VALUES)
def test_any_value_travels_as_it_was_meant(value: bytes) -> None:
    front = Front()
    assert front.post("/v1/embeddings", b'{"input":"a","x":%b}' % value).status == 200
    whole = front.desk.asks[0].whole
    assert whole is not None
    assert json.loads(whole)["x"] == json.loads(value)


@pytest.mark.parametrize("value", TASTE)
def test_what_is_a_matter_of_taste_is_answered(value: bytes) -> None:
    answer = Front().post("/v1/embeddings", b'{"input":"a","x":%b}' % value)
    assert answer.status in (200, 400)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_text_arrives_as_it_was_sent(text: str) -> None:
    for written in (orjson.dumps(text), json.dumps(text).encode()):
        for path, name in (("/v1/embeddings", "input"), ("/v1/embed", "texts")):
            front = Front()
            body = b'{"%b":[%b,"b"]}' % (name.encode(), written)
            assert front.post(path, body).status == 200
            first, second = front.desk.request.texts
            assert json.loads(first) == text
            assert second == b'"b"'


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=8))
def test_any_texts_arrive_as_they_were_sent(texts: list[str]) -> None:
    front = Front()
    front.post("/v1/embeddings", json.dumps({"input": texts}).encode())
    assert [json.loads(text) for text in front.desk.request.texts] == texts


# depth


def nested(depth: int, text: str = "a") -> bytes:
    """An object of so many levels."""
    return b'{"input":%b,"x":%b}' % (orjson.dumps(text), b"[" * (depth - 1) + b"]" * (depth - 1))


@pytest.mark.parametrize("text", ["a", "[[[[" * 40, '\\"]}' * 99, "{" * 65])
def test_the_limit_of_depth(text: str) -> None:
    assert load(nested(MAX_DEPTH - 1, text))
    assert load(nested(MAX_DEPTH, text))
    with pytest.raises(Refused, match="deeper than 64"):
        load(nested(MAX_DEPTH + 1, text))


def test_wide_is_not_deep() -> None:
    assert len(load(b'{"x":[' + b",".join([b"[]"] * 5000) + b"]}")["x"]) == 5000
    assert len(load(b'{"x":[' + b",".join([b'{"a":[1]}'] * 5000) + b"]}")["x"]) == 5000


def test_depth_is_looked_at_before_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Parser:
        JSONDecodeError = orjson.JSONDecodeError

        @staticmethod
        def loads(body: bytes) -> object:
            raise AssertionError("parsed")

    monkeypatch.setattr(document, "orjson", Parser)
    with pytest.raises(Refused, match="deeper than 64"):
        load(nested(MAX_DEPTH + 1))
    with pytest.raises(AssertionError, match="parsed"):
        load(nested(MAX_DEPTH))


def test_the_limit_of_lists_and_objects() -> None:
    for count, fine in ((MAX_VALUES - 1, True), (MAX_VALUES, True), (MAX_VALUES + 1, False)):
        lists = count - 2  # beside them the object and the outer list
        body = b'{"x":[' + b",".join([b"[]"] * lists) + b"]}"
        if fine:
            assert len(load(body)["x"]) == lists
        else:
            with pytest.raises(Refused, match="lists and objects"):
                load(body)


def test_the_limit_of_strings_in_a_body_with_many_brackets() -> None:
    for count, fine in ((MAX_VALUES - 1, True), (MAX_VALUES, True), (MAX_VALUES + 1, False)):
        strings = count - 2  # beside them a name and the string of brackets
        body = b'{"x":["' + b"[" * 65 + b'",' + b",".join([b'""'] * strings) + b"]}"
        if fine:
            assert len(load(body)["x"]) == strings + 1
        else:
            with pytest.raises(Refused, match="strings"):
                load(body)


def depth_of(value: object) -> int:
    """The depth of a parsed document: the slow and obvious way."""
    if isinstance(value, dict):
        return 1 + max((depth_of(each) for each in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth_of(each) for each in value), default=0)
    return 0


def test_depth_agrees_with_the_obvious_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_DEPTH", 3)
    rng = random.Random(20)
    letters = '[]{}",:\\ab'

    def make(room: int) -> object:
        kind = rng.randrange(4 if room else 2)
        if kind == 0:
            return "".join(rng.choices(letters, k=rng.randrange(8)))
        if kind == 1:
            return rng.choice([1, None, True, -2.5])
        if kind == 2:
            return [make(room - 1) for _ in range(rng.randrange(4))]
        return {"".join(rng.choices(letters, k=5)): make(room - 1) for _ in range(rng.randrange(4))}

    seen = set()
    for _ in range(3000):
        value = {"x": make(4)}
        deep = depth_of(value) > 3
        seen.add(deep)
        body = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode()
        if deep:
            with pytest.raises(Refused, match="deeper"):
                load(body)
        else:
            assert load(body) == value
    assert seen == {True, False}


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(body: bytes) -> None:
    loaded = attempt(lambda: load(body))
    assert isinstance(loaded, dict) or loaded.type == "validation_error"


def test_mutated_bodies_never_raise_anything_else() -> None:
    rng = random.Random(7)
    good = [orjson.dumps({"input": [text[:300]], "x": [[{"a": text[:50]}]]}) for text in TEXTS]
    for _ in range(4000):
        body = bytearray(rng.choice(good))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(body))
            kind = rng.randrange(3)
            if kind == 0:
                body[at] = rng.choice(b'[]{}",:\\\x00\xff0a')
            elif kind == 1:
                del body[at : at + rng.randrange(1, 9)]
            else:
                body[at:at] = body[at : at + rng.randrange(1, 30)]
            if not body:
                break
        answer = Front().post("/v1/embeddings", bytes(body))
        assert answer.status in (200, 400)
