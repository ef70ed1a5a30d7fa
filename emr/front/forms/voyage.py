"""Voyage's contextualized and multimodal embeddings, passed on whole.

Chunks of one document and pieces of one input depend on each other, so nothing of such a request
may be merged, split or cached. Only what emr needs for routing is read. For the lane the whole
body counts as one text: its size is what waits and what travels.
"""

from __future__ import annotations

from collections.abc import Mapping

from emr.front.desk import Ask
from emr.front.forms.document import load
from emr.front.forms.fields import OWN, Reader, kind_of, read, read_model, whole_body, wrong
from emr.lane.ticket import Request

FIELDS: Mapping[str, Reader] = {**OWN, "model": read_model}


class VoyageWholeForm:
    """`POST /v1/contextualizedembeddings` and `/v1/multimodalembeddings`."""

    def __init__(self, path: str) -> None:
        self._path = path

    def parse(self, body: bytes, captured: tuple[str, ...], most_texts: int) -> Ask:
        """See Form."""
        values = load(body)
        inputs = values.get("inputs")
        if inputs is None:
            raise wrong("inputs", "is missing: send a list")
        if type(inputs) is not list:
            raise wrong("inputs", f"must be a list, not {kind_of(inputs)}")
        if not inputs:
            raise wrong("inputs", "must not be an empty list")
        ask = Ask(param="inputs", path=self._path)
        read(ask, values, FIELDS, "")
        ask.whole = whole_body(values, OWN.keys())
        ask.texts = [ask.whole]
        return ask

    def to_convert(self, ask: Ask, request: Request) -> int:
        """Nothing: the provider's body is the answer."""
        return 0

    def render(self, ask: Ask, request: Request, request_id: str) -> bytes:
        """Never asked: see Form."""
        raise AssertionError("a request that travels whole was rendered: a bug")
