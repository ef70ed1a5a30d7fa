"""Mistral's `/v1/embeddings`: OpenAI's shape with Voyage's words for size and type.

Fields: `input`, `model`, `output_dimension`, `output_dtype`, `encoding_format` (`float` or
`base64`; some clients report that base64 is ignored, so either is read). It has no word for
queries, documents or truncation. Source: mistralai-python (models/embeddingrequest.py).
"""

from __future__ import annotations

from emr.upstream.call import Call
from emr.upstream.dialects.dialect import Unaskable, UsualDialect, join_body, refuse_token_ids


class Mistral(UsualDialect):
    """Mistral AI."""

    def write(self, call: Call) -> bytes:
        """See Dialect."""
        params = call.params
        refuse_token_ids(call, "mistral")
        if params.truncate == "start":
            raise Unaskable("mistral does not shorten texts at their start")
        fields = {
            "model": params.model,
            "output_dimension": params.dimensions,
            "output_dtype": None if params.dtype == "float" else params.dtype,
            "encoding_format": "float" if call.float_text else "base64",
        }
        return join_body(b"input", call.texts, fields)
