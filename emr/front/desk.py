"""What the routes ask of the rest of emr: who asks, where a request goes, and its vectors.

The forms turn a body into an `Ask`; the `Desk` knows the providers, turns an Ask into a `Plan`
and takes requests in. `emr.app` hands the real ones in; nothing here imports them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from emr.lane.refusal import Refusal
from emr.lane.ticket import Params, Request


class KeyLimits(NamedTuple):
    """What a key may use, None where nothing is said."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_month: int | None = None


NO_LIMITS = KeyLimits()  # the one value for it: compared by identity


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a key belongs to. `providers` are those it may use, None for all."""

    id: str
    name: str
    providers: frozenset[str] | None = None
    bulk_only: bool = False
    limits: KeyLimits = NO_LIMITS


@dataclass(slots=True)
class Ask:
    """What a caller wants, in emr's words, whichever API it came in.

    `texts` are JSON texts as bytes: strings with their quotes, or lists of token ids
    (`token_ids`). `single`: the input was one text and not a list. `truncate` is `none`, `start`,
    `end` or None. `param` names the field of the texts in this form (`input`, `texts`). `whole`
    is the caller's body, without emr's own fields, when it must be passed on untouched, `unknown`
    the names of the fields that made it so, and `path` the provider's route for it when it is not
    the one for embeddings.
    """

    texts: list[bytes] = field(default_factory=list)
    token_ids: bool = False
    single: bool = False
    model: str | None = None
    provider: str | None = None
    providers: tuple[str, ...] = ()
    policy: str = "any"
    input_type: str | None = None
    dimensions: int | None = None
    truncate: str | None = None
    dtype: str = "float"
    base64: bool = False
    user: str | None = None
    param: str = "input"
    whole: bytes | None = None
    unknown: tuple[str, ...] = ()
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Where an Ask goes: a provider's account, and the parameters in the provider's terms.

    `texts` are as in the Ask, or decoded from token ids. `account` is the desk's own handle.
    `pinned`: the caller named the provider, so the request stays with it.
    """

    provider: str
    account: object
    params: Params
    texts: Sequence[bytes]
    pinned: bool = False


class Desk(Protocol):
    """What the routes for callers ask."""

    def resolve(self, ask: Ask, principal: Principal) -> Plan:
        """Where `ask` goes by its `provider` and `model` (its `providers` are not looked at).

        Raises Refused: unknown_provider, model_not_found, forbidden, validation_error.
        """

    def prefer(self, plans: Sequence[Plan]) -> list[Plan]:
        """The order in which to try them: as given, those that would wait or fail now last."""

    def admit(self, principal: Principal, plans: Sequence[Plan], requests: int) -> None:
        """Hold so many requests, which go where `plans` say, against the key's own limits.

        To be asked once for all that a caller asks for at a time, before any of it is submitted.
        Raises Refused: quota_exceeded.
        """

    def submit(self, plan: Plan, request: Request) -> None:
        """Take a request in. `request.done` is called once, perhaps before this returns."""

    def leave(self, request: Request) -> None:
        """The caller of `request` went away; `done` is not called any more."""

    def models(self, allowed: frozenset[str] | None) -> list[dict[str, Any]]:
        """The entries of `GET /v1/models` for a key that may use these providers, None for all."""

    def default_timeout_s(self, bulk: bool) -> float:
        """The deadline of a request that names none."""

    def max_texts_per_request(self) -> int:
        """The most texts that one request may have."""


class Keys(Protocol):
    """What the routes ask about a key."""

    def look_up(self, token: bytes) -> Principal | Refusal | None:
        """Who `token` belongs to, or why it is refused; None when it must be verified first."""

    def verify(self, token: bytes, then: Callable[[Principal | Refusal], None]) -> None:
        """Verify a token that `look_up` did not know yet; `then` is called in a later turn."""

    def is_admin(self, token: bytes) -> bool:
        """Whether `token` is the admin secret, compared in constant time."""
