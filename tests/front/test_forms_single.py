"""One request from body to answer: terms, refusals, callers that leave, work off the loop."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from emr.front.answer import CONVERT_MAX, PARSE_MAX, in_callers_terms
from emr.front.desk import Ask, Principal
from emr.front.offload import attempt
from emr.lane.refusal import Refusal
from emr.lane.ticket import Request
from tests.front.double import DeskDouble, Front, KeysDouble, Row, with_key

URL = "/v1/embeddings"


def terms(texts: int = 1, keys: KeysDouble | None = None, **headers: str) -> Request:
    """The request that such headers make."""
    front = Front(keys=keys or KeysDouble())
    answer = front.post(URL, {"input": ["a"] * texts}, **headers)
    assert answer.status == 200, answer.body
    return front.desk.request


# class and deadline


@pytest.mark.parametrize(("texts", "bulk"), [(1, False), (31, False), (32, False), (33, True)])
def test_more_than_32_texts_are_bulk(texts: int, bulk: bool) -> None:
    request = terms(texts)
    assert request.bulk is bulk
    assert request.arrived == 1000.0
    assert request.deadline == 1000.0 + (600.0 if bulk else 60.0)


def test_a_request_may_name_its_class() -> None:
    assert terms(1, x_emr_priority="bulk").bulk
    assert terms(1, x_emr_priority="BULK").bulk
    assert not terms(100, x_emr_priority="interactive").bulk
    assert terms(100, x_emr_priority="interactive").deadline == 1060.0


def test_a_key_may_be_held_to_bulk() -> None:
    keys = KeysDouble(Principal("k", "nightly", bulk_only=True))
    assert terms(1, keys).bulk
    assert terms(1, keys, x_emr_priority="interactive").bulk


@pytest.mark.parametrize("priority", ["", "high", "0", "interactive, bulk", "bulk "])
def test_an_unknown_class_is_refused(priority: str) -> None:
    answer = Front().post(URL, {"input": "a"}, x_emr_priority=priority)
    assert (answer.status, answer.error["param"]) == (400, "x-emr-priority")


@pytest.mark.parametrize(
    ("ms", "seconds"), [("1", 0.001), ("2", 0.002), ("0060000", 60.0), ("3600000", 3600.0)]
)
def test_the_callers_timeout(ms: str, seconds: float) -> None:
    request = terms(x_emr_timeout_ms=ms, x_stainless_read_timeout="5")
    assert request.deadline == pytest.approx(1000.0 + seconds)


@pytest.mark.parametrize(
    "ms", ["", "0", "3600001", "-1", "+1", "1.5", "1e3", " 1", "1ms", "inf", "nan", "١", "9" * 5000]
)
def test_a_bad_timeout_is_refused(ms: str) -> None:
    answer = Front().post(URL, {"input": "a"}, x_emr_timeout_ms=ms)
    assert (answer.status, answer.error["param"]) == (400, "x-emr-timeout-ms")
    assert "3600000" in answer.error["message"]


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [
        ("600", 600.0),
        ("2.5", 2.5),
        ("1e-05", 0.001),
        ("0.0005", 0.001),
        ("3600", 3600.0),
        ("86400", 3600.0),
        ("inf", 3600.0),
        ("0", 60.0),
        ("-1", 60.0),
        ("nan", 60.0),
        ("None", 60.0),
        ("", 60.0),
        ("5s", 60.0),
    ],
)
@pytest.mark.parametrize("name", ["x_stainless_read_timeout", "x_stainless_timeout"])
def test_the_sdks_timeout_is_a_hint(name: str, hint: str, seconds: float) -> None:
    assert terms(**{name: hint}).deadline == pytest.approx(1000.0 + seconds)


def test_a_hint_that_says_nothing_leaves_the_word_to_the_next() -> None:
    hints = {"x_stainless_read_timeout": "None", "x_stainless_timeout": "7"}
    assert terms(**hints).deadline == 1007.0
    assert terms(x_stainless_read_timeout="3", x_stainless_timeout="7").deadline == 1003.0


# what the lane gets


def test_the_request_says_who_asks_and_how() -> None:
    front = Front()
    body = {"input": "a", "provider": "cohere", "encoding_format": "base64", "user": "u"}
    front.post(URL, body)
    request = front.desk.request
    assert (request.caller, request.user) == ("key-1", "u")
    assert request.float_text is False
    front.post(URL, {"input": "a"})
    assert front.desk.request.float_text


# refusals


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({"provider": "nobody"}, 400, "unknown_provider"),
        ({"model": "gpt-9"}, 404, "model_not_found"),
        ({"provider": "cohere"}, 403, "forbidden"),
    ],
)
def test_what_the_desk_refuses(fields: dict[str, str], status: int, kind: str) -> None:
    front = Front(keys=KeysDouble(Principal("k", "n", frozenset({"voyage"}))))
    answer = front.post(URL, {"input": "a", **fields})
    assert (answer.status, answer.error["type"]) == (status, kind)
    assert not front.desk.submitted


@pytest.mark.parametrize(
    ("refusal", "status", "headers"),
    [
        (Refusal("rate_limited", "slowly", retry_after=2.5), 429, {"retry-after": "3"}),
        (Refusal("overloaded", "full"), 503, {"retry-after": "1"}),
        (Refusal("provider_unavailable", "binned", retry_after=9.0), 503, {"retry-after": "9"}),
        (Refusal("provider_error", "500", final=True), 502, {"x-should-retry": "false"}),
        (Refusal("deadline_exceeded", "too late"), 504, {}),
        (Refusal("quota_exceeded", "spent"), 429, {}),
    ],
)
def test_what_the_lane_refuses(refusal: Refusal, status: int, headers: dict[str, str]) -> None:
    front = Front(DeskDouble({"voyage": Row("m", refusal=refusal)}))
    answer = front.post(URL, {"input": "a"})
    assert (answer.status, answer.error["type"]) == (status, refusal.type)
    assert answer.error["message"] == refusal.message
    assert headers.items() <= answer.headers.items()


@pytest.mark.parametrize(
    ("given", "param", "shown"),
    [
        ("a", "input[0]", "input"),
        ("a", "input", "input"),
        ([1, 2], "input[0]", "input"),
        (["a"], "input[0]", "input[0]"),
        (["a", "b"], "input[1]", "input[1]"),
        (["a", "b"], "dimensions", "dimensions"),
    ],
)
def test_a_refused_text_is_named_as_the_caller_wrote_it(given: Any, param: str, shown: str) -> None:
    refusal = Refusal("validation_error", "too long", param=param)
    front = Front(DeskDouble({"voyage": Row("m", refusal=refusal)}))
    answer = front.post(URL, {"input": given})
    assert (answer.status, answer.error["param"]) == (400, shown)


# callers that leave


def test_a_caller_that_leaves_takes_its_request_along() -> None:
    front = Front(DeskDouble(hold=True))
    exchange = front.client.send("POST", URL, b'{"input":"a"}', with_key())
    assert exchange.body == b""
    exchange.gone()
    assert front.desk.gone == [front.desk.request]
    exchange.gone()
    assert len(front.desk.gone) == 1
    assert not front.client.answers


def test_after_the_answer_nothing_leaves() -> None:
    front = Front(DeskDouble(hold=True))
    exchange = front.client.send("POST", URL, b'{"input":"a"}', with_key())
    front.desk.finish(0)
    assert front.client.answers[0].status == 200
    exchange.gone()
    assert not front.desk.gone


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (URL, b'{"input":"a"}'),
        (URL, b'{"input":["a"],"providers":["voyage","cohere"]}'),
        (URL, b'{"input":["a"],"providers":["voyage","cohere"],"policy":"all"}'),
        (URL + "/batch", b'{"requests":[{"input":"a"},{"input":"b"}]}'),
    ],
)
def test_nothing_is_left_for_the_cycle_collector(path: str, body: bytes) -> None:
    """Vectors are freed when the answer is written, not when the collector comes by."""
    front = Front()
    front.client.send("POST", path, body, with_key())
    front.client.answers.clear()
    front.desk.submitted.clear()
    gc.collect()
    gc.disable()
    try:
        front.client.send("POST", path, body, with_key())
        assert front.client.answers[0].status == 200
        front.client.answers.clear()
        front.desk.submitted.clear()
        assert not [found for found in gc.get_objects() if type(found) is Request]
    finally:
        gc.enable()


# off the loop


@dataclass
class Later:
    """An Offload that does its work when the test says so."""

    waiting: list[tuple[Callable[[], Any], Callable[[Any], None]]] = field(default_factory=list)

    def __call__(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        self.waiting.append((work, then))

    def run(self) -> None:
        work, then = self.waiting.pop()
        then(attempt(work))


def sized(length: int) -> bytes:
    body = b'{"input":"a"}'
    return body + b" " * (length - len(body))


def test_a_large_body_is_parsed_off_the_loop() -> None:
    for length, off in ((PARSE_MAX - 1, False), (PARSE_MAX, False), (PARSE_MAX + 1, True)):
        later = Later()
        front = Front(offload=later)
        front.client.send("POST", URL, sized(length), with_key())
        assert len(later.waiting) == off
        if off:
            assert not front.client.answers
            later.run()
        assert front.client.answers[0].status == 200


def test_a_large_bad_body_is_refused() -> None:
    for body in (b"[" * (PARSE_MAX + 1), sized(PARSE_MAX + 2).replace(b'"a"', b'""')):
        later = Later()
        front = Front(offload=later)
        front.client.send("POST", URL, body, with_key())
        later.run()
        assert front.client.answers[0].status == 400


def test_a_refusal_after_a_large_body_was_parsed() -> None:
    later = Later()
    front = Front(offload=later)
    body = sized(PARSE_MAX + 1).replace(b'"a"', b'"a","model":"gpt-9"')
    front.client.send("POST", URL, body, with_key())
    later.run()
    assert front.client.answers[0].status == 404


def test_a_bug_after_a_large_body_was_parsed_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*args: object) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr(DeskDouble, "resolve", breaks)
    later = Later()
    front = Front(offload=later)
    front.client.send("POST", URL, sized(PARSE_MAX + 1), with_key())
    with pytest.raises(LookupError):
        later.run()
    (answer,) = front.client.answers
    assert (answer.status, answer.error["type"]) == (502, "internal_error")


def test_no_other_name_of_a_field_is_taken_for_the_texts() -> None:
    for param, told in (("input", "texts"), ("input[3]", "texts[3]"), ("inputs", "inputs")):
        refusal = Refusal("validation_error", "no", param=param)
        assert in_callers_terms(refusal, Ask([b"a"], param="texts")).param == told


def test_a_caller_that_leaves_while_its_body_is_parsed() -> None:
    for body in (sized(PARSE_MAX + 1), b"x" * (PARSE_MAX + 1)):
        later = Later()
        front = Front(offload=later)
        exchange = front.client.send("POST", URL, body, with_key())
        exchange.gone()
        later.run()
        assert not front.client.answers
        assert not front.desk.asks


class Long(DeskDouble):
    """Vectors of an exact number of bytes."""

    length = 0

    @staticmethod
    def vector(row: Row, request: Request, text: bytes) -> bytes:
        spaces = Long.length // len(request.texts) - 5
        return b"[0.5" + b" " * spaces + b"]"


def test_many_vectors_are_written_anew_off_the_loop() -> None:
    body = {"input": ["a", "b"], "encoding_format": "base64"}
    for length, off in ((CONVERT_MAX - 2, False), (CONVERT_MAX, False), (CONVERT_MAX + 2, True)):
        Long.length = length
        later = Later()
        front = Front(Long(), offload=later)
        exchange = front.client.send("POST", URL, orjson.dumps(body), with_key())
        assert len(later.waiting) == off
        if off:
            assert exchange.on_gone is None
            later.run()
        assert front.client.answers[0].json["data"][1]["embedding"] == "AAAAPw=="


def test_as_many_that_pass_through_are_not() -> None:
    Long.length = CONVERT_MAX * 2
    front = Front(Long(), offload=Later())
    assert front.post(URL, {"input": ["a", "b"]}).status == 200


def test_a_caller_that_leaves_while_vectors_are_written() -> None:
    Long.length = CONVERT_MAX + 2
    later = Later()
    front = Front(Long(), offload=later)
    body = {"input": ["a", "b"], "encoding_format": "base64"}
    exchange = front.client.send("POST", URL, orjson.dumps(body), with_key())
    exchange.gone()
    later.run()
    assert not front.client.answers
    assert not front.desk.gone


def test_a_bug_while_the_answer_is_written_is_an_answer_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def render(*args: object) -> bytes:
        raise KeyError("the caller's own text")

    monkeypatch.setattr("emr.front.forms.superset.render", render)
    front = Front(DeskDouble(hold=True))
    front.client.send("POST", URL, b'{"input":"a"}', with_key())
    with pytest.raises(KeyError):  # for the pump to log
        front.desk.finish(0)
    (answer,) = front.client.answers
    assert (answer.status, answer.error["type"]) == (502, "internal_error")
    assert "own text" not in answer.error["message"]
