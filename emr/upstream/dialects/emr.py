"""Another emr: the sidecar of a host in front of a central one. It has a word for everything.

Fields as the contract of `/v1/embeddings` has them. Token ids are passed on: the other emr knows
what stands behind it.
"""

from __future__ import annotations

from emr.upstream.call import Call
from emr.upstream.dialects.dialect import Unaskable, UsualDialect, join_body

_TRUNCATION = {None: None, "none": False, "end": True}


class Emr(UsualDialect):
    """Another router of this kind."""

    def write(self, call: Call) -> bytes:
        """See Dialect."""
        params = call.params
        if params.truncate not in _TRUNCATION:
            raise Unaskable("another emr shortens texts at their end only")
        fields = {
            "model": params.model,
            "input_type": params.input_type,
            "dimensions": params.dimensions,
            "truncation": _TRUNCATION[params.truncate],
            "output_dtype": None if params.dtype == "float" else params.dtype,
            "encoding_format": "float" if call.float_text else "base64",
            "user": call.user,
        }
        return join_body(b"input", call.texts, fields)
