"""Infinity's `POST /embeddings`.

OpenAI's form behind a validator that quotes what it was given; what it does not know it overlooks.
It takes texts only, strips their white space, and cuts those that the model finds too long. What it
calls tokens are characters. A size larger than the model's own is overlooked. Sources: infinity_emb
(fastapi_schemas/pymodels.py, infinity_server.py, transformer/utils.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emr.fake.forms.form import Asked, Caps, Field, Model, Route, check_texts, dumps
from emr.fake.forms.openai import OpenAI
from emr.fake.forms.words import Complain, Complaint, Words, validation_entry
from emr.fake.vectors import Text

CHARACTERS_MAX = 122_880  # of a text
FIELDS = {
    "input": Field((str, list), required=True, null=False),
    "model": Field((str,), null=False),
    "encoding_format": Field((str,), ("float", "base64"), null=False),
    "user": Field((str,)),
    "dimensions": Field((int,), null=False),
    "modality": Field((str,), ("text", "image", "audio"), null=False),
}
MODELS: Mapping[str, Model] = {
    "BAAI/bge-m3": Model((1024,), 8192),
    "michaelfeil/bge-small-en-v1.5": Model((384,), 512),
}


def invalid(text: str, kind: str, place: str) -> Words:
    """What the validator says: `kind` is its name for it, `place` where it is."""
    return Words(422, text, kind, param=place)


def told(status: int, text: str, vague: str | None = None) -> Words:
    """What the server itself says."""
    return Words(status, text, "None", status, vague=vague)


WORDS: Mapping[Complaint, Words] = {
    Complaint.NO_KEY: Words(401, "Unauthorized", "detail"),
    Complaint.BAD_KEY: Words(401, "Unauthorized", "detail"),
    Complaint.FORBIDDEN: Words(403, "Forbidden", "detail"),
    Complaint.NO_ROUTE: Words(404, "Not Found", "detail"),
    Complaint.BAD_METHOD: Words(405, "Method Not Allowed", "detail"),
    Complaint.BAD_JSON: invalid("JSON decode error", "json_invalid", "body"),
    Complaint.MISSING: invalid("Field required", "missing", "body.{field}"),
    Complaint.UNKNOWN_FIELD: invalid("Extra inputs", "extra_forbidden", "body.{field}"),
    Complaint.WRONG_TYPE: invalid("Input should be a valid type", "type_error", "body.{field}"),
    Complaint.BAD_VALUE: invalid("Input should be {allowed}", "enum", "body.{field}"),
    Complaint.UNKNOWN_MODEL: told(
        400,
        "Invalid model: Engine for model name `{model}` not found. Available model names are: "
        "{known}",
    ),
    Complaint.NO_DIMENSIONS: told(400, "dimensions are not supported"),  # it never says so
    Complaint.BAD_DIMENSIONS: told(400, "dimensions {value} are not supported"),
    Complaint.NO_TEXTS: invalid(
        "List should have at least 1 item after validation, not 0", "too_short", "body.input"
    ),
    Complaint.EMPTY_TEXT: invalid("String is empty", "string_too_short", "body.input.{index}"),
    Complaint.POISON: told(500, "InternalServerError: a text was refused"),
    Complaint.POISON_AT: invalid("Value error, refused", "value_error", "body.input.{index}"),
    Complaint.TOO_MANY_TEXTS: invalid(
        "List should have at most {most} items after validation, not {got}",
        "too_long",
        "body.input",
    ),
    Complaint.TEXT_TOO_LONG: invalid(
        "String should have at most {most} characters", "string_too_long", "body.input.{index}"
    ),
    Complaint.TOO_MANY_TOKENS: told(400, "Too many tokens in batch. Max is {most} got {got}"),
    Complaint.BODY_TOO_LARGE: Words(413, "Request Entity Too Large", "detail"),
    Complaint.RATE_CALLS: told(429, "Too many requests"),  # of a proxy in front of it
    Complaint.RATE_TOKENS: told(429, "Too many requests"),
    Complaint.RATE_ITEMS: told(429, "Too many requests"),
    Complaint.QUOTA: Words(402, "Payment Required", "detail"),
    Complaint.OVERLOADED: told(429, "model BAAI/bge-m3 is currently overloaded"),
    Complaint.UNAVAILABLE: Words(503, "Service Unavailable", "detail"),
    Complaint.CRASH: told(500, "InternalServerError: the model failed"),
    Complaint.BAD_GATEWAY: Words(502, "Bad Gateway", "detail"),
}


class Infinity(OpenAI):
    """A server of Infinity."""

    name = "infinity"
    routes = {"/embeddings": "embeddings"}
    needs_key = False
    fields = FIELDS
    models = MODELS
    words = WORDS
    tells_limits = False
    tells_retry = False
    refuses_unknown = False

    def texts(self, body: Mapping[str, Any], caps: Caps) -> list[Text]:
        given = body["input"]
        texts = [given] if isinstance(given, str) else given
        check_texts(texts, "input", False)
        for index, text in enumerate(texts):
            if caps.strict and len(text) > CHARACTERS_MAX:
                raise Complain(Complaint.TEXT_TOO_LONG, index=index, most=CHARACTERS_MAX, text=text)
        return [text.strip() for text in texts]

    def read(self, route: Route, body: dict[str, Any], caps: Caps) -> Asked:
        asked = super().read(route, body, caps)
        most = caps.dimensions or self.model(asked.model, caps).dimensions[0]
        size = body.get("dimensions") or 0
        asked.dimensions = size if 0 < size < most else most
        asked.extra["characters"] = sum(len(text) for text in asked.texts)
        return asked

    def asked_size(self, body: Mapping[str, Any]) -> int | None:
        return None

    def cuts(self, body: Mapping[str, Any]) -> bool:
        return True

    def head(self, asked: Asked) -> bytes:
        return b'"id":"infinity-00000000-0000-4000-8000-000000000000","created":1,'

    def usage(self, asked: Asked) -> dict[str, int]:
        characters: int = asked.extra["characters"]
        return {"prompt_tokens": characters, "total_tokens": characters}

    def error(self, words: Words, message: str, facts: Mapping[str, object]) -> bytes:
        if words.type == "detail":
            return dumps({"detail": message})
        if words.param is not None:
            return dumps({"detail": [validation_entry(words, message, facts)]})
        return super().error(words, message, facts)
