"""The rows of public services: facts from their documentation and SDKs.

Rates are those of the lowest paid tier: a first guess, corrected by headers and by learning.
Prices are in dollars for a million tokens, as litellm's cost map has them. Where a provider does
not document a cap, the reason for the figure stands beside it; one that is too large is learned
from the provider's own error.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from emr.lane.settings import Home
from emr.upstream.kinds import Kind, Model

MIB = 1024 * 1024
VOYAGE_PATHS = frozenset({"/v1/contextualizedembeddings", "/v1/multimodalembeddings"})
COHERE_PATHS = frozenset({"/v1/embed", "/v2/embed"})
OPENAI_FIELDS = frozenset({"input", "model", "encoding_format", "dimensions", "user"})


def _up_to(own: int, most: int = 0, least: int = 1) -> tuple[int, ...]:
    """Every length from `least` to `most` (0: the model's own), the model's own first."""
    return own, *[size for size in range(most or own, least - 1, -1) if size != own]


def _voyage(
    tokens_a_call: int,
    tokens_a_minute: float,
    price: float,
    length: int = 1024,
    window: int = 32_000,
) -> Model:
    """A model of Voyage's with one length."""
    return Model((length,), window, tokens_a_call, price, None, tokens_a_minute)


def _matryoshka(model: Model) -> Model:
    """The same model with the dimensions that Voyage's newer models give, 1024 by default."""
    return replace(model, dimensions=(1024, 256, 512, 2048))


# Tokens a call: langchain-voyageai's table of Voyage's limits. Tokens a minute of tier 1:
# docs.voyageai.com/docs/rate-limits; a model that is not listed there has the lowest, 3M. Lengths:
# the table of models in Anthropic's documentation, and Voyage's own for the older ones.
VOYAGE = Kind(
    name="voyage",
    home=Home.HOSTED,
    endpoint="https://api.voyageai.com/v1/embeddings",
    path="/v1/embeddings",
    default_model="voyage-code-3",
    key_variable="VOYAGE_API_KEY",
    passes=VOYAGE_PATHS,
    max_texts=128,  # of its older documentation; its API now takes 1,000, which a row may set
    max_tokens=120_000,
    max_bytes=8 * MIB,  # not documented; over 1M tokens of prose
    models=MappingProxyType(
        {
            "voyage-code-3": _matryoshka(_voyage(120_000, 3e6, 0.18)),
            "voyage-4": _matryoshka(_voyage(320_000, 8e6, 0.06)),
            "voyage-4-lite": _matryoshka(_voyage(1_000_000, 16e6, 0.02)),
            "voyage-4-large": _matryoshka(_voyage(120_000, 3e6, 0.12)),
            "voyage-code-4": _matryoshka(_voyage(120_000, 3e6, 0.12)),
            "voyage-3.5": _matryoshka(_voyage(320_000, 8e6, 0.06)),
            "voyage-3.5-lite": _matryoshka(_voyage(1_000_000, 16e6, 0.02)),
            "voyage-3-large": _matryoshka(_voyage(120_000, 3e6, 0.18)),
            "voyage-3": _voyage(120_000, 3e6, 0.06),
            "voyage-3-lite": _voyage(120_000, 3e6, 0.02, 512),
            "voyage-context-3": _matryoshka(_voyage(120_000, 3e6, 0.18)),
            "voyage-context-4": _matryoshka(_voyage(120_000, 3e6, 0.12)),
            "voyage-multimodal-3": _voyage(120_000, 2e6, 0.12),
            "voyage-multimodal-3.5": _matryoshka(_voyage(120_000, 2e6, 0.12)),
            "voyage-finance-2": _voyage(120_000, 3e6, 0.12),
            "voyage-law-2": _voyage(120_000, 3e6, 0.12, 1024, 16_000),
            "voyage-multilingual-2": _voyage(120_000, 3e6, 0.12),
            "voyage-large-2": _voyage(120_000, 3e6, 0.12, 1536, 16_000),
            "voyage-large-2-instruct": _voyage(120_000, 3e6, 0.12, 1024, 16_000),
            "voyage-code-2": _voyage(120_000, 3e6, 0.12, 1536, 16_000),
            "voyage-2": _voyage(320_000, 3e6, 0.12, 1024, 4_000),
        }
    ),
    calls_per_minute=2000,
    tokens_per_minute=3e6,
    dtypes=("float", "int8", "uint8", "binary", "ubinary"),
    truncations=("none", "end"),
    independent=frozenset(
        {
            "input",
            "model",
            "input_type",
            "truncation",
            "output_dimension",
            "output_dtype",
            "encoding_format",
        }
    ),
)

# Models and texts a call: Cohere's model pages and the rate limit page of its repository. 2,000
# inputs a minute is for trial and production keys alike; calls of one text each stop at the same
# figure, so it bounds both.
COHERE = Kind(
    name="cohere",
    home=Home.HOSTED,
    endpoint="https://api.cohere.com/v2/embed",
    path="/v2/embed",
    default_model="embed-v4.0",
    key_variable="COHERE_API_KEY",
    passes=COHERE_PATHS,
    max_texts=96,
    max_tokens=128_000,  # not documented; the longest text of its newer models fits
    max_bytes=8 * MIB,  # not documented; as Voyage
    models=MappingProxyType(
        {
            "embed-v4.0": Model((1536, 256, 512, 1024), 128_000, None, 0.12),
            "embed-v5.0-pro": Model((), 128_000, None, 0.12),
            "embed-v5.0-fast": Model((), 128_000, None, 0.08),
            "embed-english-v3.0": Model((1024,), 512, None, 0.10),
            "embed-multilingual-v3.0": Model((1024,), 512, None, 0.10),
            "embed-english-light-v3.0": Model((384,), 512, None, 0.10),
            "embed-multilingual-light-v3.0": Model((384,), 512, None, 0.10),
        }
    ),
    calls_per_minute=2000,
    items_per_minute=2000,
    dtypes=("float", "int8", "uint8", "binary", "ubinary"),
    takes_openai_form=False,
    truncations=("none", "start", "end"),
    independent=frozenset(
        {"texts", "model", "input_type", "embedding_types", "truncate", "output_dimension"}
    ),
)

# Caps: openai-openapi (CreateEmbeddingRequest). Rates of tier 1: OpenAI's model pages. The -3
# models give any number of dimensions up to their own.
OPENAI = Kind(
    name="openai",
    home=Home.HOSTED,
    endpoint="https://api.openai.com/v1/embeddings",
    path="/v1/embeddings",
    default_model="text-embedding-3-small",
    key_variable="OPENAI_API_KEY",
    max_texts=2048,
    max_tokens=300_000,
    max_bytes=8 * MIB,  # not documented; 300,000 tokens are about 1.2 MB of prose
    models=MappingProxyType(
        {
            "text-embedding-3-small": Model(_up_to(1536), 8192, None, 0.02),
            "text-embedding-3-large": Model(_up_to(3072), 8192, None, 0.13),
            "text-embedding-ada-002": Model((1536,), 8192, None, 0.10),
        }
    ),
    calls_per_minute=3000,
    tokens_per_minute=1e6,
    input_types=False,
    truncations=("none", "end"),  # not said, see its dialect
    token_ids=True,
    independent=OPENAI_FIELDS,
)

# Deployments have names of their own and a size that was chosen when they were made; Azure derives
# 6 calls a minute from 1,000 tokens. The guess is a small one.
AZURE = Kind(
    name="azure",
    home=Home.HOSTED,
    endpoint="",
    path="/openai/deployments/{model}/embeddings",
    default_model="",
    key_variable="AZURE_OPENAI_API_KEY",
    max_texts=2048,
    max_tokens=120_000,  # OpenAI's 300,000 is not confirmed here; a call must fit into a minute
    max_bytes=8 * MIB,
    models=MappingProxyType({}),
    calls_per_minute=720,
    tokens_per_minute=120_000,
    input_types=False,
    truncations=("none", "end"),
    token_ids=True,
    independent=OPENAI_FIELDS,
)

# Texts and tokens a call: its own errors (code 3210; "Max is 16384"). One call a second and 2M
# tokens a minute: reports of users; its pages name no figure.
MISTRAL = Kind(
    name="mistral",
    home=Home.HOSTED,
    endpoint="https://api.mistral.ai/v1/embeddings",
    path="/v1/embeddings",
    default_model="mistral-embed",
    key_variable="MISTRAL_API_KEY",
    max_texts=512,
    max_tokens=16_384,
    max_bytes=MIB,
    models=MappingProxyType(
        {
            "mistral-embed": Model((1024,), 8192, None, 0.10),
            "codestral-embed": Model(_up_to(1536, 3072), 8192, None, 0.15),
        }
    ),
    calls_per_minute=60,
    tokens_per_minute=2e6,
    dtypes=("float", "int8", "uint8", "binary", "ubinary"),
    input_types=False,
    truncations=("none", "end"),
    independent=frozenset(
        {"input", "model", "output_dimension", "output_dtype", "encoding_format"}
    ),
    organisation_wide=True,
)

# Rates of a paid key as apis.io lists them; other sources differ. Prices are not known.
JINA = Kind(
    name="jina",
    home=Home.HOSTED,
    endpoint="https://api.jina.ai/v1/embeddings",
    path="/v1/embeddings",
    default_model="jina-embeddings-v3",
    key_variable="JINA_API_KEY",
    max_texts=512,
    max_tokens=500_000,  # not documented; a quarter of what a minute allows
    max_bytes=8 * MIB,  # not documented
    models=MappingProxyType(
        {
            "jina-embeddings-v3": Model(_up_to(1024), 8192),
            "jina-embeddings-v4": Model(_up_to(2048), 32_000),
        }
    ),
    calls_per_minute=500,
    tokens_per_minute=2e6,
    dtypes=("float", "binary", "ubinary"),
    truncations=("none", "end"),
    independent=frozenset({"input", "model", "task", "dimensions", "embedding_type", "truncate"}),
    organisation_wide=True,
)

# A batch is reported to be charged as many calls as it has texts, and a second quota of 150
# batches a minute to exist beside: both are counted.
GEMINI = Kind(
    name="gemini",
    home=Home.HOSTED,
    endpoint="https://generativelanguage.googleapis.com/v1beta/models/{model}:batchEmbedContents",
    path="/v1beta/models/{model}:batchEmbedContents",
    default_model="gemini-embedding-001",
    key_variable="GEMINI_API_KEY",
    max_texts=100,
    max_tokens=200_000,  # not documented; 100 texts of the length that the 001 model takes
    max_bytes=8 * MIB,  # not documented
    models=MappingProxyType(
        {
            "gemini-embedding-001": Model(_up_to(3072, least=128), 2048, None, 0.15),
            "gemini-embedding-2": Model(_up_to(3072, least=128), 8192, None, 0.20),
        }
    ),
    calls_per_minute=150,
    tokens_per_minute=10e6,
    items_per_minute=10_000,
    base64=False,
    takes_openai_form=False,
    truncations=("end",),  # it shortens every text that is too long, and has no word for it
    independent=frozenset({"model", "content", "taskType", "outputDimensionality"}),
)
