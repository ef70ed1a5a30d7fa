"""A limit that nobody told is learned over sockets, shown, and known after restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.processes import Router, fake, provider_row, router

MODEL = "text-embedding-3-small"
LIMIT = 30  # calls a minute, of the fake


def shown(emr: Router) -> dict[str, Any]:
    """The provider, as `/health/providers` has it."""
    (told,) = httpx.get(f"{emr.url}/health/providers").json()
    return dict(told)


def in_lanes(emr: Router) -> float:
    """The limit in calls of the one account of `/admin/lanes`, which must be a learned one."""
    (account,) = emr.admin("GET", "/admin/lanes").json()
    limit = account["limits_a_minute"]["calls"]
    assert limit["source"] == "learned"
    return float(limit["limit"])


def ask(emr: Router, text: str) -> int:
    """Ask for one text, and wait 2 s at the most; the status."""
    headers = {"Authorization": f"Bearer {emr.key}", "x-emr-timeout-ms": "2000"}
    body = {"provider": "own", "model": MODEL, "input": text}
    return httpx.post(f"{emr.url}/v1/embeddings", json=body, headers=headers).status_code


def test_a_learned_limit_outlives_a_restart(tmp_path: Path) -> None:
    with fake(tmp_path, "--form", "openai", "--rpm", str(LIMIT), "--tell", "none") as provider:
        endpoint = f"{provider.url}/openai/v1/embeddings"
        config = provider_row("own", "openai-compatible", endpoint, model=MODEL)
        with router(tmp_path, config) as emr:
            assert shown(emr)["limit_source"] == "default"
            answers = [ask(emr, f"text {number}") for number in range(LIMIT + 1)]
            assert answers == [200] * LIMIT + [429]
            learned = shown(emr)
            assert learned["limit_source"] == "learned"
            limit = learned["requests_per_minute"]
            assert in_lanes(emr) == pytest.approx(limit, abs=0.1)
        with router(tmp_path, config) as again:
            first = shown(again)  # nothing was asked yet
            assert first["limit_source"] == "learned"
            assert first["requests_per_minute"] == pytest.approx(limit, rel=0.05)
            ask(again, "after")
            assert in_lanes(again) == pytest.approx(limit, rel=0.05)
