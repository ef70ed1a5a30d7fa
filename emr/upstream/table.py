"""The table of kinds: the facts about each type of provider, from its documentation and SDK.

Rates are those of the lowest paid tier: a first guess, corrected by headers and by learning.
Prices are in dollars for a million tokens, as litellm's cost map has them. Where a provider does
not document a cap, the reason for the figure stands beside it; a cap that is too large is learned
from the provider's own error. Azure, Mistral, Jina, Gemini and the self-hosted servers get their
rows with their dialects.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from emr.lane.settings import Home
from emr.upstream.kinds import Kind, Model

MIB = 1024 * 1024
LOCAL_MODEL = "wordllama-256"  # as its weights are named: 256 numbers a vector

_OPENAI_FIELDS = frozenset({"input", "model", "encoding_format", "dimensions", "user"})


def _voyage(
    tokens_a_call: int, tokens_a_minute: float, price: float, window: int = 32_000
) -> Model:
    return Model((), window, tokens_a_call, price, None, tokens_a_minute)


def _matryoshka(model: Model) -> Model:
    """The same model with the dimensions that Voyage's newer models give, 1024 by default."""
    return Model(
        (1024, 256, 512, 2048),
        model.max_text_tokens,
        model.max_call_tokens,
        model.price,
        model.calls_per_minute,
        model.tokens_per_minute,
    )


# Tokens a call: langchain-voyageai's table of Voyage's limits. Tokens a minute of tier 1:
# docs.voyageai.com/docs/rate-limits; a model that is not listed there has the lowest, 3M.
VOYAGE = Kind(
    name="voyage",
    home=Home.HOSTED,
    endpoint="https://api.voyageai.com/v1/embeddings",
    path="/v1/embeddings",
    default_model="voyage-code-3",
    key_variable="VOYAGE_API_KEY",
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
            "voyage-3-lite": _voyage(120_000, 3e6, 0.02),
            "voyage-context-3": _matryoshka(_voyage(120_000, 3e6, 0.18)),
            "voyage-context-4": _matryoshka(_voyage(120_000, 3e6, 0.12)),
            "voyage-multimodal-3": _voyage(120_000, 2e6, 0.12),
            "voyage-multimodal-3.5": _voyage(120_000, 2e6, 0.12),
            "voyage-finance-2": _voyage(120_000, 3e6, 0.12),
            "voyage-law-2": _voyage(120_000, 3e6, 0.12, 16_000),
            "voyage-multilingual-2": _voyage(120_000, 3e6, 0.12),
            "voyage-large-2": _voyage(120_000, 3e6, 0.12, 16_000),
            "voyage-large-2-instruct": _voyage(120_000, 3e6, 0.12, 16_000),
            "voyage-code-2": _voyage(120_000, 3e6, 0.12, 16_000),
            "voyage-2": _voyage(320_000, 3e6, 0.12, 4_000),
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
            "text-embedding-3-small": Model((1536, *range(1535, 0, -1)), 8192, None, 0.02),
            "text-embedding-3-large": Model((3072, *range(3071, 0, -1)), 8192, None, 0.13),
            "text-embedding-ada-002": Model((1536,), 8192, None, 0.10),
        }
    ),
    calls_per_minute=3000,
    tokens_per_minute=1e6,
    input_types=False,
    truncations=("none", "end"),  # not said, see its dialect
    token_ids=True,
    independent=_OPENAI_FIELDS,
)

# What stands behind an address is not known: the caps are what most such servers and gateways
# take (SiliconFlow 64 texts, TEI 32, DashScope 10; the smaller ones say so in their error).
OPENAI_COMPATIBLE = Kind(
    name="openai-compatible",
    home=Home.SELF_HOSTED,  # hosted when its address is public: emr.upstream.endpoint.home_of
    endpoint="",
    path="/v1/embeddings",
    default_model="",
    key_variable="",
    max_texts=64,
    max_tokens=100_000,
    max_bytes=2 * MIB,  # the smallest body limit that is known of such a server (TEI's)
    models=MappingProxyType({}),
    any_model=True,
    input_types=False,
    truncations=("none", "end"),  # not said, see its dialect
    independent=_OPENAI_FIELDS,
)

# A call keeps the one worker thread for some tens of milliseconds: 4,000 to 40,000 texts a second.
LOCAL = Kind(
    name="local",
    home=Home.LOCAL,
    endpoint="",
    path="",
    default_model=LOCAL_MODEL,
    key_variable="",
    max_texts=256,
    max_tokens=64_000,
    max_bytes=8 * MIB,
    models=MappingProxyType({LOCAL_MODEL: Model((256, 64, 128), None, None, 0.0)}),
    input_types=False,
    truncations=("none", "start", "end"),  # no text is too long for it
    independent=_OPENAI_FIELDS,
)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {kind.name: kind for kind in (VOYAGE, COHERE, OPENAI, OPENAI_COMPATIBLE, LOCAL)}
)


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
