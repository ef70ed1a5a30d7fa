"""OpenAI's `POST /v1/embeddings`.

Sources: the OpenAPI description (CreateEmbeddingRequest: 2,048 inputs, 8,192 tokens an input,
300,000 a request, no further properties, nothing nullable), the Python SDK, and errors recorded in
bug reports. Other providers and servers speak like it: their forms derive from this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emr.fake.forms.form import Asked, Caps, Field, Form, Model, Output, Route, Vectors, dumps
from emr.fake.forms.words import Complain, Complaint, Words
from emr.fake.vectors import Text

INVALID = "invalid_request_error"
REFERENCE = "Please check the API reference: https://platform.openai.com/docs/api-reference."

FIELDS = {
    "input": Field((str, list), required=True),
    "model": Field((str,), required=True),
    "dimensions": Field((int,), null=False),
    "encoding_format": Field((str,), ("float", "base64"), null=False),
    "user": Field((str,), null=False),
}

RATE = (
    "Rate limit reached for {model} in organization org-fake on {what}: Limit {limit:.0f}, "
    "Used {used:.0f}, Requested {requested:.0f}. Please try again in {wait}. Visit "
    "https://platform.openai.com/account/rate-limits to learn more."
)
RATE_VAGUE = "Rate limit reached for requests. Please try again later."


def rate(what: str, kind: str) -> Words:
    """The words of a 429 for calls or tokens."""
    text = RATE.replace("{what}", what)
    return Words(429, text, kind, "rate_limit_exceeded", vague=RATE_VAGUE)


MODELS: Mapping[str, Model] = {
    "text-embedding-3-small": Model((1536,), 8192, 300_000, any_size=True),
    "text-embedding-3-large": Model((3072,), 8192, 300_000, any_size=True),
    "text-embedding-ada-002": Model((1536,), 8192, 300_000),
}
WORDS: Mapping[Complaint, Words] = {
    Complaint.NO_KEY: Words(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization "
        "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an "
        "API key from https://platform.openai.com/account/api-keys.",
        INVALID,
    ),
    Complaint.BAD_KEY: Words(
        401,
        "Incorrect API key provided: {key}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        INVALID,
        "invalid_api_key",
    ),
    Complaint.FORBIDDEN: Words(
        403,
        "Country, region, or territory not supported",
        "request_forbidden",
        "unsupported_country_region_territory",
    ),
    Complaint.NO_ROUTE: Words(404, "Invalid URL (POST {path})", INVALID),
    Complaint.BAD_METHOD: Words(405, "Not allowed to {method} on {path}.", INVALID),
    Complaint.BAD_JSON: Words(
        400,
        "We could not parse the JSON body of your request. (HINT: This likely means you "
        "aren't using your HTTP library correctly. The OpenAI API expects a JSON payload.)",
        INVALID,
    ),
    Complaint.MISSING: Words(400, "you must provide a {field} parameter", INVALID, param="{field}"),
    Complaint.UNKNOWN_FIELD: Words(400, "Unrecognized request argument supplied: {field}", INVALID),
    Complaint.WRONG_TYPE: Words(400, "'$.{field}' is invalid. " + REFERENCE, INVALID),
    Complaint.BAD_VALUE: Words(
        400, "'{value}' is not one of {allowed} - '{field}'", INVALID, param="{field}"
    ),
    Complaint.UNKNOWN_MODEL: Words(
        404,
        "The model `{model}` does not exist or you do not have access to it.",
        INVALID,
        "model_not_found",
    ),
    Complaint.NO_DIMENSIONS: Words(
        400, "This model does not support specifying dimensions.", INVALID
    ),
    Complaint.BAD_DIMENSIONS: Words(  # no record of its words was found
        400,
        "Invalid value for 'dimensions' = {value}. Must be less than or equal to {allowed}.",
        INVALID,
        param="dimensions",
    ),
    Complaint.NO_TEXTS: Words(400, "'$.input' is invalid. " + REFERENCE, INVALID),
    Complaint.EMPTY_TEXT: Words(400, "'$.input' is invalid. " + REFERENCE, INVALID),
    Complaint.POISON: Words(400, "'$.input' is invalid. " + REFERENCE, INVALID),
    Complaint.POISON_AT: Words(
        400, "Invalid 'input[{index}]': the text was refused.", INVALID, param="input[{index}]"
    ),
    Complaint.TOO_MANY_TEXTS: Words(
        400,
        "Invalid 'input': array too long. Expected an array with maximum length {most}, but "
        "got an array with length {got} instead.",
        INVALID,
        "array_above_max_length",
        "input",
    ),
    Complaint.TEXT_TOO_LONG: Words(
        400, "Invalid 'input[{index}]': maximum input length is {most} tokens.", INVALID
    ),
    Complaint.TOO_MANY_TOKENS: Words(
        400,
        "Requested {got} tokens, max {most} tokens per request",
        "max_tokens_per_request",
        "max_tokens_per_request",
    ),
    Complaint.BODY_TOO_LARGE: Words(413, "The request body is too large.", INVALID),
    Complaint.RATE_CALLS: rate("requests per min (RPM)", "requests"),
    Complaint.RATE_TOKENS: rate("tokens per min (TPM)", "tokens"),
    Complaint.RATE_ITEMS: rate("inputs per min (IPM)", "inputs"),
    Complaint.QUOTA: Words(
        429,
        "You exceeded your current quota, please check your plan and billing details. For "
        "more information on this error, read the docs: "
        "https://platform.openai.com/docs/guides/error-codes/api-errors.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    Complaint.OVERLOADED: Words(
        503,
        "The server is currently overloaded with other requests. Sorry about that! You can "
        "retry your request, or contact us if the error persists.",
        "server_error",
    ),
    Complaint.UNAVAILABLE: Words(
        503, "The engine is currently overloaded, please try again later.", "service_unavailable"
    ),
    Complaint.CRASH: Words(
        500,
        "The server had an error while processing your request. Sorry about that!",
        "server_error",
    ),
    Complaint.BAD_GATEWAY: Words(502, "Bad gateway.", "server_error"),
}


class OpenAI(Form):
    """OpenAI."""

    name = "openai"
    routes = {"/v1/embeddings": "embeddings"}
    fields = FIELDS
    max_texts = 2048
    models = MODELS
    words = WORDS
    tells_limits = True
    tells_retry = True
    refuses_own_size = True
    honours_base64 = True  # else it answers numbers whatever is asked for

    def read(self, route: Route, body: dict[str, Any], caps: Caps) -> Asked:
        self.check_fields(body, self.fields, caps)
        name = route.model or body.get("model") or next(iter(self.models))
        model = self.model(name, caps)
        texts = self.texts(body, caps)
        self.check_count(len(texts), caps)
        dimensions = self.size(name, model, self.asked_size(body), caps)
        tokens = self.weigh(texts, model, caps, cut=self.cuts(body))
        self.check_tokens(name, model, tokens, caps)
        return Asked(route.name, name, texts, tokens, None, dimensions, (self.output(body),))

    def texts(self, body: Mapping[str, Any], caps: Caps) -> list[Text]:
        """The texts of a call; raises Complain."""
        return read_input(body["input"], caps.strict)

    def asked_size(self, body: Mapping[str, Any]) -> int | None:
        """How many numbers a vector is to have, None for the model's own."""
        size: int | None = body.get("dimensions")
        return size

    def cuts(self, body: Mapping[str, Any]) -> bool:
        """Whether a text that is too long is cut."""
        return False

    def output(self, body: Mapping[str, Any]) -> Output:
        """How the vectors are written."""
        base64 = self.honours_base64 and body.get("encoding_format") == "base64"
        return Output("float", "float", base64)

    def write(self, asked: Asked, vectors: Vectors) -> bytes:
        head = b'{"object":"list",%b"data":[' % self.head(asked)
        end = b'],"model":%b,"usage":%b}\n' % (dumps(asked.model), dumps(self.usage(asked)))
        return b"".join([head, *write_data(vectors), end])

    def head(self, asked: Asked) -> bytes:
        """Further members of an answer, each with a comma behind it."""
        return b""

    def usage(self, asked: Asked) -> dict[str, int]:
        """What an answer says of tokens."""
        return {"prompt_tokens": asked.total, "total_tokens": asked.total}

    def error(self, words: Words, message: str, facts: Mapping[str, object]) -> bytes:
        return dumps(
            {
                "error": {
                    "message": message,
                    "type": words.type,
                    "param": words.param,
                    "code": words.code,
                }
            }
        )


def write_data(vectors: Vectors) -> list[bytes]:
    """The entries of `data`, in OpenAI's form and in Voyage's, in parts to be joined once.

    Each join of an answer of 128 vectors copies 1.6 MB: two more of them doubled its cost.
    """
    parts = []
    for vector, index in zip(vectors.outputs[0], vectors.indexes, strict=True):
        parts.append(b',{"object":"embedding","embedding":')
        parts.append(vector)
        parts.append(b',"index":%d}' % index)
    if parts:
        parts[0] = parts[0][1:]
    return parts


def read_input(value: str | list[Any], strict: bool) -> list[Text]:
    """`input`: a text, texts, token ids, or lists of them."""
    if isinstance(value, str) or (value and all(type(x) is int for x in value)):
        value = [value]
    if not value:
        raise Complain(Complaint.NO_TEXTS)
    first = type(value[0])
    for index, text in enumerate(value):
        if type(text) is not first or first not in (str, list):
            raise Complain(Complaint.WRONG_TYPE, field="input")
        if not text and strict:
            raise Complain(Complaint.EMPTY_TEXT, index=index, text=text)
        if first is list and not all(type(x) is int and x >= 0 for x in text):
            raise Complain(Complaint.WRONG_TYPE, field="input")
    return value
