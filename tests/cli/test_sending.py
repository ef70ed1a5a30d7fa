"""A batch to the router: what is tried again, what fails alone, what ends it all."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from emr.cli.ask.address import Server, parse_address
from emr.cli.ask.api import client
from emr.cli.bulk import sending
from emr.cli.bulk.lines import Line
from emr.cli.bulk.sending import Done, Sender, Wish
from emr.cli.trouble import Trouble
from emr.control.secrets import Secret
from tests.cli.parts import free_port
from tests.cli.provider import Provider, vector

KEY = Secret("emr_key", "the test")
Refusal = tuple[int, dict[str, Any]]


def error(status: int, message: str, param: str | None = None) -> Refusal:
    return status, {"error": {"type": "x", "message": message, "code": "x", "param": param}}


def lines(*texts: str) -> list[Line]:
    return [Line(index, text) for index, text in enumerate(texts)]


class Waits:
    """Notes how long it was to wait, and waits not at all."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@contextlib.contextmanager
def sender(provider: Provider, wish: Wish | None = None) -> Iterator[tuple[Sender, Waits]]:
    waits = Waits()
    server = Server(parse_address(provider.url))
    with provider, client(server, KEY.value) as link:
        yield Sender(link, server.address, KEY, wish or Wish({}), waits), waits


def told(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.lines]


def test_a_good_batch() -> None:
    provider = Provider()
    wish = Wish({"model": "m", "encoding_format": "float"}, with_text=True)
    with sender(provider, wish) as (send, _):
        done = send.send([Line(7, "a"), Line(8, "bcd")])
    assert told(done) == [
        {"index": 7, "text": "a", "embedding": vector("a")},
        {"index": 8, "text": "bcd", "embedding": vector("bcd")},
    ]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in done.lines)
    assert (done.embedded, done.failed, done.tokens, done.answered_by) == (2, 0, 2, "stub/m")
    assert provider.asked == [{"model": "m", "encoding_format": "float", "input": ["a", "bcd"]}]
    assert provider.keys == ["Bearer emr_key"]


def test_answers_are_put_right_by_their_index() -> None:
    def shuffled(texts: list[str]) -> Refusal:
        data = [{"index": n, "embedding": vector(text)} for n, text in enumerate(texts)]
        return 200, {"data": data[::-1], "usage": {"total_tokens": 1}}

    with sender(Provider(shuffled)) as (send, _):
        done = send.send(lines("a", "bb", "ccc"))
    assert [each["embedding"] for each in told(done)] == list(map(vector, ["a", "bb", "ccc"]))


@pytest.mark.parametrize(
    "value",
    [
        {}, [], {"data": []}, {"data": [{"index": 0}], "usage": {"total_tokens": 1}},
        {"data": [{"index": 5, "embedding": [1]}], "usage": {"total_tokens": 1}},
        {"data": [{"index": 0, "embedding": [1]}]},
    ],
)  # fmt: skip
def test_an_answer_that_is_not_emrs(value: Any) -> None:
    with sender(Provider(lambda texts: (200, value))) as (send, _), pytest.raises(
        Trouble, match="does not answer as emr does"
    ):  # fmt: skip
        send.send(lines("a"))


def test_lines_that_cannot_be_sent_are_not_sent() -> None:
    provider = Provider()
    with sender(provider) as (send, _):
        done = send.send([Line(0, "", "the line is empty"), Line(1, "b")])
        nothing = send.send([Line(2, "", "bad")])
    assert told(done) == [
        {"index": 0, "error": "the line is empty"}, {"index": 1, "embedding": vector("b")},
    ]  # fmt: skip
    assert (done.embedded, done.failed) == (1, 1)
    assert told(nothing) == [{"index": 2, "error": "bad"}]
    assert [asked["input"] for asked in provider.asked] == [["b"]]


def test_a_refused_text_fails_alone() -> None:
    def refuse(texts: list[str]) -> Refusal | None:
        for place, text in enumerate(texts):
            if text.startswith("bad"):
                return error(400, f"no {text}", f"input[{place}]")
        return None

    provider = Provider(refuse)
    with sender(provider) as (send, _):
        done = send.send(lines("a", "bad one", "c", "bad two", "e"))
    assert told(done) == [
        {"index": 0, "embedding": vector("a")},
        {"index": 1, "error": "no bad one"},
        {"index": 2, "embedding": vector("c")},
        {"index": 3, "error": "no bad two"},
        {"index": 4, "embedding": vector("e")},
    ]
    assert (done.embedded, done.failed, len(provider.asked)) == (3, 2, 3)


@pytest.mark.parametrize("refusal", [error(413, "too large"), error(400, "too many", "input")])
def test_a_batch_that_is_too_large_is_sent_in_halves(refusal: Refusal) -> None:
    provider = Provider(lambda texts: refusal if len(texts) > 2 or "huge" in texts else None)
    with sender(provider) as (send, _):
        done = send.send(lines("a", "b", "c", "huge", "e"))
    assert [each.get("error") for each in told(done)] == [
        None, None, None, refusal[1]["error"]["message"], None,
    ]  # fmt: skip
    assert done.tokens == 4


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (error(401, "no such key"), "http://127.0.0.1.* refuses the key from the test: no such"),
        (error(403, "not this provider"), "^not this provider$"),
        (error(404, "no such model", "model"), "^no such model$"),
        (error(400, "no such dimensions", "dimensions"), "^no such dimensions$"),
        (error(400, "none", None), "^none$"),
        ((418, {}), "^it answers 418$"),
        (error(400, "nonsense", "input[9]"), "^nonsense$"),
    ],
)
def test_what_would_refuse_every_batch_ends_it(refusal: Refusal, message: str) -> None:
    provider = Provider(lambda texts: refusal)
    with sender(provider) as (send, waits), pytest.raises(Trouble, match=message):
        send.send(lines("a", "b"))
    assert (len(provider.asked), waits.seconds) == (1, [])


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_what_passes_is_tried_again(status: int) -> None:
    left = [error(status, "later")] * 2
    with sender(Provider(lambda texts: left.pop() if left else None)) as (send, waits):
        assert send.send(lines("a")).embedded == 1
    assert waits.seconds == [1.0, 2.0]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0), ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "3600"}, 60.0), ({"retry-after": "soon"}, 1.0),
        ({"retry-after": "-1"}, 1.0), ({"retry-after-ms": "1.5"}, 1.0),
    ],
)  # fmt: skip
def test_it_waits_as_long_as_it_is_told(headers: dict[str, str], seconds: float) -> None:
    left = [error(429, "later")]
    provider = Provider(lambda texts: left.pop() if left else None, headers)
    with sender(provider) as (send, waits):
        assert send.send(lines("a")).embedded == 1
    assert waits.seconds == [seconds]


def test_what_does_not_pass_fails_the_lines_and_no_others() -> None:
    provider = Provider(lambda texts: error(503, "full") if texts == ["a", "b"] else None)
    with sender(provider) as (send, waits):
        done = send.send(lines("a", "b"))
        assert [each["error"] for each in told(done)] == ["full", "full"]
        assert send.send(lines("c")).embedded == 1
    assert waits.seconds == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert len(provider.asked) == sending.TRIES + 1


def test_what_is_final_is_not_tried_again() -> None:
    provider = Provider(lambda texts: error(502, "no"), {"x-should-retry": "false"})
    with sender(provider) as (send, waits):
        assert send.send(lines("a")).failed == 1
    assert (len(provider.asked), waits.seconds) == (1, [])


def test_a_router_that_is_gone_ends_it_after_its_tries() -> None:
    waits = Waits()
    server = Server(parse_address(f"http://127.0.0.1:{free_port()}"))
    with client(server, "k") as link, pytest.raises(Trouble, match="no emr can be reached at"):
        Sender(link, server.address, KEY, Wish({}), waits).send(lines("a"))
    assert len(waits.seconds) == sending.TRIES - 1
