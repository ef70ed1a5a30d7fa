"""How the handlers of the control plane read a body and answer."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from emr.front.exchange import Exchange
from emr.front.refusals import JSON, render
from emr.lane.refusal import Refusal, Refused


def reply_json(exchange: Exchange, status: int, value: object) -> None:
    """Answer with a JSON value."""
    exchange.reply(status, [JSON], orjson.dumps(value))


def refuse(exchange: Exchange, refusal: Refusal) -> None:
    """Answer with a refusal."""
    exchange.reply(*render(exchange.path, refusal))


def fields_of(exchange: Exchange) -> Mapping[str, object]:
    """The JSON object of the body; an empty body is an empty one. Raises Refused."""
    body, exchange.body = exchange.body, b""
    try:
        value = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise Refused(Refusal("validation_error", f"the body is not JSON: {error}")) from error
    if not isinstance(value, dict):
        raise Refused(Refusal("validation_error", "the body must be a JSON object"))
    return value
