"""Text Embeddings Inference: `POST /embed`, its own, and `POST /v1/embeddings`, like OpenAI's.

A server has one model and does not look at the name that it is asked for. What it does not know it
overlooks. Texts that are too long are cut, as it is started by default, unless `/embed` is told not
to. `/embed` answers a bare list of lists and tells what it counted in headers. Its errors have a
kind and nothing around them; what is no JSON, or not of the right types, is refused by its web
framework in plain text. Sources: text-embeddings-inference (router/src/http/{server,types}.rs).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emr.fake.forms.form import Asked, Caps, Field, Model, Route, Vectors, dumps
from emr.fake.forms.openai import OpenAI
from emr.fake.forms.words import Complain, Complaint, Headers, Words
from emr.fake.vectors import Text

NATIVE = "embed"
FIELDS = {
    "input": Field((str, list), required=True),
    "model": Field((str,)),
    "user": Field((str,)),
    "encoding_format": Field((str,), ("float", "base64"), null=False),
    "dimensions": Field((int,)),
}
NATIVE_FIELDS = {
    "inputs": Field((str, list), required=True),
    "truncate": Field((bool,)),
    "truncation_direction": Field((str,), ("Left", "Right", "left", "right"), null=False),
    "prompt_name": Field((str,)),
    "normalize": Field((bool,), null=False),
    "dimensions": Field((int,)),
}
MODEL = Model((1024,), 8192, any_size=True)
MODELS: Mapping[str, Model] = {"BAAI/bge-m3": MODEL}
DESERIALIZE = "Failed to deserialize the JSON body into the target type: "
WORDS: Mapping[Complaint, Words] = {
    Complaint.NO_KEY: Words(401, "", plain=True),
    Complaint.BAD_KEY: Words(401, "", plain=True),
    Complaint.FORBIDDEN: Words(403, "Forbidden", plain=True),  # of a proxy in front of it
    Complaint.NO_ROUTE: Words(404, "", plain=True),
    Complaint.BAD_METHOD: Words(405, "", plain=True),
    Complaint.BAD_JSON: Words(400, "Failed to parse the request body as JSON", plain=True),
    Complaint.MISSING: Words(422, DESERIALIZE + "missing field `{field}`", plain=True),
    Complaint.UNKNOWN_FIELD: Words(422, DESERIALIZE + "unknown field `{field}`", plain=True),
    Complaint.WRONG_TYPE: Words(422, DESERIALIZE + "{field}: invalid type", plain=True),
    Complaint.BAD_VALUE: Words(
        422, DESERIALIZE + "{field}: unknown variant `{value}`, expected {allowed}", plain=True
    ),
    Complaint.UNKNOWN_MODEL: Words(404, "Model not found", "validation"),  # it never says so
    Complaint.NO_DIMENSIONS: Words(
        422, "Input validation error: `dimensions` is not supported by this model", "validation"
    ),
    Complaint.BAD_DIMENSIONS: Words(  # no record of its words was found
        422,
        "Input validation error: `dimensions` must be between 1 and {allowed}. Given: {value}",
        "validation",
    ),
    Complaint.NO_TEXTS: Words(400, "`inputs` cannot be empty", "empty"),
    Complaint.EMPTY_TEXT: Words(400, "`inputs` cannot be empty", "empty"),
    Complaint.POISON: Words(422, "Tokenization error: refused", "tokenizer"),
    Complaint.POISON_AT: Words(422, "Tokenization error: input index {index}", "tokenizer"),
    Complaint.TOO_MANY_TEXTS: Words(
        422, "batch size {got} > maximum allowed batch size {most}", "validation"
    ),
    Complaint.TEXT_TOO_LONG: Words(
        422,
        "Input validation error: `inputs` must have less than {most} tokens. Given: {got}",
        "validation",
    ),
    Complaint.TOO_MANY_TOKENS: Words(
        422, "Too many tokens in batch. Max is {most} got {got}", "validation"
    ),
    Complaint.BODY_TOO_LARGE: Words(
        413, "Failed to buffer the request body: length limit exceeded", plain=True
    ),
    Complaint.RATE_CALLS: Words(429, "Too many requests", plain=True),  # of a proxy
    Complaint.RATE_TOKENS: Words(429, "Too many requests", plain=True),
    Complaint.RATE_ITEMS: Words(429, "Too many requests", plain=True),
    Complaint.QUOTA: Words(402, "Payment Required", plain=True),  # of a proxy
    Complaint.OVERLOADED: Words(429, "Model is overloaded", "overloaded"),
    Complaint.UNAVAILABLE: Words(503, "Model is unhealthy", "unhealthy"),
    Complaint.CRASH: Words(424, "Inference failed", "backend"),
    Complaint.BAD_GATEWAY: Words(502, "Bad Gateway", plain=True),
}


class TEI(OpenAI):
    """A server of Text Embeddings Inference."""

    name = "tei"
    routes = {"/v1/embeddings": "embeddings", "/embed": NATIVE}
    needs_key = False
    fields = FIELDS
    max_texts = 32
    models = MODELS
    words = WORDS
    tells_limits = False
    tells_retry = False
    refuses_unknown = False
    unnumbered = frozenset({NATIVE})

    def model(self, name: object, caps: Caps, only: Mapping[str, Model] | None = None) -> Model:
        return MODEL

    def read(self, route: Route, body: dict[str, Any], caps: Caps) -> Asked:
        if route.name != NATIVE:
            return super().read(route, body, caps)
        self.check_fields(body, NATIVE_FIELDS, caps)
        texts = self.texts({"input": body["inputs"]}, caps)
        self.check_count(len(texts), caps)
        name = next(iter(self.models))
        dimensions = self.size(name, MODEL, body.get("dimensions"), caps)
        tokens = self.weigh(texts, MODEL, caps, cut=body.get("truncate") is not False)
        return Asked(route.name, name, texts, tokens, body.get("prompt_name"), dimensions)

    def texts(self, body: Mapping[str, Any], caps: Caps) -> list[Text]:
        texts = super().texts(body, caps)
        if not isinstance(texts[0], str):
            # ids of its own vocabulary are taken, and others give vectors without meaning
            raise Complain(Complaint.WRONG_TYPE, field="input")
        return texts

    def cuts(self, body: Mapping[str, Any]) -> bool:
        return True

    def answer_headers(self, asked: Asked) -> Headers:
        characters = sum(len(text) for text in asked.texts)
        return [
            (b"x-compute-type", b"cpu"),
            (b"x-compute-tokens", b"%d" % asked.total),
            (b"x-compute-characters", b"%d" % characters),
        ]

    def write(self, asked: Asked, vectors: Vectors) -> bytes:
        if asked.route == NATIVE:
            return b"[%b]" % b",".join(vectors.outputs[0])
        return super().write(asked, vectors)

    def error(self, words: Words, message: str, facts: Mapping[str, object]) -> bytes:
        if facts.get("route") == NATIVE:
            return dumps({"error": message, "error_type": words.type})
        return dumps({"message": message, "code": words.status, "type": words.type})
