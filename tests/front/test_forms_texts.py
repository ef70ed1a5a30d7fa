"""The texts of `/v1/embeddings`: strings and token ids, and the limits of both."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any

import orjson
import pytest

from emr.front.desk import Ask
from emr.front.forms.texts import MAX_TEXT_BYTES, MAX_TOKEN_ID, read_input
from tests.front.double import Front, asked, few, refused


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ([], "input"),
        ("", "input"),
        (1, "input"),
        (True, "input"),
        ({"text": "a"}, "input"),
        ([""], "input[0]"),
        (["a", "b", "c", ""], "input[3]"),
        (["a", None], "input[1]"),
        (["a", 1], "input[1]"),
        (["a", ["b"]], "input[1]"),
        (["a", [1]], "input[1]"),
        ([{"text": "a"}], "input[0]"),
        ([None], "input[0]"),
        ([1.5], "input[0]"),
        ([True], "input[0]"),
        ([1, "a"], "input[1]"),
        ([1, 2, None], "input[2]"),
        ([1, True], "input[1]"),
        ([1, 2.0], "input[1]"),
        ([1, [2]], "input[1]"),
        ([1, {}], "input[1]"),
        ([1, -1], "input[1]"),
        ([1, MAX_TOKEN_ID + 1], "input[1]"),
        ([1, 2**63], "input[1]"),
        ([1, 2**64 - 1], "input[1]"),
        ([[1], "a"], "input[1]"),
        ([[1], 2], "input[1]"),
        ([[1], []], "input[1]"),
        ([[]], "input[0]"),
        ([[1], [2, "a"]], "input[1][1]"),
        ([[1], [False]], "input[1][0]"),
        ([["a"]], "input[0][0]"),
        ([[[1]]], "input[0][0]"),
    ],
)
def test_wrong_inputs_are_named(given: Any, param: str) -> None:
    assert refused({"input": given})[0] == param


@pytest.mark.parametrize("body", [{}, {"input": None}, {"texts": ["a"]}, {"Input": "a"}])
def test_input_must_be_there(body: Any) -> None:
    assert refused(body)[0] == "input"


@pytest.mark.parametrize("given", [" ", "\n", "\u200b", "\x00"])
def test_white_space_passes(given: str) -> None:
    assert asked({"input": [given]}).texts == [orjson.dumps(given)]


@pytest.mark.parametrize("ids", [[0], [MAX_TOKEN_ID - 1], [MAX_TOKEN_ID], [0, 1, 2]])
def test_the_limits_of_token_ids(ids: list[int]) -> None:
    assert asked({"input": ids}).texts == [orjson.dumps(ids)]


@pytest.mark.parametrize("kind", ["texts", "lists"])
def test_the_limit_of_texts(kind: str) -> None:
    front = Front()
    front.desk.most = 5
    for count, fine in ((4, True), (5, True), (6, False)):
        body = {"input": (["a"] if kind == "texts" else [[1]]) * count}
        if fine:
            assert len(asked(body, front=front).texts) == count
        else:
            param, message = refused(body, front=Front(desk=few(5)))
            assert param == "input"
            assert "6 texts" in message
            assert "server.max_texts_per_request" in message


def test_one_list_of_ids_is_one_text_however_long() -> None:
    assert len(asked({"input": list(range(9))}, front=Front(few(5))).texts) == 1


@pytest.mark.parametrize("unit", ["a", "é", '"', "\n", "\x01"])
def test_the_limit_of_a_text_counts_its_own_bytes(unit: str) -> None:
    """The escapes that JSON needs are not counted."""
    size = len(unit.encode())
    for length, fine in (
        (MAX_TEXT_BYTES - size, 1),
        (MAX_TEXT_BYTES, 1),
        (MAX_TEXT_BYTES + size, 0),
    ):
        text = unit * (length // size)
        for given, param in ((["x", text], "input[1]"), (text, "input")):
            if fine:
                assert asked({"input": given}).texts[-1] == orjson.dumps(text)
            else:
                assert refused({"input": given})[0] == param


def test_the_limit_of_a_list_of_ids() -> None:
    fits = [1] * ((MAX_TEXT_BYTES - 2) // 2)  # 2 bytes an id, with the brackets one less
    assert len(asked({"input": fits}).texts[0]) == MAX_TEXT_BYTES - 1
    assert len(asked({"input": [*fits[:-1], 11]}).texts[0]) == MAX_TEXT_BYTES
    assert refused({"input": [*fits[:-1], 111]})[0] == "input"
    assert refused({"input": [[1], [*fits, 1]]})[0] == "input[1]"


@pytest.mark.parametrize(
    "value", [["x" * 100] * 500, "x" * 3000, [1] * 900, [[n] * 20 for n in range(500)]]
)
def test_a_text_that_waits_holds_its_own_bytes_and_no_buffer(value: object) -> None:
    """What JSON was written into is larger than what was written: 4 KiB at least, or ten times."""
    ask = Ask()
    tracemalloc.start()
    try:
        read_input(ask, value, "input", 2048)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    written = sum([sys.getsizeof(text) for text in ask.texts])
    assert held <= 1.2 * written + 1000  # the list of them, and rounding
