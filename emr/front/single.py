"""The common case: one body, one provider's request, one answer. The hot path of the front."""

from __future__ import annotations

from functools import partial

from emr.front import several
from emr.front.answer import (
    Means,
    deliver,
    facts,
    in_callers_terms,
    principal_of,
    refuse,
    request_of,
    with_body,
)
from emr.front.desk import Ask
from emr.front.exchange import Exchange, Headers
from emr.front.forms.form import Form
from emr.front.refusals import OK
from emr.front.terms import terms_of
from emr.lane.ticket import Request


class Embeddings:
    """The handler of a form's route."""

    def __init__(self, form: Form, means: Means) -> None:
        self._form = form
        self._means = means

    def __call__(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Parse, resolve, submit. Raises Refused."""
        means = self._means
        most = means.desk.max_texts_per_request()
        parse = self._form.parse
        with_body(means, exchange, lambda body: parse(body, captured, most), self._ask)

    def _ask(self, exchange: Exchange, ask: Ask) -> None:
        means = self._means
        principal = principal_of(exchange)
        terms = terms_of(exchange.headers, len(ask.texts), principal, means.desk, means.clock())
        if ask.providers and ask.provider is None:
            several.start(means, exchange, ask, terms)
            return
        plan = means.desk.resolve(ask, principal)
        means.desk.admit(principal, (plan,), 1)
        one = _One(means, self._form, exchange, ask)
        one.request = request = request_of(plan, ask, terms, principal, one.done)
        exchange.on_gone = one.gone
        means.desk.submit(plan, request)


class _One:
    """One request under way, and who waits for it.

    The request is let go of when it ends: the two hold each other, and vectors must not wait for
    the cycle collector.
    """

    __slots__ = ("_ask", "_exchange", "_form", "_means", "request")

    def __init__(self, means: Means, form: Form, exchange: Exchange, ask: Ask) -> None:
        self._means = means
        self._form = form
        self._exchange = exchange
        self._ask = ask
        self.request: Request | None = None

    def gone(self) -> None:
        """The client left."""
        request, self.request = self.request, None
        if request is not None:
            self._means.desk.leave(request)

    def done(self, request: Request) -> None:
        """The request ended: answer it."""
        self.request = None
        exchange = self._exchange
        if request.refusal is not None:
            refuse(exchange, in_callers_terms(request.refusal, self._ask))
        elif request.body is not None:
            exchange.reply(OK, facts((request,)), request.body)
        else:
            cost = self._form.to_convert(self._ask, request)
            deliver(self._means, exchange, cost, partial(self._build, request))

    def _build(self, request: Request) -> tuple[int, Headers, bytes]:
        body = self._form.render(self._ask, request, self._exchange.request_id)
        return OK, facts((request,)), body
