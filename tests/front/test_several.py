"""Several providers in one request: the first that answers, or every one of them."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from emr.front.desk import Principal
from emr.lane.refusal import Refusal
from tests.front.double import Answer, DeskDouble, Front, KeysDouble, Row, floats_of, with_key

URL = "/v1/embeddings"
A = floats_of(b'"a"')
LIMITED = Refusal("rate_limited", "slowly", retry_after=3.0)
BROKEN = Refusal("provider_error", "status 500", final=True)
BINNED = Refusal("provider_unavailable", "binned", retry_after=20.0)
TOO_LONG = Refusal("validation_error", "too long", param="input[0]")


def front(hold: bool = False, **refusals: Refusal | None) -> Front:
    """A front over providers that answer, or refuse."""
    rows = {name: Row(f"{name}-model", refusal=refusal) for name, refusal in refusals.items()}
    return Front(DeskDouble(rows, hold))


def body(policy: str | None, *names: str, **more: Any) -> dict[str, Any]:
    return {"input": ["a"], "providers": list(names), "policy": policy, **more}


def result(name: str) -> dict[str, Any]:
    return {
        "data": [{"object": "embedding", "index": 0, "embedding": A}],
        "model": f"{name}-model",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


def called(front: Front) -> list[str]:
    return [plan.provider for plan, _ in front.desk.submitted]


# any


@pytest.mark.parametrize("policy", [None, "any"])
def test_any_is_the_first_success_and_pays_no_other(policy: str | None) -> None:
    f = front(one=None, two=None)
    answer = f.post(URL, body(policy, "one", "two"))
    assert answer.json == {"results": {"one": result("one")}, "failed": {}}
    assert called(f) == ["one"]
    assert answer.headers["x-emr-provider"] == "one"
    assert answer.headers["content-type"] == "application/json"


def test_one_name_is_answered_alike() -> None:
    answer = front(one=None).post(URL, body(None, "one"))
    assert answer.json == {"results": {"one": result("one")}, "failed": {}}


def test_any_goes_on_after_a_failure_and_tells_of_it() -> None:
    f = front(one=BROKEN, two=LIMITED, three=None, four=None)
    answer = f.post(URL, body("any", "one", "two", "three", "four"))
    assert answer.status == 200
    assert answer.json == {
        "results": {"three": result("three")},
        "failed": {
            "one": {"type": "provider_error", "message": "status 500"},
            "two": {"type": "rate_limited", "message": "slowly"},
        },
    }
    assert called(f) == ["one", "two", "three"]
    assert answer.headers["x-emr-attempts"] == "3"


def test_any_asks_the_next_only_when_the_one_before_has_failed() -> None:
    f = front(hold=True, one=None, two=None)
    f.client.send("POST", URL, orjson.dumps(body("any", "one", "two")), with_key())
    assert called(f) == ["one"]
    f.desk.finish(0, BROKEN)
    assert called(f) == ["one", "two"]
    assert not f.client.answers
    f.desk.finish(1)
    assert list(f.client.answers[0].json["results"]) == ["two"]


def test_any_passes_over_one_that_would_wait() -> None:
    f = front(one=None, two=None)
    f.desk.rows["one"].waits = True
    f.post(URL, body("any", "one", "two"))
    assert called(f) == ["two"]


def test_any_asks_again_before_each_try_who_would_wait() -> None:
    f = front(hold=True, one=None, two=None, three=None)
    f.client.send("POST", URL, orjson.dumps(body("any", "one", "two", "three")), with_key())
    f.desk.rows["two"].waits = True
    f.desk.finish(0, BROKEN)
    assert called(f) == ["one", "three"]


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (TOO_LONG, 400),
        (Refusal("quota_exceeded", "spent"), 429),
        (Refusal("deadline_exceeded", "late"), 504),
    ],
)
def test_what_is_the_callers_own_ends_any(refusal: Refusal, status: int) -> None:
    f = front(one=BROKEN, two=refusal, three=None)
    answer = f.post(URL, body("any", "one", "two", "three"))
    assert (answer.status, answer.error["type"]) == (status, refusal.type)
    assert answer.error["param"] == refusal.param
    assert list(answer.json["failed"]) == ["one"]
    assert called(f) == ["one", "two"]


def test_a_text_refused_by_the_first_is_a_plain_400() -> None:
    answer = front(one=TOO_LONG, two=None).post(URL, body("any", "one", "two"))
    assert answer.status == 400
    assert "failed" not in answer.json


def test_all_failed_under_any() -> None:
    answer = front(one=BROKEN, two=BROKEN).post(URL, body("any", "one", "two"))
    assert (answer.status, answer.error["type"]) == (502, "all_providers_failed")
    assert answer.error["message"] == "no provider answered: one: status 500; two: status 500"
    assert answer.json["failed"]["two"] == {"type": "provider_error", "message": "status 500"}
    assert "results" not in answer.json
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers


def test_all_failed_and_one_may_come_back() -> None:
    answer = front(one=BROKEN, two=BINNED).post(URL, body("any", "one", "two"))
    assert (answer.status, answer.error["type"]) == (502, "all_providers_failed")
    assert answer.json["failed"]["two"]["type"] == "provider_error"
    assert "x-should-retry" not in answer.headers


def test_all_failed_and_one_was_rate_limited() -> None:
    longer = Refusal("rate_limited", "slower", retry_after=7.2)
    answer = front(one=LIMITED, two=longer, three=BROKEN).post(
        URL, body("any", "one", "two", "three")
    )
    assert (answer.status, answer.error["type"]) == (429, "rate_limited")
    assert answer.headers["retry-after"] == "8"
    assert answer.headers["retry-after-ms"] == "7200"
    assert list(answer.json["failed"]) == ["one", "two", "three"]


# all


def test_all_asks_every_one_at_once() -> None:
    f = front(hold=True, one=None, two=None)
    f.client.send("POST", URL, orjson.dumps(body("all", "one", "two")), with_key())
    assert called(f) == ["one", "two"]
    f.desk.finish(1)
    assert not f.client.answers
    f.desk.finish(0)
    (answer,) = f.client.answers
    assert answer.json == {"results": {"one": result("one"), "two": result("two")}, "failed": {}}
    assert list(answer.json["results"]) == ["one", "two"]
    assert answer.headers["x-emr-provider"] == "one, two"
    assert answer.headers["x-emr-model"] == "one-model, two-model"
    assert answer.headers["x-emr-attempts"] == "2"


def test_one_failure_fails_all_and_the_good_are_shown() -> None:
    answer = front(one=None, two=BROKEN).post(URL, body("all", "one", "two"))
    assert (answer.status, answer.error["type"]) == (502, "policy_failure")
    assert answer.json["results"] == {"one": result("one")}
    assert answer.json["failed"] == {"two": {"type": "provider_error", "message": "status 500"}}
    assert answer.error["message"] == "not all providers answered: two: status 500"
    assert answer.json["detail"] == answer.error["message"]


def test_a_rate_limit_makes_it_429() -> None:
    answer = front(one=None, two=BROKEN, three=LIMITED).post(
        URL, body("all", "one", "two", "three")
    )
    assert (answer.status, answer.error["type"]) == (429, "rate_limited")
    assert answer.headers["retry-after"] == "3"
    assert answer.json["failed"]["three"]["type"] == "rate_limited"
    assert list(answer.json["results"]) == ["one"]


@pytest.mark.parametrize(
    ("refusals", "final"),
    [
        ([BROKEN], True),
        ([TOO_LONG], True),
        ([BROKEN, TOO_LONG], True),
        ([BROKEN, BINNED], False),
        ([Refusal("overloaded", "full")], False),
    ],
)
def test_trying_again_is_advised_when_it_may_help(refusals: list[Refusal], final: bool) -> None:
    rows = {f"p{i}": refusal for i, refusal in enumerate(refusals)}
    answer = front(good=None, **rows).post(URL, body("all", "good", *rows))
    assert answer.status == 502
    assert ("x-should-retry" in answer.headers) is final


def test_a_slow_one_and_the_deadline() -> None:
    f = front(hold=True, fast=None, slow=None)
    exchange = f.client.send(
        "POST", URL, orjson.dumps(body("all", "fast", "slow")), with_key(x_emr_timeout_ms="500")
    )
    assert {request.deadline for _, request in f.desk.submitted} == {1000.5}
    f.desk.finish(0)
    f.desk.finish(1, Refusal("deadline_exceeded", "late"))
    (answer,) = f.client.answers
    assert answer.json["results"] == {"fast": result("fast")}
    assert answer.json["failed"] == {"slow": {"type": "provider_error", "message": "late"}}
    assert exchange.on_gone is None


# both


@pytest.mark.parametrize("policy", ["any", "all"])
def test_names_are_looked_at_before_anything_is_sent(policy: str) -> None:
    f = front(one=None)
    answer = f.post(URL, body(policy, "one", "nobody"))
    assert (answer.status, answer.error["type"]) == (400, "unknown_provider")
    assert not f.desk.submitted
    f = Front(keys=KeysDouble(Principal("k", "n", frozenset({"voyage"}))))
    assert f.post(URL, body(policy, "voyage", "cohere")).status == 403
    assert not f.desk.submitted


@pytest.mark.parametrize("policy", ["any", "all"])
def test_a_caller_that_leaves_takes_what_waits_along(policy: str) -> None:
    f = front(hold=True, one=None, two=None, three=None)
    exchange = f.client.send(
        "POST", URL, orjson.dumps(body(policy, "one", "two", "three")), with_key()
    )
    f.desk.finish(0, BROKEN)
    exchange.gone()
    left = [request for _, request in f.desk.submitted[1:]]
    assert f.desk.gone == left
    assert len(left) == (1 if policy == "any" else 2)
    assert not f.client.answers


@pytest.mark.parametrize("policy", ["any", "all"])
def test_base64_from_several(policy: str) -> None:
    f = Front(DeskDouble({"one": Row("m", base64=True), "two": Row("m")}))
    answer = f.post(URL, body(policy, "one", "two", encoding_format="base64"))
    for found in answer.json["results"].values():
        assert type(found["data"][0]["embedding"]) is str
    answer = f.post(URL, body(policy, "one", "two"))
    for found in answer.json["results"].values():
        assert found["data"][0]["embedding"] == A


@pytest.mark.parametrize("policy", ["any", "all"])
@pytest.mark.parametrize("theirs", [b'{"data": [1]}', b"{}"])
def test_whole_bodies_of_several(policy: str, theirs: bytes) -> None:
    f = Front(DeskDouble({"one": Row("m", body=theirs)}))
    answer = f.post(URL, body(policy, "one", late_chunking=True))
    assert answer.json == {"results": {"one": orjson.loads(theirs)}, "failed": {}}


@pytest.mark.parametrize("theirs", [b"[1]", b"<html>", b"1", b'{"a":1}{'])
def test_a_whole_body_that_is_no_object(theirs: bytes) -> None:
    f = Front(DeskDouble({"one": Row("m", body=theirs)}))
    answer = f.post(URL, body("any", "one", late_chunking=True))
    assert (answer.status, answer.error["type"]) == (502, "provider_error")
    assert answer.error["message"].startswith("one answered with")


def test_a_bad_vector_of_one_of_several() -> None:
    f = Front(DeskDouble({"one": Row("m"), "two": Row("m", dtypes={"float": b"[1e39]"})}))
    answer = f.post(URL, body("all", "one", "two", encoding_format="base64"))
    assert (answer.status, answer.error["type"]) == (502, "provider_error")


def test_names_are_escaped() -> None:
    f = Front(DeskDouble({'a"\\b': Row("m"), "x\n": Row("m", refusal=BROKEN)}))
    answer = f.post(URL, body("all", 'a"\\b', "x\n"))
    assert list(answer.json["results"]) == ['a"\\b']
    assert list(answer.json["failed"]) == ["x\n"]


def test_any_end_of_any_number_of_providers() -> None:
    """Whatever each does: the answer says it, and every provider is under one heading at most."""
    rng = random.Random(5)
    ends = [None, BROKEN, LIMITED, BINNED, Refusal("overloaded", "full"), TOO_LONG]
    for _ in range(400):
        names = [f"p{i}" for i in range(rng.randrange(1, 6))]
        plan = {name: rng.choice(ends) for name in names}
        policy = rng.choice(["any", "all"])
        f = front(hold=True, **plan)
        f.client.send("POST", URL, orjson.dumps(body(policy, *names)), with_key())
        done: set[int] = set()
        while len(done) < len(f.desk.submitted):
            number = rng.choice([i for i in range(len(f.desk.submitted)) if i not in done])
            done.add(number)
            f.desk.finish(number)
        (answer,) = f.client.answers
        check_any(plan, answer) if policy == "any" else check_all(plan, answer)


def check_any(plan: dict[str, Refusal | None], answer: Answer) -> None:
    failed: dict[str, Refusal] = {}
    for name, refusal in plan.items():
        if refusal is None:
            assert answer.status == 200
            assert answer.json["results"] == {name: result(name)}
            break
        if refusal is TOO_LONG:
            assert answer.status == 400
            break
        failed[name] = refusal
    else:
        assert answer.status == (429 if LIMITED in failed.values() else 502)
    assert list(answer.json.get("failed", {})) == list(failed)


def check_all(plan: dict[str, Refusal | None], answer: Answer) -> None:
    good = [name for name, refusal in plan.items() if refusal is None]
    bad = [name for name in plan if name not in good]
    assert answer.json["results"] == {name: result(name) for name in good}
    assert list(answer.json["failed"]) == bad
    limited = LIMITED in plan.values()
    assert answer.status == (200 if not bad else 429 if limited else 502)
