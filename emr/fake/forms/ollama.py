"""Ollama: `POST /api/embed`, its own, and `POST /v1/embeddings`, like OpenAI's.

What it does not know it overlooks, a null is as if absent, and so is a size that is not below the
model's own. Texts that are too long are cut unless `truncate` is false. `/api/embed` answers a list
of lists, numbers only. Models are found with and without `:latest`. Sources: ollama
(server/routes.go, openai/openai.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emr.fake.forms.form import (
    Asked,
    Caps,
    Field,
    Model,
    Output,
    Route,
    Vectors,
    check_texts,
    dumps,
)
from emr.fake.forms.openai import OpenAI
from emr.fake.forms.words import Complaint, Words
from emr.fake.vectors import Text

NATIVE = "embed"
FIELDS = {
    "input": Field((str, list)),
    "model": Field((str,)),
    "dimensions": Field((int,)),
    "encoding_format": Field((str,), ("float", "base64")),
}
NATIVE_FIELDS = {
    "input": Field((str, list)),
    "model": Field((str,)),
    "truncate": Field((bool,)),
    "dimensions": Field((int,)),
    "keep_alive": Field((str, int, float)),
    "options": Field((dict,)),
}
MODELS: Mapping[str, Model] = {
    "nomic-embed-text": Model((768,), 2048),
    "bge-m3": Model((1024,), 8192),
    "all-minilm": Model((384,), 256),
}
UNMARSHAL = "json: cannot unmarshal value into Go struct field EmbedRequest.{field}"
WORDS: Mapping[Complaint, Words] = {
    Complaint.NO_KEY: Words(401, "unauthorized", "authentication_error"),  # of a proxy
    Complaint.BAD_KEY: Words(401, "unauthorized", "authentication_error"),
    Complaint.FORBIDDEN: Words(403, "forbidden", "permission_error"),
    Complaint.NO_ROUTE: Words(404, "404 page not found", plain=True),
    Complaint.BAD_METHOD: Words(405, "405 method not allowed", plain=True),
    Complaint.BAD_JSON: Words(400, "invalid character in JSON body", "invalid_request_error"),
    Complaint.MISSING: Words(400, "missing request body", "invalid_request_error"),
    Complaint.UNKNOWN_FIELD: Words(400, "unknown field {field}", "invalid_request_error"),
    Complaint.WRONG_TYPE: Words(400, UNMARSHAL, "invalid_request_error"),
    Complaint.BAD_VALUE: Words(
        400, "invalid {field}: must be one of {allowed}", "invalid_request_error"
    ),
    Complaint.UNKNOWN_MODEL: Words(
        404, 'model "{model}" not found, try pulling it first', "not_found_error"
    ),
    Complaint.NO_DIMENSIONS: Words(400, "dimensions not supported", "invalid_request_error"),
    Complaint.BAD_DIMENSIONS: Words(400, "dimensions not supported", "invalid_request_error"),
    Complaint.NO_TEXTS: Words(400, "invalid input", "invalid_request_error"),
    Complaint.EMPTY_TEXT: Words(400, "invalid input", "invalid_request_error"),
    Complaint.POISON: Words(400, "the input was refused", "invalid_request_error"),
    Complaint.POISON_AT: Words(400, "the input at index {index} was refused", "api_error"),
    Complaint.TOO_MANY_TEXTS: Words(  # it has no such limit
        400, "batch size is invalid, it should be at most {most}", "invalid_request_error"
    ),
    Complaint.TEXT_TOO_LONG: Words(
        400, "the input length exceeds the context length", "invalid_request_error"
    ),
    Complaint.TOO_MANY_TOKENS: Words(
        400, "Too many tokens in batch. Max is {most} got {got}", "invalid_request_error"
    ),
    Complaint.BODY_TOO_LARGE: Words(413, "http: request body too large", "invalid_request_error"),
    Complaint.RATE_CALLS: Words(429, "too many requests", "rate_limit_error"),  # of a proxy
    Complaint.RATE_TOKENS: Words(429, "too many requests", "rate_limit_error"),
    Complaint.RATE_ITEMS: Words(429, "too many requests", "rate_limit_error"),
    Complaint.QUOTA: Words(402, "payment required", "billing_error"),
    Complaint.OVERLOADED: Words(
        503, "server busy, please try again.  maximum pending requests exceeded", "api_error"
    ),
    Complaint.UNAVAILABLE: Words(503, "service unavailable", "api_error"),
    Complaint.CRASH: Words(500, "llama runner process has terminated: exit status 2", "api_error"),
    Complaint.BAD_GATEWAY: Words(502, "bad gateway", "api_error"),
}


class Ollama(OpenAI):
    """A server of Ollama."""

    name = "ollama"
    routes = {"/api/embed": NATIVE, "/v1/embeddings": "embeddings"}
    needs_key = False
    fields = FIELDS
    max_texts = 0
    models = MODELS
    words = WORDS
    tells_limits = False
    tells_retry = False
    refuses_unknown = False
    unnumbered = frozenset({NATIVE})

    def model(self, name: object, caps: Caps, only: Mapping[str, Model] | None = None) -> Model:
        bare = name.removesuffix(":latest") if isinstance(name, str) else name
        return super().model(bare, caps, only)

    def read(self, route: Route, body: dict[str, Any], caps: Caps) -> Asked:
        self.check_fields(body, NATIVE_FIELDS if route.name == NATIVE else FIELDS, caps)
        name = body.get("model") or ""
        model = self.model(name, caps)
        texts = self.texts(body, caps)
        self.check_count(len(texts), caps)
        own = caps.dimensions or self.size(name, model, None, caps)
        size = body.get("dimensions") or 0
        tokens = self.weigh(texts, model, caps, cut=body.get("truncate") is not False)
        self.check_tokens(name, model, tokens, caps)
        output = Output() if route.name == NATIVE else self.output(body)
        dimensions = size if 0 < size < own else own
        return Asked(route.name, name, texts, tokens, None, dimensions, (output,))

    def texts(self, body: Mapping[str, Any], caps: Caps) -> list[Text]:
        given = body.get("input")
        texts = [given] if isinstance(given, str) else given or []
        check_texts(texts, "input", caps.strict)
        return list(texts)

    def write(self, asked: Asked, vectors: Vectors) -> bytes:
        if asked.route != NATIVE:
            return super().write(asked, vectors)
        return b'{"model":%b,"embeddings":[%b],"total_duration":%d,"load_duration":%d,%b}' % (
            dumps(asked.model),
            b",".join(vectors.outputs[0]),
            14_143_917,
            1_019_500,
            b'"prompt_eval_count":%d' % asked.total,
        )

    def error(self, words: Words, message: str, facts: Mapping[str, object]) -> bytes:
        if facts.get("route") != "embeddings":
            return dumps({"error": message})
        return super().error(words, message, facts)
