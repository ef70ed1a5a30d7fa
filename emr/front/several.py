"""One request to several providers: the first that answers (`any`), or every one of them (`all`).

`any` tries one after the other, so that nobody pays for an answer that is not used. Before each
try the desk says which of those left would wait or fail now; they come last. What the caller did
wrong, and what no other provider can help with, ends it at once.

`all` asks every provider at the same time and waits for each to end, since the answer tells of the
good ones too. Each has the caller's deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from emr.front.answer import (
    Means,
    deliver,
    facts,
    in_callers_terms,
    principal_of,
    refuse,
    request_of,
)
from emr.front.desk import Ask, Plan
from emr.front.exchange import Exchange, Headers
from emr.front.forms.router import RATE_LIMITED, cost_of, failed_member, provider_result
from emr.front.refusals import OK, render
from emr.front.terms import Terms
from emr.lane.refusal import Refusal
from emr.lane.ticket import Request

# the caller's text, the caller's own limit, the caller's deadline: no other provider changes them
ENDS_ANY = ("validation_error", "quota_exceeded", "deadline_exceeded")


def start(means: Means, exchange: Exchange, ask: Ask, terms: Terms) -> None:
    """Resolve every name, then ask. Raises Refused for the first that cannot be asked."""
    principal = principal_of(exchange)
    plans = [means.desk.resolve(replace(ask, provider=name), principal) for name in ask.providers]
    asks_all = ask.policy == "all"
    means.desk.admit(principal, plans if asks_all else plans[:1], 1)
    policy = _All if asks_all else _Any
    course: _All | _Any = policy(means, exchange, ask, terms)
    exchange.on_gone = course.gone
    course.begin(plans)


class _Course:
    """What both policies have."""

    __slots__ = ("_ask", "_exchange", "_failed", "_means", "_terms")

    def __init__(self, means: Means, exchange: Exchange, ask: Ask, terms: Terms) -> None:
        self._means = means
        self._exchange = exchange
        self._ask = ask
        self._terms = terms
        self._failed: list[tuple[str, Refusal]] = []

    def _request(self, plan: Plan, done: Callable[[Request], None]) -> Request:
        return request_of(plan, self._ask, self._terms, principal_of(self._exchange), done)


class _Any(_Course):
    """Policy `any`: at most one request at a time."""

    __slots__ = ("_attempts", "_live", "_rest")

    def begin(self, plans: Sequence[Plan]) -> None:
        """Try the first of them."""
        self._attempts = 0
        self._live: Request | None = None
        self._rest = list(plans)
        self._try_next()

    def gone(self) -> None:
        """The client left: so does its request."""
        request, self._live = self._live, None
        if request is not None:
            self._means.desk.leave(request)

    def _try_next(self) -> None:
        plan, *self._rest = self._means.desk.prefer(self._rest)
        self._live = request = self._request(plan, partial(self._done, plan.provider))
        self._means.desk.submit(plan, request)

    def _done(self, name: str, request: Request) -> None:
        self._live = None
        self._attempts += request.attempts
        refusal = request.refusal
        if refusal is None:
            request.attempts = self._attempts
            cost = cost_of(self._ask, request)
            deliver(self._means, self._exchange, cost, partial(self._build, name, request))
        elif refusal.type in ENDS_ANY:
            more = b"," + failed_member(self._failed) if self._failed else b""
            refuse(self._exchange, in_callers_terms(refusal, self._ask), more)
        else:
            self._failed.append((name, refusal))
            if self._rest:
                self._try_next()
            else:
                self._all_failed()

    def _all_failed(self) -> None:
        refusal = combined("all_providers_failed", "no provider answered", self._failed)
        refuse(self._exchange, refusal, b"," + failed_member(self._failed))

    def _build(self, name: str, request: Request) -> tuple[int, Headers, bytes]:
        parts = [b'{"results":{', *provider_result(name, self._ask, request), b"},"]
        parts.append(failed_member(self._failed) + b"}")
        return OK, facts((request,)), b"".join(parts)


class _All(_Course):
    """Policy `all`: one request for each provider, all at once."""

    __slots__ = ("_requests", "_waiting")

    def begin(self, plans: Sequence[Plan]) -> None:
        """Ask every one before any has answered."""
        self._waiting = len(plans)
        requests = [(plan.provider, self._request(plan, self._done)) for plan in plans]
        self._requests = requests
        for plan, (_, request) in zip(plans, requests, strict=True):
            self._means.desk.submit(plan, request)

    def gone(self) -> None:
        """The client left: so do its requests."""
        requests, self._requests = self._requests, []
        for _, request in requests:
            if not request.ended:
                self._means.desk.leave(request)

    def _done(self, request: Request) -> None:
        self._waiting -= 1
        if self._waiting:
            return
        requests, self._requests = self._requests, []
        good = [(name, request) for name, request in requests if request.refusal is None]
        self._failed = [
            (name, request.refusal) for name, request in requests if request.refusal is not None
        ]
        cost = sum([cost_of(self._ask, request) for _, request in good])
        deliver(self._means, self._exchange, cost, partial(self._build, good))

    def _build(self, good: list[tuple[str, Request]]) -> tuple[int, Headers, bytes]:
        results: list[bytes] = []
        for name, request in good:
            results += [b"," if results else b"", *provider_result(name, self._ask, request)]
        results = [b'"results":{', *results, b"},", failed_member(self._failed)]
        if not self._failed:
            body = b"".join([b"{", *results, b"}"])
            return OK, facts([request for _, request in good]), body
        refusal = combined("policy_failure", "not all providers answered", self._failed)
        return render(self._exchange.path, refusal, b"," + b"".join(results))


def combined(kind: str, message: str, failed: Sequence[tuple[str, Refusal]]) -> Refusal:
    """The refusal for all of them: 429 with the largest wait when any was rate limited."""
    said = "; ".join([f"{name}: {refusal.message}" for name, refusal in failed])
    limited = [refusal for _, refusal in failed if refusal.type in RATE_LIMITED]
    if limited:
        wait = max([refusal.retry_after or 1.0 for refusal in limited])
        return Refusal("rate_limited", f"{message}: {said}", retry_after=wait)
    # trying again helps when it would help with one of them
    final = all(refusal.final or refusal.type in ENDS_ANY for _, refusal in failed)
    return Refusal(kind, f"{message}: {said}", final=final)
