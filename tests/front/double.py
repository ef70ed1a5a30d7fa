"""A Desk and Keys that answer in-process, and a client that speaks to the service without wires."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from emr.front.callers import caller_routes
from emr.front.desk import Ask, Plan, Principal
from emr.front.exchange import Exchange, Headers, Stage
from emr.front.offload import at_once
from emr.front.routes import FrontService, Route
from emr.lane.refusal import Refusal, Refused
from emr.lane.ticket import Params, Request

KEY = b"emr_" + b"k" * 32
SECRET = b"the operator's secret"
CALLER = Principal("key-1", "app")


def floats_of(text: bytes, dimensions: int = 8) -> list[float]:
    """The vector of a JSON text: float32 numbers, a function of the text alone."""
    out: list[float] = []
    block = text
    while len(out) < dimensions:
        block = hashlib.sha256(block).digest()
        out += [number / 2**31 for number in struct.unpack("<8i", block)]
    return list(struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *out[:dimensions])))


def base64_of(numbers: Sequence[float]) -> str:
    """Little-endian float32 bytes as base64."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@dataclass
class Row:
    """A provider of the double: what it serves, and how it answers."""

    model: str
    base64: bool = False  # it answers base64, whatever was wanted
    refusal: Refusal | None = None
    body: bytes | None = None  # the answer to a request that travels whole
    dtypes: dict[str, bytes] = field(default_factory=dict)  # a vector's text for another dtype
    waits: bool = False  # `prefer` puts it last


class DeskDouble:
    """Answers each request in `submit`, or, with `hold`, when the test says so."""

    def __init__(self, rows: dict[str, Row] | None = None, hold: bool = False) -> None:
        self.rows = rows or {"voyage": Row("voyage-code-3"), "cohere": Row("embed-v4.0")}
        self.hold = hold
        self.most = 2048
        self.asks: list[Ask] = []
        self.submitted: list[tuple[Plan, Request]] = []
        self.gone: list[Request] = []
        self.admitted: list[tuple[str, list[str], int]] = []
        self.over: Refusal | None = None  # what the key's own limits say

    # Desk

    def resolve(self, ask: Ask, principal: Principal) -> Plan:
        self.asks.append(ask)
        name = ask.provider
        if name is None:
            names = [n for n, row in self.rows.items() if ask.model in (row.model, None, n)]
            if not names:
                raise Refused(Refusal("model_not_found", f"there is no model {ask.model}"))
            name = names[0]
        if name not in self.rows:
            raise Refused(Refusal("unknown_provider", f"there is no provider {name}"))
        if principal.providers is not None and name not in principal.providers:
            raise Refused(Refusal("forbidden", f"the key may not use {name}"))
        params = Params(
            self.rows[name].model, ask.input_type, ask.dimensions, ask.truncate, ask.dtype,
            ask.token_ids, ask.whole, ask.path,
        )  # fmt: skip
        return Plan(name, self.rows[name], params, ask.texts, ask.provider is not None)

    def prefer(self, plans: Sequence[Plan]) -> list[Plan]:
        return sorted(plans, key=lambda plan: self.rows[plan.provider].waits)

    def admit(self, principal: Principal, plans: Sequence[Plan], requests: int) -> None:
        self.admitted.append((principal.id, [plan.provider for plan in plans], requests))
        if self.over is not None:
            raise Refused(self.over)

    def submit(self, plan: Plan, request: Request) -> None:
        self.submitted.append((plan, request))
        if not self.hold:
            self.finish(len(self.submitted) - 1)

    def leave(self, request: Request) -> None:
        assert not request.ended, "an ended request left"
        request.left = True
        self.gone.append(request)

    def models(self, allowed: frozenset[str] | None) -> list[dict[str, Any]]:
        return [
            {
                "id": row.model, "object": "model", "created": 1_700_000_000, "owned_by": name,
                "dimensions": 8, "max_texts": 128,
            }
            for name, row in self.rows.items()
            if allowed is None or name in allowed
        ]  # fmt: skip

    def default_timeout_s(self, bulk: bool) -> float:
        return 600.0 if bulk else 60.0

    def max_texts_per_request(self) -> int:
        return self.most

    # the test's side

    @property
    def request(self) -> Request:
        """The last request."""
        return self.submitted[-1][1]

    def finish(self, number: int, refusal: Refusal | None = None) -> None:
        """End a request as its provider's row says, or by `refusal`."""
        plan, request = self.submitted[number]
        assert not request.ended, "ended twice"
        row = self.rows[plan.provider]
        request.answered_by = plan.provider
        request.attempts = 1
        request.refusal = refusal or row.refusal
        if request.refusal is None:
            request.billed = sum(len(text) for text in request.texts)
            request.batch_texts = len(request.texts)
            request.queue_s, request.provider_s = 0.0012, 0.18
            if request.params.whole is not None:
                request.body = row.body or b'{"whole":true}'
            else:
                request.vectors = [self.vector(row, request, text) for text in request.texts]
            request.missing = 0
        request.done(request)

    @staticmethod
    def vector(row: Row, request: Request, text: bytes) -> bytes:
        if request.params.dtype in row.dtypes:
            return row.dtypes[request.params.dtype]
        numbers = floats_of(text, request.params.dimensions or 8)
        return orjson.dumps(base64_of(numbers) if row.base64 else numbers)


class KeysDouble:
    """Knows KEY and SECRET; `unverified` tokens are verified when the test says so."""

    def __init__(self, principal: Principal | Refusal = CALLER) -> None:
        self.known: dict[bytes, Principal | Refusal] = {KEY: principal}
        self.unverified: set[bytes] = set()
        self.waiting: list[tuple[bytes, Callable[[Principal | Refusal], None]]] = []

    def look_up(self, token: bytes) -> Principal | Refusal | None:
        if token in self.unverified:
            return None
        return self.known.get(token, Refusal("unauthorized", "the key is unknown"))

    def verify(self, token: bytes, then: Callable[[Principal | Refusal], None]) -> None:
        self.waiting.append((token, then))

    def is_admin(self, token: bytes) -> bool:
        return token == SECRET


@dataclass
class Answer:
    """What a client got."""

    status: int
    raw_headers: Headers
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        out: dict[str, str] = {}
        for name, value in self.raw_headers:
            assert name not in out, f"{name!r} twice"
            out[name.decode("ascii")] = value.decode("ascii")
        return out

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error = self.json["error"]
        assert isinstance(error, dict)
        return error


class Client:
    """A Writer that keeps what is written, and the server's side of the service."""

    def __init__(self, service: FrontService) -> None:
        self.service = service
        self.answers: list[Answer] = []

    def write_reply(self, exchange: Exchange, status: int, headers: Headers, body: bytes) -> None:
        assert type(body) is bytes
        self.answers.append(Answer(status, list(headers), body))

    def begin_stream(self, exchange: Exchange, status: int, headers: Headers) -> None:
        self.answers.append(Answer(status, list(headers), b""))

    async def write_chunk(self, exchange: Exchange, data: bytes) -> None:
        self.answers[-1].body += data

    def end_stream(self, exchange: Exchange) -> None:
        pass

    def abort(self, exchange: Exchange) -> None:
        pass

    def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[bytes, bytes] | None = None
    ) -> Exchange:
        """Do what the server does with a complete request."""
        path, _, query = path.partition("?")
        exchange = Exchange(self, method, path, query)
        exchange.headers = headers if headers is not None else {b"authorization": b"Bearer " + KEY}
        refusal = self.service.admit(exchange)
        if refusal is not None:
            exchange.reply(*self.service.render(exchange, refusal))
            return exchange
        exchange.body = body
        exchange.stage = Stage.WAITING
        self.service.handle(exchange)
        return exchange

    def ask(
        self, method: str, path: str, body: Any = b"", headers: dict[bytes, bytes] | None = None
    ) -> Answer:
        """Send a request that is answered at once."""
        before = len(self.answers)
        self.send(method, path, body if type(body) is bytes else orjson.dumps(body), headers)
        assert len(self.answers) == before + 1, "not answered, or more than once"
        return self.answers[-1]

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """POST with the good key; header names with underscores for dashes."""
        return self.ask("POST", path, body, with_key(**headers))

    def get(self, path: str, **headers: str) -> Answer:
        """GET with the good key."""
        return self.ask("GET", path, b"", with_key(**headers))


def with_key(**headers: str) -> dict[bytes, bytes]:
    """Headers with the good key."""
    given = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return {b"authorization": b"Bearer " + KEY, **given}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Front:
    """A service over the doubles, with a client."""

    desk: DeskDouble = field(default_factory=DeskDouble)
    keys: KeysDouble = field(default_factory=KeysDouble)
    clock: Clock = field(default_factory=Clock)
    routes: Sequence[Route] = ()
    offload: Any = at_once

    def __post_init__(self) -> None:
        self.counted: list[tuple[int, int, float]] = []
        routes = [*caller_routes(self.desk, self.clock, self.offload), *self.routes]
        self.service = FrontService(
            routes, self.keys, self.clock, lambda *answer: self.counted.append(answer)
        )
        self.client = Client(self.service)
        self.post, self.get, self.ask = self.client.post, self.client.get, self.client.ask


def few(most: int) -> DeskDouble:
    """A desk that allows so many texts a request."""
    desk = DeskDouble()
    desk.most = most
    return desk


def asked(body: Any, path: str = "/v1/embeddings", front: Front | None = None) -> Any:
    """The Ask that a good body becomes."""
    front = front or Front()
    answer = front.post(path, body)
    assert answer.status == 200, answer.body
    return front.desk.asks[-1]


def refused(
    body: Any, path: str = "/v1/embeddings", front: Front | None = None
) -> tuple[str | None, str]:
    """`param` and message of the 400 that a bad body gets."""
    front = front or Front()
    answer = front.post(path, body)
    assert answer.status == 400, answer.body
    assert answer.error["type"] == "validation_error"
    assert not front.desk.submitted
    return answer.error["param"], answer.error["message"]
