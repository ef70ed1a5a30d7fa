"""Gemini's `:batchEmbedContents`: a request for each text, the model in the path, no base64.

`{"requests": [{"model": "models/…", "content": {"parts": [{"text": …}]}, "taskType": …,
"outputDimensionality": …}, …]}` is answered by `{"embeddings": [{"values": […]}, …]}` in the order
of the requests, without an index and, by older models, without a count of tokens. The key goes
into `x-goog-api-key`. Source: google-genai (models.py).
"""

from __future__ import annotations

from typing import Any

import orjson

from emr.upstream.call import Call
from emr.upstream.dialects.dialect import Unaskable, UsualDialect, refuse_token_ids
from emr.upstream.reply import Shape, members_of, tokens_of

_TASKS = {"query": "RETRIEVAL_QUERY", "document": "RETRIEVAL_DOCUMENT"}


def _values(value: Any, texts: int) -> list[Any]:
    entries = members_of(value, "embeddings", texts)
    return [entry.get("values") if type(entry) is dict else None for entry in entries]


def _billed(value: Any) -> int | None:
    usage = value.get("usageMetadata") if type(value) is dict else None
    return tokens_of(usage.get("promptTokenCount")) if type(usage) is dict else None


_SHAPE = Shape(b'"values":', False, _values, _billed)


class Gemini(UsualDialect):
    """Google's Gemini API, as developers with a key use it."""

    shape = _SHAPE

    def headers(self, credential: str) -> list[tuple[str, str]]:
        """See Dialect."""
        return [("x-goog-api-key", credential)] if credential else []

    def write(self, call: Call) -> bytes:
        """See Dialect."""
        params = call.params
        refuse_token_ids(call, "gemini")
        if params.truncate == "start":
            raise Unaskable("gemini does not shorten texts at their start")
        fields = {
            "model": f"models/{params.model}",
            "taskType": _TASKS.get(params.input_type or "", params.input_type),
            "outputDimensionality": params.dimensions,
        }
        try:
            head = orjson.dumps({name: value for name, value in fields.items() if value})
        except orjson.JSONEncodeError:
            raise Unaskable("a field of the request is not text that JSON can hold") from None
        before = head[:-1] + b',"content":{"parts":[{"text":'
        after = b"}]}}"
        return b'{"requests":[%s%s%s]}' % (before, (after + b"," + before).join(call.texts), after)
