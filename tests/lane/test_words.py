"""What callers are told: their own part of the provider's words, and never another's text."""

from __future__ import annotations

import html
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emr.lane import words
from emr.lane.ticket import Request
from emr.lane.verdict import Ending, Verdict
from tests.lane.support import batch_of, request_of

QUOTINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: f"could not embed {text}.",
    "json": lambda text: json.dumps({"input": text}, ensure_ascii=False),
    "json, ascii": lambda text: json.dumps({"input": text}),
    "json in json": lambda text: json.dumps(json.dumps({"input": text})),
    "python": lambda text: f"invalid input: {text!r}",
    "python bytes": lambda text: f"invalid input: {text!a}",
    "html": lambda text: f"<p>{html.escape(text)}</p>",
    "on one line": lambda text: f"near '{' '.join(text.split())}'",
}
TELLING = st.text(min_size=4).filter(
    lambda text: len([c for c in text if c.isalnum()]) >= 4 and "&" not in text
)
spelled = st.sampled_from([True, False])  # non-ASCII letters of a JSON text as they are, or escaped


def caller(text: str, ascii_only: bool) -> Request:
    return request_of(json.dumps(text, ensure_ascii=ascii_only).encode("utf-8", "replace"))


def told(message: str, *requests: Request) -> list[str]:
    """What the caller of each request may read of the message."""
    said = words.Said(Verdict(Ending.TRANSIENT, 500, message), batch_of(*requests))
    return [said.to(request) for request in requests]


@pytest.mark.parametrize("quoting", QUOTINGS)
@given(text=TELLING, ascii_only=spelled)
def test_an_echoed_text_is_read_by_its_caller_alone(
    quoting: str, text: str, ascii_only: bool
) -> None:
    message = QUOTINGS[quoting](text)
    mine = caller(text, ascii_only)
    others = [caller("entirely different words", ascii_only), caller("1", ascii_only)]
    assert told(message, mine, *others) == [message, "", ""]
    assert told(message, *others, mine) == ["", "", message]


@given(
    text=st.text(st.characters(categories=["L", "N"]), min_size=40),
    start=st.integers(0, 10),
    quoting=st.sampled_from(["plain", "json", "json, ascii", "python"]),
)
def test_so_is_a_part_of_it(text: str, start: int, quoting: str) -> None:
    message = QUOTINGS[quoting](text[start : start + 30] + "…")
    assert told(message, caller(text, False), caller("q", False)) == [message, ""]


@given(st.lists(TELLING, min_size=2, max_size=5, unique=True))
def test_a_message_with_the_texts_of_two_is_read_by_nobody(texts: list[str]) -> None:
    message = "refused: " + " | ".join(texts)
    assert told(message, *[caller(text, False) for text in texts]) == [""] * len(texts)


def test_a_message_without_any_text_is_read_by_all() -> None:
    message = "The model is overloaded, please try again later"
    requests = [caller(f"words of caller {number}", False) for number in range(3)]
    assert told(message, *requests) == [message] * 3


def test_a_lone_caller_reads_everything() -> None:
    assert told("refused: my own words", caller("my own words", False)) == ["refused: my own words"]


@pytest.mark.parametrize(("text", "hides"), [("ok", False), ("key", False), ("keys", True)])
def test_what_is_too_short_to_be_a_secret_hides_nothing(text: str, hides: bool) -> None:
    assert told("bad keys", caller(text, False), caller("x", False))[1] == (
        "" if hides else "bad keys"
    )


def test_what_all_may_read_quotes_nobody_not_even_a_lone_caller() -> None:
    verdict = Verdict(Ending.AUTH, 403, "blocked: my own words")
    assert words.Said(verdict, batch_of(caller("my own words", False))).to_all() == ""
    assert words.Said(verdict, batch_of(caller("other ones", False))).to_all() == verdict.message


def test_only_the_texts_of_the_call_count() -> None:
    request = request_of(b'"sent words"', b'"kept words"')
    batch = batch_of(request, caller("x", False))
    batch.tickets[0].places = [0]
    assert words.Said(Verdict(Ending.TRANSIENT, 500, "kept words"), batch).to(request)
    said = words.Said(Verdict(Ending.TRANSIENT, 500, "kept words"), batch)
    assert said.to(batch.tickets[1].request) == "kept words"


def test_many_callers_are_told_in_one_look() -> None:
    """Looking at every text for every caller would be a million looks here: 19 s measured."""
    requests = [caller(f"some words of a text {number} " * 20, False) for number in range(1000)]
    verdict = Verdict(Ending.TRANSIENT, 500, "x" * 500)
    said = words.Said(verdict, batch_of(*requests))
    assert [said.to(request) for request in requests] == ["x" * 500] * 1000


# sentences


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        (Verdict(Ending.TRANSIENT, 500), "voyage answered 500"),
        (Verdict(Ending.TRANSIENT, timed_out=True), "voyage did not answer in time"),
        (Verdict(Ending.TRANSIENT), "the call to voyage failed"),
    ],
)
def test_a_sentence_says_what_is_known(verdict: Verdict, sentence: str) -> None:
    assert words.sentence("voyage", verdict, "") == sentence
    assert words.sentence("voyage", verdict, "its words") == f"{sentence}: its words"


@pytest.mark.parametrize(
    ("said", "own"),
    [
        ("input[7] is refused", "input[3] is refused"),
        ("empty string at index 7", "empty string at index 3"),
        ("item 7: bad", "item 3: bad"),
        ("text #7", "text #3"),
        ("input[71] and input[7]", "input[71] and input[3]"),
        ("7 texts were refused", "7 texts were refused"),
    ],
)
def test_the_index_becomes_the_callers_own(said: str, own: str) -> None:
    assert words.own_index(said, 7, 3) == own


@pytest.mark.parametrize(
    ("wait_s", "shown"), [(-5.0, 1.0), (0.0, 1.0), (0.999, 1.0), (1.001, 1.001), (2.5, 2.5)]
)
def test_nobody_is_asked_back_within_a_second(wait_s: float, shown: float) -> None:
    for refusal in (
        words.held_back("voyage", Ending.RATE, wait_s, ""),
        words.held_back("voyage", Ending.OVERLOAD, wait_s, ""),
        words.binned("voyage", 5, wait_s),
    ):
        assert refusal.retry_after == shown


def test_who_is_alone_in_a_call_reads_all_that_was_said_of_it() -> None:
    request = request_of(b'"a text that is quoted"', b'"x"')
    said = words.Said(Verdict(Ending.BAD_TEXT, 400, "no: a text that is quoted"), batch_of(request))
    assert said.to(request) == "no: a text that is quoted"
    assert said._quoted is None, "nothing was looked for"
