"""Cohere's `POST /v2/embed` and `/v1/embed`.

Sources: the OpenAPI description and error page of cohere-developer-experience, the Python SDK
(`response_type` tells its v1 client the shape), and recorded errors. Answers have no indexes.
Images are not embedded: `images`, and `inputs` with other parts than text, are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emr.fake.forms.form import (
    Asked,
    Caps,
    Field,
    Form,
    Model,
    Output,
    Route,
    Vectors,
    check_texts,
    dumps,
)
from emr.fake.forms.words import Complain, Complaint, Words

SIZES_4 = (1536, 256, 512, 1024)
SIZES_5 = (2048, 256, 512, 1024, 1536)  # only the first is documented where we could read
INPUT_TYPES = ("search_document", "search_query", "classification", "clustering", "image")
TYPES = ("float", "int8", "uint8", "binary", "ubinary", "base64")

FIELDS_1 = {
    "texts": Field((list,)),
    "model": Field((str,), required=True),
    "input_type": Field((str,), INPUT_TYPES),
    "embedding_types": Field((list,)),
    "truncate": Field((str,), ("NONE", "START", "END")),
}
FIELDS_2 = FIELDS_1 | {
    "inputs": Field((list,)),
    "max_tokens": Field((int,)),
    "output_dimension": Field((int,)),
    "priority": Field((int,)),
}
BAD = "invalid request: "
ID = b"6d9a8b1e-0000-4000-8000-000000000000"  # of every answer: nobody looks it up
PAST = "You are past the per minute request limit, please wait and try again later."
MODELS: Mapping[str, Model] = {
    "embed-v5.0-pro": Model(SIZES_5, 128_000),
    "embed-v5.0-fast": Model(SIZES_5, 128_000),
    "embed-v4.0": Model(SIZES_4, 128_000),
    "embed-english-v3.0": Model((1024,), 512),
    "embed-multilingual-v3.0": Model((1024,), 512),
    "embed-english-light-v3.0": Model((384,), 512),
    "embed-multilingual-light-v3.0": Model((384,), 512),
}
WORDS: Mapping[Complaint, Words] = {
    Complaint.NO_KEY: Words(401, "no api key supplied"),
    Complaint.BAD_KEY: Words(401, "invalid api token"),
    Complaint.FORBIDDEN: Words(403, "you do not have access to this resource"),
    Complaint.NO_ROUTE: Words(404, "404 page not found"),
    Complaint.BAD_METHOD: Words(405, "method not allowed"),
    Complaint.BAD_JSON: Words(400, BAD + "json syntax error"),
    Complaint.MISSING: Words(400, "{field} parameter is required"),
    Complaint.UNKNOWN_FIELD: Words(422, "unknown field: parameter '{field}' is not a valid field"),
    Complaint.WRONG_TYPE: Words(400, BAD + "{field} has the wrong type"),
    Complaint.BAD_VALUE: Words(400, BAD + "{field} must be one of {allowed}, not '{value}'"),
    Complaint.UNKNOWN_MODEL: Words(
        404,
        "model '{model}' not found, make sure the correct model ID was used and that you "
        "have access to the model.",
    ),
    Complaint.NO_DIMENSIONS: Words(  # no record of its words was found; nor of the next
        400, BAD + "output_dimension is not supported by the provided model"
    ),
    Complaint.BAD_DIMENSIONS: Words(
        400, BAD + "output_dimension must be one of {allowed}, not {value}"
    ),
    Complaint.NO_TEXTS: Words(400, BAD + "list of texts must not be empty"),
    Complaint.EMPTY_TEXT: Words(
        400, BAD + "inputs contains an element that is the empty string at index {index}"
    ),
    Complaint.POISON: Words(400, BAD + "one of the texts was refused"),
    Complaint.POISON_AT: Words(  # the only words with an index that are recorded
        400, BAD + "inputs contains an element that is the empty string at index {index}"
    ),
    Complaint.TOO_MANY_TEXTS: Words(
        400, BAD + "total number of texts must be at most {most} - received {got}"
    ),
    Complaint.TEXT_TOO_LONG: Words(
        400,
        "too many tokens: total number of tokens in the prompt cannot exceed {most} - "
        "received {got}. Try using a shorter prompt, or enabling prompt truncating.",
    ),
    Complaint.TOO_MANY_TOKENS: Words(
        400, BAD + "total number of tokens must be at most {most} - received {got}"
    ),
    Complaint.BODY_TOO_LARGE: Words(413, "request body too large"),
    Complaint.RATE_CALLS: Words(429, PAST, vague=PAST),
    Complaint.RATE_TOKENS: Words(
        429,
        "trial token rate limit exceeded, limit is {limit:.0f} tokens per minute",
        vague=PAST,
    ),
    Complaint.RATE_ITEMS: Words(429, PAST, vague=PAST),
    Complaint.QUOTA: Words(
        429,
        "You are using a Trial key, which is limited to 1000 API calls / month. You can "
        "continue to use the Trial key for free or upgrade to a Production key.",
    ),
    Complaint.OVERLOADED: Words(503, "service unavailable: please try again later"),
    Complaint.UNAVAILABLE: Words(503, "service unavailable: please try again later"),
    Complaint.CRASH: Words(500, "internal server error"),
    Complaint.BAD_GATEWAY: Words(502, "bad gateway"),
}


class Cohere(Form):
    """Cohere."""

    name = "cohere"
    routes = {"/v2/embed": "v2", "/v1/embed": "v1"}
    unnumbered = frozenset({"v1", "v2"})
    max_texts = 96
    models = MODELS
    words = WORDS

    def read(self, route: Route, body: dict[str, Any], caps: Caps) -> Asked:
        self.check_fields(body, FIELDS_2 if route.name == "v2" else FIELDS_1, caps)
        name = body["model"]
        model = self.model(name, caps)
        texts = read_texts(body, caps.strict)
        self.check_count(len(texts), caps)
        kind = body.get("input_type")
        if kind is None and caps.strict:
            raise Complain(Complaint.MISSING, field="valid input_type")
        dimensions = self.size(name, model, body.get("output_dimension"), caps)
        tokens = self.weigh(texts, model, caps, cut=body.get("truncate") != "NONE")
        most = body.get("max_tokens")
        if most:
            tokens = [min(n, most) for n in tokens]
        self.check_tokens(name, model, tokens, caps)
        outputs = read_types(body.get("embedding_types"), route.name, caps.strict)
        return Asked(
            route.name, name, texts, tokens, kind, dimensions, outputs,
            extra={"floats": body.get("embedding_types") is None},
        )  # fmt: skip

    def write(self, asked: Asked, vectors: Vectors) -> bytes:
        tokens = asked.total
        version = asked.route.removeprefix("v")
        meta = dumps(
            {
                "api_version": {"version": version},
                "billed_units": {"input_tokens": tokens},
                "tokens": {"input_tokens": tokens},
            }
        )
        parts = [b'{"id":"%b","texts":' % ID, dumps(asked.texts), b',"embeddings":']
        if asked.route == "v1" and asked.extra["floats"]:
            parts += [b"[", b",".join(vectors.outputs[0]), b"]"]
            shape = b"embeddings_floats"
        else:
            for number, output in enumerate(asked.outputs):
                comma = b"," if number else b"{"
                vectors_text = b",".join(vectors.outputs[number])
                parts += [comma, b'"%b":[' % output.name.encode(), vectors_text, b"]"]
            parts.append(b"}")
            shape = b"embeddings_by_type"
        parts.append(b',"meta":%b,"response_type":"%b"}' % (meta, shape))
        return b"".join(parts)

    def error(self, words: Words, message: str, facts: Mapping[str, object]) -> bytes:
        return dumps({"id": ID.decode(), "message": message})


def read_texts(body: Mapping[str, Any], strict: bool) -> list[str]:
    """The texts of `texts`, or of `inputs` whose parts are all text."""
    if body.get("texts") is not None and body.get("inputs") is not None and strict:
        raise Complain(Complaint.UNKNOWN_FIELD, field="inputs")
    texts = body.get("texts")
    name = "texts"
    if texts is None:
        inputs = body.get("inputs")
        if inputs is None:
            raise Complain(Complaint.MISSING, field="texts")
        name = "inputs"
        texts = [join_parts(one) for one in inputs]
    check_texts(texts, name, strict)
    return list(texts)


def join_parts(one: object) -> str:
    """The text of an entry of `inputs`."""
    parts = one.get("content") if isinstance(one, dict) else None
    texts = []
    for part in parts if isinstance(parts, list) else [None]:
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if not isinstance(text, str):
            raise Complain(Complaint.WRONG_TYPE, field="inputs")
        texts.append(text)
    return "\n".join(texts)


def read_types(types: list[Any] | None, route: str, strict: bool) -> tuple[Output, ...]:
    """The outputs asked for; v2 requires at least one."""
    if not types:
        if route == "v2" and strict:
            raise Complain(Complaint.MISSING, field="embedding_types")
        return (Output(),)
    outputs = []
    for name in types:
        if name not in TYPES:
            allowed = ", ".join(TYPES)
            raise Complain(
                Complaint.BAD_VALUE, field="embedding_types", value=name, allowed=allowed
            )
        base64 = name == "base64"
        outputs.append(Output(name, "float" if base64 else name, base64))
    return tuple(dict.fromkeys(outputs))
