"""What every handler of a caller's route does alike: read a body, make requests, give the answer.

A large body is parsed, and many vectors are written anew, off the loop; anything smaller at once.
Each answer leaves by one `reply`; one whose client left meanwhile goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar
from urllib.parse import quote

from emr.front.desk import Ask, Desk, Plan, Principal
from emr.front.exchange import Exchange, Headers, Stage
from emr.front.offload import BROKEN, Offload, attempt
from emr.front.refusals import JSON, render
from emr.front.sure import answered_if_it_fails
from emr.front.terms import Terms
from emr.lane.refusal import Refusal, Refused
from emr.lane.ticket import Request

T = TypeVar("T")

# bytes of a body that are parsed on the loop: 1 MiB of texts takes 2 to 9 ms, of token ids 13
PARSE_MAX = 1024 * 1024
# bytes of vectors that are written anew on the loop: 256 KiB take 1 to 3 ms
CONVERT_MAX = 256 * 1024

HEADER_VALUE_MAX = 256  # bytes; a model's name comes from the provider's reply
# all that may stand in a header and needs no quoting
_HEADER_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


@dataclass(frozen=True, slots=True)
class Means:
    """What a handler works with. `clock` is the core's, in seconds."""

    desk: Desk
    clock: Callable[[], float]
    offload: Offload


def principal_of(exchange: Exchange) -> Principal:
    """Who asks; only for routes that need a key."""
    principal = exchange.principal
    assert isinstance(principal, Principal), "a caller's route without a principal: a bug"
    return principal


def refuse(exchange: Exchange, refusal: Refusal, more: bytes = b"") -> None:
    """Answer with a refusal; `more` are further members of its body."""
    exchange.reply(*render(exchange.path, refusal, more))


def with_body(
    means: Means,
    exchange: Exchange,
    parse: Callable[[bytes], T],
    then: Callable[[Exchange, T], None],
) -> None:
    """Parse the body and go on with what it says. The exchange does not keep it."""
    body, exchange.body = exchange.body, b""
    if len(body) <= PARSE_MAX:
        then(exchange, parse(body))
    else:
        means.offload(partial(parse, body), partial(_go_on, exchange, then))


def _go_on(exchange: Exchange, then: Callable[[Exchange, T], None], parsed: T | Refusal) -> None:
    if isinstance(parsed, Refusal):
        refuse(exchange, parsed)
    elif exchange.stage is Stage.WAITING:
        with answered_if_it_fails(exchange):
            try:
                then(exchange, parsed)
            except Refused as refused:
                refuse(exchange, refused.refusal)


def request_of(
    plan: Plan, ask: Ask, terms: Terms, principal: Principal, done: Callable[[Request], None]
) -> Request:
    """A request of the lane for one plan."""
    request = Request(plan.params, plan.texts, principal.id, terms.deadline, done)
    request.bulk = terms.bulk
    request.user = ask.user
    request.float_text = not ask.base64
    request.no_store = terms.no_store
    request.arrived = terms.arrived
    return request


def in_callers_terms(refusal: Refusal, ask: Ask, at: str = "") -> Refusal:
    """The refusal with `param` as the caller wrote it.

    The core speaks of `input[3]`; Cohere's field is `texts`, a lone text has no index, and in a
    batch call `at` (`requests[1].`) stands before it.
    """
    param = refusal.param
    if param is None:
        return replace(refusal, param=at.rstrip(".")) if at else refusal
    if param == "input" or param.startswith("input["):
        param = ask.param if ask.single else ask.param + param.removeprefix("input")
    param = at + param
    return refusal if param == refusal.param else replace(refusal, param=param)


def facts(requests: Sequence[Request]) -> Headers:
    """The headers that tell how the answer came about. Of several requests: all of them."""
    if not requests:
        return [JSON]
    if len(requests) == 1:
        (first,) = requests
        providers, models = first.answered_by, first.model
        batch, attempts = first.batch_texts, first.attempts
        queue_s, provider_s = first.queue_s, first.provider_s
        cached, texts = first.cached, len(first.texts)
    else:
        providers = ", ".join(dict.fromkeys([r.answered_by for r in requests]))
        models = ", ".join(dict.fromkeys([r.model for r in requests]))
        batch = max([r.batch_texts for r in requests])
        attempts = sum([r.attempts for r in requests])
        queue_s = max([r.queue_s for r in requests])
        provider_s = max([r.provider_s for r in requests])
        cached = sum([r.cached for r in requests])
        texts = sum([len(r.texts) for r in requests])
    return [
        JSON,
        (b"x-emr-provider", header_value(providers)),
        (b"x-emr-model", header_value(models)),
        (b"x-emr-batch", b"%d" % batch),
        (b"x-emr-cache", b"miss" if not cached else b"partial" if cached < texts else b"hit"),
        (b"x-emr-attempts", b"%d" % attempts),
        (
            b"server-timing",
            b"queue;dur=%.1f, provider;dur=%.1f" % (queue_s * 1e3, provider_s * 1e3),
        ),
    ]


def header_value(text: str) -> bytes:
    """A word as a header may carry it; what may not stand there is percent-encoded."""
    if not (text.isascii() and text.isprintable()):
        text = quote(text, safe=_HEADER_SAFE, errors="replace")
    return text[:HEADER_VALUE_MAX].encode("ascii")


def deliver(
    means: Means,
    exchange: Exchange,
    cost: int,
    build: Callable[[], tuple[int, Headers, bytes]],
) -> None:
    """Answer with what `build` makes, which may raise Refused.

    `cost` is how many bytes of vectors it must write anew. Whatever else it raises is a bug of
    emr's for others to log: its client is told so all the same.
    """
    if cost <= CONVERT_MAX:
        built: tuple[int, Headers, bytes] | Refusal = BROKEN
        try:
            built = attempt(build)
        finally:
            _reply(exchange, built)
    else:
        exchange.on_gone = None  # nothing waits for the client any more
        means.offload(build, partial(_reply, exchange))


def _reply(exchange: Exchange, built: tuple[int, Headers, bytes] | Refusal) -> None:
    if isinstance(built, Refusal):
        refuse(exchange, built)
    else:
        exchange.reply(*built)
