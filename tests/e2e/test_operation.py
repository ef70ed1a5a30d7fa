"""A router in operation: keys, providers that come and go under load, restarts, drains, secrets."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from emr.fake.vectors import vector_of
from tests.e2e.conftest import voyage_row
from tests.support.processes import PROVIDER_KEY, STOP_S, Router, Running, fake, router

MODEL = "voyage-code-3"
ASK = {"model": MODEL, "provider": "voyage", "input": "a text"}


# keys

ADMIN_PAGES = (
    "/admin/keys", "/admin/providers", "/admin/config", "/admin/lanes", "/admin/cache",
)  # fmt: skip


def test_a_key_works_at_once_and_is_refused_at_once(emr: Router) -> None:
    made = emr.admin("POST", "/admin/keys", {"name": "short-lived"})
    assert made.status_code == 201
    key = made.json()
    assert emr.ask("/v1/test", key=key["key"]).status_code == 200
    listed = emr.admin("GET", "/admin/keys").json()
    assert key["key"] not in str(listed)
    assert emr.admin("DELETE", f"/admin/keys/{key['id']}").status_code == 204
    refused = emr.ask("/v1/test", key=key["key"])
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "unauthorized")
    assert emr.admin("DELETE", f"/admin/keys/{key['id']}").status_code == 404


def test_a_key_that_may_use_one_provider_only(emr: Router) -> None:
    key = emr.admin("POST", "/admin/keys", {"name": "narrow"}).json()
    changed = emr.admin("PATCH", f"/admin/keys/{key['id']}", {"providers": ["openai"]})
    assert changed.status_code == 200, changed.text
    refused = emr.ask("/v1/embeddings", ASK, key=key["key"])
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "forbidden")
    fine = emr.ask("/v1/embeddings", {"provider": "openai", "input": "x"}, key=key["key"])
    assert fine.status_code == 200


def test_a_key_outlives_a_kill(provider: Running, tmp_path: Path) -> None:
    with router(tmp_path, voyage_row(provider)) as emr:
        made = emr.admin("POST", "/admin/keys", {"name": "durable"}).json()
        emr.process.send_signal(signal.SIGKILL)
        emr.process.wait(STOP_S)
    with router(tmp_path, voyage_row(provider)) as again:
        assert again.ask("/v1/embeddings", ASK, key=made["key"]).status_code == 200


# providers under load


class Told(list[httpx.Response]):
    """What callers were told, and who waits for more of it."""

    def __init__(self) -> None:
        super().__init__()
        self._came = threading.Condition()

    def add(self, answer: httpx.Response) -> None:
        """An answer came."""
        with self._came:
            self.append(answer)
            self._came.notify_all()

    def wait_for_more(self, more: int = 30) -> None:
        """Return when so many further answers came."""
        with self._came:
            wanted = len(self) + more
            assert self._came.wait_for(lambda: len(self) >= wanted, 30), f"only {len(self)}"


@contextmanager
def load(emr: Router, body: dict[str, object], callers: int = 8) -> Iterator[Told]:
    """Callers that ask as long as the context lasts; what they were told."""
    told = Told()
    over = threading.Event()
    headers = {"Authorization": f"Bearer {emr.key}"}

    def ask() -> None:
        with httpx.Client(base_url=emr.url, headers=headers, timeout=60) as client:
            while not over.is_set():
                told.add(client.post("/v1/embeddings", json=body))

    with ThreadPoolExecutor(callers) as pool:
        futures = [pool.submit(ask) for _ in range(callers)]
        try:
            yield told
        finally:
            over.set()
        for future in futures:
            future.result()


def test_a_provider_comes_changes_and_goes_under_load(provider: Running, tmp_path: Path) -> None:
    endpoint = f"{provider.url}/voyage/v1/embeddings"
    row = {
        "name": "late", "provider_type": "voyage", "endpoint": endpoint,
        "api_key_env_var": "FAKE_API_KEY",
    }  # fmt: skip
    with router(tmp_path, voyage_row(provider)) as emr:
        with load(emr, ASK) as told:
            told.wait_for_more()
            added = emr.admin("POST", "/admin/providers", row)
            assert added.status_code == 201, added.text
            assert emr.admin("POST", "/admin/providers", row).status_code == 409
            body = {"provider": "late", "input": "x", "model": MODEL}
            assert emr.ask("/v1/embeddings", body).status_code == 200
            with load(emr, body) as told_late:
                told_late.wait_for_more()
                for limit in (64, 32, 96):
                    change = {"max_texts_per_request": limit}
                    changed = emr.admin("PATCH", "/admin/providers/late", change)
                    assert changed.json()["max_texts_per_request"] == limit
                    told_late.wait_for_more()
                assert {each.status_code for each in told_late} == {200}
                assert emr.admin("DELETE", "/admin/providers/late").status_code == 204
                told_late.wait_for_more()
            told.wait_for_more()
        refused = [each for each in told_late if each.status_code != 200]
        assert refused
        assert {each.json()["error"]["type"] for each in refused} == {"unknown_provider"}
        assert {each.status_code for each in told} == {200}
        gone = emr.ask("/v1/embeddings", body)
        assert (gone.status_code, gone.json()["error"]["type"]) == (400, "unknown_provider")


def test_reload(provider: Running, tmp_path: Path) -> None:
    with router(tmp_path, voyage_row(provider)) as emr:
        config = tmp_path / "config.toml"
        good = config.read_text()
        config.write_text(good + '\n[models]\n"alias" = "voyage/voyage-code-3"\n')
        assert emr.ask("/v1/embeddings", {"model": "alias", "input": "x"}).status_code == 404
        told = emr.admin("POST", "/admin/reload")
        assert told.status_code == 200, told.text
        assert [each["key"] for each in told.json()["changed"]] == ["models.alias"]
        assert emr.ask("/v1/embeddings", {"model": "alias", "input": "x"}).status_code == 200
        config.write_text(good.replace("voyage-code", "x") + "\n[server]\nbind = 'nowhere'\n")
        refused = emr.admin("POST", "/admin/reload")
        assert refused.status_code == 400
        assert "server.bind" in refused.json()["message"]
        assert emr.ask("/v1/embeddings", {"model": "alias", "input": "x"}).status_code == 200


def test_no_accepted_request_is_lost_at_the_end(tmp_path: Path) -> None:
    with fake(tmp_path, "--latency-ms", "300") as slow, router(tmp_path, voyage_row(slow)) as emr:
        with httpx.Client(headers={"Authorization": f"Bearer {emr.key}"}, timeout=60) as client:
            with ThreadPoolExecutor(20) as pool:
                url = f"{emr.url}/v1/embeddings"
                asked = [pool.submit(client.post, url, json=ASK) for _ in range(20)]
                until = time.monotonic() + 30
                while httpx.get(f"{slow.url}/_fake/stats").json()["calls"] == 0:
                    assert time.monotonic() < until
                emr.process.send_signal(signal.SIGTERM)
                answers = [future.result() for future in asked]
            assert {each.status_code for each in answers} == {200}
        assert emr.process.wait(STOP_S) == 0


# what must never come out, or in


CANARIES = ["canary-in-a-text-7Qx", "canary-in-a-user-8Wz", "canary_in_a_model_9Vy"]


def test_secrets_and_texts_stay_where_they_belong(tmp_path: Path) -> None:
    """Keys, texts and vectors are in no file, log line or answer where they have no business."""
    old = os.umask(0)
    try:
        with (
            fake(tmp_path, "--latency-ms", "5", "--keys", PROVIDER_KEY) as provider,
            router(tmp_path, voyage_row(provider), "--log-level", "debug") as emr,
        ):
            made = emr.admin("POST", "/admin/keys", {"name": "canary"}).json()["key"]
            body = {"model": MODEL, "input": CANARIES[0], "user": CANARIES[1]}
            assert emr.ask("/v1/embeddings", body, key=made).status_code == 200
            emr.ask("/v1/embeddings", {"model": CANARIES[2], "input": CANARIES[0]}, key=made)
            httpx.get(f"{emr.url}/v1/test?key={made}", headers={"api-key": made + "x"})
            httpx.post(f"{provider.url}/_fake/settings", json={"faults": "auth=1"})
            failed = emr.ask("/v1/embeddings", body | {"input": CANARIES[0] + "."}, key=made)
            assert failed.status_code == 502
            pages = [
                emr.ask(path).text for path in ("/metrics", "/status", "/health/providers", "/")
            ]
            pages += [emr.admin("GET", path).text for path in ADMIN_PAGES]
            secrets = [made, emr.key, emr.secret, PROVIDER_KEY]
            folder = tmp_path / ".config" / "emr"
            check_modes(folder)
            emr.process.send_signal(signal.SIGTERM)
            emr.process.wait(STOP_S)
    finally:
        os.umask(old)
    log = emr.log.read_text()
    vector = f"{vector_of(CANARIES[0], MODEL)[5]:.6f}"
    for secret in secrets:
        for page in (*pages, failed.text, log, "\n".join(emr.lines)):
            assert secret not in page
    assert "Provider call" in log, "the debug lines are there"
    for canary in (CANARIES[0], CANARIES[1], vector):
        assert canary not in log
    kept = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name, data in kept.items():
        for secret in secrets:
            allowed = {"first-key": emr.key, ".env": emr.secret}.get(name)
            assert secret.encode() not in data or secret == allowed, f"{name} holds a secret"


def check_modes(folder: Path) -> None:
    """Everything emr makes is its owner's alone, whatever the umask."""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"emr.db", ".env", "first-key"} <= {path.name for path in files}
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


PATHS = ["/health", "/health/live", "/", "/metrics", "/v1/models", "/admin/keys", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_in_a_browser_cannot_reach_it_by_another_name(emr: Router, path: str) -> None:
    port = emr.url.rpartition(":")[2]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", f"[::2]:{port}"):
        told = httpx.get(f"{emr.url}{path}", headers={"Host": host})
        assert told.status_code == 421, host
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}"):
        told = httpx.get(f"{emr.url}{path}", headers={"Host": host})
        assert told.status_code != 421, host
        assert "access-control-allow-origin" not in told.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/admin/keys"), ("DELETE", "/admin/keys/x"), ("POST", "/admin/drain"),
     ("PATCH", "/admin/providers/voyage")],
)  # fmt: skip
def test_an_admin_write_from_another_page_is_refused(emr: Router, method: str, path: str) -> None:
    headers = {"Authorization": f"Bearer {emr.secret}", "Origin": "https://evil.example"}
    told = httpx.request(method, f"{emr.url}{path}", headers=headers, json={})
    assert (told.status_code, told.json()["error"]["type"]) == (403, "forbidden")


def test_every_answer_carries_its_request_id(emr: Router) -> None:
    for path, key, status in (
        ("/v1/test", None, 200), ("/v1/test", "emr_" + "x" * 32, 401), ("/nothing", None, 404),
        ("/health", None, 200), ("/v1/embeddings", None, 405),
    ):  # fmt: skip
        told = emr.ask(path, key=key)
        assert told.status_code == status
        assert told.headers["x-request-id"]
    headers = {"Authorization": f"Bearer {emr.key}", "x-request-id": "mine-1"}
    assert httpx.get(f"{emr.url}/v1/test", headers=headers).headers["x-request-id"] == "mine-1"


def test_a_bind_to_everywhere_warns(provider: Running, tmp_path: Path) -> None:
    with router(tmp_path, voyage_row(provider), "--bind", "0.0.0.0:0") as emr:
        assert emr.ask("/health").status_code == 200
    assert "without TLS" in emr.log.read_text()
