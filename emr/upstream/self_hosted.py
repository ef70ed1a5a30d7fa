"""The rows of servers that the operator runs, of other routers, and of the embedded model.

They have no rates: what they can take is found out by the slots. A call is kept short, because
they work on one after the other; the cap of the server itself is noted where it is larger.
"""

from __future__ import annotations

from types import MappingProxyType

from emr.lane.settings import Home
from emr.upstream.hosted import COHERE_PATHS, MIB, OPENAI_FIELDS, VOYAGE_PATHS
from emr.upstream.kinds import Kind, Model

LOCAL_MODEL = "wordllama-256"  # as its weights are named: 256 numbers a vector


def _server(
    name: str,
    path: str,
    max_texts: int,
    max_tokens: int,
    truncations: tuple[str, ...] = ("none", "end"),  # not said, see the dialect
) -> Kind:
    """A server that speaks OpenAI's form and knows its own models."""
    return Kind(
        name=name,
        home=Home.SELF_HOSTED,
        endpoint="",
        path=path,
        default_model="",
        key_variable="",
        max_texts=max_texts,
        max_tokens=max_tokens,
        max_bytes=2 * MIB,  # the smallest body limit that is known of such a server (TEI's)
        models=MappingProxyType({}),
        input_types=False,
        truncations=truncations,
        independent=OPENAI_FIELDS,
    )


# What stands behind an address is not known: the caps are what most such servers and gateways
# take (SiliconFlow 64 texts, TEI 32, DashScope 10; the smaller ones say so in their error). Hosted
# when its address is public: emr.upstream.endpoint.home_of.
OPENAI_COMPATIBLE = _server("openai-compatible", "/v1/embeddings", 64, 100_000)

# `--max-client-batch-size` is 32 unless it is set; 32 texts of 8,192 tokens. What `/v1/embeddings`
# cannot be told about long texts, its own `/embed` can: see the dialects.
TEI = _server("tei", "/v1/embeddings", 32, 262_144, ("none", "start", "end"))

# It takes 2,048 texts and pops eight of its own batches of 32 at a time. It shortens every text
# that is too long, and has no word for it.
INFINITY = _server("infinity", "/embeddings", 256, 262_144, ("end",))

# It batches continuously: moderate calls and more of them.
VLLM = _server("vllm", "/v1/embeddings", 128, 262_144)

# It embeds one text after the other, so a call saves nothing but HTTP.
OLLAMA = Kind(
    name="ollama",
    home=Home.SELF_HOSTED,
    endpoint="http://localhost:11434/api/embed",
    path="/api/embed",
    passes=frozenset({"/api/embed"}),
    default_model="",
    key_variable="",
    max_texts=32,
    max_tokens=100_000,
    max_bytes=2 * MIB,
    models=MappingProxyType({}),
    base64=False,
    input_types=False,
    truncations=("none", "end"),
    independent=frozenset({"model", "input", "truncate", "dimensions"}),
)

# The central router knows the limits of what is behind it, and answers 429 and 503 for them.
EMR = Kind(
    name="emr",
    home=Home.SELF_HOSTED,
    endpoint="",
    path="/v1/embeddings",
    passes=VOYAGE_PATHS | COHERE_PATHS | {"/api/embed"},
    default_model="",
    key_variable="",
    max_texts=2048,  # server.max_texts_per_request
    max_tokens=1_000_000,
    max_bytes=8 * MIB,  # half of server.max_body_bytes
    models=MappingProxyType({}),
    dtypes=("float", "int8", "uint8", "binary", "ubinary"),
    truncations=("none", "end"),
    token_ids=True,
    independent=OPENAI_FIELDS | {"input_type", "truncation", "output_dtype"},
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
    independent=OPENAI_FIELDS,
)
