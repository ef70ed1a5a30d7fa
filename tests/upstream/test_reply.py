"""Reading replies: the cut agrees with orjson, whatever the reply; and nothing wrong gets through.

The oracle here reads the whole body by orjson and applies the rules in the plainest way.
"""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emr.lane.ticket import Params
from emr.lane.verdict import Ending, Reply
from emr.upstream.cut import Doubt, cut_each, cut_listed
from emr.upstream.reply import (
    COHERE_FLOATS_SHAPE,
    OPENAI_SHAPE,
    Shape,
    Unreadable,
    cohere_shape,
    read_passed_on,
    read_reply,
)
from emr.upstream.vector import DTYPES

FLOAT = DTYPES["float"]
PARAMS = Params("model")
V2 = cohere_shape("float")
LARGEST = 3.4028234663852886e38


def b64(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def openai(*entries: tuple[int, str], more: str = '"usage":{"total_tokens":7}') -> bytes:
    data = ",".join(
        f'{{"object":"embedding","index":{i},"embedding":{vector}}}' for i, vector in entries
    )
    return f'{{"object":"list","data":[{data}],"model":"said",{more}}}'.encode()


def numbers_of(text: bytes) -> list[float]:
    value = orjson.loads(text)
    if type(value) is str:
        raw = base64.b64decode(value)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return [float(v) for v in value]


def oracle(body: bytes, shape: Shape, texts: int) -> list[list[float]] | None:
    """The vectors by orjson alone, None when the reply must be refused."""
    try:
        value = orjson.loads(body)
        if shape is OPENAI_SHAPE:
            data = value["data"]
            if type(data) is not list or len(data) != texts:
                return None
            by_index = {e["index"]: e["embedding"] for e in data if type(e["index"]) is int}
            found = [by_index[i] for i in range(texts)]
        else:
            found = (
                value["embeddings"]
                if shape is COHERE_FLOATS_SHAPE
                else value["embeddings"]["float"]
            )
            if type(found) is not list or len(found) != texts:
                return None
        vectors = [_plain(v) for v in found]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IndexError):
        return None
    if len({len(v) for v in vectors}) != 1 or not vectors[0]:
        return None
    return vectors


def _plain(value: Any) -> list[float]:
    if type(value) is str:
        raw = base64.b64decode(value, validate=True)
        if len(raw) % 4:
            raise ValueError
        value = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    if type(value) is not list:
        raise ValueError
    for v in value:
        if type(v) not in (int, float) or not math.isfinite(v) or abs(v) > LARGEST:
            raise ValueError
    return [float(v) for v in value]


def agree(body: bytes, shape: Shape, texts: int) -> Reply | None:
    """Read `body`; the outcome must be the oracle's, vector for vector."""
    expected = oracle(body, shape, texts)
    reply, refused = None, None
    try:
        reply = read_reply(body, shape, PARAMS, texts)
    except Unreadable as error:
        refused = error
    if refused is not None or reply is None:
        assert expected is None, "refused a good reply"
        assert refused is not None
        assert refused.ending in (Ending.PROTOCOL, Ending.TRANSIENT)
        assert refused.message
        return None
    assert expected is not None, "let a bad reply through"
    assert [numbers_of(v) for v in reply.vectors] == expected
    assert reply.dimensions == len(expected[0])
    for vector in reply.vectors:
        assert b" " not in vector
        assert b"\n" not in vector
    return reply


# the usual shapes


def test_a_usual_reply_is_cut_as_it_came() -> None:
    reply = read_reply(openai((0, "[0.10,-2.50]"), (1, "[1e-05,4.0]")), OPENAI_SHAPE, PARAMS, 2)
    assert reply == Reply([b"[0.10,-2.50]", b"[1e-05,4.0]"], 2, 7, "said")


def test_base64_is_passed_through() -> None:
    one, two = f'"{b64(0.5, 0.25)}"', f'"{b64(-1.0, 1e-9)}"'
    reply = read_reply(openai((0, one), (1, two)), OPENAI_SHAPE, PARAMS, 2)
    assert reply.vectors == [one.encode(), two.encode()]
    assert reply.dimensions == 2


def test_numbers_and_base64_may_stand_in_one_reply() -> None:
    reply = agree(openai((0, "[0.5,1]"), (1, f'"{b64(0.5, 1.0)}"')), OPENAI_SHAPE, 2)
    assert reply is not None


def test_a_shuffled_reply_is_put_right() -> None:
    reply = read_reply(openai((2, "[3]"), (0, "[1]"), (1, "[2]")), OPENAI_SHAPE, PARAMS, 3)
    assert reply.vectors == [b"[1]", b"[2]", b"[3]"]


def test_a_pretty_reply_loses_its_white_space() -> None:
    value = orjson.loads(openai((0, "[0.5,-0.25]"), (1, "[1.5,2.5]")))
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2)
    reply = read_reply(body, OPENAI_SHAPE, PARAMS, 2)
    assert reply.vectors == [b"[0.5,-0.25]", b"[1.5,2.5]"]


def test_cohere_v2() -> None:
    body = (
        b'{"id":"x","texts":["say \\"float\\":[[9]] and \\"embeddings\\":[[9]]","b"],"embeddings":'
        b'{"float":[[0.5,1.5], [2.5,3.5]]},"meta":{"billed_units":{"input_tokens":12.0}}}'
    )
    reply = read_reply(body, V2, PARAMS, 2)
    assert reply == Reply([b"[0.5,1.5]", b"[2.5,3.5]"], 2, 12, "model")
    encoded = f'{{"embeddings":{{"base64":["{b64(0.5)}","{b64(1.5)}"]}}}}'.encode()
    reply = read_reply(encoded, cohere_shape("base64"), PARAMS, 2)
    assert reply.vectors == [f'"{b64(0.5)}"'.encode(), f'"{b64(1.5)}"'.encode()]


def test_cohere_v1() -> None:
    body = b'{"response_type":"embeddings_floats","embeddings":[[0.5],[1.5]],"texts":["a","b"]}'
    assert read_reply(body, COHERE_FLOATS_SHAPE, PARAMS, 2).vectors == [b"[0.5]", b"[1.5]"]


def test_the_usual_shapes_are_cut_and_not_read_whole() -> None:
    """Else every reply would take the slow way, and nobody would notice."""
    _, slices = cut_each(openai((0, "[0.5]"), (1, "[1.5]")), OPENAI_SHAPE.key, FLOAT)
    assert [text for text, _ in slices.values()] == [b"[0.5]", b"[1.5]"]
    body = b'{"embeddings" : {"float": [ [0.5] , [1.5] ] }, "texts": ["\\"float\\":[[1]]"]}'
    _, slices = cut_listed(body, V2.key, FLOAT)
    assert [text for text, _ in slices.values()] == [b"[0.5]", b"[1.5]"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[{"index":0,"embedding" :[0.5]}]}',
        b'{"data":[{"index":0,"embeddin\\u0067":[0.5]}]}',
        b'{"data":[{"index":0,"embedding":[0.5],"embedding":[1.5]}]}',
        b'{"data":[{"index":0,"embedding":[],"embedding":[1.5]}]}',
        b'{"data":[{"index":0,"embedding":[0.5],"embedding" :[1.5]}]}',
        b'{"data":[{"index":0,"embedding":null,"embedding":[1.5]}]}',
        b'{"data":[{"index":0,"embedding":[1.5],"embedding":null}]}',
        b'{"data":[{"index":0,"embedding":{"embedding":[1.5]}}]}',
        b'{"data":[{"index":0,"x":{"embedding":[1.5]},"embedding":[0.5]}]}',
        b'{"data":[],"data":[{"index":0,"embedding":[1.5]}]}',
        b'{"data":[{"index":0,"embedding":[1.5]}],"data":[]}',
        b'{"data":[{"index":1,"index":0,"embedding":[1.5]}]}',
        b'{"model":"\\"embedding\\":[1]","data":[{"index":0,"embedding":[1.5]}]}',
        b'{"embedding":[9],"data":[{"index":0,"embedding":[1.5]}]}',
        b'{"a\\"embedding":[9],"data":[{"index":0,"embedding":[1.5]}]}',
        b'{"x":"\\\\","embedding":[9],"data":[{"index":0,"embedding":[1.5]}]}',
        b'{"data":[{"index":0,"embedding":[0.5]5}]}',
        b'{"data":[{"index":0,"embedding":[0.5]"x"}]}',
        b'{"data":[{"index":0,"embedding":[0.5]]}]}',
        b'{"data":[{"index":0,"embedding":"AAAAPw=="AAAA}]}',
        b'{"data":[{"index":0,"embedding":"AAAAPw==\\""}]}',
        b'{"data":[{"index":0,"embedding":"\\u0041AAAPw=="}]}',
        b'{"data":[{"index":0,"embedding":"AAAA\\/w=="}]}',
        b'{"data":[{"index":0,"embedding":"AAA"}]}',
        b'{"data":[{"index":0,"embedding":""}]}',
        b'{"data":[{"index":0,"embedding":["0.5"]}]}',
        b'{"data":[{"index":0,"embedding":[[0.5]]}]}',
        b'{"data":[{"index":0,"embedding":[0.5',
        b'{"data":[{"index":0,"embedding":"AAAA',
        b'{"data":[{"index":0,"embedding":',
        b'"x"embedding":[0.5]',
        b'{"data":[{"index":0,"embedding":[0.5]}]} trailing',
        b'{"data":[{"index":0,"embedding":[0.5]}]}{}',
        b'\xef\xbb\xbf{"data":[{"index":0,"embedding":[0.5]}]}',
        b' {"data":[{"index":0,"embedding":[0.5]}]} \n',
    ],
)  # fmt: skip
def test_odd_shapes_mean_what_orjson_says(body: bytes) -> None:
    agree(body, OPENAI_SHAPE, 1)


def test_a_mark_cannot_be_forged() -> None:
    """A string that looks like a mark of another process is base64, and bad base64."""
    body = openai((0, "[0.5]"), (1, '"00112233445566770"'))
    with pytest.raises(Unreadable):
        read_reply(body, OPENAI_SHAPE, PARAMS, 2)


# what must be refused


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (openai((0, "[1]")), "1 vectors for 2 texts"),
        (openai((0, "[1]"), (1, "[2]"), (2, "[3]")), "3 vectors for 2 texts"),
        (b'{"data":[]}', "0 vectors for 2 texts"),
        (openai((0, "[1]"), (0, "[2]")), "stands twice"),
        (openai((1, "[1]"), (1, "[2]")), "stands twice"),
        (openai((0, "[1]"), (2, "[2]")), "out of range"),
        (openai((-1, "[1]"), (0, "[2]")), "out of range"),
        (b'{"data":[{"embedding":[1]},{"embedding":[2]}]}', "missing"),
        (b'{"data":[{"index":true,"embedding":[1]},{"index":0,"embedding":[2]}]}', "missing"),
        (b'{"data":[{"index":0.0,"embedding":[1]},{"index":1,"embedding":[2]}]}', "missing"),
        (b'{"data":[{"index":"0","embedding":[1]},{"index":1,"embedding":[2]}]}', "missing"),
        (b'{"data":[{"index":0},{"index":1,"embedding":[2]}]}', "has no vector"),
        (b'{"data":[{"index":0,"embedding":null},{"index":1,"embedding":[2]}]}', "no vector"),
        (b'{"data":[[1],[2]]}', "not an object"),
        (b'{"data":{"0":[1]}}', "no list `data`"),
        (b'{"embeddings":[[1],[2]]}', "no list `data`"),
        (b"[]", "no list `data`"),
        (b"null", "no list `data`"),
        (openai((0, "[1,2]"), (1, "[3]")), "differ in length"),
        (openai((0, "[1]"), (1, "[]")), "0 numbers"),
        (openai((0, "[1]"), (1, "[NaN]")), "not finite"),
        (openai((0, "[1]"), (1, "[-NaN]")), "not finite"),
        (openai((0, "[Infinity]"), (1, "[1]")), "not finite"),
        (openai((0, "[ -Infinity ]"), (1, "[1]")), "not finite"),
        (openai((0, "[1e999]"), (1, "[1]")), "not finite"),
        (openai((0, "[1e39]"), (1, "[1]")), "not a number"),
        (openai((0, "[1]"), (1, f'"{b64(math.nan)}"')), "not finite"),
        (openai((0, "[1]"), (1, '"AAAA"')), "3 bytes"),
        (openai((0, "[1]"), (1, '"é"')), "not base64"),
        (openai((0, "[1]"), (1, "[true]")), "not a number"),
        (openai((0, "[1]"), (1, '{"a":1}')), "not a list"),
    ],
)
def test_a_wrong_reply_is_a_breach_of_protocol(body: bytes, why: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read_reply(body, OPENAI_SHAPE, PARAMS, 2)
    assert refused.value.ending is Ending.PROTOCOL
    assert why in refused.value.message
    agree(body, OPENAI_SHAPE, 2)


@pytest.mark.parametrize(
    "body", [b"", b"<html>502</html>", b"{", openai((0, "[1]"))[:-1], openai((0, "[1]")) + b"x",
             b"\xff\xfe", b"[" * 5000, b'{"data": nope}'],
)  # fmt: skip
def test_what_is_not_json_may_pass_when_tried_again(body: bytes) -> None:
    with pytest.raises(Unreadable) as refused:
        read_reply(body, OPENAI_SHAPE, PARAMS, 1)
    assert refused.value.ending is Ending.TRANSIENT


@pytest.mark.parametrize(
    ("dimensions", "dtype", "vector", "good"),
    [
        (2, "float", "[1,2]", True),
        (3, "float", "[1,2]", False),
        (1, "float", "[1,2]", False),
        (16, "ubinary", "[1,255]", True),
        (2, "ubinary", "[1,255]", False),
        (2, "int8", "[-128,127]", True),
        (2, "int8", "[-128,128]", False),
        (2, "int8", f'"{base64.b64encode(bytes(2)).decode()}"', True),
        (4, "int8", f'"{base64.b64encode(bytes(2)).decode()}"', False),
    ],
)
def test_the_dimensions_that_were_asked_for(
    dimensions: int, dtype: str, vector: str, good: bool
) -> None:
    params = Params("model", dimensions=dimensions, dtype=dtype)
    body = openai((0, vector))
    if good:
        assert read_reply(body, OPENAI_SHAPE, params, 1).vectors == [vector.encode()]
    else:
        with pytest.raises(Unreadable) as refused:
            read_reply(body, OPENAI_SHAPE, params, 1)
        assert refused.value.ending is Ending.PROTOCOL


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ('{"total_tokens":7}', 7),
        ('{"prompt_tokens":5}', 5),
        ('{"prompt_tokens":5,"total_tokens":7}', 7),
        ('{"prompt_tokens":5,"total_tokens":null}', 5),
        ('{"total_tokens":0}', 0),
        ('{"total_tokens":7.0}', 7),
        ('{"total_tokens":9007199254740991}', 9007199254740991),
        ('{"total_tokens":9007199254740992}', None),
        ('{"total_tokens":-1}', None),
        ('{"total_tokens":7.5}', None),
        ('{"total_tokens":1e300}', None),
        ('{"total_tokens":"7"}', None),
        ('{"total_tokens":true}', None),
        ('{"total_tokens":[7]}', None),
        ("{}", None),
        ("null", None),
        ("[]", None),
    ],
)
def test_what_was_billed(usage: str, tokens: int | None) -> None:
    body = openai((0, "[1]"), more=f'"usage":{usage}')
    assert read_reply(body, OPENAI_SHAPE, PARAMS, 1).tokens == tokens
    assert read_passed_on(body, PARAMS).tokens == tokens


@pytest.mark.parametrize(
    ("model", "said"),
    [('"other"', "other"), ('""', "model"), ("null", "model"), ("5", "model"),
     ('"a\\nb"', "model"), ('"' + "x" * 200 + '"', "x" * 200), ('"' + "x" * 201 + '"', "model")],
)  # fmt: skip
def test_the_model_that_answered(model: str, said: str) -> None:
    body = openai((0, "[1]"), more=f'"model":{model}')
    assert read_reply(body, OPENAI_SHAPE, PARAMS, 1).model == said


def test_a_reply_that_is_passed_on() -> None:
    body = b'{"data":[{"data":[{"embedding":[1]}]}],"usage":{"total_tokens":3},"model":"m"}'
    assert read_passed_on(body, PARAMS) == Reply([], 0, 3, "m", body)
    body = b'{"embeddings":{},"meta":{"billed_units":{"input_tokens":4}}}'
    assert read_passed_on(body, PARAMS).tokens == 4
    for bad, ending in ((b"<html>", Ending.TRANSIENT), (b"[]", Ending.PROTOCOL)):
        with pytest.raises(Unreadable) as refused:
            read_passed_on(bad, PARAMS)
        assert refused.value.ending is ending


# properties

TOKENS = st.sampled_from(
    ["0.1", "-0.25", "1e-05", "3E+2", "7", "-0", "0.0", "NaN", "Infinity", "1e999", "1e39", "null",
     "true", '"x"', "[1]", "01", "1.", ".5", "", " 2 ", "{}", '"embedding":[1]']
)  # fmt: skip
GOOD_TOKENS = st.sampled_from(["0.1", "-0.25", "1e-05", "3E+2", "7", "-0", "0.0", " 2.5", "\n8"])
VECTORS = st.one_of(
    st.lists(GOOD_TOKENS, min_size=2, max_size=2).map(lambda t: "[" + ",".join(t) + "]"),
    st.lists(GOOD_TOKENS, min_size=2, max_size=2).map(lambda t: "[ " + " , ".join(t) + " ]"),
    st.just(f'"{b64(0.5, -1.5)}"'),
    st.lists(TOKENS, max_size=3).map(lambda t: "[" + ",".join(t) + "]"),
    st.sampled_from(["null", "[]", '""', '"x"', "{}", f'"{b64(math.inf, 1.0)}"', "[[1,2]]"]),
)
SPACES = st.sampled_from(["", " ", "\n  "])
STRINGS = st.sampled_from(
    ['"a"', '"\\"embedding\\":[1,2]"', '"\\\\"', '"\\"float\\":[[1]]"', '"]"', '"["', '"\\u00e9"']
)


@st.composite
def entries(draw: st.DrawFn) -> tuple[str, int]:
    """An OpenAI reply with all sorts of oddities, and how many texts it is for."""
    count = draw(st.integers(1, 3))
    order = draw(st.permutations(range(count)))
    parts = []
    for index in order:
        if draw(st.integers(0, 12)) == 0:
            index = draw(st.integers(-1, 3))
        colon = draw(st.sampled_from([":", ":", ": ", " :", ":\n"]))
        fields = [f'"index":{index}', f'"embedding"{colon}{draw(VECTORS)}']
        if draw(st.integers(0, 5)) == 0:
            fields.append(f'"embedding":{draw(VECTORS)}')
        if draw(st.integers(0, 3)) == 0:
            fields.append(f'"text":{draw(STRINGS)}')
        if draw(st.integers(0, 8)) == 0:
            fields.append('"embeddin\\u0067":[5,5]')
        fields = draw(st.permutations(fields))
        space = draw(SPACES)
        parts.append("{" + f",{space}".join(fields) + "}")
    tail = draw(st.sampled_from(["", ',"usage":{"total_tokens":3}', ',"data":[]', ',"x":[1']))
    head = draw(st.sampled_from(["", '"embedding":[9],', '"model":"\\"embedding\\":[1]",']))
    return f'{{{head}"data":[{",".join(parts)}]{tail}}}', count


@given(entries())
@settings(max_examples=600, deadline=None)
def test_any_reply_means_what_orjson_says(reply: tuple[str, int]) -> None:
    body, count = reply
    agree(body.encode(), OPENAI_SHAPE, count)


@given(
    st.lists(VECTORS, min_size=1, max_size=3),
    SPACES,
    STRINGS,
    st.sampled_from(['"float":', '"float" :', '"int8":', '"float":null,"float":']),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_any_cohere_reply_means_what_orjson_says(
    vectors: list[str], space: str, text: str, key: str, texts_first: bool
) -> None:
    listed = f"[{space}" + f"{space},{space}".join(vectors) + f"{space}]"
    parts = [f'"texts":[{text}]', f'"embeddings":{space}{{{key}{space}{listed}}}']
    body = "{" + ",".join(parts if texts_first else parts[::-1]) + "}"
    agree(body.encode(), V2, len(vectors))
    parts[1] = f'"embeddings":{space}{listed}'
    body = "{" + ",".join(parts if texts_first else parts[::-1]) + "}"
    agree(body.encode(), COHERE_FLOATS_SHAPE, len(vectors))


GOOD_BODIES = [
    (openai((0, "[0.5,1.5]"), (1, "[2.5,-3e-05]")), OPENAI_SHAPE),
    (openai((1, f'"{b64(0.5, 2.0)}"'), (0, f'"{b64(1.0, 3.0)}"')), OPENAI_SHAPE),
    (b'{"embeddings":{"float":[[0.5,1.5],[2.5,3.5]]},"texts":["a","b"]}', V2),
    (b'{"embeddings":[[0.5,1.5],[2.5,3.5]],"texts":["\\"x\\"","b"]}', COHERE_FLOATS_SHAPE),
]
SCRAPS = st.sampled_from(
    [b"", b"]", b"[", b"}", b"{", b",", b'"', b":", b"\\", b"1", b"e", b".", b"-", b" ", b"\n",
     b"NaN", b"1e999", b"null", b"true", b'"embedding":', b'"float":', b'"embeddings":',
     b'"index":', b'"data":', b"[1,2]", b'"x"', b"\x00", b"\xff", b"9" * 400]
)  # fmt: skip


@given(
    st.sampled_from(GOOD_BODIES),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), SCRAPS), min_size=1, max_size=4),
    st.integers(0, 4),
)
@example(GOOD_BODIES[0], [(62, 0, b"1")], 0)
@settings(max_examples=1500, deadline=None)
def test_mutated_replies_mean_what_orjson_says_or_are_refused(
    good: tuple[bytes, Shape], edits: list[tuple[int, int, bytes]], copied: int
) -> None:
    body, shape = bytearray(good[0]), good[1]
    for place, length, scrap in edits:
        at = place % (len(body) + 1)
        if copied == 0:
            scrap = bytes(body[at : at + length * 5]) + scrap  # a part stands twice
        body[at : at + length] = scrap
    agree(bytes(body), shape, 2)


def test_doubt_is_raised_for_nothing_else() -> None:
    with pytest.raises(Doubt):
        cut_each(b'{"embedding":5}', OPENAI_SHAPE.key, FLOAT)
    with pytest.raises(Doubt):
        cut_listed(b'{"float":5}', V2.key, FLOAT)
