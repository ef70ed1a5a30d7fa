"""Cohere's form, v1 and v2: `texts` in, `embeddings` by type out.

`embedding_types` asks for several writings of the same vectors at once. One call of emr's gives
one type of numbers, so: `float` and `base64`, alone or together, come from one float vector; one
of the other types alone is that type; any other mixture is passed on whole to the provider, which
then must be Cohere's. Images, `inputs` and whatever else the table does not know travel whole too.

v1 without `embedding_types` answers a bare list, and its client tells the two answers apart by
`response_type`, so both carry it, and both echo the texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emr.front.desk import Ask
from emr.front.forms.document import load
from emr.front.forms.fields import (
    OWN,
    Reader,
    ignore,
    kind_of,
    one_of,
    read,
    read_dimensions,
    read_input_type,
    read_model,
    whole_body,
    words,
    wrong,
)
from emr.front.forms.texts import read_strings
from emr.front.forms.vectors import BASE64, NUMBERS, to_convert, vectors_of
from emr.lane.ticket import Request

TYPES = ("float", "int8", "uint8", "binary", "ubinary", "base64")
TRUNCATES = ("NONE", "START", "END")
FROM_FLOAT = frozenset(("float", "base64"))


@dataclass(slots=True)
class CohereAsk(Ask):
    """An Ask that remembers how Cohere's client wants it answered. No types: v1's bare list."""

    types: tuple[str, ...] = ()


def _read_truncate(ask: Ask, value: Any, param: str) -> None:
    if type(value) is str:
        value = value.upper()
    ask.truncate = one_of(value, param, TRUNCATES).lower()


def _read_types(ask: Ask, value: Any, param: str) -> None:
    assert isinstance(ask, CohereAsk)
    if value == []:
        return  # as absent
    ask.types = words(value, param)
    for i, each in enumerate(ask.types):
        one_of(each, f"{param}[{i}]", TYPES)


FIELDS: Mapping[str, Reader] = {
    **OWN,
    "texts": ignore,  # read by itself: it needs the limit of texts
    "model": read_model,
    "input_type": read_input_type,
    "output_dimension": read_dimensions,
    "embedding_types": _read_types,
    "truncate": _read_truncate,
}

# what stands in for `texts`; such a request travels whole
OTHER_INPUTS = ("images", "inputs")


class CohereForm:
    """`POST /v1/embed` and `/v2/embed`."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._path = f"/v{version}/embed"

    def parse(self, body: bytes, captured: tuple[str, ...], most_texts: int) -> Ask:
        """See Form."""
        values = load(body)
        ask = CohereAsk(param="texts")
        unknown = read(ask, values, FIELDS, "")
        self._read_inputs(ask, values, unknown, most_texts)
        if not ask.types and self._version > 1:
            ask.types = ("float",)
        if unknown or not self._in_one_call(ask):
            ask.whole = whole_body(values, OWN.keys())
            ask.path = self._path
            if not ask.texts:
                ask.texts = [ask.whole]
        return ask

    def to_convert(self, ask: Ask, request: Request) -> int:
        """See Form."""
        return sum([to_convert(request.vectors, writing) for _, writing in _writings(ask)])

    def render(self, ask: Ask, request: Request, request_id: str) -> bytes:
        """See Form."""
        assert isinstance(ask, CohereAsk)
        parts = [b'{"id":"%b",' % request_id.encode("ascii")]
        if ask.types:
            parts.append(b'"response_type":"embeddings_by_type","embeddings":{')
            for i, (name, writing) in enumerate(_writings(ask)):
                vectors = b",".join(vectors_of(request, writing))
                parts.append(b'%b"%b":[%b]' % (b"," if i else b"", name.encode("ascii"), vectors))
            parts.append(b"}")
        else:
            vectors = b",".join(vectors_of(request, NUMBERS))
            parts.append(b'"response_type":"embeddings_floats","embeddings":[%b]' % vectors)
        parts.append(
            b',"texts":[%b],"meta":{"api_version":{"version":"%d"},'
            b'"billed_units":{"input_tokens":%d}}}'
            % (b",".join(ask.texts), self._version, request.billed)
        )
        return b"".join(parts)

    # helpers

    def _read_inputs(
        self, ask: CohereAsk, values: Mapping[str, Any], unknown: list[str], most_texts: int
    ) -> None:
        texts = values.get("texts")
        others = [name for name in OTHER_INPUTS if name in unknown]
        if texts is not None:
            read_strings(ask, texts, "texts", most_texts)
            return
        if not others:
            raise wrong("texts", "is missing: send a list of texts")
        for name in others:
            if type(values[name]) is not list:
                raise wrong(name, f"must be a list, not {kind_of(values[name])}")
            if not values[name]:
                raise wrong(name, "must not be an empty list")

    def _in_one_call(self, ask: CohereAsk) -> bool:
        if FROM_FLOAT.issuperset(ask.types):
            ask.base64 = ask.types == ("base64",)
            return True
        ask.dtype = ask.types[0]
        return len(ask.types) == 1


def _writings(ask: Ask) -> list[tuple[str, int]]:
    """Each type that is answered, and how its vectors are written."""
    assert isinstance(ask, CohereAsk)
    return [(name, BASE64 if name == "base64" else NUMBERS) for name in ask.types or ("float",)]
