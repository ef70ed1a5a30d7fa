"""What is known of each type of provider before its first call: a row of the table of kinds.

A kind is data; how its JSON is written and read is its dialect. Adding a provider is one file in
`dialects/` and one row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emr.lane.settings import Home


@dataclass(frozen=True, slots=True)
class Model:
    """A known model. `dimensions` are those it can give, its default first; empty: not known.

    `max_text_tokens` is of one text, `max_call_tokens` of one call (None: the kind's).
    `price` is in dollars for a million tokens, None when not known.
    """

    dimensions: tuple[int, ...] = ()
    max_text_tokens: int | None = None
    max_call_tokens: int | None = None
    price: float | None = None
    calls_per_minute: float | None = None
    tokens_per_minute: float | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of provider.

    `endpoint` is the full default URL, empty where the operator must give one; `path` is what a
    bare base URL gets. `default_model` is empty where the operator must name one. `models` are
    the known ones. `passes` are its routes, beside the one for embeddings of texts, to which a
    request may be passed on whole.
    The caps are of one call. `independent` are the request fields of its API that mean the same
    for each text alone, so that texts with equal values may share a call; a request with any
    other field is passed on whole. `takes_openai_form`: a body of `/v1/embeddings` that is passed
    on whole is one of its own. `organisation_wide`: its limits hold for all models together.
    """

    name: str
    home: Home
    endpoint: str
    path: str
    default_model: str
    key_variable: str  # the environment variable its key is usually in; empty: needs no key
    max_texts: int
    max_tokens: int
    max_bytes: int
    models: Mapping[str, Model] = field(default_factory=dict)
    passes: frozenset[str] = frozenset()
    calls_per_minute: float | None = None
    tokens_per_minute: float | None = None
    items_per_minute: float | None = None
    base64: bool = True  # it can answer base64 instead of numbers
    dtypes: tuple[str, ...] = ("float",)
    input_types: bool = True  # it tells queries from documents
    truncations: tuple[str, ...] = ()  # of none, start, end: those a request may choose
    takes_openai_form: bool = True
    token_ids: bool = False  # it takes lists of token ids, in its own vocabulary
    independent: frozenset[str] = frozenset()
    organisation_wide: bool = False
