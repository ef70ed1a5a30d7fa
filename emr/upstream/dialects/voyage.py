"""Voyage's `/v1/embeddings`.

Fields: `input`, `model`, `input_type` (`query`, `document` or absent), `truncation` (true by
default), `output_dimension`, `output_dtype`, `encoding_format` (`base64` or absent: the word
`float` is refused, and so is OpenAI's `dimensions`). `usage` has `total_tokens` alone. base64 of a
type holds the bytes of that type. Sources: voyageai-python (embedding.py, util.py) and
typescript-sdk (EmbedRequest.ts).
"""

from __future__ import annotations

from emr.upstream.call import Call
from emr.upstream.dialects.dialect import Unaskable, UsualDialect, join_body, refuse_token_ids

_TRUNCATION = {None: None, "none": False, "end": True}


class Voyage(UsualDialect):
    """Voyage AI, also under MongoDB's address."""

    def write(self, call: Call) -> bytes:
        """See Dialect."""
        params = call.params
        refuse_token_ids(call, "voyage")
        if params.truncate not in _TRUNCATION:
            raise Unaskable("voyage shortens texts at their end only")
        fields = {
            "model": params.model,
            "input_type": params.input_type,
            "truncation": _TRUNCATION[params.truncate],
            "output_dimension": params.dimensions,
            "output_dtype": None if params.dtype == "float" else params.dtype,
            "encoding_format": None if call.float_text else "base64",
        }
        return join_body(b"input", call.texts, fields)
