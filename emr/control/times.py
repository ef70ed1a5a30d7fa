"""Times as emr writes them into its database and its answers: RFC 3339, in UTC, to the second."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_RFC_3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})")
_SQLITE = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d+)?")


def time_text(seconds: float) -> str:
    """Seconds since 1970 as `2026-03-01T12:00:00Z`."""
    told = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    return told.replace("+00:00", "Z")


def parse_time(text: str) -> float:
    """The seconds since 1970 of an RFC 3339 time with its offset. Raises ValueError."""
    if _RFC_3339.fullmatch(text) is None:
        raise ValueError("must be a time as RFC 3339 has it, such as 2026-12-31T23:59:59Z")
    try:
        return datetime.fromisoformat(text.upper().replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("is not a time that exists") from None


def from_sqlite(text: object) -> str | None:
    """SQLite's `2026-03-01 12:00:00` (UTC), or an RFC 3339 time, as RFC 3339; else None."""
    if not isinstance(text, str):
        return None
    if _SQLITE.fullmatch(text):
        text += "Z"
    try:
        return time_text(parse_time(text))
    except ValueError:
        return None
