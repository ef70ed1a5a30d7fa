"""Ollama's form: `POST /api/embed`, and what its clients ask to see which models there are.

`keep_alive` says how long Ollama's server keeps a model in memory; it means nothing for the
vectors and is dropped. `options` with something in it is for the model's runner and may change
them, so such a request travels whole, to a provider that must be an Ollama.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from emr.front.desk import Ask
from emr.front.forms.document import load
from emr.front.forms.fields import (
    OWN,
    Reader,
    ignore,
    kind_of,
    read,
    read_dimensions,
    read_model,
    read_truncation,
    whole_body,
    wrong,
)
from emr.front.forms.texts import read_input
from emr.front.forms.vectors import NUMBERS, to_convert, vectors_of
from emr.front.refusals import json_text
from emr.lane.ticket import Request

PATH = "/api/embed"
NS_A_SECOND = 1e9


def _read_options(ask: Ask, value: Any, param: str) -> None:
    if type(value) is not dict:
        raise wrong(param, f"must be an object, not {kind_of(value)}")


FIELDS: Mapping[str, Reader] = {
    **OWN,
    "input": ignore,  # read by itself: it needs the limit of texts
    "model": read_model,
    "truncate": read_truncation,
    "dimensions": read_dimensions,
    "keep_alive": ignore,
    "options": _read_options,
}


class OllamaForm:
    """`POST /api/embed`."""

    def parse(self, body: bytes, captured: tuple[str, ...], most_texts: int) -> Ask:
        """See Form."""
        values = load(body)
        ask = Ask()
        unknown = read(ask, values, FIELDS, "")
        texts = values.get("input")
        if texts is None:
            raise wrong("input", "is missing: send a text, or a list of texts")
        read_input(ask, texts, "input", most_texts)
        if ask.token_ids:
            raise wrong("input", "must be a string or a list of strings, not token ids")
        if unknown or values.get("options"):
            ask.whole = whole_body(values, OWN.keys())
            ask.path = PATH
        return ask

    def to_convert(self, ask: Ask, request: Request) -> int:
        """See Form."""
        return to_convert(request.vectors, NUMBERS)

    def render(self, ask: Ask, request: Request, request_id: str) -> bytes:
        """See Form. The duration is what the request waited and what the provider took."""
        duration = int((request.queue_s + request.provider_s) * NS_A_SECOND)
        return (
            b'{"model":%b,"embeddings":[%b],"total_duration":%d,"load_duration":0,'
            b'"prompt_eval_count":%d}'
        ) % (
            json_text(request.model),
            b",".join(vectors_of(request, NUMBERS)),
            duration,
            request.billed,
        )


def tags(models: Sequence[Mapping[str, Any]]) -> bytes:
    """`GET /api/tags` from the entries of `GET /v1/models`."""
    return orjson.dumps(
        {
            "models": [
                {
                    "name": model["id"],
                    "model": model["id"],
                    "modified_at": datetime.fromtimestamp(int(model.get("created") or 0), UTC),
                    "size": 0,
                    "digest": "",
                    "details": {
                        "parent_model": "",
                        "format": "",
                        "family": str(model.get("owned_by") or ""),
                        "families": None,
                        "parameter_size": "",
                        "quantization_level": "",
                    },
                }
                for model in models
            ]
        }
    )
