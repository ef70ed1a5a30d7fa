"""Jina's `POST /v1/embeddings`.

OpenAI's shape with tasks, `embedding_type` in the place of an encoding, and `truncate`; OpenAI's
`encoding_format` and whatever else it does not know is refused. `late_chunking` runs all texts
together: a vector then depends on the others. Older models have no tasks. Its errors have a code of
their own. Sources: its API page and error codes, litellm (jina_ai), and errors recorded in bug
reports.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from emr.fake.forms.form import (
    Asked,
    Caps,
    Field,
    LimitState,
    Model,
    Output,
    Route,
    check_texts,
    dumps,
)
from emr.fake.forms.openai import OpenAI
from emr.fake.forms.words import Complain, Complaint, Headers, Words
from emr.fake.vectors import Text

TASKS = {
    "retrieval.query": "query",
    "retrieval.passage": "document",
    "code.query": "code.query",
    "code.passage": "code.passage",
    "text-matching": "text-matching",
    "classification": "classification",
    "separation": "separation",
}
TYPES = ("float", "base64", "binary", "ubinary")
WITHOUT_TASKS = ("jina-embeddings-v2-base-en",)

FIELDS = {
    "model": Field((str,), required=True),
    "input": Field((str, list), required=True),
    "task": Field((str,), tuple(TASKS)),
    "dimensions": Field((int,)),
    "embedding_type": Field((str,), TYPES),
    "normalized": Field((bool,)),
    "truncate": Field((bool,)),
    "late_chunking": Field((bool,)),
}
MODELS: Mapping[str, Model] = {
    "jina-embeddings-v3": Model((1024,), 8192, any_size=True),
    "jina-embeddings-v4": Model((2048,), 32_000, any_size=True),
    "jina-embeddings-v2-base-en": Model((768,), 8192),
}
FIELD_ERROR = "field"  # the type of those complaints that name a field
WORDS: Mapping[Complaint, Words] = {
    Complaint.NO_KEY: Words(401, "Authentication required", code="AUTH_MISSING_API_KEY"),
    Complaint.BAD_KEY: Words(401, "Invalid API key", code="AUTH_INVALID_API_KEY"),
    Complaint.FORBIDDEN: Words(
        403, "Resource limit exceeded for your plan", code="AUTHZ_RESOURCE_LIMIT_EXCEEDED"
    ),
    Complaint.NO_ROUTE: Words(404, "Not Found"),
    Complaint.BAD_METHOD: Words(405, "Method Not Allowed"),
    Complaint.BAD_JSON: Words(422, "Validation error: 'body' JSON decode error"),
    Complaint.MISSING: Words(422, "Field required", FIELD_ERROR, "missing", "{field}"),
    Complaint.UNKNOWN_FIELD: Words(
        422, "Extra inputs are not permitted", FIELD_ERROR, "extra_forbidden", "{field}"
    ),
    Complaint.WRONG_TYPE: Words(
        422, "Input should be a valid type", FIELD_ERROR, "type_error", "{field}"
    ),
    Complaint.BAD_VALUE: Words(422, "Input should be {allowed}", FIELD_ERROR, "enum", "{field}"),
    Complaint.UNKNOWN_MODEL: Words(400, "Model '{model}' not found", code="INPUT_MODEL_NOT_FOUND"),
    Complaint.NO_DIMENSIONS: Words(
        422, "Extra inputs are not permitted", FIELD_ERROR, "extra_forbidden", "dimensions"
    ),
    Complaint.BAD_DIMENSIONS: Words(
        422,
        "Input should be less than or equal to {allowed}",
        FIELD_ERROR,
        "less_than_equal",
        "dimensions",
    ),
    Complaint.NO_TEXTS: Words(422, "Input list cannot be empty", FIELD_ERROR, "too_short", "input"),
    Complaint.EMPTY_TEXT: Words(  # no record of its words was found
        422, "String should have at least 1 character", FIELD_ERROR, "string_too_short", "input"
    ),
    Complaint.POISON: Words(400, "One of the inputs was refused"),
    Complaint.POISON_AT: Words(400, "The input at index {index} was refused"),
    Complaint.TOO_MANY_TEXTS: Words(
        400,
        "[RID: 00000000000000000000000000000000] Validation error: 'body -> jina-embeddings-v4' "
        "Each input list can contain at most {most} items.. Field errors: : Invalid value",
    ),
    Complaint.TEXT_TOO_LONG: Words(
        400,
        "Input at index {index} has {got} tokens, more than the {most} that the model takes. "
        "Set truncate to true, or send shorter texts",
        code="INPUT_TOKEN_LIMIT_EXCEEDED",
    ),
    Complaint.TOO_MANY_TOKENS: Words(400, "Too many tokens in batch. Max is {most} got {got}"),
    Complaint.BODY_TOO_LARGE: Words(413, "Request Entity Too Large"),
    Complaint.RATE_CALLS: Words(
        429,
        "Request rate limit exceeded: {used:.0f}/{limit:.0f} requests per minute",
        code="RATE_REQUEST_LIMIT_EXCEEDED",
        vague="Request rate limit exceeded",
    ),
    Complaint.RATE_TOKENS: Words(
        429,
        "Token rate limit exceeded: {used:,.0f}/{limit:,.0f} tokens per minute",
        code="RATE_TOKEN_LIMIT_EXCEEDED",
        vague="Token rate limit exceeded",
    ),
    Complaint.RATE_ITEMS: Words(
        429, "Request rate limit exceeded", code="RATE_REQUEST_LIMIT_EXCEEDED"
    ),
    Complaint.QUOTA: Words(403, "Insufficient account balance", code="AUTHZ_INSUFFICIENT_BALANCE"),
    Complaint.OVERLOADED: Words(
        429,
        "Concurrency limit exceeded: 50/50 concurrent requests",
        code="RATE_CONCURRENCY_LIMIT_EXCEEDED",
    ),
    Complaint.UNAVAILABLE: Words(
        503, "Service temporarily unavailable", code="SERVICE_UNAVAILABLE"
    ),
    Complaint.CRASH: Words(500, "An unexpected error occurred", code="INTERNAL_ERROR"),
    Complaint.BAD_GATEWAY: Words(502, "Bad Gateway"),
}


class Jina(OpenAI):
    """Jina AI."""

    name = "jina"
    fields = FIELDS
    max_texts = 512
    models = MODELS
    words = WORDS
    tells_retry = False

    def read(self, route: Route, body: dict[str, Any], caps: Caps) -> Asked:
        asked = super().read(route, body, caps)
        task = body.get("task")
        if task is not None and asked.model in WITHOUT_TASKS and caps.strict:
            raise Complain(Complaint.UNKNOWN_FIELD, field="task", value=task)
        asked.input_type = TASKS.get(task, task) if task is not None else None
        if body.get("late_chunking"):
            whole = hashlib.blake2b(dumps(list(asked.texts)), digest_size=16).hexdigest()
            asked.keys = [f"{text}\x00{whole}\x00{at}" for at, text in enumerate(asked.texts)]
        return asked

    def texts(self, body: Mapping[str, Any], caps: Caps) -> list[Text]:
        given = body["input"]
        texts = [given] if isinstance(given, str) else given
        check_texts(texts, "input", caps.strict)
        return list(texts)

    def cuts(self, body: Mapping[str, Any]) -> bool:
        return bool(body.get("truncate"))

    def output(self, body: Mapping[str, Any]) -> Output:
        kind = body.get("embedding_type") or "float"
        base64 = kind == "base64"
        return Output(kind, "float" if base64 else kind, base64)

    def limit_headers(self, limits: Mapping[str, LimitState]) -> Headers:
        return [
            (b"x-ratelimit-remaining-" + name.encode(), b"%d" % state.left)
            for name, state in limits.items()
        ]

    def error(self, words: Words, message: str, facts: Mapping[str, object]) -> bytes:
        if words.type != FIELD_ERROR:
            body: dict[str, object] = {"detail": message}
            return dumps(body | {"code": words.code} if words.code else body)
        given = facts.get("text", facts.get("value"))
        field = {"field": f"body -> {words.param}", "message": message, "type": words.code}
        said = "[RID: 00000000000000000000000000000000] Validation errors in 1 fields"
        return dumps({"detail": said, "errors": [field | {"input": given}]})
