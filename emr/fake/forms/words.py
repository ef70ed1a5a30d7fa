"""What a provider says when it refuses a call: a closed set of complaints, and its words for each.

A form has a table from complaints to words. A reader raises a complaint with its facts, and the
one place that answers it puts them into the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

Headers = list[tuple[bytes, bytes]]
JSON = (b"Content-Type", b"application/json")
PLAIN = (b"Content-Type", b"text/plain; charset=utf-8")


class Complaint(Enum):
    """Why a provider refuses a call; the facts that the words may use stand beside each."""

    NO_KEY = "no key"
    BAD_KEY = "bad key"  # key
    FORBIDDEN = "forbidden"  # the key is good, and may not
    NO_ROUTE = "no route"  # path
    BAD_METHOD = "bad method"
    BAD_JSON = "bad json"
    MISSING = "missing"  # field
    UNKNOWN_FIELD = "unknown field"  # field
    WRONG_TYPE = "wrong type"  # field
    BAD_VALUE = "bad value"  # field, value, allowed
    UNKNOWN_MODEL = "unknown model"  # model, known
    NO_DIMENSIONS = "no dimensions"  # model, value: this model has one size only
    BAD_DIMENSIONS = "bad dimensions"  # model, value, allowed
    NO_TEXTS = "no texts"
    EMPTY_TEXT = "empty text"  # index, text
    POISON = "poison"  # a text is refused, its place not named
    POISON_AT = "poison at"  # index
    TOO_MANY_TEXTS = "too many texts"  # most, got
    TEXT_TOO_LONG = "text too long"  # index, most, got, text
    TOO_MANY_TOKENS = "too many tokens"  # most, got, model
    BODY_TOO_LARGE = "body too large"  # most, got
    RATE_CALLS = "rate of calls"  # limit, used, requested, wait, model, retry
    RATE_TOKENS = "rate of tokens"  # the same
    RATE_ITEMS = "rate of items"  # the same
    QUOTA = "quota"
    OVERLOADED = "overloaded"  # its capacity is used up
    UNAVAILABLE = "unavailable"  # it is down for a while
    CRASH = "crash"
    BAD_GATEWAY = "bad gateway"


@dataclass(frozen=True, slots=True)
class Words:
    """A status and a message with its facts in braces; `vague` is it without figures.

    `type`, `code` and `param` are further fields of the error, where the form has them; facts may
    stand in `param` too. `plain`: the body is the message alone, as text.
    """

    status: int
    text: str
    type: str | None = None
    code: str | int | None = None
    param: str | None = None
    vague: str | None = None
    plain: bool = False


class Saying(NamedTuple):
    """A refusal as it is sent."""

    status: int
    content: tuple[bytes, bytes]
    body: bytes


class Complain(Exception):
    """Carries a complaint and its facts out of a reader to the one place that answers it."""

    def __init__(self, complaint: Complaint, **facts: object) -> None:
        super().__init__(complaint.value)
        self.complaint = complaint
        self.facts = facts


def validation_entry(words: Words, message: str, facts: Mapping[str, object]) -> dict[str, object]:
    """A complaint as FastAPI's validator writes it: the place in parts, and what was given there.

    The place is `param` of the words; what was given is a caller's text as often as not.
    """
    place = [int(part) if part.isdigit() else part for part in (words.param or "").split(".")]
    given = facts.get("text", facts.get("value"))
    return {"type": words.type, "loc": place, "msg": message, "input": given}
