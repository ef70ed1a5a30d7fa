"""The ways in which the fake goes wrong on purpose, and which of them strikes a call.

A fault is drawn once a call, from the probabilities in force; their sum is at most 1. Those of
the reply (`SPOILT`) are applied by `emr.fake.damage`, the others by `emr.fake.provider`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from random import Random


class Fault(Enum):
    """By the names that settings and schedules use."""

    # refusals, with the provider's own words
    RATE = "429"  # with Retry-After
    RATE_BARE = "429-bare"  # without
    ERROR = "500"
    BAD_GATEWAY = "502"  # an HTML page, as gateways answer
    UNAVAILABLE = "503"
    OVERLOADED = "529"
    CAPACITY = "overloaded"  # no capacity left, with the status that the provider has for it
    AUTH = "auth"  # the key is refused
    FORBIDDEN = "forbidden"  # the key is good, and may not
    QUOTA = "quota"  # the account has no money left
    # no reply, or one that does not come whole
    HANG = "hang"  # nothing ever comes
    RESET = "reset"  # the connection is reset before the reply
    CUT = "cut"  # half of the reply, then a reset
    STALL = "stall"  # half of the reply, then nothing
    DRIP = "drip"  # the whole reply, in small pieces over ten seconds
    GIANT = "giant"  # a reply of 96 MiB
    SLOW = "slow"  # right, but ten times as late
    # a 200 with wrong vectors
    SHORT = "short"  # one vector too few
    LONG = "long"  # one too many
    SHUFFLED = "shuffled"  # in another order, each with its right index
    DUPLICATE = "duplicate"  # an index stands twice
    NAN = "nan"
    INFINITY = "infinity"
    NULL = "null"  # a number is null
    DIMENSION = "dimension"  # one vector has a number too few
    # a 200 with a wrong body
    EMPTY = "empty"
    GARBAGE = "garbage"
    TRUNCATED = "truncated"  # JSON that ends in its middle
    HTML = "html"
    ERROR_200 = "error-200"  # an error body under a 200
    # a right reply in an unusual dress
    GZIP = "gzip"  # compressed, though nobody asked for it
    CONTENT_TYPE = "content-type"  # called text/plain
    EXPONENT = "exponent"  # numbers written with exponents


ALIASES = {"error": Fault.ERROR, "rate": Fault.RATE, "inf": Fault.INFINITY}

# the caller cannot use such a reply (a reset one aside, the provider has done the work)
SPOILT = frozenset({
    Fault.SHORT, Fault.LONG, Fault.DUPLICATE, Fault.NAN, Fault.INFINITY, Fault.NULL,
    Fault.DIMENSION, Fault.EMPTY, Fault.GARBAGE, Fault.TRUNCATED, Fault.HTML, Fault.ERROR_200,
    Fault.CUT, Fault.STALL, Fault.GIANT,
})  # fmt: skip

Odds = Mapping[Fault, float]


def fault_named(name: str) -> Fault:
    """Raises ValueError with the names that there are."""
    alias = ALIASES.get(name)
    if alias is not None:
        return alias
    try:
        return Fault(name)
    except ValueError:
        known = ", ".join([*(f.value for f in Fault), *ALIASES])
        raise ValueError(f"no fault is called {name!r}; there are {known}") from None


def read_odds(text: str) -> dict[Fault, float]:
    """`500=0.1, reset=0.05`; a name alone means always; `none` or nothing: no faults."""
    odds: dict[Fault, float] = {}
    for part in text.replace(",", " ").split():
        name, has_odds, number = part.partition("=")
        if name == "none" and not has_odds:
            continue
        odds[fault_named(name)] = read_probability(part, number) if has_odds else 1.0
    check_odds(odds)
    return odds


def read_probability(what: str, text: str) -> float:
    """A number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{what}: a probability is a number from 0 to 1")
    return number


def check_odds(odds: Odds) -> None:
    """Raises ValueError when a call could be struck twice."""
    total = sum(odds.values())
    if total > 1.0 + 1e-9:
        raise ValueError(f"the probabilities of the faults add up to {total:g}, more than 1")


def draw(odds: Odds, rng: Random) -> Fault | None:
    """Which fault strikes a call, None for most; draws one number whatever the odds."""
    point = rng.random()
    for fault, probability in odds.items():
        point -= probability
        if point < 0.0:
            return fault
    return None
