"""Mistral's `POST /v1/embeddings`.

OpenAI's shape with Voyage's words for size and type; further fields are refused, in the words of
its validator, which quotes what it was given. Only the model for code gives other sizes than its
own. Limits of calls come by the minute, those of tokens as `x-ratelimitbysize-*`. Sources: the
Python SDK (models/embeddingrequest.py), docs.mistral.ai, and errors recorded in bug reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emr.fake.forms.form import Asked, Caps, Field, LimitState, Model, Output, dumps
from emr.fake.forms.openai import WORDS as OPENAI_WORDS
from emr.fake.forms.openai import OpenAI
from emr.fake.forms.words import Complain, Complaint, Headers, Words, validation_entry
from emr.fake.vectors import DTYPES, Text

INVALID = "invalid_request_error"
ARGUMENTS = "invalid_request_invalid_args"
VALIDATION = 3001  # the code of its validator, whose complaints stand in lists
ID = b"embd-5f1c0000000000000000000000000000"  # of every answer: nobody looks it up
HEADERS = {
    "requests": (b"x-ratelimit-limit-req-minute", b"x-ratelimit-remaining-req-minute"),
    "tokens": (b"x-ratelimitbysize-limit-minute", b"x-ratelimitbysize-remaining-minute"),
}

FIELDS = {
    "input": Field((str, list), required=True, null=False),
    "model": Field((str,), required=True, null=False),
    "metadata": Field((dict,)),
    "output_dimension": Field((int,)),
    "output_dtype": Field((str,), DTYPES, null=False),
    "encoding_format": Field((str,), ("float", "base64"), null=False),
}
MODELS: Mapping[str, Model] = {
    "mistral-embed": Model((1024,), 8192, 16_384),
    "codestral-embed": Model((1536, *range(1, 1536), *range(1537, 3073)), 8192, 16_384),
}


def invalid(text: str, kind: str, place: str) -> Words:
    """What the validator says: `kind` is its name for it, `place` where it is."""
    return Words(422, text, kind, VALIDATION, place)


WORDS: Mapping[Complaint, Words] = {
    **OPENAI_WORDS,
    Complaint.NO_KEY: Words(401, "Unauthorized"),
    Complaint.BAD_KEY: Words(401, "Unauthorized"),
    Complaint.FORBIDDEN: Words(403, "Forbidden"),
    Complaint.NO_ROUTE: Words(404, "no Route matched with those values"),
    Complaint.BAD_JSON: invalid("JSON decode error", "json_invalid", "body"),
    Complaint.MISSING: invalid("Field required", "missing", "body.{field}"),
    Complaint.UNKNOWN_FIELD: invalid(
        "Extra inputs are not permitted", "extra_forbidden", "body.{field}"
    ),
    Complaint.WRONG_TYPE: invalid("Input should be a valid type", "type_error", "body.{field}"),
    Complaint.BAD_VALUE: invalid("Input should be {allowed}", "enum", "body.{field}"),
    Complaint.UNKNOWN_MODEL: Words(400, "Invalid model: {model}", "invalid_model", "1500"),
    Complaint.NO_DIMENSIONS: Words(
        400, "This model does not support output_dimension.", ARGUMENTS, "3051"
    ),
    Complaint.BAD_DIMENSIONS: Words(  # no record of its words was found
        400, "output_dimension must be at most 3072, not {value}.", ARGUMENTS, "3051"
    ),
    Complaint.NO_TEXTS: Words(400, "Input cannot be an empty list", INVALID),
    Complaint.EMPTY_TEXT: Words(400, "Input text cannot be empty", INVALID),  # nor of these two
    Complaint.TEXT_TOO_LONG: Words(
        400, "Input at index {index} has {got} tokens, more than the model's {most}", INVALID
    ),
    Complaint.TOO_MANY_TEXTS: Words(
        400, "Too many inputs in request, split into more batches.", INVALID, "3210"
    ),
    Complaint.TOO_MANY_TOKENS: Words(
        400, "Too many tokens in batch. Max is {most} got {got}", INVALID, "3210"
    ),
    Complaint.RATE_CALLS: Words(429, "Requests rate limit exceeded", "rate_limited", "1300"),
    Complaint.RATE_TOKENS: Words(429, "Requests rate limit exceeded", "rate_limited", "1300"),
    Complaint.RATE_ITEMS: Words(429, "Requests rate limit exceeded", "rate_limited", "1300"),
    Complaint.QUOTA: Words(402, "Your account has insufficient balance.", "payment_required"),
    Complaint.OVERLOADED: Words(
        429,
        "Service tier capacity exceeded for this model.",
        "service_tier_capacity_exceeded",
        "3505",
    ),
    Complaint.UNAVAILABLE: Words(503, "Service unavailable.", "unavailable"),
    Complaint.CRASH: Words(500, "Internal server error", "internal_server_error", "1000"),
}


class Mistral(OpenAI):
    """Mistral AI."""

    name = "mistral"
    fields = FIELDS
    max_texts = 512
    models = MODELS
    words = WORDS

    def texts(self, body: Mapping[str, Any], caps: Caps) -> list[Text]:
        texts = super().texts(body, caps)
        if not isinstance(texts[0], str):
            raise Complain(Complaint.WRONG_TYPE, field="input")
        return texts

    def asked_size(self, body: Mapping[str, Any]) -> int | None:
        size: int | None = body.get("output_dimension")
        return size

    def output(self, body: Mapping[str, Any]) -> Output:
        dtype = body.get("output_dtype") or "float"
        return Output(dtype, dtype, body.get("encoding_format") == "base64")

    def head(self, asked: Asked) -> bytes:
        return b'"id":"%b",' % ID

    def usage(self, asked: Asked) -> dict[str, int]:
        return super().usage(asked) | {"completion_tokens": 0}

    def limit_headers(self, limits: Mapping[str, LimitState]) -> Headers:
        headers: Headers = []
        for name, (limit, left) in HEADERS.items():
            state = limits.get(name)
            if state is not None:
                headers.append((limit, b"%d" % state.limit))
                headers.append((left, b"%d" % state.left))
        return headers

    def error(self, words: Words, message: str, facts: Mapping[str, object]) -> bytes:
        if words.code != VALIDATION:
            told: object = message
            more: dict[str, object] = {"raw_status_code": words.status}
        else:
            told = [validation_entry(words, message, facts)]
            more = {"detail": told}
        return dumps(
            {
                "object": "error",
                "message": told,
                "type": words.type if words.code != VALIDATION else INVALID,
                "param": None,
                "code": words.code,
            }
            | more
        )
