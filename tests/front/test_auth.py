"""Who may come in: keys, the secret, their headers, and pages of other sites."""

from __future__ import annotations

import pytest

from emr.front.auth import Scope, is_foreign, token_of
from emr.front.desk import Principal
from emr.front.exchange import Exchange
from emr.front.refusals import OK
from emr.front.routes import Route
from emr.lane.refusal import Refusal
from tests.front.double import CALLER, KEY, SECRET, Front, KeysDouble, with_key

BODY = {"input": "hello", "provider": "voyage"}


def hello(exchange: Exchange, captured: tuple[str, ...]) -> None:
    exchange.reply(OK, [], b"hello")


def operators() -> Front:
    return Front(
        routes=[
            Route(("GET", "POST"), "/admin/things", Scope.ADMIN, hello),
            Route(("GET",), "/health", Scope.PUBLIC, hello),
        ]
    )


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer " + KEY},
        {b"authorization": b"bearer " + KEY},
        {b"authorization": b"BEARER   " + KEY + b" "},
        {b"api-key": KEY},
        {b"api-key": b" " + KEY},
        {b"authorization": b"Basic YTpi", b"api-key": KEY},
        {b"authorization": b"Bearer ", b"api-key": KEY},
    ],
)
def test_a_key_is_taken_from_either_header(headers: dict[bytes, bytes]) -> None:
    assert token_of(headers) == KEY
    assert Front().ask("POST", "/v1/embeddings", BODY, headers).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Bearer "},
        {b"authorization": b"Basic " + KEY},
        {b"authorization": KEY},
        {b"api-key": b""},
        {b"x-api-key": KEY},
    ],
)
def test_no_key_is_401(headers: dict[bytes, bytes]) -> None:
    front = Front()
    answer = front.ask("POST", "/v1/embeddings", BODY, headers)
    assert answer.status == 401
    assert answer.error["type"] == "unauthorized"
    assert "emr keys create" in answer.error["message"]
    assert answer.headers["www-authenticate"] == 'Bearer realm="emr"'
    assert not front.desk.asks


@pytest.mark.parametrize(
    "token",
    [
        b"emr_wrong",
        KEY[:-1],
        KEY + b"k",
        KEY + b", Bearer " + KEY,
        b"\xff\xfe\x80",
        "emr_ключ".encode(),
        SECRET,
    ],
)
def test_a_wrong_key_is_401_whatever_its_bytes(token: bytes) -> None:
    answer = Front().ask("GET", "/v1/test", b"", {b"authorization": b"Bearer " + token})
    assert answer.status == 401
    assert token not in answer.body


def test_a_revoked_key_is_told_so() -> None:
    front = Front(keys=KeysDouble(Refusal("unauthorized", "the key was revoked")))
    answer = front.post("/v1/embeddings", BODY)
    assert (answer.status, answer.error["message"]) == (401, "the key was revoked")


def test_ollamas_routes_refuse_in_ollamas_shape() -> None:
    answer = Front().ask("GET", "/api/tags", b"", {})
    assert answer.status == 401
    assert type(answer.json["error"]) is str


def test_a_new_key_is_verified_before_its_request_is_handled() -> None:
    front = Front()
    front.keys.unverified.add(KEY)
    exchange = front.client.send("POST", "/v1/embeddings", b'{"input":"hello"}', with_key())
    assert not front.client.answers
    assert not front.desk.asks
    ((token, then),) = front.keys.waiting
    assert token == KEY
    then(CALLER)
    assert exchange.principal == CALLER
    assert front.client.answers[0].status == 200


def test_a_new_key_that_is_wrong_is_refused() -> None:
    front = Front()
    front.keys.unverified.add(KEY)
    front.client.send("POST", "/v1/embeddings", b'{"input":"hello"}', with_key())
    front.keys.waiting[0][1](Refusal("unauthorized", "the key is wrong"))
    assert front.client.answers[0].status == 401
    assert not front.desk.asks


def test_a_refusal_by_the_handler_after_verifying_is_answered() -> None:
    front = Front()
    front.keys.unverified.add(KEY)
    front.client.send("POST", "/v1/embeddings", b"{}", with_key())
    front.keys.waiting[0][1](CALLER)
    assert front.client.answers[0].status == 400


@pytest.mark.parametrize("found", [CALLER, Refusal("unauthorized", "the key is wrong")])
def test_a_client_that_left_while_its_key_was_verified(found: Principal | Refusal) -> None:
    front = Front()
    front.keys.unverified.add(KEY)
    exchange = front.client.send("POST", "/v1/embeddings", b'{"input":"hello"}', with_key())
    exchange.gone()
    front.keys.waiting[0][1](found)
    assert not front.client.answers
    assert not front.desk.asks


def test_public_routes_ask_nobody() -> None:
    assert operators().ask("GET", "/health", b"", {}).body == b"hello"


def test_the_operators_secret_opens_admin_routes() -> None:
    front = operators()
    bearer = {b"authorization": b"Bearer " + SECRET}
    assert front.ask("GET", "/admin/things", b"", bearer).status == 200
    assert front.ask("POST", "/admin/things", b"", bearer).status == 200


@pytest.mark.parametrize("token", [b"", KEY, SECRET + b"x", b"\xff" * 40])
def test_anything_else_does_not(token: bytes) -> None:
    answer = operators().ask("GET", "/admin/things", b"", {b"authorization": b"Bearer " + token})
    assert answer.status == 401
    assert answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("origin", "host", "foreign"),
    [
        (None, b"localhost:3200", False),
        (b"http://localhost:3200", b"localhost:3200", False),
        (b"HTTPS://LocalHost:3200", b"localhost:3200", False),
        (b"http://[::1]:3200", b"[::1]:3200", False),
        (b"http://evil.example", b"localhost:3200", True),
        (b"http://localhost:8080", b"localhost:3200", True),
        (b"http://localhost", b"localhost:3200", True),
        (b"null", b"localhost:3200", True),
        (b"", b"localhost:3200", True),
        (b"http://", b"", True),
        (b"http://localhost:3200", None, True),
        (b"\xff://\xff", b"localhost:3200", True),
    ],
)
def test_a_page_of_another_site_may_not_write(
    origin: bytes | None, host: bytes | None, foreign: bool
) -> None:
    headers = {b"authorization": b"Bearer " + SECRET}
    if origin is not None:
        headers[b"origin"] = origin
    if host is not None:
        headers[b"host"] = host
    assert is_foreign(headers) is foreign
    answer = operators().ask("POST", "/admin/things", b"", headers)
    assert answer.status == (403 if foreign else 200)
    assert operators().ask("GET", "/admin/things", b"", headers).status == 200


def test_a_foreign_origin_is_refused_without_the_secret_too() -> None:
    headers = {b"origin": b"http://evil.example", b"host": b"localhost:3200"}
    assert operators().ask("POST", "/admin/things", b"", headers).status == 403
