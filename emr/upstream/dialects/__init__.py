"""The providers' JSON, one file each, and the table that names them."""

from __future__ import annotations

from emr.upstream.dialects.azure import Azure
from emr.upstream.dialects.cohere import CohereV1, CohereV2
from emr.upstream.dialects.dialect import Dialect
from emr.upstream.dialects.emr import Emr
from emr.upstream.dialects.gemini import Gemini
from emr.upstream.dialects.infinity import Infinity
from emr.upstream.dialects.jina import Jina
from emr.upstream.dialects.mistral import Mistral
from emr.upstream.dialects.ollama import Ollama
from emr.upstream.dialects.openai import OpenAI, OpenAICompatible
from emr.upstream.dialects.tei import TEI
from emr.upstream.dialects.vllm import VLLM
from emr.upstream.dialects.voyage import Voyage
from emr.upstream.endpoint import Endpoint
from emr.upstream.kinds import Kind

DIALECTS: dict[str, Dialect] = {
    "voyage": Voyage(),
    "cohere": CohereV2(),
    "openai": OpenAI(),
    "azure": Azure(),
    "mistral": Mistral(),
    "jina": Jina(),
    "gemini": Gemini(),
    "tei": TEI(),
    "infinity": Infinity(),
    "ollama": Ollama(),
    "vllm": VLLM(),
    "openai-compatible": OpenAICompatible(),
    "emr": Emr(),
}
_COHERE_V1 = CohereV1()


def dialect_of(kind: Kind, endpoint: Endpoint) -> Dialect:
    """How to speak to a provider of `kind` at `endpoint`: the path chooses Cohere's v1 or v2."""
    if kind.name == "cohere" and endpoint.path.rstrip("/").endswith("/v1/embed"):
        return _COHERE_V1
    return DIALECTS[kind.name]
