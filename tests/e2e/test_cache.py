"""The cache over real sockets: right whatever is found, through a kill, and as it was set."""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from emr.fake.vectors import expected_base64
from tests.e2e.cache import MODEL, Crowd, config_of, play
from tests.e2e.conftest import voyage_row
from tests.support.processes import STOP_S, Router, Running, fake, router


def test_random_requests_get_every_vector_and_the_bill_is_right(tmp_path: Path) -> None:
    with (
        fake(tmp_path, "--latency-ms", "1") as provider,
        router(tmp_path, config_of(provider, tmp_path / "vectors.db")) as emr,
    ):
        crowd = play(emr, provider, requests=1600, callers=32, seed=1)
        told = emr.admin("GET", "/admin/cache").json()
    assert min(crowd.counts[each] for each in ("hit", "partial", "miss")) > 100
    assert told["memory"]["evictions"] > 100
    assert told["disk"]["hits"] > 10
    assert told["disk"]["trouble"] is None
    assert told["disk"]["bytes"] <= told["disk"]["max_bytes"]


def ask_for(emr: Router, texts: list[str]) -> httpx.Response:
    body = {"model": MODEL, "input": texts, "encoding_format": "base64"}
    answer = emr.ask("/v1/embeddings", body)
    assert answer.status_code == 200, answer.text
    got = [entry["embedding"] for entry in answer.json()["data"]]
    assert got == [expected_base64(text, MODEL).decode() for text in texts]
    return answer


def test_a_kill_leaves_no_wrong_vector(provider: Running, tmp_path: Path) -> None:
    """Killed while it writes, again and again; each start goes on from what is there."""
    path = tmp_path / "vectors.db"
    config = f'[cache]\npath = "{path}"\n' + voyage_row(provider)
    found = 0
    for run in range(3):
        with router(tmp_path, config) as emr:
            texts = [f"text {number}" for number in range(400 * run)]
            for start in range(0, len(texts), 100):
                ask_for(emr, texts[start : start + 100])
            found = emr.admin("GET", "/admin/cache").json()["disk"]["hits"]
            assert found <= 400 * run
            new = [f"text {number}" for number in range(400 * run, 400 * (run + 1))]
            for start in range(0, len(new), 50):
                ask_for(emr, new[start : start + 50])
            with closing(Crowd(emr, 8, run)) as crowd:
                while emr.admin("GET", "/admin/cache").json()["disk"]["entries"] < 400 * (run + 1):
                    crowd.round()
                killer = threading.Timer(0.2, emr.process.send_signal, (signal.SIGKILL,))
                killer.start()
                with pytest.raises(ConnectionError):
                    while True:
                        crowd.round()
                killer.join()
            emr.process.wait(STOP_S)
            assert emr.process.returncode == -signal.SIGKILL
    assert found >= 400, "most of what was written before the kill is there after it"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A router whose keys share nothing."""
    home = tmp_path_factory.mktemp("scope")
    with (
        fake(home, "--latency-ms", "1") as provider,
        router(home, '[cache]\nscope = "key"\n' + voyage_row(provider)) as emr,
    ):
        yield emr, provider


def cached(emr: Router, text: str, key: str = "", **headers: str) -> str:
    """What the answer to one text says of the cache."""
    answer = httpx.post(
        f"{emr.url}/v1/embeddings",
        json={"model": MODEL, "input": text},
        headers={"Authorization": f"Bearer {key or emr.key}"} | headers,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    said = answer.headers["x-emr-cache"]
    assert (answer.json()["usage"]["total_tokens"] == 0) is (said == "hit")
    return said


def test_keys_share_nothing_with_the_scope_key(served: tuple[Router, Running]) -> None:
    emr, _ = served
    other = emr.admin("POST", "/admin/keys", {"name": "other"}).json()["key"]
    assert [cached(emr, "shared?"), cached(emr, "shared?")] == ["miss", "hit"]
    assert [cached(emr, "shared?", other), cached(emr, "shared?", other)] == ["miss", "hit"]


def test_no_store(served: tuple[Router, Running]) -> None:
    emr, _ = served
    word = {"Cache-Control": "max-age=0, No-Store"}
    assert [cached(emr, "n", **word), cached(emr, "n"), cached(emr, "n", **word)] == ["miss"] * 3
    assert cached(emr, "n") == "hit"


def test_what_is_passed_on_whole_is_never_from_the_cache(served: tuple[Router, Running]) -> None:
    emr, provider = served
    body = {"model": "voyage-context-3", "inputs": [["a chunk", "another"]]}
    before = httpx.get(f"{provider.url}/_fake/stats").json()["calls"]
    for _ in range(2):
        answer = emr.ask("/v1/contextualizedembeddings", body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-emr-cache"] == "miss"
    assert httpx.get(f"{provider.url}/_fake/stats").json()["calls"] == before + 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embed", {"texts": ["forms"], "model": MODEL, "input_type": "search_query"}),
        ("/v2/embed", {"texts": ["forms"], "model": MODEL, "input_type": "search_query"}),
        ("/api/embed", {"input": "forms", "model": MODEL}),
        ("/openai/deployments/voyage-code-3/embeddings", {"input": "azure"}),
    ],
)
def test_every_form_has_hits(
    served: tuple[Router, Running], path: str, body: dict[str, Any]
) -> None:
    emr, _ = served
    first, second = emr.ask(path, body), emr.ask(path, body)
    assert first.status_code == second.status_code == 200, first.text
    assert first.headers["x-emr-cache"] in ("miss", "hit")
    assert second.headers["x-emr-cache"] == "hit"
    assert second.json().get("embeddings") == first.json().get("embeddings")


def test_a_batch_call_and_several_providers_have_them_too(served: tuple[Router, Running]) -> None:
    emr, _ = served
    entries = [{"id": str(n), "input": [f"batch {n}"], "provider": "voyage"} for n in range(2)]
    said = [
        emr.ask("/v1/embeddings/batch", {"requests": entries}).headers["x-emr-cache"]
        for _ in range(2)
    ]
    assert said == ["miss", "hit"]
    body = {"input": "batch 1", "providers": ["voyage"], "policy": "all"}
    answer = emr.ask("/v1/embeddings", body)
    assert answer.json()["results"]["voyage"]["usage"]["total_tokens"] == 0
