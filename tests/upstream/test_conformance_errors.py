"""Every dialect is judged by the same cases: what a provider refuses, and how that ends."""

from __future__ import annotations

import pytest

from emr.lane.ticket import Params
from emr.lane.verdict import Dimension, Ending
from emr.upstream.call import Call
from tests.support.aio import run
from tests.upstream.judge import MODEL, TEXTS, ask, outcome_of, vectors_of
from tests.upstream.provider import (
    CohereV2Form,
    Form,
    Refuse,
)
from tests.upstream.provider_more import (
    FORMS,
    EmrForm,
)

every_form = pytest.mark.parametrize("make", FORMS, ids=lambda form: form.name)


@every_form
def test_too_many_texts(make: type[Form]) -> None:
    form = make()
    texts = [b'"%d"' % i for i in range(form.max_texts + 1)]
    verdict = outcome_of(form, texts=texts).verdict
    assert verdict.ending is Ending.SIZE_ITEMS
    assert verdict.cap == (form.max_texts if form.names_cap else None)
    assert len(vectors_of(outcome_of(form, texts=texts[:-1]))) == form.max_texts


@every_form
def test_an_empty_text(make: type[Form]) -> None:
    form = make()
    verdict = outcome_of(form, texts=[b'"a"', b'""']).verdict
    assert verdict.ending is Ending.BAD_TEXT
    if isinstance(form, CohereV2Form | EmrForm):
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
    assert not {"authorization", "api-key", "x-goog-api-key"} & set(form.heads[0][1])


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
