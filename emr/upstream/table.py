"""The table of kinds: every type of provider by its name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from emr.upstream.hosted import AZURE, COHERE, GEMINI, JINA, MISTRAL, OPENAI, VOYAGE
from emr.upstream.kinds import Kind, Model
from emr.upstream.self_hosted import (
    EMR,
    INFINITY,
    LOCAL,
    OLLAMA,
    OPENAI_COMPATIBLE,
    TEI,
    VLLM,
)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            VOYAGE, COHERE, OPENAI, AZURE, MISTRAL, JINA, GEMINI,
            TEI, INFINITY, OLLAMA, VLLM, OPENAI_COMPATIBLE, EMR, LOCAL,
        )
    }
)  # fmt: skip


def say_dimensions(model: Model) -> str:
    """The dimensions that a model can give, in words: `256, 512, 1024 or 2048`, `1 to 1536`."""
    sizes = sorted(model.dimensions)
    if not sizes:
        return "its own"
    if len(sizes) > 8 and sizes[-1] - sizes[0] == len(sizes) - 1:
        return f"{sizes[0]} to {sizes[-1]}"
    if len(sizes) == 1:
        return str(sizes[0])
    return ", ".join(map(str, sizes[:-1])) + f" or {sizes[-1]}"
