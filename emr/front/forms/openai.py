"""The form of `/v1/embeddings`: OpenAI's, Voyage's and the router's own fields in one table.

The three never give one name two meanings, so a request is read by its fields and nobody is asked
which client it is. The answer is the superset that all of them read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emr.front.desk import Ask
from emr.front.forms import superset
from emr.front.forms.document import load
from emr.front.forms.fields import (
    OWN,
    Reader,
    ignore,
    read,
    read_dimensions,
    read_dtype,
    read_encoding,
    read_input_type,
    read_model,
    read_truncation,
    read_user,
    whole_body,
    wrong,
)
from emr.front.forms.texts import read_input
from emr.front.forms.vectors import to_convert
from emr.lane.ticket import Request

FIELDS: Mapping[str, Reader] = {
    **OWN,
    "input": ignore,  # read by itself: it needs the limit of texts
    "model": read_model,
    "encoding_format": read_encoding,
    "dimensions": read_dimensions,
    "output_dimension": read_dimensions,
    "input_type": read_input_type,
    "truncation": read_truncation,
    "output_dtype": read_dtype,
    "user": read_user,
}


def ask_of(values: Mapping[str, Any], most_texts: int, at: str, without: frozenset[str]) -> Ask:
    """The Ask of one request's fields.

    `at` stands before a field's name in `param`; `without` are further fields of emr's own that
    do not travel with a request that goes whole. Raises Refused: validation_error.
    """
    ask = Ask()
    unknown = read(ask, values, FIELDS, at)
    texts = values.get("input")
    if texts is None:
        raise wrong(at + "input", "is missing: send a text, or a list of texts")
    read_input(ask, texts, at + "input", most_texts)
    if unknown and not without.issuperset(unknown):
        ask.whole = whole_body(values, without | OWN.keys())
        ask.unknown = tuple([name for name in unknown if name not in without])
    return ask


class OpenAIForm:
    """`POST /v1/embeddings` and `/embeddings`."""

    def parse(self, body: bytes, captured: tuple[str, ...], most_texts: int) -> Ask:
        """See Form."""
        return ask_of(load(body), most_texts, "", frozenset())

    def to_convert(self, ask: Ask, request: Request) -> int:
        """See Form."""
        return to_convert(request.vectors, superset.writing_of(ask))

    def render(self, ask: Ask, request: Request, request_id: str) -> bytes:
        """See Form."""
        return superset.render(ask, request, request_id)


class AzureForm(OpenAIForm):
    """`POST /openai/deployments/{deployment}/embeddings`: the deployment is the model.

    Azure's clients may put a model into the body too; there the deployment decides, and so it
    does here. `?api-version=` is ignored.
    """

    def parse(self, body: bytes, captured: tuple[str, ...], most_texts: int) -> Ask:
        """See Form."""
        ask = super().parse(body, captured, most_texts)
        ask.model = captured[0]
        return ask
