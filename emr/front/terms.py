"""On what terms a request waits: class, deadline, cache, from headers, its size and its key."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from emr.front.desk import Desk, Principal
from emr.front.forms.fields import wrong

BULK_TEXTS = 32  # more texts than this in one request are bulk unless it says otherwise
TIMEOUT_MAX_MS = 3_600_000
TIMEOUT_MAX_S = TIMEOUT_MAX_MS / 1000
TIMEOUT_MIN_S = 0.001

# what OpenAI's SDKs say of their own timeout, in seconds: Python's, then Node's
STAINLESS = (b"x-stainless-read-timeout", b"x-stainless-timeout")

# of Cache-Control; among other words, in either case
_NO_STORE = re.compile(rb"(?:^|,)\s*no-store\s*(?:,|$)", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,7}")


class Terms(NamedTuple):
    """`deadline` and `arrived` are in the core's clock, seconds.

    `no_store`: nothing is taken from the cache, and nothing kept in it.
    """

    bulk: bool
    arrived: float
    deadline: float
    no_store: bool = False


def terms_of(
    headers: dict[bytes, bytes], texts: int, principal: Principal, desk: Desk, now: float
) -> Terms:
    """The terms of a request with so many texts that arrived `now`.

    Raises Refused: validation_error for a header that says something unreadable.
    """
    bulk = _is_bulk(headers, texts, principal)
    timeout_s = _timeout_s(headers)
    if timeout_s is None:
        timeout_s = desk.default_timeout_s(bulk)
    asked = headers.get(b"cache-control")
    no_store = asked is not None and _NO_STORE.search(asked) is not None
    return Terms(bulk, now, now + timeout_s, no_store)


def _is_bulk(headers: dict[bytes, bytes], texts: int, principal: Principal) -> bool:
    asked = headers.get(b"x-emr-priority")
    bulk = texts > BULK_TEXTS
    if asked is not None:
        asked = asked.lower()
        if asked not in (b"interactive", b"bulk"):
            raise wrong("x-emr-priority", "must be interactive or bulk")
        bulk = asked == b"bulk"
    return bulk or principal.bulk_only


def _timeout_s(headers: dict[bytes, bytes]) -> float | None:
    asked = headers.get(b"x-emr-timeout-ms")
    if asked is not None:
        if _DIGITS.fullmatch(asked) is None or not 1 <= int(asked) <= TIMEOUT_MAX_MS:
            raise wrong("x-emr-timeout-ms", f"must be a whole number from 1 to {TIMEOUT_MAX_MS}")
        return int(asked) / 1000
    for name in STAINLESS:
        hint = headers.get(name)
        if hint is not None:
            seconds = _seconds(hint)
            if seconds is not None:
                return seconds
    return None


def _seconds(hint: bytes) -> float | None:
    """A hint within the bounds; None for one that says nothing.

    Zero says nothing either: Node's SDK writes whole seconds, and 0 for half of one.
    """
    try:
        seconds = float(hint)
    except ValueError:
        return None
    if math.isnan(seconds) or seconds <= 0.0:
        return None
    return min(max(seconds, TIMEOUT_MIN_S), TIMEOUT_MAX_S)
