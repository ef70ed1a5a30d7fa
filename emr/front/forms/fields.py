"""The fields of a request: each name has a reader, which checks its value and puts it into the Ask.

A form is a table of readers. An explicit null counts as absent. Names without a reader are
returned: what a form does not know makes a request travel whole. Every refusal names the field in
`param`, as the caller wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import orjson

from emr.front.desk import Ask
from emr.lane.refusal import Refusal, Refused

Reader = Callable[[Ask, Any, str], None]

SHOWN_MAX = 60  # characters of a wrong value in a message
DIMENSIONS_MAX = 1_000_000  # no vector is longer; the provider's own limit is told by its row
INPUT_TYPE_MAX = 64  # characters: longer than any provider's word

DTYPES = ("float", "int8", "uint8", "binary", "ubinary")
ENCODINGS = ("float", "base64")
POLICIES = ("any", "all")

# Cohere's words for the two that every provider knows
INPUT_TYPES = {"search_query": "query", "search_document": "document"}

_KINDS: dict[type, str] = {
    str: "a string", int: "a number", float: "a number", bool: "a boolean", list: "a list",
    dict: "an object", type(None): "null",
}  # fmt: skip


def wrong(param: str, message: str) -> Refused:
    """The refusal of one field."""
    return Refused(Refusal("validation_error", f"{param} {message}", param=param))


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    return _KINDS[type(value)]


def shown(value: str) -> str:
    """A caller's word as a message may show it: in quotes, not too long."""
    return repr(value if len(value) <= SHOWN_MAX else value[:SHOWN_MAX] + "...")


def read(ask: Ask, values: Mapping[str, Any], readers: Mapping[str, Reader], at: str) -> list[str]:
    """Read all fields of `values` into `ask`; returns the names that have no reader.

    `at` is what stands before a field's name in `param` (`requests[1].`).
    """
    unknown = []
    for name, value in values.items():
        if value is None:
            continue
        reader = readers.get(name)
        if reader is None:
            unknown.append(name)
        else:
            reader(ask, value, at + name)
    return unknown


def whole_body(values: Mapping[str, Any], without: Collection[str]) -> bytes:
    """The caller's fields, all but `without`, as the body of a request that travels whole.

    Written anew and never passed on as bytes: of a name that stands twice a provider may take the
    first, and emr would have checked the last.
    """
    return orjson.dumps({name: values[name] for name in values if name not in without})


# what a value must be


def word(value: Any, param: str) -> str:
    """A string that is not empty."""
    if type(value) is not str:
        raise wrong(param, f"must be a string, not {kind_of(value)}")
    if not value:
        raise wrong(param, "must not be an empty string")
    return value


def one_of(value: Any, param: str, choices: Collection[str]) -> str:
    """One of a list of words."""
    if type(value) is not str:
        raise wrong(param, f"must be one of {', '.join(choices)}, not {kind_of(value)}")
    if value not in choices:
        raise wrong(param, f"must be one of {', '.join(choices)}, not {shown(value)}")
    return value


def boolean(value: Any, param: str) -> bool:
    """true or false."""
    if type(value) is not bool:
        raise wrong(param, f"must be true or false, not {kind_of(value)}")
    return value


def words(value: Any, param: str) -> tuple[str, ...]:
    """A list of at least one string, each once, in the order of their first."""
    if type(value) is not list:
        raise wrong(param, f"must be a list of strings, not {kind_of(value)}")
    if not value:
        raise wrong(param, "must not be an empty list")
    return tuple(dict.fromkeys([word(each, f"{param}[{i}]") for i, each in enumerate(value)]))


# readers that several forms have


def ignore(ask: Ask, value: Any, param: str) -> None:
    """A field that is read elsewhere, or that means nothing here."""


def read_model(ask: Ask, value: Any, param: str) -> None:
    """`model`."""
    ask.model = word(value, param)


def read_provider(ask: Ask, value: Any, param: str) -> None:
    """`provider`: one name."""
    ask.provider = word(value, param)


def read_providers(ask: Ask, value: Any, param: str) -> None:
    """`providers`: several names."""
    ask.providers = words(value, param)


def read_policy(ask: Ask, value: Any, param: str) -> None:
    """`policy`: what several providers mean."""
    ask.policy = one_of(value, param, POLICIES)


def read_dimensions(ask: Ask, value: Any, param: str) -> None:
    """`dimensions`, or `output_dimension`; both may stand when they agree."""
    if type(value) is not int:
        raise wrong(param, f"must be a whole number, not {kind_of(value)}")
    if not 1 <= value <= DIMENSIONS_MAX:
        raise wrong(param, f"must be from 1 to {DIMENSIONS_MAX}, not {value}")
    if ask.dimensions is not None and ask.dimensions != value:
        raise wrong(
            param,
            f"is {value}, but dimensions and output_dimension are one and the same,"
            f" and the other is {ask.dimensions}",
        )
    ask.dimensions = value


def read_input_type(ask: Ask, value: Any, param: str) -> None:
    """`input_type`: `query`, `document`, or a word of the provider's own."""
    own = word(value, param)
    if len(own) > INPUT_TYPE_MAX:
        raise wrong(param, f"must be query, document or null, not {shown(own)}")
    ask.input_type = INPUT_TYPES.get(own, own)


def read_truncation(ask: Ask, value: Any, param: str) -> None:
    """Voyage's `truncation`, Ollama's `truncate`: whether a text that is too long is cut."""
    ask.truncate = "end" if boolean(value, param) else "none"


def read_dtype(ask: Ask, value: Any, param: str) -> None:
    """`output_dtype`: the type of a vector's numbers."""
    ask.dtype = one_of(value, param, DTYPES)


def read_encoding(ask: Ask, value: Any, param: str) -> None:
    """`encoding_format`."""
    ask.base64 = one_of(value, param, ENCODINGS) == "base64"


def read_user(ask: Ask, value: Any, param: str) -> None:
    """`user`: who the caller asks for, in the caller's own terms; may be empty."""
    if type(value) is not str:
        raise wrong(param, f"must be a string, not {kind_of(value)}")
    ask.user = value


# emr's own fields: read in every form, and never passed on
OWN: Mapping[str, Reader] = {
    "provider": read_provider,
    "providers": read_providers,
    "policy": read_policy,
}
