"""What is asked of usage, and the answer: the words of `GET /admin/usage` and of `emr usage`.

Calls saved = the calls that the answered requests would have taken one by one, each on its own at
what a call of its provider may carry, less the calls that were made for them, tries that failed
included: so in an outage it may be below zero. Calls of emr's own save and waste none. A cost is
null as soon as the price of one token of it is not known: never a sum that takes unknown for free.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from emr.control.ledger import CALL, OWN
from emr.control.quotas import month_start
from emr.control.rows import nearest
from emr.control.times import parse_time, time_text
from emr.control.usage_rows import GROUPS, HOUR_S, Group, Question, Sums
from emr.lane.refusal import Refusal, Refused

ASKED = ("by", "since", "until")
DEFAULT_BY = "key,provider,model"
DEFAULT_SINCE = "30d"
ROWS_MAX = 10_000  # 4 MB of JSON; what somebody wants of more is a shorter time
LAST_HOUR = 61_623_720  # of the year 9000: it can be written, whatever zone it was asked in
OWN_NAME = "emr's own"
COUNTS = ("requests", "errors", "abandoned", "limited", "texts", "cache_hits", "tokens")
MEASURES = (*COUNTS, "calls", "calls_saved", "cost", "tokens_without_price")

_SPAN = re.compile(r"(\d{1,5})([hdw])")
_SPAN_HOURS = {"h": 1, "d": 24, "w": 168}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def question_of(given: Mapping[str, str], now: float) -> Question:
    """What `by`, `since` and `until` ask. Raises Refused: validation_error."""
    for name in given:
        if name not in ASKED:
            reason = f"is not known; there are {', '.join(ASKED)}{nearest(name, ASKED)}"
            raise _refused(name, reason)
    since = _hour(given.get("since") or DEFAULT_SINCE, "since", now)
    until = _hour(given["until"], "until", now) if given.get("until") else int(now) // HOUR_S + 1
    if until <= since:
        raise _refused("until", "must be later than since, by an hour at least")
    return Question(_groups(given.get("by", DEFAULT_BY)), since, until)


def _groups(text: str) -> tuple[str, ...]:
    names = tuple(name for name in (part.strip() for part in text.split(",")) if name)
    for name in names:
        if name not in GROUPS:
            known = tuple(GROUPS)
            reason = f"{name!r} is nothing to group by; there are {', '.join(known)}"
            raise _refused("by", reason + nearest(name, known))
    if len(set(names)) != len(names):
        raise _refused("by", "must not name a thing twice")
    return names


def _hour(text: str, name: str, now: float) -> int:
    """The hour in which a time is; `30d` is so long ago, `month` the first of this month."""
    span = _SPAN.fullmatch(text)
    if span is not None:
        return max(0, int(now) // HOUR_S + 1 - int(span[1]) * _SPAN_HOURS[span[2]])
    if text == "month":
        return int(month_start(now)) // HOUR_S
    try:
        at = parse_time(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
    except ValueError as error:
        reason = (
            "must be a time such as 2026-12-31T12:00:00Z, a date, a span such as 12h, 30d or 8w,"
            " or month"
        )
        raise _refused(name, reason) from error
    return max(0, min(int(at) // HOUR_S, LAST_HOUR))


def _refused(param: str, reason: str) -> Refused:
    return Refused(Refusal("validation_error", f"{param} {reason}", param=param))


def too_many(question: Question) -> Refused:
    """The answer would be too long."""
    return _refused("by", f"gives over {ROWS_MAX} rows: ask for a shorter time, or by fewer things")


def report(
    question: Question,
    groups: Sequence[tuple[Group, Sums]],
    names: Mapping[str, str],
    total: Sums,
) -> dict[str, Any]:
    """The answer."""
    return {
        "since": time_text(question.since * HOUR_S),
        "until": time_text(question.until * HOUR_S),
        "by": list(question.by),
        "usage": [said(question, group, names) | measures(sums) for group, sums in groups],
        "total": measures(total),
    }


def said(question: Question, group: Group, names: Mapping[str, str]) -> dict[str, Any]:
    """What a row is of. `key` is the key's id, null for emr's own calls."""
    told: dict[str, Any] = {}
    for name, value in zip(question.by, group, strict=True):
        if isinstance(value, int):
            text = time_text(value * HOUR_S)
            told[name] = text[:10] if name == "day" else text
        elif name == "key":
            told["key"] = None if value == OWN else value
            told["key_name"] = OWN_NAME if value == OWN else names.get(value)
        else:
            told[name] = value
    return told


def measures(sums: Sums) -> dict[str, Any]:
    """What was counted, as people and programs read it."""
    told: dict[str, Any] = {name: getattr(sums, name) for name in COUNTS}
    told["calls"] = in_calls(sums.call_parts)
    told["calls_saved"] = in_calls(sums.alone * CALL - sums.call_parts)
    told["cost"] = None if sums.tokens_without_price else round(sums.cost, 9)
    told["tokens_without_price"] = sums.tokens_without_price
    return told


def in_calls(parts: int) -> int | float:
    """Millionths of calls as calls: a whole number where they are whole."""
    calls, rest = divmod(parts, CALL)
    return calls if not rest else round(parts / CALL, 3)
