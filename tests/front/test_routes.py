"""Routes: which handler, which methods, the id of a request, and the count of answers."""

from __future__ import annotations

import re

import pytest

from emr.front.auth import Scope
from emr.front.callers import caller_routes
from emr.front.exchange import Exchange, Headers, Stage
from emr.front.offload import at_once
from emr.front.refusals import OK
from emr.front.routes import PATH_SHOWN_MAX, UNUSED_BODY_MAX, Route, Table
from emr.lane.refusal import Refusal, Refused
from tests.front.double import CALLER, KEY, Clock, DeskDouble, Front, with_key

SHARED: Headers = [(b"content-type", b"text/plain")]


def echo(exchange: Exchange, captured: tuple[str, ...]) -> None:
    exchange.reply(OK, SHARED, "|".join([exchange.method, *captured]).encode())


def refuses(exchange: Exchange, captured: tuple[str, ...]) -> None:
    raise Refused(Refusal("conflict", "taken"))


def front() -> Front:
    return Front(
        routes=[
            Route(("GET",), "/things", Scope.PUBLIC, echo),
            Route(("POST",), "/things", Scope.PUBLIC, echo),
            Route(("GET", "DELETE"), "/things/{id}", Scope.PUBLIC, echo),
            Route(("POST",), "/things/{id}/turn/{way}", Scope.PUBLIC, echo),
            Route(("GET",), "/deep/{path...}", Scope.PUBLIC, echo),
            Route(("GET",), "/a.b", Scope.PUBLIC, echo),
            Route(("POST",), "/refuses", Scope.PUBLIC, refuses),
        ]
    )


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/things", b"GET"),
        ("POST", "/things", b"POST"),
        ("GET", "/things?a=b", b"GET"),
        ("GET", "/things/7", b"GET|7"),
        ("DELETE", "/things/a b", b"DELETE|a b"),
        ("POST", "/things/7/turn/left", b"POST|7|left"),
        ("GET", "/deep/a", b"GET|a"),
        ("GET", "/deep/a/b/c", b"GET|a/b/c"),
        ("GET", "/deep/a\nb", b"GET|a\nb"),
        ("GET", "/a.b", b"GET"),
        ("HEAD", "/things", b"HEAD"),
    ],
)
def test_found(method: str, path: str, body: bytes) -> None:
    answer = front().ask(method, path)
    assert (answer.status, answer.body) == (200, body)


@pytest.mark.parametrize(
    "path",
    ["/", "", "/nothing", "/things/", "/Things", "/things/a/b", "/deep/", "/axb", "//things", "*x"],
)
def test_not_found(path: str) -> None:
    answer = front().ask("GET", path, b"", {})
    assert answer.status == 404
    assert answer.error["type"] == "not_found"
    assert "/v1/embeddings" in answer.error["message"]


def test_a_long_unknown_path_is_shown_in_part() -> None:
    longest = "/" + "x" * (PATH_SHOWN_MAX - 1)
    assert f"no {longest} here" in front().ask("GET", longest).error["message"]
    message = front().ask("GET", longest + "y").error["message"]
    assert longest + "..." in message
    assert "y" not in message.split(" here")[0]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/things", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/things/7", "DELETE, GET, HEAD, OPTIONS"),
        ("GET", "/v1/embeddings", "POST, OPTIONS"),
        ("HEAD", "/v1/embeddings", "POST, OPTIONS"),
        ("POST", "/v1/models/a/b", "GET, HEAD, OPTIONS"),
        ("PATCH", "/api/embed", "POST, OPTIONS"),
    ],
)
def test_405_names_what_is_allowed_without_asking_for_a_key(
    method: str, path: str, allow: str
) -> None:
    answer = front().ask(method, path, b"", {})
    assert answer.status == 405
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize("path", ["/things", "/v1/embeddings", "/deployments/a/b/embeddings"])
def test_options_is_204_with_allow_and_nothing_for_browsers(path: str) -> None:
    headers = {b"origin": b"http://evil.example", b"access-control-request-method": b"POST"}
    answer = front().ask("OPTIONS", path, b"", headers)
    assert (answer.status, answer.body) == (204, b"")
    assert "OPTIONS" in answer.headers["allow"]
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_options_of_the_server_and_of_nothing() -> None:
    answer = front().ask("OPTIONS", "*", b"", {})
    assert answer.status == 204
    assert answer.headers["allow"] == "DELETE, GET, HEAD, POST, OPTIONS"
    assert front().ask("OPTIONS", "/nothing", b"", {}).status == 404
    assert front().ask("GET", "*", b"", {}).status == 405


def test_a_refusal_out_of_a_handler_is_answered() -> None:
    answer = front().ask("POST", "/refuses")
    assert (answer.status, answer.error["message"]) == (409, "taken")


def test_two_routes_of_one_method_and_path_are_a_bug() -> None:
    route = Route(("GET",), "/x", Scope.PUBLIC, echo)
    with pytest.raises(AssertionError, match="twice"):
        Table([route, route])


@pytest.mark.parametrize(
    "given", ["a", "A-b_c.9", "x" * 127, "x" * 128, "00-4bf92f3577b34da6a3ce929d0e0e4736-01"]
)
def test_a_request_id_is_taken_over(given: str) -> None:
    for path in ("/things", "/nothing"):
        answer = front().ask("GET", path, b"", with_key(x_request_id=given))
        assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a,b", "a\r\nb", "a\n", "ä", "a/b", '"'])
def test_any_other_is_replaced(given: str) -> None:
    answer = front().ask("GET", "/things", b"", with_key(x_request_id=given))
    assert re.fullmatch("req_[0-9a-f]{20}", answer.headers["x-request-id"])


def test_made_ids_differ() -> None:
    one, two = front(), front()
    ids = [f.ask("GET", "/things").headers["x-request-id"] for f in (one, two) for _ in range(50)]
    assert len(set(ids)) == 100


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/things", 200),
        ("OPTIONS", "/things", 204),
        ("POST", "/v1/embeddings", 400),
        ("GET", "/v1/embeddings", 405),
        ("GET", "/nothing", 404),
        ("POST", "/refuses", 409),
    ],
)
def test_every_answer_has_its_id_once(method: str, path: str, status: int) -> None:
    answer = front().ask(method, path, b"", with_key(x_request_id="mine"))
    assert answer.status == status
    assert answer.headers["x-request-id"] == "mine"


def test_a_shared_list_of_headers_stays_as_it_is() -> None:
    front().ask("GET", "/things")
    assert SHARED == [(b"content-type", b"text/plain")]


def test_a_streamed_answer_has_its_id_too() -> None:
    def stream(exchange: Exchange, captured: tuple[str, ...]) -> None:
        exchange.begin(OK, SHARED)

    streaming = Front(routes=[Route(("GET",), "/stream", Scope.PUBLIC, stream)])
    answer = streaming.ask("GET", "/stream", b"", with_key(x_request_id="mine"))
    assert answer.headers["x-request-id"] == "mine"
    assert streaming.counted[0][1] == 200


def test_a_refusal_of_the_servers_own_has_an_id() -> None:
    fronted = front()
    status, headers, body = fronted.service.render(None, Refusal("bad_request", "what?"))
    assert (status, body[:9]) == (400, b'{"error":')
    assert re.fullmatch(b"req_[0-9a-f]{20}", dict(headers)[b"x-request-id"])
    assert fronted.counted == [(-1, 400, 0.0)]


def test_so_has_one_for_an_exchange_that_was_not_admitted_yet() -> None:
    fronted = front()
    exchange = Exchange(fronted.client, "POST", "/api/embed", "")
    exchange.headers = with_key(x_request_id="mine")
    _, headers, body = fronted.service.render(exchange, Refusal("timeout", "too slow"))
    assert dict(headers)[b"x-request-id"] == b"mine"
    assert body == b'{"error":"too slow"}'


def test_a_refusal_between_admit_and_handle() -> None:
    """The body was too large, or too slow: the server answers, and the id is there once."""
    fronted = front()
    exchange = Exchange(fronted.client, "POST", "/things", "")
    assert fronted.service.admit(exchange) is None
    exchange.reply(*fronted.service.render(exchange, Refusal("too_large", "16 MiB at most")))
    (answer,) = fronted.client.answers
    assert answer.status == 413
    assert answer.headers["x-request-id"] == exchange.request_id
    assert exchange.stage is Stage.DONE


def test_answers_are_counted_by_route_status_and_seconds() -> None:
    fronted = Front(routes=front().routes)
    held: list[Exchange] = []
    slow = Route(("GET",), "/slow", Scope.PUBLIC, lambda exchange, _: held.append(exchange))
    fronted = Front(routes=[slow])
    fronted.client.send("GET", "/slow")
    assert fronted.counted == []
    fronted.clock.now += 2.5
    held[0].reply(OK, [], b"")
    fronted.ask("GET", "/nothing")
    number = fronted.service.routes.index(slow)
    assert fronted.counted == [(number, 200, 2.5), (-1, 404, 0.0)]


def test_nothing_is_counted_without_a_counter() -> None:
    fronted = front()
    fronted.service._answered = None
    assert fronted.ask("GET", "/things").status == 200
    assert fronted.service.render(None, Refusal("bad_request", "what?"))[0] == 400
    assert fronted.counted == []


def test_the_callers_routes_are_those_of_the_contract() -> None:
    routes = caller_routes(DeskDouble(), Clock(), at_once)
    assert {(method, route.pattern) for route in routes for method in route.methods} == {
        ("POST", "/v1/embeddings"),
        ("POST", "/embeddings"),
        ("POST", "/v1/embeddings/batch"),
        ("POST", "/openai/deployments/{deployment...}/embeddings"),
        ("POST", "/deployments/{deployment...}/embeddings"),
        ("POST", "/v1/contextualizedembeddings"),
        ("POST", "/v1/multimodalembeddings"),
        ("POST", "/v1/embed"),
        ("POST", "/v2/embed"),
        ("POST", "/api/embed"),
        ("GET", "/api/tags"),
        ("GET", "/api/version"),
        ("GET", "/v1/models"),
        ("GET", "/models"),
        ("GET", "/v1/models/{id...}"),
        ("GET", "/v1/test"),
    }
    assert {route.scope for route in routes} == {Scope.KEY}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None), ({b"content-length": b"0"}, None),
        ({b"content-length": b"%d" % (UNUSED_BODY_MAX - 1)}, None),
        ({b"content-length": b"%d" % UNUSED_BODY_MAX}, None),
        ({b"content-length": b"%d" % (UNUSED_BODY_MAX + 1)}, 413),
        ({b"content-length": b"16777216"}, 413), ({b"content-length": b"5, 5"}, None),
        ({b"transfer-encoding": b"chunked"}, 413),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("GET", "/things"), ("OPTIONS", "/v1/embeddings")])
def test_without_a_key_nobody_makes_it_hold_a_large_body(
    method: str, path: str, headers: dict[bytes, bytes], status: int | None
) -> None:
    fronted = front()
    exchange = Exchange(fronted.client, method, path, "")
    exchange.headers = headers
    refusal = fronted.service.admit(exchange)
    assert (None if refusal is None else fronted.service.render(exchange, refusal)[0]) == status


def test_a_bug_in_a_handler_of_a_key_that_was_verified_first_is_answered() -> None:
    """Nobody waits for a later turn of the loop: the client would hang."""

    def breaks(exchange: Exchange, captured: tuple[str, ...]) -> None:
        raise LookupError("a bug")

    fronted = Front(routes=[Route(("GET",), "/breaks", Scope.KEY, breaks)])
    fronted.keys.unverified.add(KEY)
    fronted.client.send("GET", "/breaks")
    with pytest.raises(LookupError):
        fronted.keys.waiting[0][1](CALLER)
    (answer,) = fronted.client.answers
    assert (answer.status, answer.error["type"]) == (502, "internal_error")
    assert "a bug" not in answer.error["message"]


def test_a_handler_that_answers_later_is_waited_for_after_verifying_too() -> None:
    held: list[Exchange] = []
    slow = Route(("GET",), "/slow", Scope.KEY, lambda exchange, _: held.append(exchange))
    fronted = Front(routes=[slow])
    fronted.keys.unverified.add(KEY)
    fronted.client.send("GET", "/slow")
    fronted.keys.waiting[0][1](CALLER)
    assert fronted.client.answers == []
    held[0].reply(OK, [], b"")
    assert fronted.client.answers[0].status == 200
