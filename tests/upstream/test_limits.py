"""Times and limits in headers and words, and the nonsense that stands there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emr.lane.verdict import Dimension, Limits
from emr.upstream.limits import limits_of_headers, limits_of_words, retry_after_s

NOW = 1_445_412_475.0  # Wed, 21 Oct 2015 07:27:55 GMT


def after(
    words: str = "", details: list[dict[str, Any]] | None = None, **headers: str
) -> float | None:
    raw = {k.replace("_", "-").encode(): v.encode() for k, v in headers.items()}
    return retry_after_s(raw, details or [], words, NOW)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5.0), ("0.25", 0.25), (" 7 ", 7.0), ("1e3", 1000.0), ("1000000000", 1e9),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 5.0), ("Wed, 21 Oct 2015 08:27:55 GMT", 3600.0),
        ("Wed, 21 Oct 2015 07:27:55 GMT", None), ("Wed, 21 Oct 2015 07:00:00 GMT", None),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", 5.0),
        ("0", None), ("-1", None), ("nan", None), ("inf", None), ("1e400", None), ("-inf", None),
        ("", None), ("soon", None), ("5s", None), ("1_0", None), ("0x5", None), ("5, 6", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None), ("9" * 60, None),
        ("Wed, 21 Oct 99999999 07:28:00 GMT", None), ("\xff\xfe", None),
    ],
)  # fmt: skip
def test_retry_after(value: str, seconds: float | None) -> None:
    assert after(retry_after=value) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"), [("1500", 1.5), ("0.5", 0.0005), ("-5", None), ("x", None)]
)
def test_retry_after_ms(value: str, seconds: float | None) -> None:
    assert after(retry_after_ms=value) == seconds


def retry_info(delay: Any) -> list[dict[str, Any]]:
    return [{"@type": "x.QuotaFailure"}, {"@type": "g/google.rpc.RetryInfo", "retryDelay": delay}]


def test_who_is_believed_first() -> None:
    words = "Please try again in 20s."
    assert after(words, retry_info("34s"), retry_after_ms="100", retry_after="5") == 0.1
    assert after(words, retry_info("34s"), retry_after="5") == 5.0
    assert after(words, retry_info("34s"), retry_after="junk", retry_after_ms="-1") == 34.0
    assert after(words, retry_info(34)) == 20.0
    assert after(words, [{"retryDelay": "34s"}]) == 20.0
    assert after(words, retry_after="0") == 20.0
    assert after("no time") is None


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Please try again in 20s", 20.0), ("Please try again in 6m0s. Visit", 360.0),
        ("try again in 120ms.", 0.12), ("Try again in 1m30.5s", 90.5),
        ("try again in 2h1m", 7260.0),
        ("retry after 20 seconds", 20.0), ("Please retry after 3 minutes.", 180.0),
        ("try again in about 1 hour", 3600.0), ("try again in 500 milliseconds", 0.5),
        ("please try again later", None), ("try again in a moment", None),
        ("try again in 0s", None), ("try again in 5", None), ("try again in 1.2.3s", None),
    ],
)  # fmt: skip
def test_a_time_among_the_words(words: str, seconds: float | None) -> None:
    assert after(words) == seconds


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("34s", 34.0), ("0.5s", 0.5), ("1.123456789s", 1.123456789), ("0s", None), ("-1s", None),
     ("s", None), ("", None), ("34", None), ("9" * 50 + "s", None)],
)  # fmt: skip
def test_retry_info(delay: str, seconds: float | None) -> None:
    assert after("", retry_info(delay)) == seconds


def limits(**headers: str) -> Limits | None:
    return limits_of_headers({k.replace("_", "-").encode(): v.encode() for k, v in headers.items()})


def test_openais_headers() -> None:
    assert limits(
        x_ratelimit_limit_requests="3000", x_ratelimit_limit_tokens="1000000",
        x_ratelimit_remaining_requests="2999", x_ratelimit_remaining_tokens="999000",
        x_ratelimit_reset_requests="20ms", x_ratelimit_reset_tokens="60ms",
    ) == Limits(calls=3000, tokens=1e6, calls_left=2999, tokens_left=999000)  # fmt: skip


def test_a_limit_of_a_day_is_not_taken_for_one_of_a_minute() -> None:
    assert limits(
        x_ratelimit_limit_requests="200", x_ratelimit_limit_tokens="40000",
        x_ratelimit_remaining_requests="199", x_ratelimit_reset_requests="7m12s",
    ) == Limits(tokens=40000)  # fmt: skip
    assert limits(
        x_ratelimit_limit_requests="10000", x_ratelimit_remaining_requests="9999",
        x_ratelimit_reset_requests="8.64s",
    ) is None  # fmt: skip
    assert limits(
        x_ratelimit_limit_requests="3", x_ratelimit_remaining_requests="1",
        x_ratelimit_reset_requests="40s",
    ) == Limits(calls=3, calls_left=1)  # fmt: skip
    for reset in ("junk", "", "1s"):
        assert limits(
            x_ratelimit_limit_requests="3000", x_ratelimit_remaining_requests="2999",
            x_ratelimit_reset_requests=reset,
        ) == Limits(calls=3000, calls_left=2999)  # fmt: skip


def test_mistrals_headers() -> None:
    assert limits(ratelimitbysize_limit="500000", ratelimitbysize_remaining="499000") == Limits(
        tokens=500000, tokens_left=499000
    )
    assert limits(
        x_ratelimitbysize_limit_minute="400000", ratelimitbysize_limit="500000",
        x_ratelimitbysize_remaining_minute="1", x_ratelimitbysize_limit_month="9",
    ) == Limits(tokens=400000, tokens_left=1)  # fmt: skip
    assert limits(
        x_ratelimit_limit_req_minute="60", x_ratelimit_remaining_req_minute="59"
    ) == Limits(calls=60, calls_left=59)


@pytest.mark.parametrize("value", ["-1", "0", "", "x", "nan", "inf", "1_000", "9" * 50, "1,000"])
def test_nonsense_is_as_if_absent(value: str) -> None:
    assert limits(x_ratelimit_limit_requests=value) is None
    assert limits(x_ratelimit_limit_requests=value, x_ratelimit_limit_tokens="5") == Limits(
        tokens=5
    )


def test_no_headers() -> None:
    assert limits() is None
    assert limits(content_type="application/json") is None


@pytest.mark.parametrize(
    ("words", "found", "met"),
    [
        ("reduced rate limits of 3 RPM and 10K TPM.", Limits(calls=3, tokens=10_000), None),
        ("limited to 40 API calls / minute", Limits(calls=40), Dimension.CALLS),
        ("limit is 100000 tokens per minute", Limits(tokens=100_000), Dimension.TOKENS),
        ("on tokens per min (TPM): Limit 40000, Used 1", Limits(tokens=40_000), Dimension.TOKENS),
        ("on tokens per min. Limit: 1,000,000 / min.", Limits(tokens=1e6), Dimension.TOKENS),
        ("on requests per min (RPM): Limit 3", Limits(calls=3), Dimension.CALLS),
        ("2,000 RPM and 1.5M TPM", Limits(calls=2000, tokens=1.5e6), None),
        ("2000 inputs per minute", Limits(items=2000), Dimension.ITEMS),
        ("past the per minute request limit", None, Dimension.CALLS),
        ("Requests rate limit exceeded", None, Dimension.CALLS),
        ("RequestsPerMinutePerProject", None, Dimension.CALLS),
        ("TokensPerMinutePerProject", None, Dimension.TOKENS),
        ("rate limit exceeded, limit 5", None, None),
        ("0 RPM", None, Dimension.CALLS),
        ("slow down", None, None),
        ("", None, None),
    ],
)
def test_limits_among_the_words(words: str, found: Limits | None, met: Dimension | None) -> None:
    assert limits_of_words(words) == (found, met)


@given(st.text(max_size=80), st.binary(max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_words_and_headers_are_read(words: str, value: bytes) -> None:
    limits_of_words(words)
    for name in (b"retry-after", b"retry-after-ms"):
        seconds = retry_after_s({name: value}, [], words, NOW)
        assert seconds is None or 0.0 < seconds < float("inf")
    limits_of_headers(
        dict.fromkeys(
            [b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests",
             b"x-ratelimit-reset-requests"], value)
    )  # fmt: skip
