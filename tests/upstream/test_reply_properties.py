"""Any reply, however odd or broken, means what orjson says that it means, or is refused."""

from __future__ import annotations

import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from emr.upstream.reply import (
    COHERE_FLOATS_SHAPE,
    OPENAI_SHAPE,
    Shape,
)
from tests.upstream.oracle import V2, agree, b64, openai

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
