"""How the conformance test asks a provider, and what it expects."""

from __future__ import annotations

import json
from typing import Any

import orjson

from emr.lane.ticket import Params
from emr.lane.verdict import Ending
from emr.upstream.call import Call, Outcome, call_with
from emr.upstream.caller import HttpCaller
from emr.upstream.endpoint import check_endpoint
from emr.upstream.table import KINDS
from emr.upstream.transport import Transport
from tests.support.aio import run
from tests.support.peer import Peer
from tests.upstream.provider import (
    KEY,
    Form,
    vector_of,
)

MODEL = "a-model"
TEXTS = [b'"one"', b'"tw\\u00f6 \\"quoted\\" \\n"', '"drei – §"'.encode(), b'"4"', b'"[5]"']


async def ask(form: Form, call: Call, key: str = KEY) -> Outcome:
    """One call to a provider of this form."""
    transport = Transport()
    async with Peer(form.script) as peer:
        kind = KINDS[form.kind]
        path = form.path if form.url_path is None else form.url_path
        endpoint = check_endpoint(f"http://127.0.0.1:{peer.port}{path}", kind)
        caller = HttpCaller(kind, endpoint, key, transport)
        try:
            return await call_with(caller, call)
        finally:
            await transport.close()


def outcome_of(form: Form, params: Params | None = None, **more: Any) -> Outcome:
    call = Call(params or Params(MODEL), more.pop("texts", TEXTS), **more)
    return run(ask(form, call))


def expected(texts: list[bytes], length: int = 8, dtype: str = "float") -> list[list[float]]:
    return [vector_of(json.loads(text), length, dtype) for text in texts]


def vectors_of(outcome: Outcome, dtype: str = "float") -> list[Any]:
    assert outcome.verdict.ending is Ending.OK, outcome.verdict
    assert outcome.reply is not None
    return [orjson.loads(vector) for vector in outcome.reply.vectors]
