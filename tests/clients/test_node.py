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


@pytest.mark.parametrize(
    ("texts", "more", "param"),
    [
        ([], {}, "input"), (["a", 5], {}, "input[1]"), ([[]], {}, "input[0]"), (5, {}, "input"),
        ("a", {"dimensions": 0}, "dimensions"), ("a", {"dimensions": 1537}, "dimensions"),
        ("a", {"encoding_format": "hex"}, "encoding_format"), ("a", {"user": 5}, "user"),
    ],
)  # fmt: skip
def test_bad_input(emr: Router, texts: object, more: dict[str, object], param: str) -> None:
    told = ask(emr, MODEL, texts, **more)
    assert (told["error"], told["status"], told["param"]) == ("BadRequestError", 400, param)


@pytest.mark.parametrize("model", ["voyage/voyage-code-3", "cohere/embed-v4.0"])
def test_other_providers(emr: Router, model: str) -> None:
    name = model.partition("/")[2]
    wanted = of_fake(TEXTS, name, "document" if name == "embed-v4.0" else None)
    assert same(ask(emr, model, TEXTS)["vectors"], wanted)
