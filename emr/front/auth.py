"""Who may come in: the key or the secret of a request, looked at before its body is read.

Rules of this file. Tokens are bytes from the wire to the comparison, so that no byte in a header
can raise. A token is in no message. The comparison itself, in constant time, is `Keys`' own.
"""

from __future__ import annotations

from enum import Enum

from emr.front.desk import Keys
from emr.front.exchange import Exchange
from emr.lane.refusal import Refusal

READING_METHODS = ("GET", "HEAD", "OPTIONS")

NO_KEY = Refusal(
    "unauthorized",
    "no key in the request: send `Authorization: Bearer emr_...`"
    " (make a key with `emr keys create --name NAME`)",
)
NO_SECRET = Refusal(
    "unauthorized",
    "this route is for the operator: send `Authorization: Bearer <admin secret>`",
)
WRONG_SECRET = Refusal(
    "unauthorized",
    "the admin secret is wrong: `emr serve` prints at its start where it takes it from",
)
FOREIGN = Refusal(
    "forbidden",
    "the request's Origin is another site: pages of other sites may not change anything here",
)


class Scope(Enum):
    """Who a route is for."""

    PUBLIC = "public"
    KEY = "key"
    ADMIN = "admin"


class Admission(Enum):
    """What `Door.enter` found when it did not refuse."""

    ADMITTED = "admitted"
    UNVERIFIED = "unverified"  # a key that must be verified before the request is handled


def token_of(headers: dict[bytes, bytes]) -> bytes:
    """The token of a request, empty when it has none: Bearer, or `api-key` as Azure's clients."""
    value = headers.get(b"authorization")
    if value is not None and value[:7].lower() == b"bearer ":
        token = value[7:].strip()
        if token:
            return token
    return headers.get(b"api-key", b"").strip()


def is_foreign(headers: dict[bytes, bytes]) -> bool:
    """Whether a browser says that a page of another site makes this request."""
    origin = headers.get(b"origin")
    if origin is None:
        return False
    _, _, authority = origin.lower().partition(b"://")
    return not authority or authority != headers.get(b"host", b"").lower()


class Door:
    """Admits a request to a route by the route's scope."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def enter(self, exchange: Exchange, scope: Scope) -> Admission | Refusal:
        """Look up who asks and note it in `exchange.principal`, or say why not."""
        if scope is Scope.KEY:
            token = token_of(exchange.headers)
            if not token:
                return NO_KEY
            found = self._keys.look_up(token)
            if found is None:
                return Admission.UNVERIFIED
            if isinstance(found, Refusal):
                return found
            exchange.principal = found
            return Admission.ADMITTED
        if scope is Scope.ADMIN:
            return self._operator(exchange)
        return Admission.ADMITTED

    def _operator(self, exchange: Exchange) -> Admission | Refusal:
        if exchange.method not in READING_METHODS and is_foreign(exchange.headers):
            return FOREIGN
        token = token_of(exchange.headers)
        if not token:
            return NO_SECRET
        return Admission.ADMITTED if self._keys.is_admin(token) else WRONG_SECRET
