"""Usage and the limits of keys through real sockets, over kills and restarts."""

from __future__ import annotations

import csv
import io
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import voyage_row
from tests.e2e.usage import reconcile
from tests.support.processes import EMR, STOP_S, Router, Running, environment, fake, router

MODEL = "voyage-code-3"
ASK = {"model": MODEL, "provider": "voyage", "input": "a text of some words"}


def key_with(emr: Router, **limits: object) -> tuple[str, str]:
    """A new key with limits, and its id."""
    made = emr.admin("POST", "/admin/keys", {"name": "limited"}).json()
    changed = emr.admin("PATCH", f"/admin/keys/{made['id']}", limits)
    assert changed.status_code == 200, changed.text
    return made["key"], made["id"]


def kept(emr: Router, by: str = "key") -> list[dict[str, Any]]:
    """The rows of usage."""
    told = emr.admin("GET", f"/admin/usage?by={by}")
    assert told.status_code == 200, told.text
    rows: list[dict[str, Any]] = told.json()["usage"]
    return rows


def of_key(emr: Router, key_id: str) -> dict[str, Any]:
    """The row of one key."""
    (row,) = [row for row in kept(emr) if row["key"] == key_id]
    return row


def refused(answer: httpx.Response) -> float:
    """Check that a key's limit refused it; the seconds that it is told to wait."""
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "quota_exceeded")
    assert "x-should-retry" not in answer.headers
    wait = int(answer.headers["retry-after"])
    assert (wait - 1) * 1000 < int(answer.headers["retry-after-ms"]) <= wait * 1000
    return wait


# sums


def test_usage_is_what_the_providers_counted(tmp_path: Path) -> None:
    differences, told = reconcile(tmp_path, requests=2000, keys=20, callers=100)
    assert differences == [], told


# limits


@pytest.mark.parametrize("limit", [1, 3])
def test_requests_a_minute(emr: Router, limit: int) -> None:
    key, key_id = key_with(emr, requests_per_minute=limit)
    for left in range(limit - 1, -1, -1):
        answer = emr.ask("/v1/embeddings", ASK, key=key)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-ratelimit-limit-requests"] == str(limit)
        assert answer.headers["x-ratelimit-remaining-requests"] == str(left)
    assert 50 < refused(emr.ask("/v1/embeddings", ASK, key=key)) <= 61
    assert emr.ask("/v1/test", key=key).status_code == 200  # the key itself is good
    row = of_key(emr, key_id)
    assert (row["requests"], row["limited"], row["errors"]) == (limit, 1, 0)
    emr.admin("PATCH", f"/admin/keys/{key_id}", {"requests_per_minute": limit + 1})
    assert emr.ask("/v1/embeddings", ASK, key=key).status_code == 200
    refused(emr.ask("/v1/embeddings", ASK, key=key))
    emr.admin("PATCH", f"/admin/keys/{key_id}", {"requests_per_minute": None})
    assert emr.ask("/v1/embeddings", ASK, key=key).status_code == 200


@pytest.mark.parametrize(("requests", "fits"), [(2, True), (3, True), (4, False)])
def test_a_batch_call_is_so_many_requests(emr: Router, requests: int, fits: bool) -> None:
    key, _ = key_with(emr, requests_per_minute=3)
    body = {"requests": [ASK] * requests}
    answer = emr.ask("/v1/embeddings/batch", body, key=key)
    assert answer.status_code == (200 if fits else 429), answer.text
    if not fits:
        assert answer.headers["x-should-retry"] == "false"
    after = emr.ask("/v1/embeddings/batch", {"requests": [ASK]}, key=key)
    assert (after.status_code == 200) is (requests != 3)


def cost(emr: Router) -> int:
    """What the request costs, once the estimate of it has become that too."""
    for _ in range(30):
        told = emr.ask("/v1/embeddings", ASK).json()
    return int(told["usage"]["total_tokens"])


@pytest.mark.parametrize(("spare", "second"), [(-1, False), (0, True), (1, True)])
def test_tokens_a_minute(emr: Router, spare: int, second: bool) -> None:
    tokens = cost(emr)
    key, _ = key_with(emr, tokens_per_minute=2 * tokens + spare)
    assert emr.ask("/v1/embeddings", ASK, key=key).status_code == 200
    answer = emr.ask("/v1/embeddings", ASK, key=key)
    assert (answer.status_code == 200) is second, answer.text
    assert 50 < refused(emr.ask("/v1/embeddings", ASK, key=key)) <= 61


@pytest.mark.parametrize(("spare", "second"), [(-1, False), (0, False), (1, True)])
def test_tokens_a_month(emr: Router, spare: int, second: bool) -> None:
    key, key_id = key_with(emr, tokens_per_month=cost(emr) + spare)
    assert emr.ask("/v1/embeddings", ASK, key=key).status_code == 200
    answer = emr.ask("/v1/embeddings", ASK, key=key)
    assert (answer.status_code == 200) is second, answer.text
    answer = emr.ask("/v1/embeddings", ASK, key=key)
    begin = datetime.now(UTC) + timedelta(seconds=refused(answer))
    assert (begin.day, begin.hour, begin.minute) == (1, 0, 0)
    rotated = emr.admin("POST", f"/admin/keys/{key_id}/rotate").json()
    refused(emr.ask("/v1/embeddings", ASK, key=rotated["key"]))  # no way round it


def test_a_key_expires(emr: Router) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    key, _ = key_with(emr, expires_at=at.isoformat())
    answer, patience = emr.ask("/v1/embeddings", ASK, key=key), time.monotonic() + 20
    assert answer.status_code == 200
    while answer.status_code == 200 and time.monotonic() < patience:
        before = datetime.now(UTC)
        answer = emr.ask("/v1/embeddings", ASK, key=key)
        assert answer.status_code == 200 or datetime.now(UTC) >= at
        assert answer.status_code == 401 or before < at + timedelta(seconds=1)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "unauthorized")
    assert "expired" in answer.json()["message"]


def test_a_key_for_one_provider(emr: Router) -> None:
    key, _ = key_with(emr, providers=["openai"])
    answer = emr.ask("/v1/embeddings", ASK, key=key)
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "forbidden")
    several = {"input": "x", "providers": ["openai", "voyage"]}
    assert emr.ask("/v1/embeddings", several, key=key).status_code == 403
    assert emr.ask("/v1/embeddings", {"input": "x", "provider": "openai"}, key=key).is_success


def test_a_key_held_to_bulk_comes_after_interactive(tmp_path: Path) -> None:
    """One call at a time, of one text: who came last is answered before who is held to bulk."""
    order: list[str] = []

    def ask(emr: Router, name: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}", "x-emr-priority": "interactive"}
        body = ASK | {"input": name}
        answer = httpx.post(f"{emr.url}/v1/embeddings", json=body, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        order.append(name)

    def wait_until(emr: Router, waiting: int) -> None:
        patience = time.monotonic() + 20
        while time.monotonic() < patience:
            (told,) = httpx.get(f"{emr.url}/health/providers").json()
            if (told["in_flight_batches"], told["queue_texts"]) == (1, waiting):
                return
        raise AssertionError(f"not {waiting} waiting")

    with fake(tmp_path, "--latency-ms", "1000") as provider:
        row = voyage_row(provider, max_concurrency=1, max_texts_per_request=1)
        with router(tmp_path, row) as emr, ThreadPoolExecutor(3) as pool:
            (held, _), (other, _) = key_with(emr, max_priority="bulk"), key_with(emr)
            futures = []
            for waiting, (name, key) in enumerate(
                [("first", emr.key), ("bulk", held), ("interactive", other)]
            ):
                futures.append(pool.submit(ask, emr, name, key))
                wait_until(emr, waiting)
            for future in futures:
                future.result()
    assert order == ["first", "interactive", "bulk"]


# what outlives the process


def test_usage_and_the_month_outlive_a_kill(provider: Running, tmp_path: Path) -> None:
    config = voyage_row(provider)
    with router(tmp_path, config) as emr:
        tokens = cost(emr)
        key, key_id = key_with(emr, tokens_per_month=2 * tokens)
        for _ in range(2):
            assert emr.ask("/v1/embeddings", ASK, key=key).status_code == 200
        before = kept(emr, "key,provider,model,hour")  # what is asked for is written first
        emr.process.send_signal(signal.SIGKILL)
        emr.process.wait(STOP_S)
    with router(tmp_path, config) as again:
        assert kept(again, "key,provider,model,hour") == before
        assert of_key(again, key_id)["tokens"] == 2 * tokens
        refused(again.ask("/v1/embeddings", ASK, key=key))


def test_a_kill_loses_at_most_what_is_younger_than_a_flush(
    provider: Running, tmp_path: Path
) -> None:
    config = voyage_row(provider)
    with router(tmp_path, config) as emr:
        for _ in range(3):
            assert emr.ask("/v1/embeddings", ASK).status_code == 200
        kept(emr)
        assert emr.ask("/v1/embeddings", ASK).status_code == 200
        emr.process.send_signal(signal.SIGKILL)
        emr.process.wait(STOP_S)
    with router(tmp_path, config) as again:
        (row,) = kept(again)
        assert row["requests"] in (3, 4)  # the fourth where the flush was quicker
        assert again.ask("/v1/embeddings", ASK).status_code == 200
        (row,) = kept(again)
        assert row["requests"] in (4, 5)


def test_an_orderly_end_keeps_everything(provider: Running, tmp_path: Path) -> None:
    config = voyage_row(provider)
    with router(tmp_path, config) as emr:
        for _ in range(3):
            assert emr.ask("/v1/embeddings", ASK).status_code == 200
    told = run_cli(tmp_path, "usage", "--csv", "--by", "provider,model")
    (row,) = csv.DictReader(io.StringIO(told))
    assert (row["provider"], row["model"], row["requests"]) == ("voyage", MODEL, "3")


def run_cli(home: Path, *argv: str) -> str:
    """What a command prints."""
    told = subprocess.run(
        [*EMR, *argv, "--config", str(home / "config.toml")],
        env=environment(home), capture_output=True, text=True, check=False, cwd=home,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return told.stdout
