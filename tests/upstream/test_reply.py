"""Reading replies: the usual shapes, the odd ones, and everything that must be refused."""

from __future__ import annotations

import base64
import math

import orjson
import pytest

from emr.lane.ticket import Params
from emr.lane.verdict import Ending, Reply
from emr.upstream.cut import Doubt, cut_each, cut_listed
from emr.upstream.reply import (
    COHERE_FLOATS_SHAPE,
    OPENAI_SHAPE,
    Unreadable,
    cohere_shape,
    read_passed_on,
    read_reply,
)
from tests.upstream.oracle import FLOAT, PARAMS, V2, agree, b64, openai

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


def test_doubt_is_raised_for_nothing_else() -> None:
    with pytest.raises(Doubt):
        cut_each(b'{"embedding":5}', OPENAI_SHAPE.key, FLOAT)
    with pytest.raises(Doubt):
        cut_listed(b'{"float":5}', V2.key, FLOAT)
