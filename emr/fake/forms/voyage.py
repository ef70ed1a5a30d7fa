"""Voyage's `/v1/embeddings`, `/v1/contextualizedembeddings` and `/v1/multimodalembeddings`.

Sources: the Python and TypeScript SDKs, docs.voyageai.com (error codes, rate limits), and errors
recorded in bug reports. It refuses OpenAI's `dimensions`, and `encoding_format` other than
base64. Limits and sizes by model as the rate limit and model pages tell them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
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
from emr.fake.forms.openai import write_data
from emr.fake.forms.words import Complain, Complaint, Words
from emr.fake.vectors import DTYPES, Text

SIZES = (1024, 256, 512, 2048)
BAD = "The request body is not valid JSON, or some arguments were not specified properly. "

OPTIONS = {
    "model": Field((str,), required=True),
    "input_type": Field((str,), ("query", "document")),
    "output_dtype": Field((str,), DTYPES),
    "output_dimension": Field((int,)),
    "encoding_format": Field((str,), ("base64",)),
}
FIELDS = OPTIONS | {
    "input": Field((str, list), required=True),
    "truncation": Field((bool,)),
}
CONTEXT_FIELDS = OPTIONS | {
    "inputs": Field((list,), required=True),
    "enable_auto_chunking": Field((bool,)),
    "chunk_size": Field((int,)),
    "chunk_overlap": Field((int,)),
}
MULTIMODAL_FIELDS = OPTIONS | {
    "inputs": Field((list,), required=True),
    "truncation": Field((bool,)),
}
PARTS = ("text", "image_url", "image_base64", "video_url", "video_base64")
CHUNKS_MAX = 16_000  # of one contextualized call
PIXELS_A_PART = 640_000  # what the fake bills an image: it looks into none
PIXELS_PER_TOKEN = 560  # Voyage's own rate

# the figures are recorded for accounts without a payment method; what others are told was not
# found, so anything but two known limits gets words without figures
RATE = Words(
    429,
    "You have not yet added your payment method in the billing page and will have reduced rate "
    "limits of {rpm} RPM and {tpm} TPM. To unlock our standard rate limits, please add a payment "
    "method in the billing page for the appropriate organization in the user dashboard.",
    vague="You have reached the rate limit of your organization. Please slow down.",
)
MODELS: Mapping[str, Model] = {
    "voyage-4-large": Model(SIZES, 32_000, 120_000),
    "voyage-4": Model(SIZES, 32_000, 320_000),
    "voyage-4-lite": Model(SIZES, 32_000, 1_000_000),
    "voyage-code-4": Model(SIZES, 32_000, 120_000),
    "voyage-3-large": Model(SIZES, 32_000, 120_000),
    "voyage-3.5": Model(SIZES, 32_000, 320_000),
    "voyage-3.5-lite": Model(SIZES, 32_000, 1_000_000),
    "voyage-code-3": Model(SIZES, 32_000, 120_000),
    "voyage-3": Model((1024,), 32_000, 120_000),
    "voyage-3-lite": Model((512,), 32_000, 120_000),
    "voyage-finance-2": Model((1024,), 32_000, 120_000),
    "voyage-multilingual-2": Model((1024,), 32_000, 120_000),
    "voyage-law-2": Model((1024,), 16_000, 120_000),
    "voyage-code-2": Model((1536,), 16_000, 120_000),
    "voyage-large-2": Model((1536,), 16_000, 120_000),
    "voyage-large-2-instruct": Model((1024,), 16_000, 120_000),
    "voyage-2": Model((1024,), 4_000, 320_000),
}
CONTEXT_MODELS: Mapping[str, Model] = {
    "voyage-context-4": Model(SIZES, 32_000, 120_000),
    "voyage-context-3": Model(SIZES, 32_000, 120_000),
}
MULTIMODAL_MODELS: Mapping[str, Model] = {
    "voyage-multimodal-3.5": Model(SIZES, 32_000, 320_000),
    "voyage-multimodal-3": Model((1024,), 32_000, 320_000),
}
WORDS: Mapping[Complaint, Words] = {
    Complaint.NO_KEY: Words(
        401,
        "You forgot to set your API key, or your API key is not correctly specified. You may "
        "specify it in the Authorization header.",  # no record of its words was found
    ),
    Complaint.BAD_KEY: Words(401, "Provided API key is invalid."),
    Complaint.FORBIDDEN: Words(403, "Forbidden"),
    Complaint.NO_ROUTE: Words(404, "Not Found"),
    Complaint.BAD_METHOD: Words(405, "Method Not Allowed"),
    Complaint.BAD_JSON: Words(400, BAD + "In particular, JSON decode error"),
    Complaint.MISSING: Words(
        400,
        BAD + "In particular, Your request body was missing one or more required arguments.",
    ),
    Complaint.UNKNOWN_FIELD: Words(
        400, BAD + "In particular, Argument '{field}' is not supported by our API"
    ),
    Complaint.WRONG_TYPE: Words(
        400, BAD + "In particular, Error for argument '{field}': Input should be a valid type"
    ),
    Complaint.BAD_VALUE: Words(
        400,
        BAD + "In particular, Value '{value}' supplied for argument '{field}' is not valid -- "
        "accepted values are {allowed}",
    ),
    Complaint.UNKNOWN_MODEL: Words(
        400, "Model {model} is not supported. Supported models are {known}."
    ),
    Complaint.NO_DIMENSIONS: Words(
        400,
        BAD + "In particular, Value '{value}' supplied for argument 'output_dimension' "
        "is not valid",
    ),
    Complaint.BAD_DIMENSIONS: Words(
        400,
        BAD + "In particular, Value '{value}' supplied for argument 'output_dimension' is not "
        "valid -- accepted values for '{model}' are {allowed}.",
    ),
    Complaint.NO_TEXTS: Words(
        400,
        BAD + "In particular, Error for argument 'input': Value error, Input cannot contain "
        "empty strings or empty lists",
    ),
    Complaint.EMPTY_TEXT: Words(
        400,
        BAD + "In particular, Error for argument 'input': Value error, Input cannot contain "
        "empty strings or empty lists",
    ),
    Complaint.POISON: Words(
        400, BAD + "In particular, Error for argument 'input': Value error, refused"
    ),
    Complaint.POISON_AT: Words(
        400,
        BAD + "In particular, Error for argument 'input': The example at index {index} in "
        "your batch was refused",
    ),
    Complaint.TOO_MANY_TEXTS: Words(
        400, "The batch size limit is {most}. Your batch size is {got}."
    ),
    Complaint.TEXT_TOO_LONG: Words(  # as remembered from the SDK's users, not recorded
        400,
        "The example at index {index} in your batch has too many tokens and does not fit into "
        "the model's context window of {most} tokens. Please lower the number of tokens in "
        "the listed example(s) or use truncation.",
    ),
    Complaint.TOO_MANY_TOKENS: Words(
        400,
        "Request to model '{model}' failed. The max allowed tokens per submitted batch is "
        "{most}. Your batch has {got} tokens after truncation. Please lower the number of "
        "tokens in the batch.",
        code="TOO_MANY_TOKENS_IN_BATCH",
    ),
    Complaint.BODY_TOO_LARGE: Words(413, "Request Entity Too Large"),
    Complaint.RATE_CALLS: RATE,
    Complaint.RATE_TOKENS: RATE,
    Complaint.RATE_ITEMS: RATE,
    Complaint.QUOTA: Words(402, "Your account has no balance left."),
    Complaint.OVERLOADED: Words(503, "The server is under high traffic. Please try again."),
    Complaint.UNAVAILABLE: Words(503, "Service Unavailable"),
    Complaint.CRASH: Words(500, "Internal Server Error"),
    Complaint.BAD_GATEWAY: Words(502, "Bad Gateway"),
}


class Voyage(Form):
    """Voyage AI."""

    name = "voyage"
    routes = {
        "/v1/embeddings": "embeddings",
        "/v1/contextualizedembeddings": "contextualized",
        "/v1/multimodalembeddings": "multimodal",
    }
    max_texts = 1000
    models = MODELS
    context_models = CONTEXT_MODELS
    multimodal_models = MULTIMODAL_MODELS
    words = WORDS

    def read(self, route: Route, body: dict[str, Any], caps: Caps) -> Asked:
        if route.name == "contextualized":
            return self._read_context(route, body, caps)
        if route.name == "multimodal":
            return self._read_multimodal(route, body, caps)
        self.check_fields(body, FIELDS, caps)
        name = body["model"]
        model = self.model(name, caps)
        given = body["input"]
        texts = [given] if isinstance(given, str) else given
        check_texts(texts, "input", caps.strict)
        self.check_count(len(texts), caps)
        dimensions = self.size(name, model, body.get("output_dimension"), caps)
        tokens = self.weigh(texts, model, caps, cut=body.get("truncation") is not False)
        self.check_tokens(name, model, tokens, caps)
        kind = body.get("input_type")
        return Asked(route.name, name, texts, tokens, kind, dimensions, (read_output(body),))

    def _read_context(self, route: Route, body: dict[str, Any], caps: Caps) -> Asked:
        """Documents of chunks; a flat list only as queries, or to be cut by the provider.

        The fake does not cut: a text for auto-chunking comes back as one chunk.
        """
        self.check_fields(body, CONTEXT_FIELDS, caps)
        name = body["model"]
        model = self.model(name, caps, self.context_models)
        inputs = body["inputs"]
        flat = body.get("enable_auto_chunking") or body.get("input_type") == "query"
        if inputs and all(isinstance(x, str) for x in inputs):
            if not flat and caps.strict:
                raise Complain(Complaint.WRONG_TYPE, field="inputs")
            inputs = [[x] for x in inputs]
        if not inputs:
            raise Complain(Complaint.NO_TEXTS)
        for document in inputs:
            if not isinstance(document, list):
                raise Complain(Complaint.WRONG_TYPE, field="inputs")
            check_texts(document, "inputs", caps.strict)
        self.check_count(len(inputs), caps)
        texts = [chunk for document in inputs for chunk in document]
        if caps.strict and len(texts) > CHUNKS_MAX:
            raise Complain(Complaint.TOO_MANY_TEXTS, most=CHUNKS_MAX, got=len(texts))
        dimensions = self.size(name, model, body.get("output_dimension"), caps)
        tokens = self.weigh(texts, model, caps, cut=False)
        self.check_tokens(name, model, tokens, caps)
        keys = [key for document in inputs for key in context_keys(document)]
        kind = body.get("input_type")
        return Asked(
            route.name, name, texts, tokens, kind, dimensions, (read_output(body),),
            keys, [len(document) for document in inputs],
        )  # fmt: skip

    def _read_multimodal(self, route: Route, body: dict[str, Any], caps: Caps) -> Asked:
        self.check_fields(body, MULTIMODAL_FIELDS, caps)
        name = body["model"]
        model = self.model(name, caps, self.multimodal_models)
        inputs = body["inputs"]
        if not inputs:
            raise Complain(Complaint.NO_TEXTS)
        pixels = [0, 0]
        words = 0
        for one in inputs:
            parts = one.get("content") if isinstance(one, dict) else None
            if not isinstance(parts, list) or not parts:
                raise Complain(Complaint.WRONG_TYPE, field="inputs")
            for part in parts:
                kind = part.get("type") if isinstance(part, dict) else None
                if kind not in PARTS or not isinstance(part.get(kind), str):
                    raise Complain(Complaint.WRONG_TYPE, field="inputs")
                if kind == "text":
                    words += self.weigh([part["text"]], model, caps, cut=True)[0]
                else:
                    pixels[kind.startswith("video")] += PIXELS_A_PART
        self.check_count(len(inputs), caps)
        dimensions = self.size(name, model, body.get("output_dimension"), caps)
        keys = [content_key(one["content"]) for one in inputs]
        tokens = [0] * len(keys)
        tokens[0] = words + sum(pixels) // PIXELS_PER_TOKEN
        self.check_tokens(name, model, tokens, caps)
        extra = {"text_tokens": words, "image_pixels": pixels[0], "video_pixels": pixels[1]}
        kind = body.get("input_type")
        return Asked(
            route.name, name, keys, tokens, kind, dimensions, (read_output(body),),
            extra=extra,
        )  # fmt: skip

    def write(self, asked: Asked, vectors: Vectors) -> bytes:
        usage = dumps(asked.extra | {"total_tokens": asked.total})
        data = write_documents(asked.groups, vectors) if asked.groups else write_data(vectors)
        end = b'],"model":%b,"usage":%b}' % (dumps(asked.model), usage)
        return b"".join([b'{"object":"list","data":[', *data, end])

    def error(self, words: Words, message: str, facts: Mapping[str, object]) -> bytes:
        body: dict[str, object] = {"detail": message}
        if words.code is not None:
            body["error_code"] = words.code
        return dumps(body)


def read_output(body: Mapping[str, Any]) -> Output:
    """The one kind of vector that a call of Voyage's asks for."""
    dtype = body.get("output_dtype") or "float"
    return Output(dtype, dtype, body.get("encoding_format") == "base64")


def write_documents(groups: Sequence[int], vectors: Vectors) -> list[bytes]:
    """The entries of `data` of a contextualized answer: a list for each document."""
    edges = [0]
    for size in groups:
        edges.append(edges[-1] + size)
    parts = []
    for number, (first, last) in enumerate(pairwise(edges)):
        chunks = Vectors([vectors.outputs[0][first:last]], list(range(last - first)))
        parts.append(b'%b{"object":"list","data":[' % (b"," if number else b""))
        parts += write_data(chunks)
        parts.append(b'],"index":%d}' % number)
    return parts


def context_keys(document: Sequence[str]) -> list[Text]:
    """What the vectors of a document's chunks are functions of: the chunk, and all of them."""
    whole = hashlib.blake2b("\x00".join(document).encode(), digest_size=16).hexdigest()
    return [f"{chunk}\x00{whole}\x00{place}" for place, chunk in enumerate(document)]


def content_key(parts: Sequence[Mapping[str, str]]) -> str:
    """What the vector of a multimodal input is a function of."""
    return "\x00".join(f"{part['type']}\x00{part[part['type']]}" for part in parts)
