"""Which handler a request goes to, and what holds for every request: who asks, its id, its count.

Theory of operation. The server calls `admit` when a head is complete and `handle` when the body
is. Between them a request is a Visit, kept in `exchange.context`. A handler answers the exchange
now or later, or raises Refused, and this is the one place that catches it. Exact paths are found
in one dict; patterned ones are tried after it in their order. A key that was not seen before is
verified off the loop, after its body arrived, and only then handled.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from emr.front.auth import Admission, Door, Scope, token_of
from emr.front.desk import Keys, Principal
from emr.front.exchange import Exchange, Headers, Stage
from emr.front.refusals import NO_CONTENT, render
from emr.front.sure import answered_if_it_fails
from emr.lane.refusal import Refusal, Refused

Handler = Callable[[Exchange, tuple[str, ...]], None]
Answered = Callable[[int, int, float], None]
Limits = Callable[[Principal], Headers]

UNUSED_BODY_MAX = 4096  # of a route that uses none: a client that sends `{}` anyway is answered
PATH_SHOWN_MAX = 200  # characters of an unknown path in the 404: enough to see a typing error

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_PLACEHOLDER = re.compile(r"\{(\w+)(\.\.\.)?\}")


@dataclass(frozen=True, slots=True)
class Route:
    """A path, its methods, who it is for, and the handler.

    In `pattern`, `{id}` stands for one part of a path and `{id...}` for one or more, slashes
    included; the handler gets the exchange and what stood there, in order. GET brings HEAD with
    it; the server leaves out the body of its answer.
    """

    methods: tuple[str, ...]
    pattern: str
    scope: Scope
    handler: Handler


@dataclass(slots=True)
class Visit:
    """What the service knows of an exchange: its route (None: only OPTIONS) and when it came."""

    started: float
    number: int = -1  # of the route in the table, -1 for none
    route: Route | None = None
    captured: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    admission: Admission = Admission.ADMITTED


@dataclass(slots=True)
class _Path:
    """All routes of one path, by method."""

    by_method: dict[str, tuple[int, Route]] = field(default_factory=dict)
    allow: tuple[str, ...] = ()

    def add(self, number: int, route: Route) -> None:
        for method in route.methods:
            assert method not in self.by_method, f"{method} {route.pattern} twice: a bug"
            self.by_method[method] = (number, route)
        if "GET" in route.methods:
            self.by_method["HEAD"] = (number, route)
        self.allow = (*sorted(self.by_method), "OPTIONS")


class Table:
    """The routes, found by path."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._exact: dict[str, _Path] = {}
        patterned: dict[str, _Path] = {}
        for number, route in enumerate(routes):
            paths = patterned if "{" in route.pattern else self._exact
            paths.setdefault(route.pattern, _Path()).add(number, route)
        self._patterned = [(_compiled(pattern), path) for pattern, path in patterned.items()]
        methods = {method for route in routes for method in route.methods} | {"HEAD"}
        # `OPTIONS *` asks about the server, not about a path
        self._exact.setdefault("*", _Path(allow=(*sorted(methods), "OPTIONS")))

    def find(self, path: str) -> tuple[_Path, tuple[str, ...]] | None:
        """The path's entry and what its placeholders stand for, None when there is none."""
        found = self._exact.get(path)
        if found is not None:
            return found, ()
        for pattern, entry in self._patterned:
            match = pattern.fullmatch(path)
            if match is not None:
                return entry, match.groups()
        return None


def _compiled(pattern: str) -> re.Pattern[str]:
    at, parts = 0, []
    for placeholder in _PLACEHOLDER.finditer(pattern):
        parts.append(re.escape(pattern[at : placeholder.start()]))
        parts.append("(.+)" if placeholder[2] else "([^/]+)")
        at = placeholder.end()
    parts.append(re.escape(pattern[at:]))
    return re.compile("".join(parts), re.DOTALL)


class FrontService:
    """The server's `Service` over a table of routes.

    `answered`, when given, is called for every answer with the route's number in `routes` (-1 for
    none), the status, and the seconds since the head was complete. `limits` gives the headers that
    tell a key what it has left.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        keys: Keys,
        clock: Callable[[], float],
        answered: Answered | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.routes = tuple(routes)
        self._table = Table(self.routes)
        self._door = Door(keys)
        self._keys = keys
        self._clock = clock
        self._answered = answered
        self._limits = limits
        # not a secret, only unique over restarts, so a counter does: a uuid4 costs 2 µs a request
        self._start = secrets.token_hex(6)
        self._count = count(1)

    def admit(self, exchange: Exchange) -> Refusal | None:
        """Find the route and who asks; a refusal answers without the body."""
        self._identify(exchange)
        exchange.on_answer = self._on_answer
        visit = Visit(self._clock())
        exchange.context = visit
        found = self._table.find(exchange.path)
        if found is None:
            return _no_route(exchange)
        path, visit.captured = found
        method = exchange.method
        numbered = path.by_method.get(method)
        if numbered is None:
            if method == "OPTIONS":
                visit.allow = path.allow
                return _no_large_body(exchange)
            return Refusal(
                "method_not_allowed",
                f"{method} is not for this path; it takes {', '.join(path.allow)}",
                allow=path.allow,
            )
        visit.number, route = numbered
        visit.route = route
        entered = self._door.enter(exchange, route.scope)
        if isinstance(entered, Refusal):
            return entered
        visit.admission = entered
        return _no_large_body(exchange) if route.scope is Scope.PUBLIC else None

    def handle(self, exchange: Exchange) -> None:
        """Answer a complete request, now or in a later turn."""
        visit = exchange.context
        assert isinstance(visit, Visit), "handled without being admitted: a bug"
        if visit.admission is Admission.UNVERIFIED:
            self._keys.verify(token_of(exchange.headers), partial(self._verified, exchange))
        else:
            self._run(exchange, visit)

    def render(self, exchange: Exchange | None, refusal: Refusal) -> tuple[int, Headers, bytes]:
        """The bytes of a refusal. `reply` adds the id; where `admit` never saw it, it is here."""
        if exchange is not None and exchange.on_answer is not None:
            return render(exchange.path, refusal)
        if exchange is None:
            status, headers, body = render("", refusal)
            headers.append((b"x-request-id", self._new_id().encode("ascii")))
        else:
            self._identify(exchange)
            status, headers, body = render(exchange.path, refusal)
            headers.append((b"x-request-id", exchange.request_id.encode("ascii")))
        if self._answered is not None:
            self._answered(-1, status, 0.0)
        return status, headers, body

    # helpers

    def _run(self, exchange: Exchange, visit: Visit) -> None:
        route = visit.route
        if route is None:
            allow = ", ".join(visit.allow).encode("ascii")
            exchange.reply(NO_CONTENT, [(b"allow", allow)], b"")
            return
        try:
            route.handler(exchange, visit.captured)
        except Refused as refused:
            exchange.reply(*render(exchange.path, refused.refusal))

    def _verified(self, exchange: Exchange, found: Principal | Refusal) -> None:
        if exchange.stage is not Stage.WAITING:
            return  # the client left meanwhile
        if isinstance(found, Refusal):
            exchange.reply(*render(exchange.path, found))
            return
        exchange.principal = found
        visit = exchange.context
        assert isinstance(visit, Visit)
        with answered_if_it_fails(exchange):
            self._run(exchange, visit)

    def _identify(self, exchange: Exchange) -> None:
        given = exchange.headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given) is not None:
            exchange.request_id = given.decode("ascii")
        elif not exchange.request_id:
            exchange.request_id = self._new_id()

    def _new_id(self) -> str:
        return f"req_{self._start}{next(self._count):08x}"

    def _on_answer(self, exchange: Exchange, status: int, headers: Headers) -> Headers:
        if self._answered is not None:
            visit = exchange.context
            assert isinstance(visit, Visit)
            self._answered(visit.number, status, self._clock() - visit.started)
        answer = [*headers, (b"x-request-id", exchange.request_id.encode("ascii"))]
        if self._limits is not None and isinstance(exchange.principal, Principal):
            answer += self._limits(exchange.principal)
        return answer


def _no_large_body(exchange: Exchange) -> Refusal | None:
    """Whoever has no key cannot make emr hold megabytes that no handler would look at."""
    headers = exchange.headers
    length = headers.get(b"content-length", b"0").partition(b",")[0]  # equal ones, joined
    if int(length) <= UNUSED_BODY_MAX and b"transfer-encoding" not in headers:
        return None
    return Refusal(
        "too_large", f"this route uses no body, and none over {UNUSED_BODY_MAX} bytes is read"
    )


def _no_route(exchange: Exchange) -> Refusal:
    path = exchange.path
    shown = path if len(path) <= PATH_SHOWN_MAX else path[:PATH_SHOWN_MAX] + "..."
    return Refusal(
        "not_found",
        f"there is no {shown} here; embeddings are at POST /v1/embeddings,"
        " models at GET /v1/models",
    )
