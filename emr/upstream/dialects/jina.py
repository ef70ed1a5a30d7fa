"""Jina's `/v1/embeddings`: OpenAI's shape with tasks, and a type of its own for the encoding.

Fields: `input`, `model`, `task` (`retrieval.query`, `retrieval.passage`, and others by their own
words), `dimensions`, `embedding_type` (`float`, `base64`, `binary`, `ubinary`), `truncate` (a
boolean). OpenAI's `encoding_format` is refused, and so is a task by the models of the second
generation, which have none. `late_chunking` runs all texts together, so a
request with it is passed on whole. Sources: Jina's API page, litellm (jina_ai).
"""

from __future__ import annotations

from emr.upstream.call import Call
from emr.upstream.dialects.dialect import Unaskable, UsualDialect, join_body, refuse_token_ids

_TASKS = {"query": "retrieval.query", "document": "retrieval.passage"}
_WITHOUT_TASKS = "jina-embeddings-v2"
_TRUNCATE = {None: None, "none": False, "end": True}


class Jina(UsualDialect):
    """Jina AI."""

    def write(self, call: Call) -> bytes:
        """See Dialect."""
        params = call.params
        refuse_token_ids(call, "jina")
        if params.truncate not in _TRUNCATE:
            raise Unaskable("jina shortens texts at their end only")
        task = _TASKS.get(params.input_type or "", params.input_type)
        numbers = "float" if call.float_text else "base64"
        fields = {
            "model": params.model,
            "task": None if params.model.startswith(_WITHOUT_TASKS) else task,
            "dimensions": params.dimensions,
            "embedding_type": numbers if params.dtype == "float" else params.dtype,
            "truncate": _TRUNCATE[params.truncate],
        }
        return join_body(b"input", call.texts, fields)
