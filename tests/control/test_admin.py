"""The admin routes: the contract's shapes, commits before answers, answers whatever happens."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
import uuid
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from emr.control.config import ConfigError, Problem
from emr.control.secrets import SecretError
from emr.control.settings import Settings
from emr.front.exchange import Stage
from emr.lane.refusal import Refused
from tests.control.operated import Operated
from tests.control.routed import ask_of, row_of
from tests.front.double import with_key
from tests.support.aio import run

VOYAGE = row_of("voyage", "voyage")
NEW = {"name": "late", "provider_type": "voyage", "api_key_env_var": "LATE_API_KEY"}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
KEY_FIELDS = {
    "id", "name", "key_prefix", "created_at", "revoked_at", "last_used_at", "expires_at",
    "requests_per_minute", "tokens_per_minute", "tokens_per_month", "providers", "max_priority",
    "replaces",
}  # fmt: skip
PROVIDER_FIELDS = {
    "name", "provider_type", "api_key_env_var", "endpoint", "model", "enabled", "created_at",
    "max_texts_per_request", "learned_caps",
}  # fmt: skip
NOTHING_LEARNED = {"texts": None, "tokens": None, "bytes": None}


# keys


def test_a_key_is_made_and_shown_this_once() -> None:
    async def main() -> None:
        async with Operated() as operated:
            answer = await operated.request("POST", "/admin/keys", {"name": "app"})
            assert answer.status == 201
            made = answer.json
            assert set(made) == {"id", "key", "name", "key_prefix", "created_at"}
            assert uuid.UUID(made["id"])
            assert re.fullmatch(r"emr_[A-Za-z0-9]{32}", made["key"])
            assert made["key_prefix"] == made["key"][:8]
            assert made["name"] == "app"
            assert RFC3339.fullmatch(made["created_at"])
            listed = await operated.request("GET", "/admin/keys")
            assert made["key"].encode() not in listed.body
            (row,) = listed.json
            assert set(row) == KEY_FIELDS
            assert (row["id"], row["revoked_at"], row["last_used_at"]) == (made["id"], None, None)
            assert operated.keys.active == 1

    run(main())


def test_limits_are_set_and_taken_away() -> None:
    async def main() -> None:
        async with Operated() as operated:
            made = (await operated.request("POST", "/admin/keys", {"name": "app"})).json
            path = f"/admin/keys/{made['id']}"
            limits = {
                "name": "other", "requests_per_minute": 1, "tokens_per_minute": 2,
                "tokens_per_month": 3, "providers": ["voyage"], "max_priority": "bulk",
                "expires_at": "2126-01-01T00:00:00Z",
            }  # fmt: skip
            answer = await operated.request("PATCH", path, limits)
            assert answer.status == 200
            assert limits.items() <= answer.json.items()
            assert set(answer.json) == KEY_FIELDS
            answer = await operated.request("PATCH", path, {"providers": None})
            assert answer.json["providers"] is None
            for bad, param in (({"rpm": 1}, "rpm"), ({"requests_per_minute": 0},
                               "requests_per_minute"), ({"max_priority": "high"}, "max_priority"),
                               ({"expires_at": "soon"}, "expires_at")):  # fmt: skip
                answer = await operated.request("PATCH", path, bad)
                assert (answer.status, answer.error["param"]) == (400, param)

    run(main())


def test_a_revoked_key_is_gone_at_once() -> None:
    async def main() -> None:
        async with Operated() as operated:
            made = (await operated.request("POST", "/admin/keys", {"name": "app"})).json
            path = f"/admin/keys/{made['id']}"
            answer = await operated.request("DELETE", path)
            assert (answer.status, answer.body) == (204, b"")
            assert operated.keys.active == 0
            for method in ("DELETE", "PATCH"):
                answer = await operated.request(method, path, {} if method == "PATCH" else b"")
                assert (answer.status, answer.error["type"]) == (404, "not_found")
            assert (await operated.request("POST", f"{path}/rotate")).status == 404
            assert (await operated.request("DELETE", "/admin/keys/unknown")).status == 404
            (row,) = (await operated.request("GET", "/admin/keys")).json
            assert RFC3339.fullmatch(row["revoked_at"])

    run(main())


def test_a_rotated_key_has_the_name_and_the_limits_of_the_old_one() -> None:
    async def main() -> None:
        async with Operated() as operated:
            made = (
                await operated.request(
                    "POST", "/admin/keys", {"name": "app", "tokens_per_minute": 5}
                )
            ).json
            answer = await operated.request("POST", f"/admin/keys/{made['id']}/rotate")
            assert answer.status == 200
            new = answer.json
            assert set(new) == set(made)
            assert (new["name"], new["id"] != made["id"]) == ("app", True)
            assert new["key"] != made["key"]
            old, row = (await operated.request("GET", "/admin/keys")).json
            assert old["revoked_at"] is not None
            assert (row["revoked_at"], row["tokens_per_minute"]) == (None, 5)

    run(main())


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"), (b"", "name"), ({"name": ""}, "name"), ({"name": 1}, "name"),
        ({"name": None}, "name"), (b"[1]", None), (b"{", None), (b"\xff", None), (b'"a"', None),
        ({"name": "x", "nam": 1}, "nam"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_good(body: Any, param: str | None) -> None:
    async def main() -> None:
        async with Operated() as operated:
            answer = await operated.request("POST", "/admin/keys", body)
            assert (answer.status, answer.error["type"]) == (400, "validation_error")
            assert answer.error["param"] == param
            assert operated.keys.listing() == []

    run(main())


# providers


def test_a_provider_is_in_use_when_it_is_answered() -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            answer = await operated.request("POST", "/admin/providers", NEW)
            assert answer.status == 201
            told = answer.json
            assert told.items() >= NEW.items()
            assert told["endpoint"] == "https://api.voyageai.com/v1/embeddings"
            assert (told["model"], told["enabled"]) == ("voyage-code-3", True)
            assert told["max_texts_per_request"] == 128
            assert RFC3339.fullmatch(told["created_at"])
            assert operated.resolve(ask_of(provider="late")).provider == "late"
            again = await operated.request("POST", "/admin/providers", NEW)
            assert (again.status, again.error["type"]) == (409, "conflict")
            taken = await operated.request("POST", "/admin/providers", NEW | {"name": "voyage"})
            assert taken.status == 409
            changed = await operated.request(
                "PATCH", "/admin/providers/late", {"max_texts_per_request": 7}
            )
            assert (changed.status, changed.json["max_texts_per_request"]) == (200, 7)
            (account,) = operated.accounts.members(operated.row("late"), "voyage-code-3")
            assert account.spec.max_texts == 7
            gone = await operated.request("DELETE", "/admin/providers/late")
            assert (gone.status, gone.body) == (204, b"")
            with pytest.raises(Refused):
                operated.resolve(ask_of(provider="late"))
            assert (await operated.request("DELETE", "/admin/providers/late")).status == 404
            assert (await operated.request("PATCH", "/admin/providers/late", {})).status == 404

    run(main())


def test_the_list_of_providers() -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            await operated.request("POST", "/admin/providers", NEW)
            answer = await operated.request("GET", "/admin/providers")
            assert answer.status == 200
            for entry in answer.json:
                assert set(entry) >= PROVIDER_FIELDS
                assert entry["learned_caps"] == NOTHING_LEARNED
            assert [entry["name"] for entry in answer.json] == ["voyage", "late"]
            (account,) = operated.accounts.members(VOYAGE, "voyage-code-3")
            account.caps.max_texts = 64
            entry = (await operated.request("GET", "/admin/providers")).json[0]
            assert entry["learned_caps"] == NOTHING_LEARNED | {"texts": 64}
            assert entry["max_texts_per_request"] == 128

    run(main())


def test_a_row_that_the_file_hides_has_not_the_other_ones_caps() -> None:
    async def main() -> None:
        async with Operated() as operated:
            await operated.request("POST", "/admin/providers", NEW | {"name": "voyage"})
            await operated.reload(VOYAGE)
            (account,) = operated.accounts.members(operated.row("voyage"), "voyage-code-3")
            account.caps.max_texts = 64
            shown, hidden = (await operated.request("GET", "/admin/providers")).json
            assert (shown["source"], shown["enabled"]) == ("file", True)
            assert (hidden["source"], hidden["enabled"]) == ("database", False)
            assert shown["learned_caps"]["texts"] == 64
            assert hidden["learned_caps"] == NOTHING_LEARNED

    run(main())


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"endpoint": "https://other.example/v1"}, "api_key_env_var"),
        ({"endpoint": "http://169.254.169.254/", "api_key_env_var": "LATE_API_KEY"}, "endpoint"),
        ({"api_key_env_var": "EMR_ADMIN_SECRET"}, "api_key_env_var"),
        ({"api_key_env_var": "HOME"}, "api_key_env_var"),
        ({"allow_http": True}, "allow_http"),
        ({"name": "other"}, "name"),
        ({"modle": "x"}, "modle"),
    ],
)
def test_changes_that_are_refused(change: dict[str, Any], param: str) -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            await operated.request("POST", "/admin/providers", NEW)
            before = operated.row("late")
            answer = await operated.request("PATCH", "/admin/providers/late", change)
            assert (answer.status, answer.error["param"]) == (400, param)
            assert operated.row("late") == before
            of_file = await operated.request(
                "PATCH", "/admin/providers/voyage", {"model": "voyage-4"}
            )
            assert (of_file.status, of_file.error["type"]) == (409, "conflict")

    run(main())


# the process


def test_reload_tells_what_changed_and_a_bad_file_changes_nothing() -> None:
    async def main() -> None:
        async with Operated() as operated:
            bad = ConfigError([Problem("config.toml:3", "server.bind", "is nowhere")] * 2)
            operated.reloads = [["models.x"], bad, SecretError("EMR_ADMIN_SECRET: is empty")]
            answer = await operated.request("POST", "/admin/reload")
            assert (answer.status, answer.json) == (200, {"changed": ["models.x"]})
            answer = await operated.request("POST", "/admin/reload")
            assert (answer.status, answer.error["type"]) == (400, "validation_error")
            assert "nothing was changed: config.toml:3: server.bind" in answer.error["message"]
            assert "\n" not in answer.error["message"]
            answer = await operated.request("POST", "/admin/reload")
            assert (answer.status, answer.error["type"]) == (400, "validation_error")
            assert "is empty" in answer.error["message"]

    run(main())


def test_drain_is_answered_and_then_begins() -> None:
    async def main() -> None:
        async with Operated() as operated:
            answer = await operated.request("POST", "/admin/drain")
            assert (answer.status, answer.json) == (200, {"status": "draining"})
            assert operated.drains == 1

    run(main())


def test_the_configuration_is_shown() -> None:
    async def main() -> None:
        async with Operated() as operated:
            assert (await operated.request("GET", "/admin/config")).json == {"server": {}}

    run(main())


def test_every_route_is_for_the_admin_alone() -> None:
    async def main() -> None:
        async with Operated() as operated:
            routes = [*operated.admin.routes(), *operated.trials.routes()]
            assert len(routes) == 14
            for route in routes:
                path = route.pattern.replace("{id}", "x").replace("{name}", "x")
                for headers in ({}, with_key(), {b"authorization": b"Bearer wrong"}):
                    answer = operated.client().ask(route.methods[0], path, b"", headers)
                    assert answer.status == 401, path

    run(main())


# what the database refuses, and what goes wrong


def test_a_write_that_the_database_refuses_is_503_and_changes_nothing() -> None:
    async def main() -> None:
        async with Operated(VOYAGE) as operated:
            made = (await operated.request("POST", "/admin/keys", {"name": "app"})).json

            def read_only(connection: sqlite3.Connection) -> None:
                connection.execute("PRAGMA query_only = ON")

            operated.store.read(read_only).result()
            for method, path, body in (
                ("POST", "/admin/keys", {"name": "b"}),
                ("DELETE", f"/admin/keys/{made['id']}", b""),
                ("POST", "/admin/providers", NEW),
            ):  # fmt: skip
                answer = await operated.request(method, path, body)
                assert (answer.status, answer.error["type"]) == (503, "storage_error")
                assert int(answer.headers["retry-after"]) >= 1
            assert len(operated.keys.listing()) == operated.keys.active == 1
            assert [row.name for row in operated.providers.rows()] == ["voyage"]
            health = operated.client().ask("GET", "/health", b"", {})
            assert (health.status, health.json["status"]) == (200, "degraded")
            assert await operated.answered_by(provider="voyage") == "voyage"

    run(main())


@pytest.mark.parametrize("fails_in", ["work", "then"])
def test_a_bug_behind_a_commit_is_an_answer_too(fails_in: str) -> None:
    async def main() -> None:
        async with Operated() as operated:
            troubles: list[dict[str, Any]] = []
            operated.loop.set_exception_handler(lambda loop, context: troubles.append(context))
            client = operated.client()
            exchange = client.send("GET", "/health", b"", {})
            client.answers.clear()
            client.ended.clear()
            exchange.stage = Stage.WAITING
            future: Future[int] = Future()

            def then(result: int) -> None:
                raise KeyError("what a caller sent")

            operated.admin._later(exchange, future, then)
            if fails_in == "work":
                future.set_exception(AssertionError("what a caller sent"))
            else:
                future.set_result(1)
            answer = await client.last()
            assert (answer.status, answer.error["type"]) == (502, "internal_error")
            assert b"what a caller sent" not in answer.body
            await asyncio.sleep(0)
            assert len(troubles) == 1, "and it is logged"

    run(main())


def test_who_leaves_before_the_commit_is_not_answered_and_the_change_stays() -> None:
    async def main() -> None:
        async with Operated() as operated:
            held = threading.Event()
            operated.store.read(lambda connection: held.wait(20.0))
            client, exchange = operated.send("POST", "/admin/keys", {"name": "app"})
            exchange.gone()
            held.set()
            await asyncio.wrap_future(operated.store.read(lambda connection: None))
            await asyncio.sleep(0)
            assert client.answers == []
            assert operated.keys.active == 1

    run(main())


def test_changes_at_the_same_time_are_made_one_after_the_other() -> None:
    async def main() -> None:
        async with Operated() as operated:
            await operated.request("POST", "/admin/providers", NEW)
            answers = await asyncio.gather(
                *[operated.request("POST", "/admin/providers", NEW | {"name": f"n{n % 5}"})
                  for n in range(20)],
                *[operated.request("PATCH", "/admin/providers/late", {"max_concurrency": n})
                  for n in range(1, 20)],
            )  # fmt: skip
            assert sorted(a.status for a in answers[:20]) == [201] * 5 + [409] * 15
            assert {answer.status for answer in answers[20:]} == {200}
            assert operated.row("late").max_concurrency == 19
            settings = replace(Settings(), providers=())
            assert operated.providers.reload(settings) == frozenset()

    run(main())
