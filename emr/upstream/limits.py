"""Times and limits that a reply tells: how long to wait, and what is allowed in a minute.

Headers differ from provider to provider and are sometimes nonsense (Azure sends -1 and 0); a value
that is not a positive number is as if absent. All of it is only an observation: the pace decides.

OpenAI's `x-ratelimit-limit-requests` may be of a day: then `reset-requests`, the time until the
limit is full again, is long for what was used. A limit whose window is over two minutes is not
taken for one of a minute.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from emr.lane.verdict import Dimension, Limits

Headers = Mapping[bytes, bytes]

WINDOW_MAX_S = 120.0
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_AGAIN_IN = re.compile(
    r"(?:again|retry) (?:in|after) (?:about )?"
    r"((?:[\d.]{1,16}(?:ms|[hms])){1,4}|[\d.]{1,16} (?:milliseconds?|seconds?|minutes?|hours?))\b",
    re.IGNORECASE,
)
_COUNT = r"(\d[\d,]{0,15}(?:\.\d{1,9})?)\s?([KM]?)\b"
_PER_MINUTE = {
    Dimension.CALLS: re.compile(
        rf"{_COUNT} ?(?:RPM\b|(?:API )?(?:calls|requests) ?(?:/|per|a) ?min)", re.IGNORECASE
    ),
    Dimension.TOKENS: re.compile(rf"{_COUNT} ?(?:TPM\b|tokens ?(?:/|per|a) ?min)", re.IGNORECASE),
    Dimension.ITEMS: re.compile(
        rf"{_COUNT} ?(?:IPM\b|(?:inputs|items|texts) ?(?:/|per|a) ?min)", re.IGNORECASE
    ),
}
_BARE_LIMIT = re.compile(rf"\blimit:? (?:is |of )?{_COUNT}", re.IGNORECASE)
_NAMED = {
    Dimension.TOKENS: re.compile(r"tokens?[ -]?(?:per|rate|limit|/)|\bTPM\b", re.IGNORECASE),
    Dimension.CALLS: re.compile(
        r"(?:requests?|calls?) ?(?:per|rate|limit|/)|\bRPM\b", re.IGNORECASE
    ),
    Dimension.ITEMS: re.compile(r"\b(?:inputs?|items?|texts?) ?(?:per|/)|\bIPM\b", re.IGNORECASE),
}

_HEADER_NAMES = {
    "calls": (b"x-ratelimit-limit-requests", b"x-ratelimit-limit-req-minute"),
    "calls_left": (b"x-ratelimit-remaining-requests", b"x-ratelimit-remaining-req-minute"),
    "tokens": (
        b"x-ratelimit-limit-tokens",
        b"x-ratelimitbysize-limit-minute",
        b"ratelimitbysize-limit",
    ),
    "tokens_left": (
        b"x-ratelimit-remaining-tokens",
        b"x-ratelimitbysize-remaining-minute",
        b"ratelimitbysize-remaining",
    ),
}
_RESETS = (("calls", b"x-ratelimit-reset-requests"), ("tokens", b"x-ratelimit-reset-tokens"))


def retry_after_s(
    headers: Headers, details: list[dict[str, Any]], words: str, now: float
) -> float | None:
    """The seconds that the provider asks to wait, None when it does not, or says nonsense.

    In this order: `retry-after-ms`, `Retry-After` (seconds or a date; `now` is the wall clock, as
    of the receipt), Gemini's RetryInfo among `details`, "try again in 20s" among the words.
    """
    ms = _number(headers.get(b"retry-after-ms"))
    if ms is not None:
        return ms / 1000.0
    raw = headers.get(b"retry-after")
    if raw is not None:
        seconds = _number(raw)
        if seconds is None:
            seconds = _date(raw, now)
        if seconds is not None:
            return seconds
    for detail in details:
        delay = detail.get("retryDelay")
        if type(delay) is str and "RetryInfo" in str(detail.get("@type", "")):
            return _duration_s(delay)
    again = _AGAIN_IN.search(words)
    return _duration_s(_short_unit(again.group(1))) if again else None


def limits_of_headers(headers: Headers) -> Limits | None:
    """The limits a minute that the headers of a reply tell; None when they tell none."""
    found: dict[str, float] = {}
    for name, keys in _HEADER_NAMES.items():
        for key in keys:
            value = _number(headers.get(key)) if key in headers else None
            if value is not None:
                found[name] = value
                break
    if not found:
        return None
    for name, key in _RESETS:
        if _is_of_a_longer_time(found.get(name), found.get(f"{name}_left"), headers.get(key)):
            found.pop(name)
            found.pop(f"{name}_left")
    return Limits(**found) if found else None


def limits_of_words(words: str) -> tuple[Limits | None, Dimension | None]:
    """The limits a minute in the text of a 429, and which of them was met, where it says so."""
    named = [d for d, pattern in _NAMED.items() if pattern.search(words)]
    met = named[0] if len(named) == 1 else None
    found: dict[str, float] = {}
    for dimension, pattern in _PER_MINUTE.items():
        match = pattern.search(words)
        value = _count(match) if match else None
        if value:
            found[dimension.value] = value
    if met is not None and met.value not in found:
        match = _BARE_LIMIT.search(words)
        value = _count(match) if match else None
        if value:
            found[met.value] = value
    return (Limits(**found) if found else None), met


def _is_of_a_longer_time(limit: float | None, left: float | None, reset: bytes | None) -> bool:
    """Whether a limit refills so slowly that it is of an hour or a day."""
    if limit is None or left is None or reset is None or left >= limit:
        return False
    reset_s = _duration_s(reset.decode("latin-1"))
    if reset_s is None:
        return False
    # `reset` comes rounded, so little use says nothing: 1 of 3,000 in "20ms" is right, in "1s" not
    return reset_s > 2.0 and reset_s * limit / (limit - left) > WINDOW_MAX_S


def _number(raw: bytes | None) -> float | None:
    """A positive finite number, None for anything else."""
    if raw is None or len(raw) > 40 or b"_" in raw:
        return None
    try:
        value = float(raw)
    except ValueError:
        return None
    return value if 0.0 < value < math.inf else None


def _date(raw: bytes, now: float) -> float | None:
    try:
        until = parsedate_to_datetime(raw.decode("ascii")).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    wait = until - now
    return wait if 0.0 < wait < math.inf else None


def _duration_s(text: str) -> float | None:
    """Seconds of a duration as Go writes it: `6m0s`, `1.5s`, `120ms`."""
    match = _DURATION.fullmatch(text.strip()) if len(text) < 40 else None
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds, ms = (float(part) if part else 0.0 for part in match.groups())
    total = hours * 3600.0 + minutes * 60.0 + seconds + ms / 1000.0
    return total if total > 0.0 else None


def _short_unit(text: str) -> str:
    """`20 seconds` as `20s`."""
    number, _, unit = text.partition(" ")
    if not unit:
        return text
    return number + ("ms" if unit.startswith("milli") else unit[0])


def _count(match: re.Match[str]) -> float | None:
    number = float(match.group(1).replace(",", ""))
    scale = {"K": 1e3, "M": 1e6}.get(match.group(2).upper(), 1.0)
    return number * scale if number > 0 else None
