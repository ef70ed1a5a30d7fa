"""The forms that a value of the configuration can have: how it is checked, read and written.

A form is used by every way in: TOML and JSON hand `take` a value, the environment and flags hand
`parse` a text, and `literal` writes the value as TOML. `take` and `parse` raise ValueError with
the reason alone; who calls them knows the file, the line and the key. A reason never repeats a
value that could be a key pasted into the wrong field.

Sizes are whole numbers of bytes or a text such as "16 MiB" (KiB, MiB, GiB, each 1024 of the one
before). kB and MB are refused: half of their readers would get a size they did not mean.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Protocol

_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"(\d{1,15})\s*(KiB|MiB|GiB)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
TRUE_WORDS, FALSE_WORDS = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
TEXT_LENGTH_MAX = 4096  # a path of Linux; nothing here is longer


class Form(Protocol):
    """What a value of one kind looks like."""

    def take(self, value: object) -> Any:
        """The value itself, checked. Raises ValueError with the reason."""

    def parse(self, text: str) -> Any:
        """The value that `text`, of the environment or a flag, means. Raises ValueError."""

    def literal(self, value: Any) -> str:
        """The value as TOML."""

    def plain(self, value: Any) -> Any:
        """The value as JSON and TOML know it."""

    def describe(self) -> str:
        """A few words for the documentation and for refusals."""


class _Plain:
    """What most forms share: the value is its own plain form, and JSON's literals are TOML's."""

    def literal(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    def plain(self, value: Any) -> Any:
        return value


@dataclass(frozen=True)
class Whole(_Plain):
    """A whole number from `low` to `high`."""

    low: int
    high: int

    def take(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be {self.describe()}, not {_word(value)}")
        if not self.low <= value <= self.high:
            raise ValueError(f"must be {self.describe()}, not {value}")
        return value

    def parse(self, text: str) -> int:
        if re.fullmatch(r"[+-]?[0-9]{1,18}", text) is None:
            raise ValueError(f"must be {self.describe()}")
        return self.take(int(text))

    def describe(self) -> str:
        return f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True)
class Real(_Plain):
    """A number from `low` to `high`; never infinite, never NaN."""

    low: float
    high: float

    def take(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"must be {self.describe()}, not {_word(value)}")
        if not self.low <= value <= self.high:
            raise ValueError(f"must be {self.describe()}, not {value}")
        return float(value)

    def parse(self, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise ValueError(f"must be {self.describe()}") from None
        return self.take(number)

    def describe(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Size:
    """A number of bytes from `low` to `high`, or a text with KiB, MiB or GiB."""

    low: int
    high: int

    def take(self, value: object) -> int:
        if isinstance(value, str):
            return self.parse(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be {self.describe()}, not {_word(value)}")
        if not self.low <= value <= self.high:
            raise ValueError(f"must be {self.describe()}, not {value}")
        return value

    def parse(self, text: str) -> int:
        match = _SIZE.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"must be {self.describe()}")
        return self.take(int(match[1]) * _UNITS.get(match[2] or "", 1))

    def literal(self, value: Any) -> str:
        words = size_text(value)
        return words if words.isdigit() else f'"{words}"'

    def plain(self, value: Any) -> Any:
        return value

    def describe(self) -> str:
        return f'bytes from {size_text(self.low)} to {size_text(self.high)}, as "16 MiB" or 65536'


@dataclass(frozen=True)
class Text(_Plain):
    """A text on one line, not empty."""

    word: str = "a text"
    length_max: int = TEXT_LENGTH_MAX

    def take(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be {self.word}, not {_word(value)}")
        text = value.strip()
        if not text:
            raise ValueError("must not be empty")
        if len(text) > self.length_max:
            raise ValueError(f"must be at most {self.length_max} characters, not {len(text)}")
        if not text.isprintable():
            raise ValueError("must not contain control characters or line breaks")
        return text

    def parse(self, text: str) -> str:
        return self.take(text)

    def describe(self) -> str:
        return self.word


@dataclass(frozen=True)
class Pattern(_Plain):
    """A text that matches `pattern` as a whole. The text is not repeated in the refusal."""

    pattern: re.Pattern[str]
    word: str

    def take(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be {self.word}, not {_word(value)}")
        if self.pattern.fullmatch(value) is None:
            raise ValueError(f"must be {self.word}")
        return value

    def parse(self, text: str) -> str:
        return self.take(text)

    def describe(self) -> str:
        return self.word


@dataclass(frozen=True)
class Choice(_Plain):
    """One of a few words."""

    words: tuple[str, ...]

    def take(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise ValueError(f"must be {self.describe()}")
        return value

    def parse(self, text: str) -> str:
        return self.take(text.lower())

    def describe(self) -> str:
        *others, last = (f'"{word}"' for word in self.words)
        return f"{', '.join(others)} or {last}" if others else last


@dataclass(frozen=True)
class Switch(_Plain):
    """true or false."""

    def take(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, not {_word(value)}")
        return value

    def parse(self, text: str) -> bool:
        word = text.lower()
        if word in TRUE_WORDS:
            return True
        if word in FALSE_WORDS:
            return False
        raise ValueError("must be true or false")

    def describe(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class Mode(_Plain):
    """The permissions of a file, such as 0660: a text in octal, or TOML's 0o660."""

    def take(self, value: object) -> int:
        if isinstance(value, str):
            return self.parse(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be {self.describe()}, not {_word(value)}")
        if not 0 <= value <= 0o777:
            raise ValueError(f"must be {self.describe()}; write a number in octal, 0o660")
        return value

    def parse(self, text: str) -> int:
        if re.fullmatch(r"(0o)?[0-7]{3,4}", text) is None:
            raise ValueError(f"must be {self.describe()}")
        return self.take(int(text.removeprefix("0o"), 8))

    def literal(self, value: Any) -> str:
        return f'"{value:04o}"'

    def plain(self, value: Any) -> Any:
        return f"{value:04o}"

    def describe(self) -> str:
        return 'the permissions of a file, such as "0660"'


@dataclass(frozen=True)
class Many:
    """A list of `item`, kept as a tuple; one value alone stands for a list of one.

    In the environment the values are parted by commas.
    """

    item: Form
    least: int = 0
    most: int = 1000  # no list of the configuration is longer; a bound all the same

    def take(self, value: object) -> tuple[Any, ...]:
        values = list(value) if isinstance(value, list | tuple) else [value]
        taken = []
        for place, one in enumerate(values):
            try:
                taken.append(self.item.take(one))
            except ValueError as error:
                where = f"[{place}] " if len(values) > 1 else ""
                raise ValueError(f"{where}{error}") from None
        return self._counted(taken)

    def parse(self, text: str) -> tuple[Any, ...]:
        parts = [part.strip() for part in text.split(",")]
        return self._counted([self.item.parse(part) for part in parts if part])

    def _counted(self, values: list[Any]) -> tuple[Any, ...]:
        if not self.least <= len(values) <= self.most:
            raise ValueError(f"must have {self.least} to {self.most} values, not {len(values)}")
        return tuple(values)

    def literal(self, value: Any) -> str:
        return f"[{', '.join(self.item.literal(one) for one in value)}]"

    def plain(self, value: Any) -> Any:
        return [self.item.plain(one) for one in value]

    def describe(self) -> str:
        return f"{self.item.describe()}, or a list"


@dataclass(frozen=True)
class Distinct(Many):
    """A list in which no value stands twice."""

    def _counted(self, values: list[Any]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("must not have a value twice")
        return super()._counted(values)


VARIABLE = Pattern(
    _VARIABLE,
    "the NAME of an environment variable (letters, digits and _), never the key itself",
)


def size_text(count: int) -> str:
    """`count` bytes in the largest unit that gives a whole number: `16 MiB`, `1000`."""
    for unit, factor in reversed(_UNITS.items()):
        if count >= factor and count % factor == 0:
            return f"{count // factor} {unit}"
    return str(count)


def _word(value: object) -> str:
    """What kind of value it is, in the words of TOML and JSON."""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    return names.get(type(value), f"a {type(value).__name__}")
