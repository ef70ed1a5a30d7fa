"""What a client must get: the fake's vectors, or those of the built-in model."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emr.fake.vectors import vector_of
from tests.support.processes import Router

TEXTS = ["the first text", "zweiter Text: äöü", "third\nwith a line end", '四 "quoted" \\ text']
DIMENSIONS = {"text-embedding-3-small": 1536, "voyage-code-3": 1024, "embed-v4.0": 1536}
FLOAT32 = 1e-7  # a float32 of a vector of length one, read as a float64


def same(got: Sequence[Sequence[float]], wanted: Sequence[Sequence[float]]) -> bool:
    """Whether these are the same vectors in the same order."""
    return len(got) == len(wanted) and all(
        len(one) == len(other)
        and all(math.isclose(a, b, abs_tol=FLOAT32) for a, b in zip(one, other, strict=True))
        for one, other in zip(got, wanted, strict=True)
    )


def of_fake(
    texts: Sequence[str], model: str, input_type: str | None = None, dimensions: int | None = None
) -> list[list[float]]:
    """The fake provider's vectors."""
    size = dimensions or DIMENSIONS[model]
    return [list(vector_of(text, model, input_type, size)) for text in texts]


def of_local(emr: Router, texts: Sequence[str]) -> list[list[float]]:
    """The built-in model's vectors, asked one by one without any SDK."""
    found = []
    for text in texts:
        told = emr.ask("/v1/embeddings", {"input": text, "provider": "local"})
        assert told.status_code == 200, told.text
        found.append(told.json()["data"][0]["embedding"])
    return found
