"""The whole router in one loop: its start, its reload, what it shows of itself, and its end."""

from __future__ import annotations

import asyncio
import logging
import resource
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from emr.app import raise_file_limit
from emr.control.endpoints import allowed, check_row_endpoint, endpoint_of, row_rules
from emr.control.rows import Leeway, Row, Source
from emr.lane.refusal import Refused
from emr.upstream.endpoint import Allow
from emr.upstream.table import KINDS
from tests.support.aio import run
from tests.support.processes import PROVIDER_KEY
from tests.support.running import SECRET, a_fake, running, voyage_row

MODEL = "voyage-code-3"
SERVER = '[server]\nbind = "127.0.0.1:0"\n'


def others() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


# from start to end


def test_it_serves_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_fake() as provider:
            before = len(others())
            async with running(tmp_path, voyage_row(provider), V_API_KEY=PROVIDER_KEY) as emr:
                told = await emr.embed(model=MODEL)
                assert told.status_code == 200, told.text
                assert told.headers["x-emr-provider"] == "voyage"
                assert (await emr.get("/health")).json() == {
                    "status": "ok", "providers": ["voyage"],
                }  # fmt: skip
                status = (await emr.get("/status")).json()
                assert (status["requests_served"], status["provider_calls"]) == (1, 1)
                assert status["active_keys"] == 1
            await emr.app.close()  # a second time does nothing
            assert len(others()) <= before

    run(main())


def test_nothing_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emr.app.is_installed", lambda: False)

    async def main() -> None:
        async with running(tmp_path) as emr:
            health = await emr.get("/health")
            assert (health.status_code, health.json()["status"]) == (200, "degraded")
            for fields, status in (({}, 400), ({"model": "m"}, 404)):
                told = await emr.embed(**fields)
                assert told.status_code == status
                assert "emr-local.pyz" in told.json()["message"]
                assert "providers add" in told.json()["message"]

    run(main())


def test_the_loop_logs_no_words_of_exceptions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with running(tmp_path):

            def fail() -> None:
                raise ValueError("the text of a caller")

            asyncio.get_running_loop().call_soon(fail)
            await asyncio.sleep(0)

    run(main())
    (record,) = [record for record in caplog.records if record.name == "emr.loop"]
    assert "text of a caller" not in record.getMessage() + str(vars(record).get("figures"))


def test_a_client_that_drains_it_by_the_api(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            a_fake() as provider,
            running(tmp_path, voyage_row(provider), V_API_KEY=PROVIDER_KEY) as emr,
        ):
            assert not emr.app.drain_asked.is_set()
            told = await emr.admin("POST", "/admin/drain")
            assert told.json() == {"status": "draining"}
            await emr.app.drain_asked.wait()
            slow = asyncio.create_task(emr.embed(model=MODEL))
            while not emr.app.listener.unfinished():
                await asyncio.sleep(0.001)
            assert await emr.app.drain() == []
            assert (await slow).status_code == 200
            with pytest.raises(httpx.TransportError):
                await emr.get("/health")

    run(main())


# keys of providers


def test_a_provider_without_its_key_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    async def main() -> None:
        async with a_fake() as provider, running(tmp_path, voyage_row(provider)) as emr:
            told = await emr.embed(model=MODEL)
            assert (told.status_code, told.json()["error"]["type"]) == (502, "provider_error")
            assert "V_API_KEY is not set" in told.json()["message"]
            assert told.headers["x-should-retry"] == "false"
            tested = await emr.admin("POST", "/admin/providers/voyage/test")
            assert tested.status_code == 400
            emr.environment["V_API_KEY"] = PROVIDER_KEY
            assert (await emr.embed(model=MODEL)).status_code == 502, "until it is read anew"
            assert (await emr.admin("POST", "/admin/reload")).status_code == 200
            assert (await emr.embed(model=MODEL)).status_code == 200

    run(main())
    told = [vars(record)["figures"] for record in caplog.records if "no key" in record.getMessage()]
    assert told == [{"provider": "voyage", "why": "V_API_KEY is not set, or not usable"}]


@pytest.mark.parametrize("key", ["with a space", "a\tb"])
def test_a_key_that_no_header_may_carry_is_an_error_of_its_providers(
    tmp_path: Path, key: str
) -> None:
    async def main() -> None:
        async with (
            a_fake() as provider,
            running(tmp_path, voyage_row(provider), V_API_KEY=key) as emr,
        ):
            told = await emr.embed(model=MODEL)
            assert (told.status_code, told.json()["error"]["type"]) == (502, "provider_error")
            assert "voyage has no key: V_API_KEY" in told.json()["message"]
            assert key not in told.text
            tested = await emr.admin("POST", "/admin/providers/voyage/test")
            assert tested.status_code == 400
            assert key not in tested.text

    run(main())


def test_a_key_of_another_value_is_used_after_a_reload(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            a_fake() as provider,
            running(tmp_path, voyage_row(provider), V_API_KEY="revoked") as emr,
        ):
            told = await emr.embed(model=MODEL)
            assert told.status_code == 502
            health = await emr.get("/health")
            assert (health.status_code, health.json()["status"]) == (503, "down")
            emr.environment["V_API_KEY"] = PROVIDER_KEY
            assert (await emr.admin("POST", "/admin/reload")).status_code == 200
            assert (await emr.embed(model=MODEL)).status_code == 200
            assert (await emr.get("/health")).status_code == 200
            (entry,) = (await emr.get("/health/providers")).json()
            assert (entry["gate"], entry["total_failures"]) == ("CLEAR", 1)

    run(main())


def test_a_reload_that_finds_no_admin_secret_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_fake() as provider, running(tmp_path, voyage_row(provider)) as emr:
            assert (await emr.admin("POST", "/admin/reload")).json()["warnings"] == []
            del emr.environment["EMR_ADMIN_SECRET"]
            told = (await emr.admin("POST", "/admin/reload")).json()
            assert told["warnings"] == [
                "there is no admin secret any more: the old one holds until a restart"
            ]
            assert (await emr.admin("GET", "/admin/config")).status_code == 200

    run(main())


def test_a_head_that_is_refused_is_answered_in_the_form_of_its_path(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_fake() as provider, running(tmp_path, voyage_row(provider)) as emr:
            host, _, port = emr.app.listener.addresses[0].rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                b"POST /api/embed HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: mine\r\n"
                b"Content-Length: 99999999\r\n\r\n"
            )
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            assert head.startswith(b"HTTP/1.1 413 ")
            assert b"\r\nx-request-id: mine" in head.lower()
            assert isinstance(orjson.loads(body)["error"], str), "as Ollama's clients read it"

    run(main())


# what it shows


def test_the_configuration_has_a_parallel_of_sources_and_no_secret(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_fake() as provider:
            config = voyage_row(provider) + '[models]\nsmall = "voyage/m"\n[log]\nlevel = "debug"\n'
            async with running(
                tmp_path, config, V_API_KEY=PROVIDER_KEY, EMR_SERVER_DRAIN_MS="5"
            ) as emr:
                answer = await emr.admin("GET", "/admin/config")
                assert SECRET not in answer.text
                assert PROVIDER_KEY not in answer.text
                told = answer.json()
                sources = told.pop("sources")
                assert set(sources) == set(told)
                for section, values in told.items():
                    if isinstance(values, dict):
                        assert set(values) == set(sources[section]), section
                assert told["admin"] == {"secret": "[REDACTED]"}
                assert sources["admin"] == {"secret": "environment EMR_ADMIN_SECRET"}
                assert told["server"]["drain_ms"] == 5
                assert sources["server"]["drain_ms"] == "environment EMR_SERVER_DRAIN_MS"
                assert told["log"]["level"] == "debug"
                assert len(sources["providers"]) == len(told["providers"]) == 1

    run(main())


def test_models_and_lanes_and_metrics_over_the_wire(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            a_fake() as provider,
            running(tmp_path, voyage_row(provider), V_API_KEY=PROVIDER_KEY) as emr,
        ):
            await emr.embed(model=MODEL)
            headers = {"Authorization": f"Bearer {emr.key}"}
            listed = (await emr.http.get("/v1/models", headers=headers)).json()
            assert listed["object"] == "list"
            entry = listed["data"][0]
            assert entry == {
                "id": MODEL, "object": "model", "created": entry["created"],
                "owned_by": "voyage", "dimensions": 1024, "max_texts": 2048,
            }  # fmt: skip
            one = await emr.http.get(f"/v1/models/{MODEL}", headers=headers)
            assert one.json() == entry
            (lanes,) = (await emr.admin("GET", "/admin/lanes")).json()
            assert (lanes["provider"], lanes["scope"]) == ("voyage", MODEL)
            metrics = (await emr.get("/metrics")).text
            assert 'emr_provider_calls_total{ending="ok",provider="voyage"} 1.0' in metrics

    run(main())


# rows and the machine


def test_what_a_rows_endpoint_may_be() -> None:
    assert allowed(Leeway.NONE) == Allow()
    assert allowed(Leeway.HTTP) == Allow(http=True)
    assert allowed(Leeway.PRIVATE) == Allow(private=True)
    assert allowed(Leeway.ADOPTED) == Allow(http=True, private=True)
    voyage = KINDS["voyage"]
    url = check_row_endpoint("https://x.example", voyage, Leeway.NONE)
    assert url == "https://x.example/v1/embeddings"
    with pytest.raises(ValueError, match="link-local"):
        check_row_endpoint("http://169.254.169.254/", voyage, Leeway.HTTP | Leeway.PRIVATE)


@pytest.mark.parametrize(
    ("query", "version", "wanted"),
    [
        ("", "", ""), ("", "2024-10-21", "?api-version=2024-10-21"),
        ("?a=b", "2024-10-21", "?a=b&api-version=2024-10-21"),
        ("?api-version=1", "2024-10-21", "?api-version=1"),
    ],
)  # fmt: skip
def test_the_version_of_azures_api_is_in_its_address(query: str, version: str, wanted: str) -> None:
    endpoint = "https://x.openai.azure.com/openai/deployments/{model}/embeddings" + query
    given = {
        "name": "azure", "provider_type": "azure", "endpoint": endpoint, "model": "d",
        "api_key_env_var": "A_API_KEY", "api_version": version,
    }  # fmt: skip
    assert endpoint_of(row_rules().make(given, Source.FILE)).query == wanted


def test_an_endpoint_that_is_not_allowed_any_more_is_a_refusal() -> None:
    with pytest.raises(Refused):
        endpoint_of(Row("v", "voyage", endpoint="http://10.0.0.1/"))


INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "set_to", "warns"),
    [
        (1024, 65536, 12512, (12512, 65536), False),
        (12512, 65536, 12512, None, False),
        (12511, 65536, 12512, (12512, 65536), False),
        (1024, 4096, 12512, (4096, 4096), True),
        (1024, INFINITE, 12512, (12512, INFINITE), False),
        (4096, 4096, 12512, None, True),
    ],
)
def test_the_limit_of_open_files_is_raised_as_far_as_it_may(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    soft: int, hard: int, wanted: int, set_to: Any, warns: bool,
) -> None:  # fmt: skip
    done: list[Any] = []
    monkeypatch.setattr("emr.app.resource.getrlimit", lambda what: (soft, hard))
    monkeypatch.setattr("emr.app.resource.setrlimit", lambda what, to: done.append(to))
    raise_file_limit(wanted)
    assert done == ([] if set_to is None else [set_to])
    assert bool(caplog.records) is warns


def test_a_router_bound_to_everywhere_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with running(tmp_path, '[server]\nbind = "0.0.0.0:0"\n'):
            pass

    run(main())
    assert "without TLS" in caplog.text


def test_the_built_in_model_that_cannot_be_loaded_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emr.app.is_installed", lambda: True)
    monkeypatch.setattr("emr.upstream.local.model.is_installed", lambda: False)

    async def main() -> None:
        async with running(tmp_path) as emr:
            assert emr.app._warming is not None
            await emr.app._warming
            told = await emr.embed()
            assert told.status_code == 400
            assert "emr-local.pyz" in told.json()["message"]

    run(main())
    assert "cannot be used" in caplog.text
