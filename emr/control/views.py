"""The public views: health, status, metrics and the page; each a projection of one snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import Any

from emr.control.metrics import CONTENT_TYPE, exposition
from emr.control.replies import reply_json
from emr.control.snapshot import AccountView, LaneView, ProviderView, Snapshot, Status
from emr.front.auth import Scope
from emr.front.exchange import Exchange, Headers
from emr.front.refusals import OK, STATUS
from emr.front.routes import Route
from emr.lane.verdict import Dimension

UNAVAILABLE = STATUS["provider_unavailable"]  # what a load balancer takes for "not this one"
DEFAULT = "default"  # of limits: the type's own first guess, or none at all
HTML: tuple[bytes, bytes] = (b"content-type", b"text/html; charset=utf-8")
# nothing on the page may load anything, or be shown in a frame of another site
PAGE_POLICY: Headers = [
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; "
     b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]  # fmt: skip
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:3em auto;max-width:60em;padding:0 1em;"
    "color:#222;background:#fff}table{border-collapse:collapse;margin:1em 0}td,th{text-align:left;"
    "padding:.3em 1.2em .3em 0;border-bottom:1px solid #ddd}td.n,th.n{text-align:right}"
    "code{background:#f4f4f4;padding:.1em .3em}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}"
    "td,th{border-color:#444}code{background:#2a2a2a}}"
)

Take = Callable[[], Snapshot]


class Views:
    """The handlers; `take` makes the snapshot."""

    def __init__(self, take: Take) -> None:
        self._take = take

    def routes(self) -> list[Route]:
        """The public routes, and the admin's of the lanes."""
        public = {
            "/health": self.health,
            "/health/live": self.live,
            "/health/ready": self.ready,
            "/health/providers": self.providers,
            "/status": self.status,
            "/metrics": self.metrics,
            "/": self.page,
        }
        routes = [Route(("GET",), path, Scope.PUBLIC, run) for path, run in public.items()]
        return [*routes, Route(("GET",), "/admin/lanes", Scope.ADMIN, self.lanes)]

    def health(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Whether it can serve: 503 when no provider can."""
        snapshot = self._take()
        status = UNAVAILABLE if snapshot.status == "down" else OK
        names = [provider.row.name for provider in snapshot.providers]
        reply_json(exchange, status, {"status": snapshot.status, "providers": names})

    def live(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """200 as long as the process serves."""
        reply_json(exchange, OK, {"status": "ok"})

    def ready(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """503 while it drains."""
        draining = self._take().draining
        told = {"status": "draining" if draining else "ok"}
        reply_json(exchange, UNAVAILABLE if draining else OK, told)

    def providers(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """The state of every provider."""
        reply_json(exchange, OK, [provider_health(each) for each in self._take().providers])

    def status(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """What the process did."""
        snapshot = self._take()
        told = {
            "uptime_seconds": int(snapshot.uptime_s),
            "providers": len(snapshot.providers),
            "active_keys": snapshot.active_keys,
            "requests_served": snapshot.requests_served,
            "provider_calls": snapshot.provider_calls,
            "texts_served": snapshot.texts_served,
            "cache_hits": snapshot.cache_hits,
            "version": snapshot.version,
        }
        reply_json(exchange, OK, told)

    def metrics(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """The exposition for Prometheus."""
        exchange.reply(OK, [(b"content-type", CONTENT_TYPE)], exposition(self._take()))

    def lanes(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Every account and its lanes."""
        reply_json(exchange, OK, [account_lanes(view) for view in self._take().accounts])

    def page(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """The plain page at the root."""
        exchange.reply(OK, [HTML, *PAGE_POLICY], page(self._take()).encode())


def provider_health(provider: ProviderView) -> dict[str, Any]:
    """An entry of `GET /health/providers`."""
    figures, everything = provider.figures, provider.all_accounts
    accounts = provider.accounts or provider.first
    return {
        "name": provider.row.name,
        "status": provider.status.value,
        "p50_ms": round(figures.p50_s * 1000, 1),
        "p95_ms": round(figures.p95_s * 1000, 1),
        "p99_ms": round(figures.p99_s * 1000, 1),
        "error_rate": round(figures.error_rate, 4),
        "availability": round(figures.availability, 4),
        "health_score": round(figures.health_score, 4),
        "sinbinned": provider.status is Status.SINBINNED,
        "total_requests": figures.calls,
        "total_failures": figures.failures,
        "current_batch_size_k": max([view.k for view in accounts]),
        "in_flight_batches": sum([view.in_flight for view in everything]),
        "recent_429_rate": round(figures.recent_429_rate, 4),
        "concurrency_limit": sum([view.slots for view in accounts]),
        "queue_texts": sum([view.texts for view in everything]),
        "requests_per_minute": limit_sum(accounts, Dimension.CALLS),
        "tokens_per_minute": limit_sum(accounts, Dimension.TOKENS),
        "limit_source": limit_source(accounts),
        "gate": provider.gate.value,
        "gate_seconds_left": round(max([v.gate_until_s for v in accounts]), 3),
        "drift": provider.drift or None,
    }


def limit_sum(accounts: Iterable[AccountView], dimension: Dimension) -> float | None:
    """A limit of a provider's accounts together, None where none is known."""
    known = [v.limits[dimension].per_minute for v in accounts if dimension in v.limits]
    return round(sum(known), 1) if known else None


def limit_source(accounts: Iterable[AccountView]) -> str:
    """Where the limits come from; of several sources the one that says most."""
    sources = {limit.source for view in accounts for limit in view.limits.values()}
    return next((each for each in ("learned", "configured", "headers") if each in sources), DEFAULT)


def account_lanes(view: AccountView) -> dict[str, Any]:
    """An entry of `GET /admin/lanes`."""
    return {
        "provider": view.provider,
        "scope": view.scope,
        "key": view.key or None,
        "closing": view.closing,
        "gate": {
            "reason": view.gate.value,
            "seconds_left": round(view.gate_until_s, 3),
            "sinbin_seconds_left": round(view.sinbin_left_s, 3),
            "consecutive_failures": view.consecutive_failures,
            "message": view.message or None,
        },
        "slots": view.slots,
        "in_flight": view.in_flight,
        "current_batch_size_k": view.k,
        "caps": {"texts": view.max_texts, "tokens": view.max_tokens, "bytes": view.max_bytes},
        "tokens_a_byte": round(view.tokens_a_byte, 4),
        "rtt_ms": round(view.rtt_s * 1000, 1),
        "retry_credits": round(view.retry_credits, 2),
        "limits_a_minute": {
            dimension.value: {
                "limit": round(limit.per_minute, 1),
                "source": limit.source,
                "used": round(limit.used, 1),
            }
            for dimension, limit in view.limits.items()
        },
        "waiting_texts": view.texts,
        "calls": view.calls,
        "lanes": [lane_view(lane) for lane in view.lanes],
    }


def lane_view(lane: LaneView) -> dict[str, Any]:
    """A lane of an entry of `GET /admin/lanes`."""
    return {
        "params": lane.params,
        "waiting": {
            "requests": lane.requests,
            "texts": lane.texts,
            "tokens": lane.tokens,
            "bytes": lane.bytes,
        },
        "in_flight": {"calls": lane.calls_in_flight, "texts": lane.texts_in_flight},
    }


def page(snapshot: Snapshot) -> str:
    """The page: what runs, how the providers are, and where to read on."""
    rows = "".join(
        f"<tr><td>{escape(each.row.name)}<td>{escape(each.row.provider_type)}"
        f"<td>{each.status.value}<td>{each.gate.value}"
        f"<td class=n>{each.figures.calls}<td class=n>{each.figures.p50_s * 1000:.0f} ms"
        f"<td class=n>{sum(view.texts for view in each.all_accounts)}"
        for each in snapshot.providers
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>emr</title>"
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style>"
        f"<h1>emr {escape(snapshot.version)}</h1>"
        f"<p>Status <b>{snapshot.status}</b>; {snapshot.requests_served} requests with "
        f"{snapshot.texts_served} texts served by {snapshot.provider_calls} provider calls in "
        f"{int(snapshot.uptime_s)} seconds."
        "<table><tr><th>provider<th>type<th>status<th>gate<th class=n>calls<th class=n>p50"
        f"<th class=n>waiting{rows}</table>"
        "<p>Embeddings are at <code>POST /v1/embeddings</code>. Read on at "
        "<a href=/health/providers>/health/providers</a>, <a href=/status>/status</a> and "
        "<a href=/metrics>/metrics</a>."
    )
