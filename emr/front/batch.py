"""`POST /v1/embeddings/batch`: many requests in one call, so that they meet in the lanes.

All are validated before any is sent, and all are sent before any is waited for. The answer keeps
their order. One that fails ends the call with its error, unless the caller said to go on.
"""

from __future__ import annotations

from functools import partial

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
from emr.front.desk import Plan
from emr.front.exchange import Exchange, Headers
from emr.front.forms.router import (
    BatchAsk,
    SubRequest,
    batch_entry,
    cost_of,
    failed_entry,
    parse_batch,
)
from emr.front.refusals import OK
from emr.front.terms import Terms, terms_of
from emr.lane.refusal import Refused
from emr.lane.ticket import Request


class EmbeddingsBatch:
    """The handler of the batch route."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def __call__(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Parse, resolve all, submit all. Raises Refused."""
        means = self._means
        most = means.desk.max_texts_per_request()
        with_body(means, exchange, lambda body: parse_batch(body, most), self._ask)

    def _ask(self, exchange: Exchange, ask: BatchAsk) -> None:
        means = self._means
        principal = principal_of(exchange)
        terms = terms_of(exchange.headers, ask.texts, principal, means.desk, means.clock())
        plans = []
        for i, sub in enumerate(ask.requests):
            try:
                plans.append(means.desk.resolve(sub.ask, principal))
            except Refused as refused:
                refusal = in_callers_terms(refused.refusal, sub.ask, f"requests[{i}].")
                raise Refused(refusal) from None
        means.desk.admit(principal, plans, len(plans))
        call = _Call(means, exchange, ask)
        exchange.on_gone = call.gone
        call.begin(plans, terms)


class _Call:
    """A batch call under way. `_live` are the requests that were sent; it is emptied at the end."""

    __slots__ = ("_ask", "_exchange", "_live", "_means", "_over", "_waiting")

    def __init__(self, means: Means, exchange: Exchange, ask: BatchAsk) -> None:
        self._means = means
        self._exchange = exchange
        self._ask = ask
        self._live: list[Request] = []
        self._waiting = len(ask.requests)
        self._over = False

    def begin(self, plans: list[Plan], terms: Terms) -> None:
        """Send every sub-request before any is waited for."""
        if not plans:
            self._finish()
        principal = principal_of(self._exchange)
        for i, (plan, sub) in enumerate(zip(plans, self._ask.requests, strict=True)):
            request = request_of(plan, sub.ask, terms, principal, partial(self._done, i))
            self._live.append(request)
            self._means.desk.submit(plan, request)
            if self._over:
                return  # one was refused at once and ended the call; the rest is not sent

    def gone(self) -> None:
        """The client left, or the call failed: what still waits leaves too."""
        self._over = True
        requests, self._live = self._live, []
        for request in requests:
            if not request.ended:
                self._means.desk.leave(request)

    def _done(self, i: int, request: Request) -> None:
        if self._over:
            return  # it ended in the same turn as the one that ended the call
        self._waiting -= 1
        if request.refusal is not None and self._ask.on_error == "fail":
            self.gone()
            asked = self._ask.requests[i].ask
            refuse(self._exchange, in_callers_terms(request.refusal, asked, f"requests[{i}]."))
        elif not self._waiting:
            self._finish()

    def _finish(self) -> None:
        requests, self._live = self._live, []
        pairs = zip(self._ask.requests, requests, strict=True)
        cost = sum([cost_of(sub.ask, request) for sub, request in pairs])
        deliver(self._means, self._exchange, cost, partial(self._build, requests))

    def _build(self, requests: list[Request]) -> tuple[int, Headers, bytes]:
        parts = [b'{"results":[']
        for i, (sub, request) in enumerate(zip(self._ask.requests, requests, strict=True)):
            if i:
                parts.append(b",")
            parts += self._entry(sub, request)
        parts.append(b"]}")
        good = [request for request in requests if request.refusal is None]
        return OK, facts(good), b"".join(parts)

    def _entry(self, sub: SubRequest, request: Request) -> list[bytes]:
        try:
            if request.refusal is None:
                return batch_entry(sub, request)
            return failed_entry(sub, request.refusal)
        except Refused as refused:
            if self._ask.on_error == "fail":
                raise
            return failed_entry(sub, refused.refusal)
