"""OpenAI's `/v1/embeddings`, and every server that speaks like it.

Fields: `input`, `model`, `dimensions`, `encoding_format` (`float` or `base64`, float when absent),
`user`; any other is refused by OpenAI (`additionalProperties: false` in its published schema). It
takes lists of token ids and has no word for queries, documents, truncation or types of numbers.
Whether a text that is too long may be shortened at its end is therefore not said: Voyage's client
allows it with every request, and nearly every text is short enough. One that is not is refused by
the server, whose error the caller gets.

A server that only speaks like it may ignore `encoding_format` and answer numbers where base64 was
asked for: a reply is read in either form. Sources: openai-openapi (CreateEmbeddingRequest),
openai-python.
"""

from __future__ import annotations

from emr.upstream.call import Call
from emr.upstream.dialects.dialect import Unaskable, UsualDialect, join_body, refuse_token_ids


class OpenAI(UsualDialect):
    """OpenAI's own API."""

    name = "openai"
    token_ids = True

    def write(self, call: Call) -> bytes:
        """See Dialect. `input_type` is left out; the vectors are the same for both."""
        params = call.params
        if params.dtype != "float":
            raise Unaskable(f"{self.name} has no other numbers than floats")
        if params.truncate == "start":
            raise Unaskable(f"{self.name} does not shorten texts at their start")
        if not self.token_ids:
            refuse_token_ids(call, self.name)
        fields = {
            "model": params.model,
            "dimensions": params.dimensions,
            "encoding_format": "float" if call.float_text else "base64",
            "user": call.user,
        }
        return join_body(b"input", call.texts, fields)


class OpenAICompatible(OpenAI):
    """A server that speaks like OpenAI's, with a vocabulary of its own."""

    name = "openai-compatible"
    token_ids = False
