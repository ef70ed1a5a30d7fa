"""The right vector or a clear error, over real sockets with a provider that lies."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from emr.fake.vectors import expected_base64, vector_of
from tests.e2e.conftest import NO_CACHE, voyage_row
from tests.support.processes import Router, Running, fake, router

MODEL = "voyage-code-3"


def texts(count: int) -> list[str]:
    """Texts of different lengths."""
    return [f"text {n} " + "x" * (n % 50) for n in range(count)]


@pytest.mark.parametrize("count", [1, 127, 128, 129, 1000, 2048])
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_more_texts_than_a_call_takes(emr: Router, count: int, encoding: str) -> None:
    asked = texts(count)
    body = {"model": f"voyage/{MODEL}", "input": asked, "encoding_format": encoding}
    told = emr.ask("/v1/embeddings", body)
    assert told.status_code == 200, told.text
    data = told.json()["data"]
    assert [entry["index"] for entry in data] == list(range(count))
    if encoding == "base64":
        wanted = [expected_base64(text, MODEL).decode() for text in asked]
        assert [entry["embedding"] for entry in data] == wanted
    else:
        for entry, text in zip(data, asked, strict=True):
            wanted_numbers = vector_of(text, MODEL)
            got = struct.pack(f"<{len(entry['embedding'])}f", *entry["embedding"])
            assert got == struct.pack(f"<{len(wanted_numbers)}f", *wanted_numbers)
    calls = -(-count // 128)
    assert told.headers["x-emr-attempts"] == str(calls)
    assert told.headers["x-emr-batch"] == str(min(count, 128))


def test_callers_at_the_same_time_get_their_own(emr: Router) -> None:
    def ask(n: int) -> tuple[int, list[str]]:
        asked = [f"caller {n}, text {k}" for k in range(n % 7 + 1)]
        body = {"model": MODEL, "provider": "voyage", "input": asked, "encoding_format": "base64"}
        told = emr.ask("/v1/embeddings", body).json()
        return n, [entry["embedding"] for entry in told["data"]]

    with ThreadPoolExecutor(32) as pool:
        for n, got in pool.map(ask, range(200)):
            asked = [f"caller {n}, text {k}" for k in range(n % 7 + 1)]
            assert got == [expected_base64(text, MODEL).decode() for text in asked]


@pytest.fixture(scope="module")
def lying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Router, Running]]:
    """A router with a provider that the test makes lie, and one that is honest."""
    home = tmp_path_factory.mktemp("lying")
    with fake(home, "--latency-ms", "5") as bad, fake(home, "--latency-ms", "5") as good:
        config = (
            NO_CACHE
            + voyage_row(bad)
            + voyage_row(good, "honest")
            + "\n[retry]\nper_attempt_cap_ms = 50"
        )
        with router(home, config) as emr:
            yield emr, bad


def lie(provider: Running, faults: str) -> None:
    """Let the fake go wrong so from now on, and count from zero."""
    answer = httpx.post(f"{provider.url}/_fake/settings", json={"faults": faults})
    assert answer.status_code == 200, answer.text
    httpx.post(f"{provider.url}/_fake/reset").raise_for_status()


@pytest.mark.parametrize("fault", ["shuffled", "exponent", "gzip", "content-type"])
def test_what_can_be_put_right_is(lying: tuple[Router, Running], fault: str) -> None:
    emr, bad = lying
    lie(bad, f"{fault}=1")
    asked = texts(20)
    told = emr.ask("/v1/embeddings", {"provider": "voyage", "model": MODEL, "input": asked})
    assert told.status_code == 200, told.text
    for entry, text in zip(told.json()["data"], asked, strict=True):
        wanted = vector_of(text, MODEL)
        assert struct.pack("<1024f", *entry["embedding"]) == struct.pack("<1024f", *wanted)


@pytest.mark.parametrize(
    "fault",
    ["short", "long", "duplicate", "nan", "infinity", "null", "dimension", "empty", "garbage",
     "truncated", "html", "error-200", "cut", "reset"],
)  # fmt: skip
def test_what_cannot_be_put_right_is_tried_again_and_then_told(
    lying: tuple[Router, Running], fault: str
) -> None:
    emr, bad = lying
    lie(bad, f"{fault}=1")
    told = emr.ask("/v1/embeddings", {"provider": "voyage", "model": MODEL, "input": "x"})
    assert told.status_code == 502, told.text
    error = told.json()["error"]
    assert error["type"] == "provider_error"
    assert "voyage" in error["message"]
    assert told.headers["x-should-retry"] == "false"
    stats = httpx.get(f"{bad.url}/_fake/stats").json()
    # a first try and two more; a connection that was reset while it was idle is no try
    assert 3 <= stats["calls"] <= (4 if fault == "reset" else 3)
    honest = emr.ask("/v1/embeddings", {"provider": "honest", "model": MODEL, "input": "x"})
    assert honest.status_code == 200
    lie(bad, "")
    assert emr.admin("POST", "/admin/providers/voyage/test").json()["status"] == "ok"
    good = emr.ask("/v1/embeddings", {"provider": "voyage", "model": MODEL, "input": "x"})
    assert good.status_code == 200


def test_a_poisoned_text_is_its_callers_alone(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("poison")
    with (
        fake(home, "--latency-ms", "100", "--poison", "venom=silent") as provider,
        router(home, voyage_row(provider, requests_per_minute=600)) as emr,
        httpx.Client(base_url=emr.url, headers={"Authorization": f"Bearer {emr.key}"}) as client,
    ):

        def ask(n: int) -> httpx.Response:
            text = "venom of caller 17" if n == 17 else f"text of caller {n}"
            return client.post("/v1/embeddings", json={"model": MODEL, "input": [text]})

        ask(99)
        before = httpx.get(f"{provider.url}/_fake/stats").json()["calls"]
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(ask, range(50)))
        calls = httpx.get(f"{provider.url}/_fake/stats").json()["calls"] - before
    assert [n for n, told in enumerate(answers) if told.status_code != 200] == [17]
    assert answers[17].status_code == 400
    assert answers[17].json()["error"]["param"] == "input[0]"
    assert calls <= 4 + 12, "what fifty callers cost anyway, and twelve to find one of them"


def test_batches_and_several_providers(emr: Router) -> None:
    told = emr.ask(
        "/v1/embeddings/batch",
        {
            "requests": [
                {"id": "a", "input": ["one"], "providers": ["voyage"], "model": MODEL},
                {"id": "b", "input": ["two", "three"], "provider": "openai"},
            ]
        },
    )
    assert told.status_code == 200, told.text
    first, second = told.json()["results"]
    assert (first["id"], second["id"]) == ("a", "b")
    assert first["data"][0]["embedding"] == pytest.approx(vector_of("one", MODEL), abs=1e-7)
    assert len(second["data"]) == 2
    both = emr.ask(
        "/v1/embeddings", {"input": "x", "providers": ["voyage", "openai"], "policy": "all"}
    )
    assert set(both.json()["results"]) == {"voyage", "openai"}


def test_what_is_passed_on_whole(emr: Router, provider: Running) -> None:
    body = {"inputs": [["a", "b"], ["c"]], "model": "voyage-context-3", "input_type": "document"}
    told = emr.ask("/v1/contextualizedembeddings", body)
    assert told.status_code == 200, told.text
    direct = httpx.post(
        f"{provider.url}/voyage/v1/contextualizedembeddings", json=body,
        headers={"Authorization": "Bearer x"},
    )  # fmt: skip
    assert told.json()["data"] == direct.json()["data"]


def test_base64_is_little_endian_float32(emr: Router) -> None:
    body = {"model": MODEL, "input": "x", "encoding_format": "base64"}
    told = emr.ask("/v1/embeddings", body).json()["data"][0]["embedding"]
    numbers = struct.unpack("<1024f", base64.b64decode(told))
    assert list(numbers) == pytest.approx(vector_of("x", MODEL), abs=1e-7)
    assert json.dumps(told)
