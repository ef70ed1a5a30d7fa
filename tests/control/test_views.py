"""The public views against the contract's fields, one by one, and the admin's lanes."""

from __future__ import annotations

import html.parser
from typing import Any

import orjson
import pytest

from emr import __version__
from emr.control.views import limit_source
from emr.front.routes import FrontService
from emr.lane.verdict import Ending
from tests.control.overlooked import Overlooked
from tests.control.routed import ask_of, row_of, server
from tests.front.double import SECRET, Answer, Client, KeysDouble
from tests.support.aio import run
from tests.support.scripted import turns

VOYAGE, COHERE = row_of("voyage", "voyage"), row_of("cohere", "cohere")
PUBLIC = ["/health", "/health/live", "/health/ready", "/health/providers", "/status", "/metrics",
          "/"]  # fmt: skip
HEALTH_FIELDS = {
    "name": str, "status": str, "p50_ms": float, "p95_ms": float, "p99_ms": float,
    "error_rate": float, "availability": float, "health_score": float, "sinbinned": bool,
    "total_requests": int, "total_failures": int, "current_batch_size_k": int,
    "in_flight_batches": int, "recent_429_rate": float, "concurrency_limit": int,
    "queue_texts": int, "requests_per_minute": float, "tokens_per_minute": float,
    "limit_source": str, "gate": str, "gate_seconds_left": float, "drift": type(None),
}  # fmt: skip

# no limit a minute is known of a server of one's own, and none in tokens of Cohere
NO_LIMIT = {
    ("own", "requests_per_minute"), ("own", "tokens_per_minute"), ("cohere", "tokens_per_minute"),
}  # fmt: skip


def get(overlooked: Overlooked, path: str, method: str = "GET", admin: bool = False) -> Answer:
    """What a client without a key gets, or one with the admin secret."""
    service = FrontService(overlooked.routes, KeysDouble(), overlooked.pump.clock)
    headers = {b"authorization": b"Bearer " + SECRET} if admin else {}
    return Client(service).ask(method, path, b"", headers)


@pytest.mark.parametrize("path", PUBLIC)
def test_the_public_views_need_no_key_and_have_a_head(path: str) -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE) as overlooked:
            for method in ("GET", "HEAD"):
                answer = get(overlooked, path, method)
                assert answer.status == 200
                assert answer.headers["x-request-id"]
            assert get(overlooked, path, "POST").status == 405

    run(main())


def test_health_names_the_enabled_providers() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE, COHERE) as overlooked:
            answer = get(overlooked, "/health")
            assert answer.json == {"status": "ok", "providers": ["voyage", "cohere"]}
            assert answer.headers["content-type"] == "application/json"
        async with Overlooked() as overlooked:
            answer = get(overlooked, "/health")
            assert (answer.status, answer.json) == (200, {"status": "degraded", "providers": []})

    run(main())


def test_health_is_503_only_when_nothing_can_serve() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE, COHERE) as overlooked:
            await overlooked.fail("voyage", Ending.AUTH)
            answer = get(overlooked, "/health")
            assert (answer.status, answer.json["status"]) == (200, "degraded")
            await overlooked.fail("cohere", Ending.QUOTA)
            answer = get(overlooked, "/health")
            assert (answer.status, answer.json["status"]) == (503, "down")
            assert answer.json["providers"] == ["voyage", "cohere"]
            assert get(overlooked, "/health/live").status == 200
            assert get(overlooked, "/health/ready").status == 200
            overlooked.store.trouble = "full"
            assert get(overlooked, "/health").status == 503

    run(main())


def test_ready_is_503_while_it_drains_and_live_is_not() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE) as overlooked:
            assert get(overlooked, "/health/ready").status == 200
            overlooked.draining = True
            assert get(overlooked, "/health/ready").status == 503
            assert get(overlooked, "/health/live").status == 200
            assert get(overlooked, "/health").status == 200

    run(main())


def test_health_of_providers_has_exactly_the_contracts_fields() -> None:
    """Those of the contract, and the gate's time, which control.md wants beside its reason."""

    async def main() -> None:
        async with Overlooked(VOYAGE, COHERE, server("own")) as overlooked:
            await overlooked.ask(provider="voyage").vectors()
            entries = get(overlooked, "/health/providers").json
            assert [entry["name"] for entry in entries] == ["voyage", "cohere", "own"]
            for entry in entries:
                assert list(entry) == list(HEALTH_FIELDS)
                for name, kind in HEALTH_FIELDS.items():
                    if (entry["name"], name) in NO_LIMIT:
                        assert entry[name] is None
                    else:
                        assert type(entry[name]) is kind, name

    run(main())


def test_health_of_a_provider_that_serves() -> None:
    async def main() -> None:
        row = row_of("voyage", "voyage", requests_per_minute=6000, max_concurrency=9)
        async with Overlooked(row) as overlooked:
            await overlooked.ask(provider="voyage").vectors()
            await turns(2)
            caller = overlooked.caller("voyage")
            caller.holds = True
            flying = overlooked.ask(provider="voyage", text="b")
            await caller.called(2)
            waiting = overlooked.ask(provider="voyage", text="c")
            entry = overlooked.health("voyage")
            assert entry | {"p50_ms": 0, "p95_ms": 0, "p99_ms": 0} == {
                "name": "voyage", "status": "healthy", "p50_ms": 0, "p95_ms": 0, "p99_ms": 0,
                "error_rate": 0.0, "availability": 1.0, "health_score": entry["health_score"],
                "sinbinned": False, "total_requests": 1, "total_failures": 0,
                "current_batch_size_k": 1, "in_flight_batches": 1, "recent_429_rate": 0.0,
                "concurrency_limit": 9, "queue_texts": 1, "requests_per_minute": 6000.0,
                "tokens_per_minute": 3e6, "limit_source": "configured", "gate": "CLEAR",
                "gate_seconds_left": 0.0,
                "drift": None,
            }  # fmt: skip
            assert 0.9 < entry["health_score"] <= 1.0
            caller.let_go()
            await flying.vectors()
            await waiting.vectors()

    run(main())


def test_health_of_a_provider_that_is_rate_limited() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE) as overlooked:
            await overlooked.fail("voyage", Ending.RATE, 1, retry_after=300.0)
            entry = overlooked.health("voyage")
            assert (entry["gate"], entry["status"]) == ("RATE", "healthy")
            assert 290.0 < entry["gate_seconds_left"] <= 301.0
            assert (entry["recent_429_rate"], entry["total_failures"]) == (1.0, 0)

    run(main())


@pytest.mark.parametrize(
    ("ending", "status", "gate"),
    [(Ending.AUTH, "down", "AUTH"), (Ending.QUOTA, "down", "QUOTA")],
)
def test_health_of_a_provider_that_refuses_the_key(ending: Ending, status: str, gate: str) -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE) as overlooked:
            await overlooked.fail("voyage", ending)
            entry = overlooked.health("voyage")
            assert (entry["status"], entry["gate"], entry["sinbinned"]) == (status, gate, False)
            assert (entry["error_rate"], entry["availability"]) == (1.0, 0.0)
            assert entry["health_score"] == 0.0
            assert 0.0 < entry["gate_seconds_left"] <= 30.0

    run(main())


def test_where_limits_come_from_is_one_of_four_words() -> None:
    async def main() -> None:
        rows = (VOYAGE, server("own"), row_of("told", "voyage", requests_per_minute=5))
        async with Overlooked(*rows) as overlooked:
            told = {name: overlooked.health(name) for name in ("voyage", "own", "told")}
            sources = {name: entry["limit_source"] for name, entry in told.items()}
            assert sources == {"voyage": "default", "own": "default", "told": "configured"}
            assert told["told"]["requests_per_minute"] == 5.0, "before the first request"
            assert limit_source([]) == "default"

    run(main())


def test_status_has_exactly_the_contracts_fields() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE, COHERE) as overlooked:
            for n in range(3):
                await overlooked.ask(provider="voyage", text=f"text {n}").vectors()
            told = get(overlooked, "/status").json
            assert told == {
                "uptime_seconds": told["uptime_seconds"], "providers": 2, "active_keys": 3,
                "requests_served": 3, "provider_calls": 3, "texts_served": 3, "cache_hits": 0,
                "version": __version__,
            }  # fmt: skip
            assert type(told["uptime_seconds"]) is int

    run(main())


# the page


class Tags(html.parser.HTMLParser):
    """All tags, and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_says_what_the_views_say_and_loads_nothing() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE, COHERE) as overlooked:
            await overlooked.ask(provider="voyage").vectors()
            await overlooked.fail("cohere", Ending.AUTH)
            answer = get(overlooked, "/")
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            page = Tags()
            page.feed(answer.body.decode())
            assert not {"script", "img", "link", "iframe", "form"} & set(page.tags)
            for word in ("degraded", "voyage", "cohere", "AUTH", "down", __version__):
                assert word in page.text

    run(main())


# the admin's lanes

LANE_FIELDS = {
    "provider", "scope", "key", "closing", "gate", "slots", "in_flight", "current_batch_size_k",
    "caps", "tokens_a_byte", "rtt_ms", "retry_credits", "limits_a_minute", "waiting_texts",
    "calls", "lanes",
}  # fmt: skip


def test_lanes_are_for_the_admin_alone() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE) as overlooked:
            assert get(overlooked, "/admin/lanes").status == 401
            assert get(overlooked, "/admin/lanes", admin=True).json == []

    run(main())


def test_lanes_show_every_account_with_what_waits_and_flies() -> None:
    async def main() -> None:
        row = row_of(
            "own", "openai-compatible", model="m", endpoint="http://127.0.0.1:9/v1",
            api_key_env_vars=["A_API_KEY", "B_API_KEY"], requests_per_minute=600,
        )  # fmt: skip
        async with Overlooked(row) as overlooked:
            overlooked.resolve(ask_of("m"))
            for caller in overlooked.callers_of("own"):
                caller.holds = True
            first, second = overlooked.accounts.of("own")
            asked = [overlooked.ask("m", text=f"secret text {n}") for n in range(200)]
            await turns(5)
            whole = overlooked.submit(overlooked.resolve(ask_of("m", whole=b'{"input":"secret"}')))
            answer = get(overlooked, "/admin/lanes", admin=True)
            assert b"secret" not in answer.body
            entries = answer.json
            assert [entry["key"] for entry in entries] == ["A_API_KEY", "B_API_KEY"]
            for entry, account in zip(entries, (first, second), strict=True):
                assert set(entry) == LANE_FIELDS
                assert set(entry["gate"]) == {
                    "reason", "seconds_left", "sinbin_seconds_left", "consecutive_failures",
                    "message",
                }  # fmt: skip
                assert entry["limits_a_minute"]["calls"]["limit"] == 600.0
                assert entry["in_flight"] == len(account.flying)
                lanes = entry["lanes"]
                assert sum(lane["waiting"]["texts"] for lane in lanes) == entry["waiting_texts"]
                assert sum(lane["in_flight"]["calls"] for lane in lanes) == entry["in_flight"]
            everything = [lane for entry in entries for lane in entry["lanes"]]
            texts = sum(
                lane["waiting"]["texts"] + lane["in_flight"]["texts"]
                for lane in everything
                if not lane["params"].get("whole")
            )
            assert texts == 200
            assert any(lane["params"].get("whole") for lane in everything)
            for caller in overlooked.callers_of("own"):
                caller.let_go()
            for each in (*asked, whole):
                await each.ended.wait()

    run(main())


def test_a_credential_that_is_refused_is_explained_to_the_admin_and_not_to_everyone() -> None:
    async def main() -> None:
        async with Overlooked(VOYAGE) as overlooked:
            await overlooked.fail("voyage", Ending.AUTH)
            (entry,) = get(overlooked, "/admin/lanes", admin=True).json
            assert entry["gate"]["reason"] == "AUTH"
            assert entry["gate"]["message"] == "its words"
            for path in PUBLIC:
                assert b"its words" not in get(overlooked, path).body
            assert orjson.loads(get(overlooked, "/health/providers").body)

    run(main())
