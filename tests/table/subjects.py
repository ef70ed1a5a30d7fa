"""What is tried: each type of provider at the fake's strict form of it, and the built-in model."""

from __future__ import annotations

from dataclasses import dataclass

from emr.upstream.kinds import Kind
from emr.upstream.table import KINDS


@dataclass(frozen=True, slots=True)
class Subject:
    """One row of the tables.

    `path` is the form's on the fake, empty for the built-in model. `length` is of the vectors of
    `model`, `sized` a model that gives several lengths with one that it gives, and `no_size` one
    that it does not. `texts` is what a call takes by the fake, 0 for any.
    """

    name: str
    kind_name: str
    path: str
    model: str
    length: int
    sized: tuple[str, int] | None
    no_size: int
    texts: int

    @property
    def kind(self) -> Kind:
        """Its row in the table of types."""
        return KINDS[self.kind_name]


BGE = "BAAI/bge-m3"
SMALL = "text-embedding-3-small"
SUBJECTS: tuple[Subject, ...] = (
    Subject("voyage", "voyage", "/voyage/v1/embeddings", "voyage-code-3", 1024,
            ("voyage-code-3", 256), 7, 1000),
    Subject("cohere", "cohere", "/cohere/v2/embed", "embed-v4.0", 1536, ("embed-v4.0", 256), 7, 96),
    Subject("cohere (v1)", "cohere", "/cohere/v1/embed", "embed-english-v3.0", 1024, None, 7, 96),
    Subject("openai", "openai", "/openai/v1/embeddings", SMALL, 1536, (SMALL, 256), 1537, 2048),
    Subject("azure", "azure", "/azure/openai/deployments/{model}/embeddings", SMALL, 1536,
            (SMALL, 256), 1537, 2048),
    Subject("mistral", "mistral", "/mistral/v1/embeddings", "mistral-embed", 1024,
            ("codestral-embed", 256), 3073, 512),
    Subject("jina", "jina", "/jina/v1/embeddings", "jina-embeddings-v3", 1024,
            ("jina-embeddings-v3", 256), 1025, 512),
    Subject("gemini", "gemini", "/gemini/v1beta/models/{model}:batchEmbedContents",
            "gemini-embedding-001", 3072, ("gemini-embedding-001", 256), 3073, 100),
    Subject("tei", "tei", "/tei/v1/embeddings", BGE, 1024, (BGE, 256), 1025, 32),
    Subject("tei (`/embed`)", "tei", "/tei/embed", BGE, 1024, (BGE, 256), 1025, 32),
    Subject("infinity", "infinity", "/infinity/embeddings", BGE, 1024, (BGE, 256), 1025, 2048),
    Subject("ollama", "ollama", "/ollama/api/embed", "nomic-embed-text", 768,
            ("nomic-embed-text", 256), 769, 0),
    Subject("vllm", "vllm", "/vllm/v1/embeddings", BGE, 1024, ("jinaai/jina-embeddings-v3", 256),
            7, 0),
    Subject("openai-compatible", "openai-compatible", "/openai-compatible/v1/embeddings", "bge-m3",
            1024, ("text-embedding-v4", 256), 7, 10),
    Subject("emr", "emr", "/emr/v1/embeddings", "voyage-code-3", 1024, ("voyage-code-3", 256), 7,
            2048),
    Subject("local", "local", "", "wordllama-256", 256, ("wordllama-256", 64), 7, 0),
)  # fmt: skip
BY_NAME = {subject.name: subject for subject in SUBJECTS}
