"""Text Embeddings Inference's `/v1/embeddings`: OpenAI's form, errors without the `error` around.

Fields: `input`, `model`, `user`, `encoding_format`, `dimensions`. Whether a text that is too long
is shortened is set where the server is started (`--auto-truncate`). It takes lists of token ids of
the served model's own vocabulary: ids of another one give vectors without meaning, so none are
sent. Source: text-embeddings-inference (router/src/http/server.rs).
"""

from __future__ import annotations

from emr.upstream.dialects.openai import OpenAICompatible


class TEI(OpenAICompatible):
    """A server of the operator's."""

    name = "tei"
