"""The lists of models, and the check of a key: routes that ask no provider."""

from __future__ import annotations

from typing import Any

import orjson

from emr import __version__
from emr.front.answer import principal_of
from emr.front.desk import Desk
from emr.front.exchange import Exchange
from emr.front.forms.fields import shown
from emr.front.forms.ollama import tags
from emr.front.refusals import JSON, OK
from emr.lane.refusal import Refusal, Refused


class Models:
    """The handlers. A key that may use some providers only sees the models of those."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def everything(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """`GET /v1/models`, in OpenAI's shape."""
        body = orjson.dumps({"object": "list", "data": self._seen_by(exchange)})
        exchange.reply(OK, [JSON], body)

    def one(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """`GET /v1/models/{id}`. Raises Refused: model_not_found, which lists the known ones."""
        (wanted,) = captured
        models = self._seen_by(exchange)
        for model in models:
            if model["id"] == wanted:
                exchange.reply(OK, [JSON], orjson.dumps(model))
                return
        known = ", ".join([model["id"] for model in models]) or "none"
        raise Refused(
            Refusal("model_not_found", f"there is no model {shown(wanted)}; known are: {known}")
        )

    def ollama_tags(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """`GET /api/tags`, in Ollama's shape."""
        exchange.reply(OK, [JSON], tags(self._seen_by(exchange)))

    def ollama_version(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """`GET /api/version`: emr's own."""
        exchange.reply(OK, [JSON], orjson.dumps({"version": __version__}))

    def test(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """`GET /v1/test`: nothing but a 200, for whoever wants to know whether a key is good."""
        exchange.reply(OK, [], b"")

    def _seen_by(self, exchange: Exchange) -> list[dict[str, Any]]:
        return self._desk.models(principal_of(exchange).providers)
