"""How the tests of the forms ask, and find the words of a refusal."""

from __future__ import annotations

from typing import Any

import orjson

from emr.fake.vectors import expected_json
from tests.fake.world import Connection, Fake


def ok(fake: Fake, path: str, body: object) -> Any:
    """The value of a good answer."""
    answer = fake.ask(path, body)
    assert answer.status == 200, answer.body
    assert answer.headers[b"content-type"] == b"application/json"
    return answer.json


def said(answer: Connection) -> str:
    """All that a refusal says, as text."""
    assert 400 <= answer.status < 600, answer.body
    return answer.body.decode().replace('\\"', '"')


def numbers(
    text: str, model: str, input_type: str | None = None, dimensions: int = 1024
) -> list[float]:
    """The vector that a text must get."""
    vector: list[float] = orjson.loads(expected_json(text, model, input_type, dimensions))
    return vector
