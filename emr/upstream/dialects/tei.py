"""Text Embeddings Inference: `/v1/embeddings`, which is OpenAI's form, and `/embed`, its own.

The path of the endpoint chooses. `/v1/embeddings` has `input`, `model`, `user`, `encoding_format`
and `dimensions`; whether a text that is too long is shortened is set where the server is started
(`--auto-truncate`, by default it is), so nobody can be promised that it is not. `/embed` has
`inputs`, `truncate`, `truncation_direction`, `dimensions` and `normalize`, no model, and answers a
bare list of lists; what it counted stands in a header that is not read.

Both take lists of token ids of the served model's own vocabulary: ids of another one give vectors
without meaning, so none are sent. Source: text-embeddings-inference (router/src/http/server.rs).
"""

from __future__ import annotations

from typing import Any

from emr.lane.ticket import Params
from emr.lane.verdict import Reply
from emr.upstream.call import Call
from emr.upstream.dialects.dialect import Unaskable, join_body, refuse_token_ids
from emr.upstream.dialects.openai import OpenAICompatible
from emr.upstream.endpoint import Endpoint
from emr.upstream.reply import Shape, members_of, read_reply

PATH = "/embed"
_TRUNCATE = {None: None, "none": False, "end": True, "start": True}


class TEI(OpenAICompatible):
    """A server of the operator's, in OpenAI's form."""

    name = "tei"

    def write(self, call: Call) -> bytes:
        """See Dialect."""
        if call.params.truncate == "none":
            raise Unaskable(
                "at /v1/embeddings tei shortens texts or not as its server was started; set an "
                "endpoint with the path /embed, where a request can say so"
            )
        return super().write(call)


def _lists(value: Any, texts: int) -> list[Any]:
    return members_of(value, "embeddings", texts)


_SHAPE = Shape(b'"embeddings":', True, _lists, lambda _: None)


class TEINative(OpenAICompatible):
    """A server of the operator's, in its own form."""

    name = "tei"

    def target(self, endpoint: Endpoint, params: Params) -> str:
        """See Dialect. A body of `/v1/embeddings` that is passed on whole goes there."""
        if params.whole is None or params.path is not None:
            return super().target(endpoint, params)
        return endpoint.path.removesuffix(PATH) + "/v1/embeddings" + endpoint.query

    def write(self, call: Call) -> bytes:
        """See Dialect. `normalize` is what the server does by default."""
        params = call.params
        refuse_token_ids(call, "tei")
        fields = {
            "normalize": True,
            "truncate": _TRUNCATE[params.truncate],
            "truncation_direction": "Left" if params.truncate == "start" else None,
            "dimensions": params.dimensions,
        }
        return join_body(b"inputs", call.texts, fields)

    def read(self, call: Call, body: bytes) -> Reply:
        """See Dialect. The bare list is given a name, to be cut as the lists of others are."""
        named = b'{"embeddings":%b}' % body
        return read_reply(named, _SHAPE, call.params, len(call.texts))
