"""Every dialect is judged by the same cases, over a socket, before a provider that is strict."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emr.lane.ticket import Params
from emr.lane.verdict import Ending
from emr.upstream.call import Call, Outcome, call_with
from emr.upstream.caller import HttpCaller
from emr.upstream.endpoint import check_endpoint
from emr.upstream.table import KINDS
from emr.upstream.transport import Transport
from tests.support.aio import run
from tests.support.peer import Peer
from tests.upstream.judge import MODEL, TEXTS, expected, outcome_of, vectors_of
from tests.upstream.provider import (
    FAULTS,
    KEY,
    CohereV1Form,
    CohereV2Form,
    CompatibleForm,
    Form,
    OpenAIForm,
    VoyageForm,
    base64_of,
)
from tests.upstream.provider_more import (
    FORMS,
    AzureForm,
    EmrForm,
    GeminiForm,
    InfinityForm,
    JinaForm,
    MistralForm,
    OllamaForm,
    TEIForm,
    VLLMForm,
)

INDEXED = [form for form in FORMS if form.has_index]
SIZED = [form for form in FORMS if form.dimensions_field is not None]
NUMBERS_ONLY = [CompatibleForm, CohereV1Form, GeminiForm, OllamaForm]
WITH_BASE64 = [form for form in FORMS if form not in NUMBERS_ONLY]
WITH_USER = [OpenAIForm, CompatibleForm, AzureForm, TEIForm, InfinityForm, VLLMForm, EmrForm]

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
    for text in TEXTS:
        assert text in form.bodies[0]
    assert form.texts(form.requests[0]) == [json.loads(text) for text in TEXTS]


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
    form = make()
    outcome = outcome_of(form)
    assert outcome.reply is not None
    tokens = sum(len(json.loads(text)) for text in TEXTS)
    assert outcome.reply.tokens == (tokens if form.bills else None)


@every_form
def test_numbers_are_asked_for_when_every_caller_wants_numbers(make: type[Form]) -> None:
    outcome = outcome_of(make(), float_text=True)
    assert all(type(vector) is list for vector in vectors_of(outcome))


@pytest.mark.parametrize("make", WITH_BASE64, ids=lambda form: form.name)
def test_base64_is_asked_for_when_anybody_wants_it(make: type[Form]) -> None:
    outcome = outcome_of(make(), float_text=False)
    assert vectors_of(outcome) == [base64_of(vector) for vector in expected(TEXTS)]


@pytest.mark.parametrize("make", NUMBERS_ONLY, ids=lambda form: form.name)
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
    (JinaForm, None, None),
    (JinaForm, "query", "retrieval.query"),
    (JinaForm, "document", "retrieval.passage"),
    (JinaForm, "separation", "separation"),
    (GeminiForm, None, None),
    (GeminiForm, "query", "RETRIEVAL_QUERY"),
    (GeminiForm, "document", "RETRIEVAL_DOCUMENT"),
    (GeminiForm, "CLUSTERING", "CLUSTERING"),
    (EmrForm, "query", "query"),
    (MistralForm, "query", None),
    (OllamaForm, "query", None),
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
    field = {JinaForm: "task", GeminiForm: "taskType"}.get(make, "input_type")
    assert form.requests[0].get(field) == word


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
        (JinaForm, "none", "truncate", False),
        (JinaForm, "end", "truncate", True),
        (OllamaForm, "none", "truncate", False),
        (OllamaForm, "end", "truncate", True),
        (EmrForm, "none", "truncation", False),
        (EmrForm, "end", "truncation", True),
        (MistralForm, "end", "truncate", None),
        (GeminiForm, "end", "truncate", None),
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
        (OpenAIForm, Params(MODEL, dtype="int8")),
        (CompatibleForm, Params(MODEL, dtype="int8")),
        (VoyageForm, Params(MODEL, dtype="int4")),
        (CohereV2Form, Params(MODEL, dtype="int4")),
        (VoyageForm, Params("half a pair \ud83d")),
        (GeminiForm, Params("half a pair \ud83d")),
        *[
            (form, Params(MODEL, truncate="start"))
            for form in FORMS
            if form not in (CohereV1Form, CohereV2Form)
        ],
        *[
            (form, Params(MODEL, token_ids=True))
            for form in FORMS
            if form not in (OpenAIForm, AzureForm, EmrForm)
        ],
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


@pytest.mark.parametrize("make", [OpenAIForm, AzureForm, EmrForm], ids=lambda form: form.name)
def test_token_ids_are_passed_on_where_the_vocabulary_is_known(make: type[Form]) -> None:
    form = make()
    texts = [b"[1,2,3]", b"[4]"]
    outcome = outcome_of(form, Params(MODEL, token_ids=True), texts=texts)
    assert vectors_of(outcome) == expected(texts)
    assert form.requests[0]["input"] == [[1, 2, 3], [4]]


@pytest.mark.parametrize("make", WITH_USER, ids=lambda form: form.name)
def test_the_user_is_named_only_when_there_is_one(make: type[Form]) -> None:
    form = make()
    outcome_of(form, user="someone")
    outcome_of(form)
    assert [request.get("user") for request in form.requests] == ["someone", None]


@pytest.mark.parametrize(
    "make", [form for form in FORMS if form not in WITH_USER], ids=lambda form: form.name
)
def test_the_user_is_not_named_where_no_field_is_for_it(make: type[Form]) -> None:
    assert vectors_of(outcome_of(make(), user="someone")) == expected(TEXTS)


BASE64_OF_TYPES = [VoyageForm, MistralForm, EmrForm]
TYPES = [
    (make, dtype, 8 if dtype.endswith("int8") else 1)
    for make in (*BASE64_OF_TYPES, CohereV2Form, CohereV1Form, JinaForm)
    for dtype in ("int8", "uint8", "binary", "ubinary")
    if dtype in KINDS[make.kind].dtypes
]


@pytest.mark.parametrize(("make", "dtype", "length"), TYPES)
@pytest.mark.parametrize("float_text", [True, False])
def test_types_of_numbers(make: type[Form], dtype: str, length: int, float_text: bool) -> None:
    outcome = outcome_of(make(), Params(MODEL, dtype=dtype), float_text=float_text)
    wanted: list[Any] = expected(TEXTS, length, dtype)
    if make in BASE64_OF_TYPES and not float_text:
        wanted = [base64_of(vector, dtype) for vector in wanted]
    assert vectors_of(outcome) == wanted
    assert outcome.reply is not None
    assert outcome.reply.dimensions == length


@pytest.mark.parametrize("make", [form for form in FORMS if form.path.startswith("/v1/e")])
def test_a_request_that_is_passed_on_whole(make: type[Form]) -> None:
    form = make()
    form.path = "/v1/otherembeddings"
    form.fields = form.fields | {"late_chunking"}
    value = {form.key_of_texts: ["a", "b"], "model": MODEL, "late_chunking": True}
    if isinstance(form, CohereV2Form):
        value |= {"input_type": "search_query", "embedding_types": ["float"]}
    if make in (MistralForm, EmrForm):
        value |= {"encoding_format": "float"}
    if make is JinaForm:
        value |= {"embedding_type": "float"}
    body = json.dumps(value, indent=3).encode()
    transport = Transport()

    async def main() -> Outcome:
        async with Peer(form.script) as peer:
            kind = KINDS[form.kind]
            endpoint = check_endpoint(f"http://127.0.0.1:{peer.port}{kind.path}", kind)
            caller = HttpCaller(kind, endpoint, KEY, transport)
            params = Params(MODEL, whole=body, path="/v1/otherembeddings")
            outcome = await call_with(caller, Call(params, []))
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
