"""The limits of callers' keys: requests and tokens a minute, tokens a calendar month (UTC).

Theory of operation. A request is held against its key's limits before it waits anywhere
(`admit`). How many tokens it will cost is not known then: its estimate is *held* while it is under
way, and gives way to what the provider billed, call by call; what is left of it at the end is given
back. So a request that fails costs what was billed for it, and one that the cache answers nothing.

Rules of this file
- Requests are counted exactly: never more than the limit in any minute. More requests in one batch
  call than a minute allows are refused for good.
- Tokens are an estimate until they are billed, and an estimate refuses nobody for good: one that is
  over the whole limit goes when nothing of the minute is used, and the key pays it off before its
  next one. A month's limit is reached when it is used up: work that was let in finishes.
- The limits are the key's own, as they are at this moment, and where it has none those of the
  configuration. What was used stays when they change.
- A key that was rotated goes on where the old one was: both have one *purse*.
- What was used of a month outlives a restart (it is read from the usage that is kept), what was
  used of a minute does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from emr.control.keys import Keys
from emr.control.times import time_text
from emr.control.window import Window
from emr.front.desk import NO_LIMITS, KeyLimits, Principal
from emr.front.exchange import Headers
from emr.lane.refusal import Refusal
from emr.lane.ticket import Request

Clock = Callable[[], float]

HELD_S = 1.0  # a call's time, about: then it is known what an estimate came to


@dataclass(slots=True, eq=False)
class Purse:
    """What a key used. `is_watched`: its tokens are limited. `held` is under way, estimated."""

    tokens_month: int = 0
    held: int = 0
    is_watched: bool = False
    limits: KeyLimits = NO_LIMITS  # as they were when a request was last admitted
    requests: Window | None = None
    tokens: Window | None = None


class Quotas:
    """The purses of all keys. `clock` is steady, `wall` in seconds since 1970.

    `defaults` are the limits of keys that have none of their own; a reload replaces them.
    """

    def __init__(self, clock: Clock, wall: Clock, defaults: KeyLimits) -> None:
        self.defaults = defaults
        self._clock = clock
        self._wall = wall
        self._purses: dict[str, Purse] = {}
        self._held: dict[Request, int] = {}  # estimates, of keys whose tokens are limited
        self._month_ends = month_end(wall())

    # purses

    def purse(self, key_id: str) -> Purse:
        """The purse of a key."""
        purse = self._purses.get(key_id)
        if purse is None:
            purse = self._purses[key_id] = Purse()
        return purse

    def heed(self, keys: Keys) -> None:
        """Know which keys stand in the place of others, now and from now on."""
        for old_id, new_id in keys.rotations():
            self.succeed(old_id, new_id)
        keys.on_rotate = self.succeed

    def succeed(self, old_id: str, new_id: str) -> None:
        """A key stands in the place of another. May be called by any thread."""
        self._purses[new_id] = self.purse(old_id)

    def begin(self, tokens: Mapping[str, int]) -> None:
        """What was used of this month before the process started, by key."""
        for key_id, used in tokens.items():
            self.purse(key_id).tokens_month += used

    def turn_month(self) -> None:
        """Begin a new month, if there is one."""
        now = self._wall()
        if now >= self._month_ends:
            self._month_ends = month_end(now)
            for purse in list(self._purses.values()):
                purse.tokens_month = 0

    # requests

    def admit(
        self, principal: Principal, requests: int, estimate: Callable[[], int]
    ) -> Refusal | None:
        """Count so many requests of a key, or say why it may not make them now.

        `estimate` gives the tokens of all of them; it is asked only where they are limited.
        """
        if principal.limits is NO_LIMITS and self.defaults is NO_LIMITS:
            return None
        limits = self._limits_of(principal)
        purse = self.purse(principal.id)
        purse.limits = limits
        purse.is_watched = limits.tokens_per_minute is not None or (
            limits.tokens_per_month is not None
        )
        now = self._clock()
        wait_s, said = 0.0, ""
        if limits.requests_per_minute is not None:
            most = limits.requests_per_minute
            if requests > most:
                return too_many(requests, most)
            purse.requests = purse.requests or Window()
            wait_s = purse.requests.wait_s(requests, most, now)
            said = f"send {most} requests a minute"
        if limits.tokens_per_minute is not None:
            most = limits.tokens_per_minute
            purse.tokens = purse.tokens or Window()
            longer_s = purse.tokens.wait_s(estimate(), most, now, purse.held)
            if longer_s > wait_s:
                wait_s, said = longer_s, f"use {most} tokens a minute"
        if limits.tokens_per_month is not None:
            self.turn_month()
            most = limits.tokens_per_month
            longer_s = self._month_ends - self._wall()
            if purse.tokens_month >= most and longer_s > wait_s:
                return month_is_used(most, self._month_ends, longer_s)
            # an estimate may be too high: what is left is known when the calls are billed
            if purse.tokens_month + purse.held >= most and wait_s < HELD_S:
                wait_s, said = (
                    HELD_S,
                    f"use {most} tokens a month, and what waits may take the rest",
                )
        if wait_s > 0.0:
            return over_limit(said, wait_s)
        if limits.requests_per_minute is not None and purse.requests is not None:
            purse.requests.take(requests, limits.requests_per_minute, now)
        return None

    def hold(self, request: Request) -> None:
        """An admitted request waits now, or flies: its estimate counts until it is billed."""
        purse = self._purses.get(request.caller)
        if purse is not None and purse.is_watched and not request.ended:
            tokens = sum(request.tokens)
            self._held[request] = tokens
            purse.held += tokens

    def billed(self, purse: Purse, request: Request, tokens: int) -> None:
        """A request of a watched key was billed for a call; its purse's month knows already."""
        held = self._held.get(request, 0)
        if held:
            paid = min(held, tokens)
            self._held[request] = held - paid
            purse.held -= paid
        most = purse.limits.tokens_per_minute
        if purse.tokens is not None and most is not None:
            purse.tokens.take(tokens, most, self._clock())

    def ended(self, request: Request) -> None:
        """A request is answered, refused, or left: what is held for it is given back."""
        if self._held:
            self.purse(request.caller).held -= self._held.pop(request, 0)

    # what callers are told

    def headers(self, principal: Principal) -> Headers:
        """How much of its limits a key has left, as OpenAI's clients read it; none: no headers.

        Without `reset`: of a sliding minute it would be the time until nothing is used, which
        clients take for the time until something is free.
        """
        if principal.limits is NO_LIMITS and self.defaults is NO_LIMITS:
            return []
        limits, purse, now = self._limits_of(principal), self.purse(principal.id), self._clock()
        told: Headers = []
        if limits.requests_per_minute is not None:
            used = purse.requests.used(now) if purse.requests is not None else 0
            told += _pair(b"requests", limits.requests_per_minute, used)
        if limits.tokens_per_minute is not None:
            used = purse.tokens.used(now) if purse.tokens is not None else 0
            told += _pair(b"tokens", limits.tokens_per_minute, used + purse.held)
        if limits.tokens_per_month is not None:
            used = purse.tokens_month + purse.held
            told += _pair(b"tokens-month", limits.tokens_per_month, used)
        return told

    def _limits_of(self, principal: Principal) -> KeyLimits:
        own, defaults = principal.limits, self.defaults
        if defaults is NO_LIMITS:
            return own
        return KeyLimits(*[b if a is None else a for a, b in zip(own, defaults, strict=True)])


def _pair(name: bytes, limit: int, used: int) -> Headers:
    left = max(0, limit - used)
    return [
        (b"x-ratelimit-limit-" + name, b"%d" % limit),
        (b"x-ratelimit-remaining-" + name, b"%d" % left),
    ]


def over_limit(may: str, wait_s: float) -> Refusal:
    """The 429 of a key whose minute is used up."""
    message = f"this key may {may}; try again in {wait_s:.1f} s"
    return Refusal("quota_exceeded", message, retry_after=wait_s)


def month_is_used(limit: int, ends: float, wait_s: float) -> Refusal:
    """The 429 of a key whose month is used up."""
    message = f"this key may use {limit} tokens a month, and has; again from {time_text(ends)} on"
    return Refusal("quota_exceeded", message, retry_after=wait_s)


def too_many(requests: int, limit: int) -> Refusal:
    """The 429 of a batch call that no waiting lets through."""
    message = (
        f"this call has {requests} requests, and this key may send {limit} requests a minute: make"
        " several calls of it"
    )
    return Refusal("quota_exceeded", message, param="requests", final=True)


def month_start(now: float) -> float:
    """When the calendar month of `now` began, in UTC; seconds since 1970."""
    at = datetime.fromtimestamp(now, UTC)
    return datetime(at.year, at.month, 1, tzinfo=UTC).timestamp()


def month_end(now: float) -> float:
    """When the next calendar month begins, in UTC; seconds since 1970."""
    at = datetime.fromtimestamp(now, UTC)
    year, month = divmod(at.year * 12 + at.month, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC).timestamp()
