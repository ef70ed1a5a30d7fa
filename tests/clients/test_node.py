"""OpenAI's Node SDK, which asks for base64 and decodes whatever comes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import LOCAL_NAME
from tests.clients.expected import TEXTS, of_fake, of_local, same
from tests.support.processes import Router

FOLDER = Path(__file__).parent / "node"
MODEL = "text-embedding-3-small"


def ask(emr: Router, model: str, texts: object, **more: object) -> dict[str, Any]:
    """What the SDK gets."""
    asked = json.dumps({"model": model, "input": texts, "more": more})
    told = subprocess.run(
        ["node", "embed.mjs", f"{emr.url}/v1", emr.key],
        input=asked, capture_output=True, text=True, cwd=FOLDER, timeout=60, check=True,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(told.stdout)
    return answer


@pytest.mark.parametrize("more", [{}, {"encoding_format": "float"}])
def test_list(emr: Router, more: dict[str, str]) -> None:
    told = ask(emr, f"openai/{MODEL}", TEXTS, **more)
    assert same(told["vectors"], of_fake(TEXTS, MODEL))
    assert told["usage"]["prompt_tokens"] > 0


def test_single(emr: Router) -> None:
    assert same(ask(emr, MODEL, "alone")["vectors"], of_fake(["alone"], MODEL))


def test_the_built_in_model(emr: Router) -> None:
    assert same(ask(emr, LOCAL_NAME, TEXTS)["vectors"], of_local(emr, TEXTS))


def test_errors(emr: Router) -> None:
    told = ask(emr, MODEL, ["a", ""])
    assert (told["error"], told["status"], told["param"]) == ("BadRequestError", 400, "input[1]")
    assert ask(emr, "no-such-model", "a")["error"] == "NotFoundError"
