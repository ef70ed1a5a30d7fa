"""vLLM's `POST /v1/embeddings`.

OpenAI's form with fields of its own; what it does not know it overlooks. Token ids are of the
served model's own vocabulary. A model that was not trained for several sizes refuses every one, its
own too. A text that is too long is refused unless `truncate_prompt_tokens` says to cut. Sources:
vllm (entrypoints/pooling/embed), and errors recorded in bug reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emr.fake.forms.form import Asked, Field, Model
from emr.fake.forms.openai import WORDS as OPENAI_WORDS
from emr.fake.forms.openai import OpenAI
from emr.fake.forms.words import Complaint, Words

BAD = "BadRequestError"
FIELDS = {
    "input": Field((str, list), required=True),
    "model": Field((str,)),
    "dimensions": Field((int,)),
    "encoding_format": Field((str,), ("float", "base64", "bytes", "bytes_only"), null=False),
    "user": Field((str,)),
    "truncate_prompt_tokens": Field((int,)),
    "truncation_side": Field((str,), ("left", "right")),
    "add_special_tokens": Field((bool,), null=False),
    "priority": Field((int,), null=False),
}
MODELS: Mapping[str, Model] = {
    "BAAI/bge-m3": Model((1024,), 8192),
    "jinaai/jina-embeddings-v3": Model((1024, 32, 64, 128, 256, 512, 768), 8192),
}
WORDS: Mapping[Complaint, Words] = {
    **OPENAI_WORDS,
    Complaint.NO_KEY: Words(401, "Unauthorized", "UnauthorizedError", 401),
    Complaint.BAD_KEY: Words(401, "Unauthorized", "UnauthorizedError", 401),
    Complaint.FORBIDDEN: Words(403, "Forbidden", "Forbidden", 403),  # of a proxy in front of it
    Complaint.NO_ROUTE: Words(404, "Not Found", "NotFoundError", 404),
    Complaint.BAD_METHOD: Words(405, "Method Not Allowed", "Method Not Allowed", 405),
    Complaint.BAD_JSON: Words(400, "JSON decode error", "Bad Request", 400),
    Complaint.MISSING: Words(400, "{field}: Field required", "Bad Request", 400, "{field}"),
    Complaint.WRONG_TYPE: Words(
        400, "{field}: Input should be a valid type", "Bad Request", 400, "{field}"
    ),
    Complaint.BAD_VALUE: Words(
        400, "{field}: Input should be {allowed}", "Bad Request", 400, "{field}"
    ),
    Complaint.UNKNOWN_MODEL: Words(
        404, "The model `{model}` does not exist.", "NotFoundError", 404, "model"
    ),
    Complaint.NO_DIMENSIONS: Words(
        400,
        'Model "{model}" does not support matryoshka representation, changing output dimensions '
        "will lead to poor results.",
        BAD,
        400,
    ),
    Complaint.BAD_DIMENSIONS: Words(
        400,
        'Model "{model}" only supports {allowed} matryoshka dimensions, use other output '
        "dimensions will lead to poor results.",
        BAD,
        400,
    ),
    Complaint.TOO_MANY_TEXTS: Words(  # it has no such limit
        400, "batch size is invalid, it should be at most {most}", BAD, 400
    ),
    Complaint.TEXT_TOO_LONG: Words(
        400,
        "This model's maximum context length is {most} tokens. However, you requested {got} tokens "
        "in the input for embedding generation. Please reduce the length of the input.",
        BAD,
        400,
    ),
    Complaint.RATE_CALLS: Words(429, "Too Many Requests", "Too Many Requests", 429),  # of a proxy
    Complaint.RATE_TOKENS: Words(429, "Too Many Requests", "Too Many Requests", 429),
    Complaint.RATE_ITEMS: Words(429, "Too Many Requests", "Too Many Requests", 429),
    Complaint.QUOTA: Words(402, "Payment Required", "Payment Required", 402),
    Complaint.OVERLOADED: Words(503, "Service Unavailable", "Service Unavailable", 503),
    Complaint.UNAVAILABLE: Words(503, "Service Unavailable", "Service Unavailable", 503),
    Complaint.CRASH: Words(500, "EngineCore encountered an issue.", "InternalServerError", 500),
}


class VLLM(OpenAI):
    """A server of vLLM."""

    name = "vllm"
    needs_key = False
    fields = FIELDS
    max_texts = 0
    models = MODELS
    words = WORDS
    tells_limits = False
    tells_retry = False
    refuses_unknown = False

    def cuts(self, body: Mapping[str, Any]) -> bool:
        return body.get("truncate_prompt_tokens") is not None

    def head(self, asked: Asked) -> bytes:
        return b'"id":"embd-%b","created":1,' % (b"0" * 32)

    def usage(self, asked: Asked) -> dict[str, int]:
        return super().usage(asked) | {"completion_tokens": 0}
