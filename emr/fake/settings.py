"""What can be set about the fake, at its start by flags and while it runs over `/_fake/settings`.

One table, the fields of `FakeSettings`: the flags of `emr fake`, the JSON of the control routes
and the words of a schedule are all read from it. 0 and the empty text mean "none", or "as the
real provider" where the help says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from math import isfinite
from typing import Annotated, Any, TypeVar, get_type_hints

from emr.fake.forms import FORMS
from emr.fake.limits import Counting, Method
from emr.fake.vectors import DIMENSIONS_MAX

E = TypeVar("E", bound=Enum)

WINDOW_S_MAX = 60.0


class Scope(Enum):
    """For whom one set of limits counts."""

    MODEL = "model"  # each model of each key
    KEY = "key"  # all models of a key together


class Tell(Enum):
    """How much the headers of an answer tell about the limits."""

    REAL = "real"  # as the real provider does
    FULL = "full"
    PARTIAL = "partial"  # calls only, and no times
    NONE = "none"


class RetryAfter(Enum):
    """What a 429 says about when to come again."""

    REAL = "real"  # as the real provider does
    RIGHT = "right"
    NONE = "none"
    SHORT = "short"  # a tenth of what is right
    HUGE = "huge"  # 1e9 seconds
    NEGATIVE = "negative"
    DATE = "date"  # right, as a date
    JUNK = "junk"


class Words(Enum):
    """Whether the words of a 429 tell the limit, what was used and when to come again."""

    TELL = "tell"  # unless the headers tell nothing
    FIGURES = "figures"
    VAGUE = "vague"


@dataclass(frozen=True, slots=True)
class FakeSettings:
    """The settings of one fake provider; every one checked by `check`."""

    form: Annotated[str, "the API of the paths without a prefix"] = "voyage"
    strict: Annotated[bool, "refuse whatever the real provider refuses"] = True
    keys: Annotated[str, "the API keys accepted, by commas; none named: any key"] = ""
    dimensions: Annotated[int, "of a vector when none are asked; 0: the model's own, else 1024"] = 0
    seed: Annotated[int, "of latencies and faults"] = 1
    # how fast it is
    latency_ms: Annotated[float, "the median time of a call"] = 180.0
    latency_sigma: Annotated[float, "spread of the times (sigma of a lognormal); 0: none"] = 0.0
    latency_ms_per_text: Annotated[float, "added to the median for each text"] = 0.0
    latency_ms_per_token: Annotated[float, "added to the median for each token"] = 0.0
    refusal_ms: Annotated[float, "the time of a refusal"] = 10.0
    uplink_ms: Annotated[float, "of a call's time, until it is where limits and faults are"] = 0.0
    servers: Annotated[int, "calls worked on at a time, the others wait; 0: all"] = 0
    waiting: Annotated[int, "calls that may wait for a server before it is overloaded; 0: all"] = 0
    concurrent_calls: Annotated[int, "calls at a time before it is overloaded; 0: any"] = 0
    concurrent_texts: Annotated[int, "texts at a time before it is overloaded; 0: any"] = 0
    # its limits
    rpm: Annotated[float, "calls a minute; 0: any"] = 0.0
    tpm: Annotated[float, "tokens a minute; 0: any"] = 0.0
    ipm: Annotated[float, "texts a minute; 0: any"] = 0.0
    counting: Annotated[Counting, "how a minute is counted"] = Counting.SLIDING
    window_s: Annotated[float, "the length of a window when counting by windows"] = 1.0
    burst_s: Annotated[float, "how much of the limit a bucket holds"] = 60.0
    scope: Annotated[Scope, "limits count for each model of a key, or for each key"] = Scope.MODEL
    count_failed: Annotated[bool, "failed and refused calls count as calls too"] = False
    thief: Annotated[float, "the share of every limit that somebody else takes"] = 0.0
    tell: Annotated[Tell, "how much the headers tell about the limits"] = Tell.REAL
    words: Annotated[Words, "whether the words of a 429 have its figures"] = Words.TELL
    retry_after: Annotated[RetryAfter, "what a 429 says about when to come again"] = RetryAfter.REAL
    # its caps
    max_texts: Annotated[int, "texts of a call; 0: the provider's own"] = 0
    max_tokens: Annotated[int, "tokens of a call; 0: the model's own"] = 0
    max_text_tokens: Annotated[int, "tokens of a text; 0: the model's own"] = 0
    max_bytes: Annotated[int, "bytes of a call's body; 0: any"] = 0
    bytes_per_token: Annotated[float, "how the fake counts tokens"] = 4.0
    # what goes wrong
    faults: Annotated[str, "faults and their probabilities: 500=0.1,reset=0.05"] = ""
    schedule: Annotated[str, "by seconds: '0-60 error=0.5; 60-120 reset=1 rpm=100; 120- none'"] = ""
    poison: Annotated[str, "texts that are refused: MARKER=index|silent|crash|hang, by commas"] = ""
    record: Annotated[int, "how many of the last calls /_fake/calls shows, with their bodies"] = 0
    journal: Annotated[bool, "keep a line about each call, for /_fake/journal"] = False


DEFAULTS: Mapping[str, Any] = {f.name: f.default for f in fields(FakeSettings)}
HELP: Mapping[str, str] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(FakeSettings, include_extras=True).items()
}
# what a schedule cannot change: it would change itself, or what was there before it began
UNSCHEDULED = frozenset(
    {"form", "schedule", "seed", "faults", "poison", "counting", "scope", "record", "journal"}
)


def method_of(s: FakeSettings) -> Method:
    """The model of counting that the settings choose."""
    return Method(s.counting, s.window_s, s.burst_s)


def changed(base: FakeSettings, values: Mapping[str, object]) -> FakeSettings:
    """`base` with other values, as JSON or a flag gives them.

    Raises ValueError, naming the setting, for an unknown one or a value that does not fit.
    """
    read = {}
    for name, value in values.items():
        if name not in DEFAULTS:
            raise ValueError(f"there is no setting {name!r}; there are {', '.join(DEFAULTS)}")
        read[name] = convert(name, value)
    made = replace(base, **read)
    check(made)
    return made


def convert(name: str, value: object) -> Any:
    """`value` as the type of that setting; texts are read."""
    default = DEFAULTS[name]
    if isinstance(default, Enum):
        return convert_enum(name, type(default), value)
    if isinstance(default, bool):
        if value in (True, "true", "yes", "1"):
            return True
        if value in (False, "false", "no", "0"):
            return False
        raise ValueError(f"{name} is true or false, not {value!r}")
    if isinstance(default, str):
        if not isinstance(value, str):
            raise ValueError(f"{name} is a text, not {value!r}")
        return value
    kind = type(default)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{name} is a number, not {value!r}")
    try:
        number = kind(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} is a number, not {value!r}") from None
    if isinstance(value, float) and number != value:
        raise ValueError(f"{name} is a whole number, not {value!r}")
    return number


def convert_enum(name: str, kind: type[E], value: object) -> E:
    """`value`, a member or its name in settings."""
    if isinstance(value, kind):
        return value
    for member in kind:
        if member.value == value:
            return member
    raise ValueError(f"{name} is one of {', '.join(str(m.value) for m in kind)}, not {value!r}")


def check(s: FakeSettings) -> None:
    """Raises ValueError, naming the setting, for a value outside its range."""
    if s.form not in FORMS:
        raise ValueError(f"form is one of {', '.join(FORMS)}, not {s.form!r}")
    for name in DEFAULTS:
        value = getattr(s, name)
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"{name} is a finite number")
        if isinstance(value, int | float) and value < 0 and name != "seed":
            raise ValueError(f"{name} is not below 0")
    if s.dimensions > DIMENSIONS_MAX:
        raise ValueError(f"dimensions is at most {DIMENSIONS_MAX}")
    if s.thief >= 1.0:
        raise ValueError("thief is a share from 0 to below 1")
    if not 0.0 < s.window_s <= WINDOW_S_MAX:
        raise ValueError(f"window_s is above 0 and at most {WINDOW_S_MAX:g}")
    if s.burst_s <= 0.0:
        raise ValueError("burst_s is above 0")
    if s.bytes_per_token <= 0.0:
        raise ValueError("bytes_per_token is above 0")


def plain(s: FakeSettings) -> dict[str, object]:
    """The settings as JSON shows them."""
    values = {name: getattr(s, name) for name in DEFAULTS}
    return {name: v.value if isinstance(v, Enum) else v for name, v in values.items()}
