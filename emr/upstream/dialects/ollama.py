"""Ollama's `/api/embed`: a list of lists, numbers only, no key by default.

Fields: `model`, `input`, `truncate` (true by default), `dimensions`; `options` and `keep_alive`
are of the server's business and make a request be passed on whole. A body of OpenAI's form that is
passed on whole goes to `/v1/embeddings` of the same server. The reply is `{"embeddings":
[[…], …], "prompt_eval_count": …}` in the order of the texts. Source: ollama (server/routes.go).
"""

from __future__ import annotations

from typing import Any

from emr.lane.ticket import Params
from emr.upstream.call import Call
from emr.upstream.dialects.dialect import Unaskable, UsualDialect, join_body, refuse_token_ids
from emr.upstream.endpoint import Endpoint
from emr.upstream.reply import Shape, members_of, tokens_of

_TRUNCATE = {None: None, "none": False, "end": True}


def _lists(value: Any, texts: int) -> list[Any]:
    return members_of(value, "embeddings", texts)


def _billed(value: Any) -> int | None:
    return tokens_of(value.get("prompt_eval_count")) if type(value) is dict else None


_SHAPE = Shape(b'"embeddings":', True, _lists, _billed)


class Ollama(UsualDialect):
    """A server of the operator's; a proxy in front of it may want a Bearer key."""

    shape = _SHAPE

    def target(self, endpoint: Endpoint, params: Params) -> str:
        """See Dialect."""
        if params.whole is None or params.path is not None:
            return super().target(endpoint, params)
        return endpoint.path.removesuffix("/api/embed") + "/v1/embeddings" + endpoint.query

    def write(self, call: Call) -> bytes:
        """See Dialect. `input_type` is left out: models have their prompts in the text."""
        params = call.params
        refuse_token_ids(call, "ollama")
        if params.truncate not in _TRUNCATE:
            raise Unaskable("ollama shortens texts at their end only")
        fields = {
            "model": params.model,
            "truncate": _TRUNCATE[params.truncate],
            "dimensions": params.dimensions,
        }
        return join_body(b"input", call.texts, fields)
