"""Every dialect is judged by the same cases, over a socket, before a provider that is strict."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emr.lane.ticket import Params
from emr.lane.verdict import Dimension, Ending
from emr.upstream.call import Call, Outcome
from emr.upstream.caller import HttpCaller
from emr.upstream.endpoint import check_endpoint
from emr.upstream.table import KINDS
from emr.upstream.transport import Transport
from tests.support.aio import run
from tests.support.peer import Peer
from tests.upstream.judge import MODEL, TEXTS, ask, expected, outcome_of, vectors_of
from tests.upstream.provider import (
    FAULTS,
    FORMS,
    KEY,
    CohereV1Form,
    CohereV2Form,
    CompatibleForm,
    Form,
    OpenAIForm,
    Refuse,
    VoyageForm,
    base64_of,
)

INDEXED = [form for form in FORMS if form.has_index]
SIZED = [form for form in FORMS if form.dimensions_field is not None]
WITH_BASE64 = [OpenAIForm, VoyageForm, CohereV2Form]

every_form = pytest.mark.parametrize("make", FORMS, ids=lambda form: form.name)


@every_form
def test_vectors_come_in_the_order_of_the_texts(make: type[Form]) -> None:
    form = make()
    outcome = outcome_of(form)
    assert vectors_of(outcome) == expected(TEXTS)
    assert outcome.reply is not None
    assert outcome.reply.dimensions == 8
    assert outcome.reply.model == MODEL
    assert outcome.first_byte_s is not None
    assert outcome.first_byte_s >= 0.0
    assert outcome.limits is None


@every_form
def test_texts_are_sent_as_they_came(make: type[Form]) -> None:
    form = make()
    outcome_of(form)
    assert b",".join(TEXTS) in form.bodies[0]
    assert form.requests[0][form.key_of_texts] == [json.loads(text) for text in TEXTS]


@every_form
def test_one_text(make: type[Form]) -> None:
    assert vectors_of(outcome_of(make(), texts=[b'"one"'])) == expected([b'"one"'])


@every_form
def test_the_head_of_the_request(make: type[Form]) -> None:
    form = make()
    outcome_of(form)
    target, headers = form.heads[0]
    assert target == form.path
    assert headers["accept-encoding"] == "identity"
    assert headers["host"].startswith("127.0.0.1:")
    assert headers["user-agent"].startswith("emr/")


@pytest.mark.parametrize("make", INDEXED, ids=lambda form: form.name)
def test_a_shuffled_reply_is_put_right(make: type[Form]) -> None:
    form = make()
    form.fault = "shuffle"
    assert vectors_of(outcome_of(form)) == expected(TEXTS)


PROTOCOL = [
    fault
    for fault in FAULTS
    if fault not in ("shuffle", "duplicate", "garbage", "truncated", "error with 200")
]


@every_form
@pytest.mark.parametrize("fault", PROTOCOL)
@pytest.mark.parametrize("float_text", [True, False])
def test_a_wrong_reply_never_gets_through(make: type[Form], fault: str, float_text: bool) -> None:
    form = make()
    form.fault = fault
    params = Params(MODEL, dimensions=8 if form.dimensions_field else None)
    outcome = outcome_of(form, params, float_text=float_text)
    if fault == "wrong dimensions" and form.dimensions_field is None:
        assert outcome.reply is not None  # nothing was asked for
        assert outcome.reply.dimensions == 9
        return
    assert outcome.verdict.ending is Ending.PROTOCOL, outcome.verdict
    assert outcome.verdict.message
    assert outcome.reply is None


@pytest.mark.parametrize("make", INDEXED, ids=lambda form: form.name)
def test_an_index_that_stands_twice(make: type[Form]) -> None:
    form = make()
    form.fault = "duplicate"
    assert outcome_of(form).verdict.ending is Ending.PROTOCOL


@every_form
@pytest.mark.parametrize("fault", ["garbage", "truncated"])
def test_what_is_not_json_may_be_tried_again(make: type[Form], fault: str) -> None:
    form = make()
    form.fault = fault
    outcome = outcome_of(form)
    assert outcome.verdict.ending is Ending.TRANSIENT
    assert outcome.verdict.status == 200


@every_form
def test_an_error_with_the_status_200(make: type[Form]) -> None:
    form = make()
    form.fault = "error with 200"
    outcome = outcome_of(form)
    assert outcome.verdict.ending is Ending.RATE
    assert outcome.verdict.message == "Requests rate limit exceeded"


@every_form
def test_what_was_billed(make: type[Form]) -> None:
    outcome = outcome_of(make())
    assert outcome.reply is not None
    assert outcome.reply.tokens == sum(len(json.loads(text)) for text in TEXTS)


@every_form
def test_numbers_are_asked_for_when_every_caller_wants_numbers(make: type[Form]) -> None:
    outcome = outcome_of(make(), float_text=True)
    assert all(type(vector) is list for vector in vectors_of(outcome))


@pytest.mark.parametrize("make", WITH_BASE64, ids=lambda form: form.name)
def test_base64_is_asked_for_when_anybody_wants_it(make: type[Form]) -> None:
    outcome = outcome_of(make(), float_text=False)
    assert vectors_of(outcome) == [base64_of(vector) for vector in expected(TEXTS)]


@pytest.mark.parametrize("make", [CompatibleForm, CohereV1Form], ids=lambda form: form.name)
def test_numbers_are_taken_where_base64_is_not_spoken(make: type[Form]) -> None:
    assert vectors_of(outcome_of(make(), float_text=False)) == expected(TEXTS)


@pytest.mark.parametrize("make", SIZED, ids=lambda form: form.name)
@pytest.mark.parametrize("dimensions", [4, 16])
def test_dimensions(make: type[Form], dimensions: int) -> None:
    form = make()
    outcome = outcome_of(form, Params(MODEL, dimensions=dimensions))
    assert vectors_of(outcome) == expected(TEXTS, dimensions)
    assert form.requests[0][form.dimensions_field or ""] == dimensions


@pytest.mark.parametrize("make", SIZED, ids=lambda form: form.name)
def test_dimensions_that_the_provider_cannot_give(make: type[Form]) -> None:
    outcome = outcome_of(make(), Params(MODEL, dimensions=5))
    assert outcome.verdict.ending is Ending.BAD_REQUEST


def test_dimensions_where_the_api_has_no_word_for_them() -> None:
    form = CohereV1Form()
    outcome = outcome_of(form, Params(MODEL, dimensions=8))
    assert outcome.verdict.ending is Ending.BAD_REQUEST
    assert "/v2/embed" in outcome.verdict.message
    assert form.heads == []


WORDS: list[tuple[type[Form], str | None, str | None]] = [
    (VoyageForm, None, None),
    (VoyageForm, "query", "query"),
    (VoyageForm, "document", "document"),
    (CohereV2Form, None, "search_document"),
    (CohereV2Form, "query", "search_query"),
    (CohereV2Form, "document", "search_document"),
    (CohereV2Form, "clustering", "clustering"),
    (CohereV1Form, None, "search_document"),
    (CohereV1Form, "query", "search_query"),
    (OpenAIForm, "query", None),
    (OpenAIForm, "document", None),
    (CompatibleForm, "query", None),
]


@pytest.mark.parametrize(("make", "input_type", "word"), WORDS)
def test_the_type_of_input(make: type[Form], input_type: str | None, word: str | None) -> None:
    form = make()
    outcome = outcome_of(form, Params(MODEL, input_type=input_type))
    assert vectors_of(outcome) == expected(TEXTS)
    assert form.requests[0].get("input_type") == word


@pytest.mark.parametrize(
    ("make", "truncate", "field", "value"),
    [
        (VoyageForm, None, "truncation", None),
        (VoyageForm, "none", "truncation", False),
        (VoyageForm, "end", "truncation", True),
        (CohereV2Form, None, "truncate", None),
        (CohereV2Form, "none", "truncate", "NONE"),
        (CohereV2Form, "start", "truncate", "START"),
        (CohereV2Form, "end", "truncate", "END"),
        (CohereV1Form, "end", "truncate", "END"),
        (OpenAIForm, "none", "truncate", None),
        (OpenAIForm, "end", "truncate", None),
        (CompatibleForm, "end", "truncate", None),
    ],
)
def test_truncation(make: type[Form], truncate: str | None, field: str, value: Any) -> None:
    form = make()
    vectors_of(outcome_of(form, Params(MODEL, truncate=truncate)))
    assert form.requests[0].get(field) == value


@pytest.mark.parametrize(
    ("make", "params"),
    [
        (VoyageForm, Params(MODEL, truncate="start")),
        (OpenAIForm, Params(MODEL, truncate="start")),
        (CompatibleForm, Params(MODEL, truncate="start")),
        (OpenAIForm, Params(MODEL, dtype="int8")),
        (CompatibleForm, Params(MODEL, dtype="int8")),
        (VoyageForm, Params(MODEL, dtype="int4")),
        (CohereV2Form, Params(MODEL, dtype="int4")),
        (VoyageForm, Params(MODEL, token_ids=True)),
        (CohereV2Form, Params(MODEL, token_ids=True)),
        (CohereV1Form, Params(MODEL, token_ids=True)),
        (CompatibleForm, Params(MODEL, token_ids=True)),
        (VoyageForm, Params("half a pair \ud83d")),
    ],
)
def test_what_a_provider_cannot_be_asked(make: type[Form], params: Params) -> None:
    form = make()
    outcome = outcome_of(form, params)
    assert outcome.verdict.ending is Ending.BAD_REQUEST
    assert outcome.verdict.status is None
    assert form.heads == [], "nothing is sent"
    if params.token_ids:
        assert "check_embedding_ctx_length=False" in outcome.verdict.message


def test_token_ids_are_passed_on_to_openai() -> None:
    form = OpenAIForm()
    texts = [b"[1,2,3]", b"[4]"]
    outcome = outcome_of(form, Params(MODEL, token_ids=True), texts=texts)
    assert vectors_of(outcome) == expected(texts)
    assert form.requests[0]["input"] == [[1, 2, 3], [4]]


@pytest.mark.parametrize("make", [OpenAIForm, CompatibleForm], ids=lambda form: form.name)
def test_the_user_is_named_only_when_there_is_one(make: type[Form]) -> None:
    form = make()
    outcome_of(form, user="someone")
    outcome_of(form)
    assert [request.get("user") for request in form.requests] == ["someone", None]


@pytest.mark.parametrize("make", [VoyageForm, CohereV2Form], ids=lambda form: form.name)
def test_the_user_is_not_named_where_no_field_is_for_it(make: type[Form]) -> None:
    assert vectors_of(outcome_of(make(), user="someone")) == expected(TEXTS)


@pytest.mark.parametrize("make", [VoyageForm, CohereV2Form, CohereV1Form])
@pytest.mark.parametrize(
    ("dtype", "length"), [("int8", 8), ("uint8", 8), ("binary", 1), ("ubinary", 1)]
)
@pytest.mark.parametrize("float_text", [True, False])
def test_types_of_numbers(make: type[Form], dtype: str, length: int, float_text: bool) -> None:
    outcome = outcome_of(make(), Params(MODEL, dtype=dtype), float_text=float_text)
    wanted: list[Any] = expected(TEXTS, length, dtype)
    if make is VoyageForm and not float_text:
        wanted = [base64_of(vector, dtype) for vector in wanted]
    assert vectors_of(outcome) == wanted
    assert outcome.reply is not None
    assert outcome.reply.dimensions == length


@every_form
def test_too_many_texts(make: type[Form]) -> None:
    form = make()
    texts = [b'"%d"' % i for i in range(form.max_texts + 1)]
    verdict = outcome_of(form, texts=texts).verdict
    assert verdict.ending is Ending.SIZE_ITEMS
    assert verdict.cap == form.max_texts
    assert len(vectors_of(outcome_of(form, texts=texts[:-1]))) == form.max_texts


@every_form
def test_an_empty_text(make: type[Form]) -> None:
    form = make()
    verdict = outcome_of(form, texts=[b'"a"', b'""']).verdict
    assert verdict.ending is Ending.BAD_TEXT
    if isinstance(form, CohereV2Form):
        assert verdict.index == 1


@every_form
def test_a_wrong_key(make: type[Form]) -> None:
    form = make()
    key = "wrong-key-9876543210"
    outcome = run(ask(form, Call(Params(MODEL), TEXTS), key))
    assert outcome.verdict.ending is Ending.AUTH
    assert outcome.verdict.status == 401
    assert outcome.verdict.message == "Incorrect API key provided: [hidden]."


@every_form
def test_no_key_at_all(make: type[Form]) -> None:
    form = make()
    outcome = run(ask(form, Call(Params(MODEL), TEXTS), ""))
    assert outcome.verdict.ending is Ending.AUTH
    assert "authorization" not in form.heads[0][1]


@every_form
def test_no_money(make: type[Form]) -> None:
    form = make()
    form.refusal = form.error(402, "pay")
    assert outcome_of(form).verdict.ending is Ending.QUOTA
    form.refusal = form.error(429, "You exceeded your current quota, please check your plan")
    assert outcome_of(form).verdict.ending is Ending.QUOTA


@every_form
def test_too_fast(make: type[Form]) -> None:
    form = make()
    refusal = form.error(429, "Rate limit reached on requests per min (RPM): Limit 3, Used 3")
    headers = [("Retry-After", "7"), ("x-ratelimit-limit-requests", "3")]
    form.refusal = Refuse(429, refusal.body, headers)
    outcome = outcome_of(form)
    assert outcome.verdict.ending is Ending.RATE
    assert outcome.verdict.retry_after == 7.0
    assert outcome.verdict.dimension is Dimension.CALLS
    assert outcome.verdict.limits is not None
    assert outcome.verdict.limits.calls == 3.0
    assert outcome.limits is not None
    assert outcome.limits.calls == 3.0
    assert outcome.first_byte_s is not None


@every_form
@pytest.mark.parametrize(
    ("status", "ending"),
    [(500, Ending.TRANSIENT), (502, Ending.TRANSIENT), (503, Ending.OVERLOAD),
     (404, Ending.BAD_REQUEST), (413, Ending.SIZE_BYTES), (302, Ending.TRANSIENT)],
)  # fmt: skip
def test_other_errors(make: type[Form], status: int, ending: Ending) -> None:
    form = make()
    form.refusal = form.error(status, "words")
    verdict = outcome_of(form).verdict
    assert (verdict.ending, verdict.status, verdict.message) == (ending, status, "words")


@every_form
def test_a_request_that_is_passed_on_whole(make: type[Form]) -> None:
    form = make()
    form.path = "/v1/otherembeddings"
    form.fields = form.fields | {"late_chunking"}
    value = {form.key_of_texts: ["a", "b"], "model": MODEL, "late_chunking": True}
    if isinstance(form, CohereV2Form):
        value |= {"input_type": "search_query", "embedding_types": ["float"]}
    body = json.dumps(value, indent=3).encode()
    transport = Transport()

    async def main() -> Outcome:
        async with Peer(form.script) as peer:
            kind = KINDS[form.kind]
            endpoint = check_endpoint(f"http://127.0.0.1:{peer.port}{kind.path}", kind)
            caller = HttpCaller(kind, endpoint, KEY, transport)
            params = Params(MODEL, whole=body, path="/v1/otherembeddings")
            outcome = await caller.call(Call(params, []))
            await transport.close()
            return outcome

    outcome = run(main())
    assert form.bodies == [body]
    assert outcome.reply is not None
    assert outcome.reply.vectors == []
    assert outcome.reply.tokens == 2
    assert outcome.reply.body is not None
    assert b"embedding" in outcome.reply.body
    json.loads(outcome.reply.body)
