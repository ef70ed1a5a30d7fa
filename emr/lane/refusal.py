"""A refusal: an error reply that emr decides. The core names its type, the front its status."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request got no vectors.

    `type` is a word of the contract (`rate_limited`, `provider_error`, …); the front knows its
    status. `param` names the field at fault (`input[3]`). `retry_after` is in seconds and becomes
    Retry-After. `final` tells SDKs not to try again (`x-should-retry: false`). `allow` are the
    methods of a 405. `status` is set only where a type has several statuses (`bad_request`,
    `too_large`).
    """

    type: str
    message: str
    param: str | None = None
    retry_after: float | None = None
    final: bool = False
    allow: tuple[str, ...] = ()
    status: int | None = None


class Refused(Exception):
    """Carries a refusal out of a parser or a resolver to the one place that answers it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
