"""Cohere's `/v2/embed` and `/v1/embed`, told apart by the endpoint's path.

Fields of both: `texts` (at most 96), `model`, `input_type`, `truncate` (`NONE`, `START`, `END`),
`embedding_types`; of v2 also `output_dimension`. v2 demands `input_type` and `embedding_types`; a
caller who names no type of input gets `search_document`, which no model refuses. v1 without
`embedding_types` answers `{"embeddings": [[…]]}`, with it and in v2 `{"embeddings": {"float":
[[…]]}}`. base64 is a type of its own there and means float32; in v1 it is not known.
Vectors stand in the order of the texts and have no index. Sources: cohere-python (v2/raw_client,
types/embed_*_response), cohere-openapi.yaml.
"""

from __future__ import annotations

from emr.lane.verdict import Reply
from emr.upstream.call import Call
from emr.upstream.dialects.dialect import Unaskable, UsualDialect, join_body, refuse_token_ids
from emr.upstream.reply import COHERE_FLOATS_SHAPE, Shape, cohere_shape, read_reply

_INPUT_TYPES = {None: "search_document", "query": "search_query", "document": "search_document"}
_SHAPES = {
    word: cohere_shape(word) for word in ("float", "base64", "int8", "uint8", "binary", "ubinary")
}


class CohereV2(UsualDialect):
    """`/v2/embed`."""

    def write(self, call: Call) -> bytes:
        """See Dialect."""
        params = call.params
        refuse_token_ids(call, "cohere")
        fields = {
            "model": params.model,
            "input_type": _INPUT_TYPES.get(params.input_type, params.input_type),
            "embedding_types": self._types(call),
            "output_dimension": self._dimensions(call),
            "truncate": None if params.truncate is None else params.truncate.upper(),
        }
        return join_body(b"texts", call.texts, fields)

    def read(self, call: Call, body: bytes) -> Reply:
        """See Dialect."""
        return read_reply(body, self._shape(call), call.params, len(call.texts))

    def _types(self, call: Call) -> list[str] | None:
        if call.params.dtype == "float" and not call.float_text:
            return ["base64"]
        return [call.params.dtype]

    def _dimensions(self, call: Call) -> int | None:
        return call.params.dimensions

    def _shape(self, call: Call) -> Shape:
        types = self._types(call)
        return COHERE_FLOATS_SHAPE if types is None else _SHAPES[types[0]]


class CohereV1(CohereV2):
    """`/v1/embed`."""

    def _types(self, call: Call) -> list[str] | None:
        return None if call.params.dtype == "float" else [call.params.dtype]

    def _dimensions(self, call: Call) -> int | None:
        if call.params.dimensions is not None:
            raise Unaskable(
                "cohere's v1 cannot choose dimensions: use an endpoint with the path /v2/embed"
            )
        return None
