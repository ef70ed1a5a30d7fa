"""Gemini's `POST /v1beta/models/{model}:batchEmbedContents`, and `:embedContent` for one text.

A request for each text, the model in the path and in each request, the key in `x-goog-api-key`.
Texts that are too long are cut. Only the newer model counts tokens. Its 429s say in their body when
to come again. The fake takes one task and one size a call, as emr sends them; the real one takes
them by the request. Sources: google-genai (models.py), ai.google.dev, and errors recorded in bug
reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emr.fake.forms.form import Asked, Caps, Field, Form, Model, Route, Vectors, dumps
from emr.fake.forms.words import Complain, Complaint, Words

TASKS: Mapping[str, str | None] = {
    "RETRIEVAL_QUERY": "query",
    "RETRIEVAL_DOCUMENT": "document",
    "TASK_TYPE_UNSPECIFIED": None,
    "SEMANTIC_SIMILARITY": "SEMANTIC_SIMILARITY",
    "CLASSIFICATION": "CLASSIFICATION",
    "CLUSTERING": "CLUSTERING",
    "QUESTION_ANSWERING": "QUESTION_ANSWERING",
    "FACT_VERIFICATION": "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY": "CODE_RETRIEVAL_QUERY",
}
REQUEST = {
    "model": Field((str,), required=True),
    "content": Field((dict,), required=True),
    "taskType": Field((str,), tuple(TASKS)),
    "title": Field((str,)),
    "outputDimensionality": Field((int,)),
}
SINGLE = REQUEST | {"model": Field((str,))}
COUNTS = "gemini-embedding-2"  # the model whose answers count tokens
SIZES = (3072, *range(128, 3072))
MODELS: Mapping[str, Model] = {
    "gemini-embedding-001": Model(SIZES, 2048),
    COUNTS: Model(SIZES, 8192),
}
INVALID = "INVALID_ARGUMENT"
EXHAUSTED = "RESOURCE_EXHAUSTED"
BATCH = "* BatchEmbedContentsRequest."
QUOTA = "You exceeded your current quota, please check your plan and billing details."
CALLS = "BatchEmbedContentsRequestsPerMinutePerProjectPerRegion"
# what the QuotaFailure of a 429 names
QUOTA_IDS = {
    Complaint.RATE_CALLS: CALLS,
    Complaint.RATE_TOKENS: "EmbedContentInputTokensPerMinutePerProject",
    Complaint.RATE_ITEMS: "EmbedContentRequestsPerMinutePerProjectPerModel",
    Complaint.QUOTA: "EmbedContentRequestsPerDayPerProjectPerModel",
}
WORDS: Mapping[Complaint, Words] = {
    Complaint.NO_KEY: Words(
        403,
        "Method doesn't allow unregistered callers (callers without established identity). Please "
        "use API Key or other form of API consumer identity to call this API.",
        "PERMISSION_DENIED",
    ),
    Complaint.BAD_KEY: Words(400, "API key not valid. Please pass a valid API key.", INVALID),
    Complaint.FORBIDDEN: Words(
        403,
        "Generative Language API has not been used in project 0 before or it is disabled.",
        "PERMISSION_DENIED",
    ),
    Complaint.NO_ROUTE: Words(404, "The requested URL was not found on this server.", "NOT_FOUND"),
    Complaint.BAD_METHOD: Words(404, "The requested URL was not found on this server."),
    Complaint.BAD_JSON: Words(400, "Invalid JSON payload received. Unexpected token.", INVALID),
    Complaint.MISSING: Words(400, BATCH + "{field} is not specified\n", INVALID),
    Complaint.UNKNOWN_FIELD: Words(
        400, 'Invalid JSON payload received. Unknown name "{field}": Cannot find field.', INVALID
    ),
    Complaint.WRONG_TYPE: Words(400, "Invalid value at '{field}'", INVALID),
    Complaint.BAD_VALUE: Words(
        400, "Invalid value at '{field}' (type.googleapis.com/TaskType), \"{value}\"", INVALID
    ),
    Complaint.UNKNOWN_MODEL: Words(
        404,
        "models/{model} is not found for API version v1beta, or is not supported for "
        "embedContent. Call ListModels to see the list of available models and their supported "
        "methods.",
        "NOT_FOUND",
    ),
    Complaint.NO_DIMENSIONS: Words(400, "outputDimensionality is not supported.", INVALID),
    Complaint.BAD_DIMENSIONS: Words(  # no record of its words was found; nor of the next two
        400,
        BATCH + "requests[0].outputDimensionality: must be from 128 to 3072\n",
        INVALID,
    ),
    Complaint.NO_TEXTS: Words(400, BATCH + "requests: requests is not specified\n", INVALID),
    Complaint.EMPTY_TEXT: Words(
        400, BATCH + "requests[{index}].content: contains an empty Part.\n", INVALID
    ),
    Complaint.POISON: Words(400, "Request contains an invalid argument.", INVALID),
    Complaint.POISON_AT: Words(400, BATCH + "requests[{index}].content: was refused\n", INVALID),
    Complaint.TOO_MANY_TEXTS: Words(
        400, BATCH + "requests: at most {most} requests can be in one batch\n", INVALID
    ),
    Complaint.TEXT_TOO_LONG: Words(
        400,
        "The input token count ({got}) exceeds the maximum number of tokens allowed ({most}).",
        INVALID,
    ),
    Complaint.TOO_MANY_TOKENS: Words(
        400,
        "The input token count ({got}) exceeds the maximum number of tokens allowed ({most}).",
        INVALID,
    ),
    Complaint.BODY_TOO_LARGE: Words(
        400, "Request payload size exceeds the limit: {most} bytes.", INVALID
    ),
    Complaint.RATE_CALLS: Words(429, QUOTA, EXHAUSTED),
    Complaint.RATE_TOKENS: Words(429, QUOTA, EXHAUSTED),
    Complaint.RATE_ITEMS: Words(429, QUOTA, EXHAUSTED),
    Complaint.QUOTA: Words(429, QUOTA, EXHAUSTED),
    Complaint.OVERLOADED: Words(
        503, "The model is overloaded. Please try again later.", "UNAVAILABLE"
    ),
    Complaint.UNAVAILABLE: Words(503, "The service is currently unavailable.", "UNAVAILABLE"),
    Complaint.CRASH: Words(500, "An internal error has occurred. Please retry.", "INTERNAL"),
    Complaint.BAD_GATEWAY: Words(502, "Bad Gateway", "UNAVAILABLE"),
}


class Gemini(Form):
    """Google's Gemini API for developers."""

    name = "gemini"
    routes = {
        "/v1beta/models/{model}:batchEmbedContents": "batch",
        "/v1beta/models/{model}:embedContent": "single",
    }
    unnumbered = frozenset({"batch", "single"})
    max_texts = 100
    models = MODELS
    words = WORDS

    def key(self, headers: Mapping[bytes, bytes]) -> str | None:
        given = headers.get(b"x-goog-api-key", b"").strip()
        return given.decode("latin-1") if given else None

    def read(self, route: Route, body: dict[str, Any], caps: Caps) -> Asked:
        name = route.model
        model = self.model(name, caps)
        requests = self._requests(route, body, caps)
        self.check_count(len(requests), caps)
        texts = [self._text(one, at, name, caps) for at, one in enumerate(requests)]
        first = requests[0]
        for field in ("taskType", "outputDimensionality"):
            if any(one.get(field) != first.get(field) for one in requests):
                raise Complain(Complaint.WRONG_TYPE, field=f"requests[].{field}")
        dimensions = self.size(name, model, first.get("outputDimensionality"), caps)
        tokens = self.weigh(texts, model, caps, cut=True)
        self.check_tokens(name, model, tokens, caps)
        task: str = first.get("taskType") or "TASK_TYPE_UNSPECIFIED"
        return Asked(route.name, name, texts, tokens, TASKS.get(task, task), dimensions)

    def _requests(self, route: Route, body: dict[str, Any], caps: Caps) -> list[dict[str, Any]]:
        if route.name == "single":
            self.check_fields(body, SINGLE, caps)
            return [body | {"model": body.get("model") or f"models/{route.model}"}]
        self.check_fields(body, {"requests": Field((list,), required=True)}, caps)
        requests: list[dict[str, Any]] = body["requests"]
        if not requests:
            raise Complain(Complaint.NO_TEXTS)
        for at, one in enumerate(requests):
            if not isinstance(one, dict):
                raise Complain(Complaint.WRONG_TYPE, field=f"requests[{at}]")
            self.check_fields(one, REQUEST, caps, f"requests[{at}].")
        return requests

    def _text(self, one: Mapping[str, Any], at: int, name: str, caps: Caps) -> str:
        place = f"requests[{at}]"
        if caps.strict and one["model"] != f"models/{name}":
            raise Complain(Complaint.WRONG_TYPE, field=f"{place}.model")
        content = one["content"]
        parts = content.get("parts")
        if caps.strict and set(content) - {"parts", "role"}:
            raise Complain(Complaint.UNKNOWN_FIELD, field=f"{place}.content")
        if not isinstance(parts, list) or not parts:
            raise Complain(Complaint.MISSING, field=f"{place}.content")
        texts = [part.get("text") for part in parts if isinstance(part, dict)]
        text = "\n".join([text for text in texts if isinstance(text, str)])
        if not len(parts) == len([text for text in texts if isinstance(text, str)]):
            raise Complain(Complaint.WRONG_TYPE, field=f"{place}.content.parts")
        if not text and caps.strict:
            raise Complain(Complaint.EMPTY_TEXT, index=at, text=text)
        return text

    def write(self, asked: Asked, vectors: Vectors) -> bytes:
        if asked.route == "single":
            return b'{"embedding":{"values":%b}}' % vectors.outputs[0][0]
        entries = b",".join([b'{"values":%b}' % vector for vector in vectors.outputs[0]])
        if asked.model != COUNTS:
            return b'{"embeddings":[%b]}' % entries
        usage = dumps({"promptTokenCount": asked.total})
        return b'{"embeddings":[%b],"usageMetadata":%b}' % (entries, usage)

    def error(self, words: Words, message: str, facts: Mapping[str, object]) -> bytes:
        error: dict[str, object] = {
            "code": words.status, "message": message, "status": words.type,
        }  # fmt: skip
        details = self._details(words, facts)
        return dumps({"error": error | {"details": details} if details else error})

    def _details(self, words: Words, facts: Mapping[str, object]) -> list[dict[str, object]]:
        """The details of a 429: which quota, and when to come again."""
        if words.status != 429:
            return []
        google = "type.googleapis.com/google.rpc."
        complaint = facts.get("complaint")
        name = QUOTA_IDS.get(complaint, CALLS) if isinstance(complaint, Complaint) else CALLS
        details: list[dict[str, object]] = [
            {"@type": google + "QuotaFailure", "violations": [{"quotaId": name}]}
        ]
        if facts.get("retry") is not None:
            details.append({"@type": google + "RetryInfo", "retryDelay": facts["retry"]})
        return details
