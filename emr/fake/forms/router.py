"""Another emr: `POST /v1/embeddings` of a central router, as its contract has it.

It has a word for everything, passes on what it does not know, and its errors are one superset in
which every client finds its field. It serves the models of Voyage and OpenAI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emr.fake.forms.form import Asked, Caps, Field, Model, Output, Route, Vectors, dumps
from emr.fake.forms.openai import MODELS as OPENAI_MODELS
from emr.fake.forms.openai import OpenAI, write_data
from emr.fake.forms.voyage import MODELS as VOYAGE_MODELS
from emr.fake.forms.words import Complain, Complaint, Headers, Words
from emr.fake.vectors import DTYPES

BEHIND = b"behind"  # the provider that answered
INVALID = "validation_error"
FIELDS = {
    "input": Field((str, list)),
    "model": Field((str,)),
    "provider": Field((str,)),
    "providers": Field((list,)),
    "policy": Field((str,), ("any", "all")),
    "encoding_format": Field((str,), ("float", "base64")),
    "dimensions": Field((int,)),
    "output_dimension": Field((int,)),
    "input_type": Field((str,)),
    "truncation": Field((bool,)),
    "output_dtype": Field((str,), DTYPES),
    "user": Field((str,)),
}
MODELS: Mapping[str, Model] = {**VOYAGE_MODELS, **OPENAI_MODELS}
WORDS: Mapping[Complaint, Words] = {
    Complaint.NO_KEY: Words(401, "a key is needed: Authorization: Bearer emr_…", "unauthorized"),
    Complaint.BAD_KEY: Words(401, "this key is not known, or was revoked", "unauthorized"),
    Complaint.FORBIDDEN: Words(403, "this key may not use behind", "forbidden"),
    Complaint.NO_ROUTE: Words(404, "there is no {path} here", "not_found"),
    Complaint.BAD_METHOD: Words(405, "{method} is not for this path", "method_not_allowed"),
    Complaint.BAD_JSON: Words(400, "the body is not valid JSON", INVALID),
    Complaint.MISSING: Words(400, "{field} is missing", INVALID, param="{field}"),
    Complaint.UNKNOWN_FIELD: Words(400, "{field} is not known", INVALID, param="{field}"),
    Complaint.WRONG_TYPE: Words(400, "{field} has the wrong type", INVALID, param="{field}"),
    Complaint.BAD_VALUE: Words(
        400, "{field} must be one of {allowed}, not '{value}'", INVALID, param="{field}"
    ),
    Complaint.UNKNOWN_MODEL: Words(
        404, "no enabled provider serves the model {model}", "model_not_found", param="model"
    ),
    Complaint.NO_DIMENSIONS: Words(
        400,
        "behind has no vectors of {value} dimensions for this model; it has {allowed}",
        INVALID,
        param="dimensions",
    ),
    Complaint.BAD_DIMENSIONS: Words(
        400,
        "behind has no vectors of {value} dimensions for this model; it has {allowed}",
        INVALID,
        param="dimensions",
    ),
    Complaint.NO_TEXTS: Words(400, "input must not be an empty list", INVALID, param="input"),
    Complaint.EMPTY_TEXT: Words(
        400, "input[{index}] is an empty string", INVALID, param="input[{index}]"
    ),
    Complaint.POISON: Words(400, "behind answered 400: refused", INVALID),
    Complaint.POISON_AT: Words(
        400, "behind answered 400: refused", INVALID, param="input[{index}]"
    ),
    Complaint.TOO_MANY_TEXTS: Words(
        400,
        "input has {got} texts, and a request may have {most} (server.max_texts_per_request); "
        "send it in parts",
        INVALID,
        param="input",
    ),
    Complaint.TEXT_TOO_LONG: Words(
        400,
        "behind answered 400: the text has {got} tokens, and the model takes {most}",
        INVALID,
        param="input[{index}]",
    ),
    Complaint.TOO_MANY_TOKENS: Words(
        400, "behind answered 400: Too many tokens in batch. Max is {most} got {got}", INVALID
    ),
    Complaint.BODY_TOO_LARGE: Words(413, "the body is larger than {most} bytes", "too_large"),
    Complaint.RATE_CALLS: Words(
        429,
        "behind is rate limited; try again in {wait}",
        "rate_limited",
        vague="behind is rate limited",
    ),
    Complaint.RATE_TOKENS: Words(
        429,
        "behind is rate limited; try again in {wait}",
        "rate_limited",
        vague="behind is rate limited",
    ),
    Complaint.RATE_ITEMS: Words(
        429,
        "behind is rate limited; try again in {wait}",
        "rate_limited",
        vague="behind is rate limited",
    ),
    Complaint.QUOTA: Words(429, "the key's own limit is reached", "quota_exceeded"),
    Complaint.OVERLOADED: Words(503, "behind has no capacity left", "overloaded"),
    Complaint.UNAVAILABLE: Words(
        503, "behind is sin-binned after 5 failed calls in a row", "provider_unavailable"
    ),
    Complaint.CRASH: Words(502, "behind answered 500: it crashed", "provider_error"),
    Complaint.BAD_GATEWAY: Words(502, "bad gateway", "provider_error"),
}


class Router(OpenAI):
    """Another emr."""

    name = "emr"
    fields = FIELDS
    models = MODELS
    words = WORDS
    tells_limits = False
    refuses_own_size = False
    refuses_unknown = False

    def key(self, headers: Mapping[bytes, bytes]) -> str | None:
        return super().key(headers) or headers.get(b"api-key", b"").decode("latin-1") or None

    def read(self, route: Route, body: dict[str, Any], caps: Caps) -> Asked:
        if body.get("input") is None:
            raise Complain(Complaint.MISSING, field="input")
        asked = super().read(route, body, caps)
        asked.input_type = body.get("input_type")
        return asked

    def asked_size(self, body: Mapping[str, Any]) -> int | None:
        size: int | None = body.get("dimensions") or body.get("output_dimension")
        return size

    def cuts(self, body: Mapping[str, Any]) -> bool:
        return body.get("truncation") is not False

    def output(self, body: Mapping[str, Any]) -> Output:
        dtype = body.get("output_dtype") or "float"
        return Output(dtype, dtype, body.get("encoding_format") == "base64")

    def answer_headers(self, asked: Asked) -> Headers:
        return [
            (b"x-emr-provider", BEHIND),
            (b"x-emr-model", asked.model.encode()),
            (b"x-emr-attempts", b"1"),
        ]

    def write(self, asked: Asked, vectors: Vectors) -> bytes:
        end = b'],"model":%b,"provider":"%b","usage":%b,"id":"req_0"}' % (
            dumps(asked.model), BEHIND, dumps(self.usage(asked)),
        )  # fmt: skip
        return b"".join([b'{"object":"list","data":[', *write_data(vectors), end])

    def error(self, words: Words, message: str, facts: Mapping[str, object]) -> bytes:
        error = {
            "type": words.type, "message": message, "code": words.type, "param": words.param,
        }  # fmt: skip
        return dumps({"error": error, "detail": message, "message": message})
