"""Infinity's `/embeddings`: OpenAI's form, but what it calls tokens are characters.

Its `usage` counts characters unless the server was started to count tokens, and the reply does not
say which: no count is taken over, and emr's own estimate stands. Token ids are not taken. Source:
infinity_emb (transformer/utils.py, fastapi_schemas).
"""

from __future__ import annotations

from dataclasses import replace

from emr.upstream.dialects.openai import OpenAICompatible
from emr.upstream.reply import OPENAI_SHAPE

_SHAPE = replace(OPENAI_SHAPE, billed=lambda _: None)


class Infinity(OpenAICompatible):
    """A server of the operator's."""

    name = "infinity"
    shape = _SHAPE
