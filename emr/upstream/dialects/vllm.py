"""vLLM's `/v1/embeddings`: OpenAI's form.

It takes lists of token ids of the served model's own vocabulary: ids of another one give vectors
without meaning, so none are sent. Source: vllm (entrypoints/pooling/embed/openai_protocol.py).
"""

from __future__ import annotations

from emr.upstream.dialects.openai import OpenAICompatible


class VLLM(OpenAICompatible):
    """A server of the operator's."""

    name = "vllm"
