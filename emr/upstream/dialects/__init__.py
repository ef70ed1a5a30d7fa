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
from emr.upstream.dialects.tei import PATH as TEI_PATH
from emr.upstream.dialects.tei import TEI, TEINative
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
_TEI_NATIVE = TEINative()


def dialect_of(kind: Kind, endpoint: Endpoint) -> Dialect:
    """How to speak to a provider of `kind` at `endpoint`.

    The path chooses where there are several: Cohere's v1 or v2, TEI's own form or OpenAI's.
    """
    path = endpoint.path.rstrip("/")
    if kind.name == "cohere" and path.endswith("/v1/embed"):
        return _COHERE_V1
    if kind.name == "tei" and path.endswith(TEI_PATH):
        return _TEI_NATIVE
    return DIALECTS[kind.name]
