"""`/v1/embeddings/batch`: validated as one, sent as one, answered in order."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from emr.front.answer import CONVERT_MAX
from emr.front.desk import Principal
from emr.lane.refusal import Refusal
from emr.lane.ticket import Request
from tests.front.double import DeskDouble, Front, KeysDouble, Row, base64_of, floats_of, with_key

URL = "/v1/embeddings/batch"
BROKEN = Refusal("provider_error", "status 500", final=True)
LIMITED = Refusal("rate_limited", "slowly", retry_after=3.0)


def body(*requests: Any, **more: Any) -> dict[str, Any]:
    return {"requests": list(requests), **more}


def sub(name: str, *texts: str, provider: str = "voyage", **more: Any) -> dict[str, Any]:
    return {"id": name, "input": list(texts or ("a",)), "providers": [provider], **more}


def held(*requests: Any, **more: Any) -> Front:
    """A front with a batch call under way."""
    front = Front(DeskDouble(hold=True))
    front.client.send("POST", URL, orjson.dumps(body(*requests, **more)), with_key())
    return front


def test_the_answer_keeps_the_order() -> None:
    front = held(sub("r1", "hello"), sub("r2", "x", "y", provider="cohere"), sub("r3"))
    assert [plan.provider for plan, _ in front.desk.submitted] == ["voyage", "cohere", "voyage"]
    for number in (2, 0, 1):
        assert not front.client.answers
        front.desk.finish(number)
    (answer,) = front.client.answers
    assert answer.status == 200
    assert answer.json["results"][1] == {
        "id": "r2",
        "data": [
            {"object": "embedding", "index": 0, "embedding": floats_of(b'"x"')},
            {"object": "embedding", "index": 1, "embedding": floats_of(b'"y"')},
        ],
        "model": "embed-v4.0",
        "provider": "cohere",
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    }
    assert [entry["id"] for entry in answer.json["results"]] == ["r1", "r2", "r3"]
    assert list(answer.json) == ["results"]
    assert answer.headers["x-emr-provider"] == "voyage, cohere"
    assert answer.headers["x-emr-attempts"] == "3"
    assert answer.headers["x-emr-batch"] == "2"


def test_nothing_to_do() -> None:
    answer = Front().post(URL, body())
    assert (answer.status, answer.json) == (200, {"results": []})


@pytest.mark.parametrize(
    ("fields", "provider"),
    [
        ({"providers": ["cohere", "voyage"]}, "cohere"),
        ({"provider": "cohere", "providers": ["voyage"]}, "cohere"),
        ({"model": "embed-v4.0"}, "cohere"),
        ({"providers": ["cohere"], "policy": "all"}, "cohere"),
    ],
)
def test_the_first_name_is_used(fields: dict[str, Any], provider: str) -> None:
    front = Front()
    (entry,) = front.post(URL, body({"id": "r", "input": "a", **fields})).json["results"]
    assert entry["provider"] == provider
    assert len(front.desk.submitted) == 1


@pytest.mark.parametrize("given", ["r1", "", 'a"\\b\n', "世界", 7, None])
def test_ids_come_back_as_they_were(given: Any) -> None:
    (entry,) = Front().post(URL, body({**sub("r"), "id": given})).json["results"]
    assert entry["id"] == given


def test_an_id_may_be_missing() -> None:
    (entry,) = Front().post(URL, body({"input": "a"})).json["results"]
    assert entry["id"] is None


def test_a_sub_request_takes_every_field() -> None:
    front = Front()
    requests = [
        sub("r1", encoding_format="base64", dimensions=4, input_type="query", user="u"),
        sub("r2", truncation=False),
        {"id": "r3", "input": [1, 2]},
    ]
    answer = front.post(URL, body(*requests))
    assert answer.json["results"][0]["data"][0]["embedding"] == base64_of(floats_of(b'"a"', 4))
    one, two, three = front.desk.asks
    assert (one.input_type, one.user, one.dimensions) == ("query", "u", 4)
    assert two.truncate == "none"
    assert (three.token_ids, three.texts, three.whole) == (True, [b"[1,2]"], None)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({}, "requests"),
        ({"requests": None}, "requests"),
        ({"requests": {}}, "requests"),
        ({"requests": "r"}, "requests"),
        (body(sub("r"), None), "requests[1]"),
        (body(sub("r"), "a"), "requests[1]"),
        (body(sub("r"), {}), "requests[1].input"),
        (body(sub("r"), {"id": "x", "input": []}), "requests[1].input"),
        (body(sub("r"), sub("x", "a", "")), "requests[1].input[1]"),
        (body({**sub("r"), "id": []}), "requests[0].id"),
        (body({**sub("r"), "id": True}), "requests[0].id"),
        (body({**sub("r"), "id": 1.5}), "requests[0].id"),
        (body({**sub("r"), "providers": []}), "requests[0].providers"),
        (body({**sub("r"), "providers": [1]}), "requests[0].providers[0]"),
        (body({**sub("r"), "policy": "most"}), "requests[0].policy"),
        (body(sub("r"), sub("x", dimensions=0)), "requests[1].dimensions"),
        (body(sub("r"), on_error="stop"), "on_error"),
        (body(sub("r"), on_error=True), "on_error"),
    ],
)
def test_one_bad_entry_is_named_and_nothing_is_sent(given: Any, param: str) -> None:
    front = Front()
    answer = front.post(URL, given)
    assert (answer.status, answer.error["type"]) == (400, "validation_error")
    assert answer.error["param"] == param
    assert not front.desk.submitted


def test_an_unknown_provider_is_named_and_nothing_is_sent() -> None:
    front = Front()
    answer = front.post(URL, body(sub("r"), sub("x", provider="nobody")))
    assert (answer.status, answer.error["type"]) == (400, "unknown_provider")
    assert answer.error["param"] == "requests[1]"
    assert not front.desk.submitted


def test_a_forbidden_provider_too() -> None:
    front = Front(keys=KeysDouble(Principal("k", "n", frozenset({"voyage"}))))
    answer = front.post(URL, body(sub("r"), sub("x", provider="cohere")))
    assert (answer.status, answer.error["param"]) == (403, "requests[1]")
    assert not front.desk.submitted


def test_the_limit_of_sub_requests() -> None:
    for count, status in ((255, 200), (256, 200), (257, 400)):
        front = Front()
        answer = front.post(URL, body(*[sub("r")] * count))
        assert answer.status == status
        if status == 400:
            assert answer.error["param"] == "requests"
            assert "257" in answer.error["message"]
            assert not front.desk.submitted


def test_the_limit_of_texts_holds_for_the_whole_call() -> None:
    for counts, status in (((2, 2), 200), ((3, 2), 200), ((3, 3), 400), ((6,), 400)):
        front = Front()
        front.desk.most = 5
        requests = [sub("r", *["a"] * count) for count in counts]
        answer = front.post(URL, body(*requests))
        assert answer.status == status
        if status == 400:
            assert answer.error["param"] == ("requests[0].input" if counts == (6,) else "requests")
            assert not front.desk.submitted


def test_many_small_ones_are_bulk() -> None:
    for count, bulk in ((32, False), (33, True)):
        front = Front()
        front.post(URL, body(*[sub("r")] * count))
        assert {request.bulk for _, request in front.desk.submitted} == {bulk}
        assert len({request.deadline for _, request in front.desk.submitted}) == 1


# failures


def test_one_failure_fails_the_call_at_once_and_the_others_leave() -> None:
    front = held(sub("r1"), sub("r2"), sub("r3"))
    front.desk.finish(2)
    front.desk.finish(1, LIMITED)
    (answer,) = front.client.answers
    assert (answer.status, answer.error["type"]) == (429, "rate_limited")
    assert answer.error["param"] == "requests[1]"
    assert answer.headers["retry-after"] == "3"
    assert front.desk.gone == [front.desk.submitted[0][1]]


def test_a_refused_text_is_named() -> None:
    front = held(sub("r1"), sub("r2", "a", "b"), {"id": "r3", "input": "a"})
    front.desk.finish(1, Refusal("validation_error", "too long", param="input[1]"))
    assert front.client.answers[0].error["param"] == "requests[1].input[1]"
    front = held(sub("r1"), {"id": "r3", "input": "a"})
    front.desk.finish(1, Refusal("validation_error", "too long", param="input[0]"))
    assert front.client.answers[0].error["param"] == "requests[1].input"


def test_when_one_is_refused_while_they_are_sent_the_rest_is_not() -> None:
    front = Front(DeskDouble({"voyage": Row("m"), "cohere": Row("m", refusal=BROKEN)}))
    answer = front.post(URL, body(sub("r1"), sub("r2", provider="cohere"), sub("r3")))
    assert (answer.status, answer.error["type"]) == (502, "provider_error")
    assert len(front.desk.submitted) == 2
    assert not front.desk.gone


def test_and_those_that_wait_leave() -> None:
    class Half(DeskDouble):
        def submit(self, plan: Any, request: Request) -> None:
            self.hold = plan.provider == "voyage"
            super().submit(plan, request)

    front = Front(Half({"voyage": Row("m"), "cohere": Row("m", refusal=BROKEN)}))
    answer = front.post(URL, body(sub("r1"), sub("r2", provider="cohere"), sub("r3")))
    assert answer.status == 502
    assert front.desk.gone == [front.desk.submitted[0][1]]


def test_on_error_fail_is_the_default() -> None:
    front = held(sub("r1"), sub("r2"), on_error="fail")
    front.desk.finish(0, BROKEN)
    assert front.client.answers[0].status == 502


def test_on_error_continue() -> None:
    front = held(sub("r1"), sub("r2"), sub("r3"), on_error="continue")
    front.desk.finish(1, LIMITED)
    front.desk.finish(0)
    assert not front.client.answers
    front.desk.finish(2, BROKEN)
    (answer,) = front.client.answers
    assert answer.status == 200
    one, two, three = answer.json["results"]
    assert one["data"][0]["embedding"] == floats_of(b'"a"')
    assert two == {"id": "r2", "error": {"type": "rate_limited", "message": "slowly"}}
    assert three == {"id": "r3", "error": {"type": "provider_error", "message": "status 500"}}
    assert not front.desk.gone


def test_on_error_continue_when_all_fail() -> None:
    front = held(sub("r1"), sub("r2"), on_error="continue")
    front.desk.finish(0, BROKEN)
    front.desk.finish(1, BROKEN)
    (answer,) = front.client.answers
    assert answer.status == 200
    assert [entry["error"]["type"] for entry in answer.json["results"]] == ["provider_error"] * 2
    assert "x-emr-provider" not in answer.headers


@pytest.mark.parametrize(("on_error", "status"), [("fail", 502), ("continue", 200)])
def test_a_bad_vector(on_error: str, status: int) -> None:
    front = Front(DeskDouble({"voyage": Row("m"), "bad": Row("m", dtypes={"float": b"[1e39]"})}))
    requests = [sub("r1"), sub("r2", provider="bad", encoding_format="base64")]
    answer = front.post(URL, body(*requests, on_error=on_error))
    assert answer.status == status
    if status == 200:
        assert answer.json["results"][0]["data"]
        assert answer.json["results"][1]["error"]["type"] == "provider_error"


def test_a_caller_that_leaves_takes_what_waits_along() -> None:
    front = Front(DeskDouble(hold=True))
    exchange = front.client.send(
        "POST", URL, orjson.dumps(body(sub("r1"), sub("r2"), sub("r3"))), with_key()
    )
    front.desk.finish(1)
    exchange.gone()
    waiting = [front.desk.submitted[number][1] for number in (0, 2)]
    assert front.desk.gone == waiting
    assert not front.client.answers


# whole


@pytest.mark.parametrize(
    ("theirs", "members"),
    [
        (b'{"object":"list","data":[1],"id":"x","provider":"y"}', {"object": "list", "data": [1]}),
        (b"{}", {}),
    ],
)
def test_a_sub_request_that_travels_whole(theirs: bytes, members: dict[str, Any]) -> None:
    front = Front(DeskDouble({"jina": Row("m", body=theirs)}))
    given = sub("r1", provider="jina", late_chunking=True)
    (entry,) = front.post(URL, body(given)).json["results"]
    assert entry == {"id": "r1", "provider": "jina", **members}
    assert orjson.loads(front.desk.asks[0].whole or b"") == {"input": ["a"], "late_chunking": True}


def test_a_whole_answer_that_is_no_object() -> None:
    front = Front(DeskDouble({"jina": Row("m", body=b"[1]")}))
    given = sub("r1", provider="jina", late_chunking=True)
    assert front.post(URL, body(given)).status == 502
    (entry,) = front.post(URL, body(given, on_error="continue")).json["results"]
    assert entry["error"]["type"] == "provider_error"


def test_large_answers_are_written_off_the_loop() -> None:
    class Long(DeskDouble):
        @staticmethod
        def vector(row: Row, request: Request, text: bytes) -> bytes:
            return b"[0.5" + b" " * (CONVERT_MAX // 2) + b"]"

    off: list[Any] = []
    front = Front(Long(), offload=lambda work, then: off.append((work, then)))
    given = [sub(f"r{i}", encoding_format="base64") for i in range(2)]
    front.client.send("POST", URL, orjson.dumps(body(*given)), with_key())
    ((work, then),) = off
    then(work())
    assert [entry["id"] for entry in front.client.answers[0].json["results"]] == ["r0", "r1"]


def test_one_that_ends_in_the_same_turn_as_the_one_that_failed() -> None:
    """Both ended before anyone was told: the second is told of after the call is over."""
    front = held(sub("r1"), sub("r2"))
    (_, first), (_, second) = front.desk.submitted
    second.missing = 0  # answered
    front.desk.finish(0, BROKEN)
    second.done(second)
    (answer,) = front.client.answers
    assert answer.status == 502
    assert front.desk.gone == []
    assert first.refusal == BROKEN


def test_any_batch_in_any_order_of_ends() -> None:
    """Every entry has its own id, its own texts' vectors, its own encoding."""
    rng = random.Random(11)
    for _ in range(200):
        given, wants = [], []
        for i in range(rng.randrange(1, 9)):
            texts = [f"{rng.random()}" for _ in range(rng.randrange(1, 5))]
            encoding = rng.choice(["float", "base64"])
            fails = rng.random() < 0.2
            given.append(sub(f"r{i}", *texts, encoding_format=encoding))
            write = base64_of if encoding == "base64" else list
            wants.append(None if fails else [write(floats_of(orjson.dumps(t))) for t in texts])
        front = held(*given, on_error="continue")
        order = list(range(len(given)))
        rng.shuffle(order)
        for number in order:
            front.desk.rows["voyage"].base64 = rng.random() < 0.5
            front.desk.finish(number, BROKEN if wants[number] is None else None)
        results = front.client.answers[0].json["results"]
        assert [entry["id"] for entry in results] == [f"r{i}" for i in range(len(given))]
        for entry, want in zip(results, wants, strict=True):
            if want is None:
                assert entry["error"]["type"] == "provider_error"
            else:
                assert [each["embedding"] for each in entry["data"]] == want
                assert [each["index"] for each in entry["data"]] == list(range(len(want)))
