"""What the fake tells about its limits: in headers, in Retry-After, and in words."""

from __future__ import annotations

from email.utils import formatdate
from math import ceil

from emr.fake.forms.form import Form, LimitState
from emr.fake.forms.words import Headers
from emr.fake.quota import Charged, Quota
from emr.fake.settings import FakeSettings, RetryAfter, Tell

HUGE_S = 1e9  # three decades: must be taken for nonsense, or at most for an hour


def limit_headers(form: Form, quota: Quota | None, s: FakeSettings, now: float) -> Headers:
    """The headers about limits that an answer gets."""
    tell = s.tell
    if tell is Tell.REAL:
        tell = Tell.FULL if form.tells_limits else Tell.NONE
    if quota is None or tell is Tell.NONE:
        return []
    state = quota.state(now)
    if tell is Tell.PARTIAL:
        name = Charged.CALLS.value
        state = {n: LimitState(x.limit, x.left, -1.0) for n, x in state.items() if n == name}
    return form.limit_headers(state)


def retry_headers(form: Form, wait_s: float, how: RetryAfter, wall_s: float) -> Headers:
    """What a 429 says about when to come again; `wall_s` is the time since 1970."""
    if how is RetryAfter.REAL:
        how = RetryAfter.RIGHT if form.tells_retry else RetryAfter.NONE
    if how is RetryAfter.NONE:
        return []
    if how is RetryAfter.DATE:
        date = formatdate(ceil(wall_s + wait_s), usegmt=True)
        return [(b"retry-after", date.encode())]
    if how is RetryAfter.SHORT:
        return [(b"retry-after", b"%d" % max(1, int(wait_s / 10.0)))]
    if how is RetryAfter.RIGHT:
        return [
            (b"retry-after", b"%d" % ceil(wait_s)),
            (b"retry-after-ms", b"%d" % ceil(wait_s * 1000.0)),
        ]
    words = {RetryAfter.HUGE: b"%d" % HUGE_S, RetryAfter.NEGATIVE: b"-1", RetryAfter.JUNK: b"soon"}
    return [(b"retry-after", words[how])]


def amount(number: float) -> str:
    """As providers write limits: `3`, `10K`, `2.5M`."""
    for size, letter in ((1_000_000, "M"), (1000, "K")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def seconds(number: float) -> str:
    """As Google writes a duration in JSON: `34s`, `0.5s`."""
    return f"{round(number, 3):g}s"


def masked(key: str) -> str:
    """A key as providers show it in their errors."""
    return f"{key[:3]}***{key[-2:]}" if len(key) > 8 else "***"
