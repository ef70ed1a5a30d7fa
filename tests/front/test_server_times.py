"""How long a client may take: stalls and drips at every place, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emr.front.exchange import ServerLimits
from tests.front.cases import chunked, fields, post
from tests.support.server import Client, Server

GET = fields()
SLACK_S = 0.25  # a sweep


def seconds_until_ended(client: Client, drip: Callable[[], None], most: float = 120.0) -> float:
    """Let time pass, with `drip` each second, until the server ends the connection."""
    start = client.server.clock.now
    while not client.transport.is_ended:
        client.server.pass_time(0.25)
        if (client.server.clock.now - start) % 1.0 == 0.0:
            drip()
        assert client.server.clock.now - start < most, "it is let wait for ever"
    return client.server.clock.now - start


def nothing() -> None:
    """The client stalls."""


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1", GET[:-2], b"\r\n\r", GET[:-1]])
def test_a_stalled_head(begun: bytes) -> None:
    client = Server().connect()
    client.send(begun)
    assert 10.0 <= seconds_until_ended(client, nothing) <= 10.0 + SLACK_S
    assert client.statuses == [408]
    assert client.answers[0].headers["x-type"] == "timeout"


def test_a_dripped_head() -> None:
    client = Server().connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    assert seconds_until_ended(client, lambda: client.send(b"a")) <= 10.0 + SLACK_S
    assert client.statuses == [408]


def test_a_head_that_drips_lines() -> None:
    client = Server().connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    assert seconds_until_ended(client, lambda: client.send(b"X: a\r\n")) <= 10.0 + SLACK_S
    assert client.statuses == [408]


def test_a_client_that_says_nothing_at_all() -> None:
    client = Server().connect()
    assert 10.0 <= seconds_until_ended(client, nothing) <= 10.0 + SLACK_S
    assert client.transport.written == b""


def test_a_client_that_drips_empty_lines() -> None:
    client = Server().connect()
    assert seconds_until_ended(client, lambda: client.send(b"\r\n")) <= 10.0 + SLACK_S


def test_a_head_just_in_time() -> None:
    client = Server().connect()
    client.send(GET[:-1])
    client.server.pass_time(9.75)
    client.send(GET[-1:])
    assert client.statuses == [200]


@pytest.mark.parametrize("begun", [
    post(b"Content-Length: 5"), post(b"Content-Length: 5", body=b"hell"), chunked(b""),
    chunked(b"5"), chunked(b"5\r\nhe"), chunked(b"5\r\nhello"), chunked(b"5\r\nhello\r\n0\r\n"),
    chunked(b"0\r\nA: b\r\n"),
])  # fmt: skip
def test_a_stalled_body(begun: bytes) -> None:
    client = Server().connect()
    client.send(begun)
    assert 30.0 <= seconds_until_ended(client, nothing) <= 30.0 + SLACK_S
    assert client.statuses == [408]
    assert client.server.service.handled == []
    assert client.server.service.refusals[0][0] is client.server.service.admitted[0]


@pytest.mark.parametrize(("begun", "drop"), [
    (post(b"Content-Length: 500"), b"x"), (chunked(b""), b"1\r\nx\r\n"),
    (chunked(b"1;"), b"a"), (chunked(b"0\r\n"), b"A: b\r\n"),
])  # fmt: skip
def test_a_dripped_body(begun: bytes, drop: bytes) -> None:
    client = Server().connect()
    client.send(begun)
    assert seconds_until_ended(client, lambda: client.send(drop)) <= 30.0 + SLACK_S
    assert client.statuses == [408]


def test_a_body_just_in_time() -> None:
    client = Server().connect()
    client.send(post(b"Content-Length: 5"))
    client.server.pass_time(29.75)
    client.send(b"hello")
    assert client.statuses == [200]


def test_an_idle_connection() -> None:
    client = Server().connect()
    client.send(GET)
    assert 75.0 <= seconds_until_ended(client, nothing) <= 75.0 + SLACK_S
    assert client.statuses == [200]
    assert client.transport.is_lost


def test_an_idle_connection_that_drips_empty_lines() -> None:
    client = Server().connect()
    client.send(GET)
    assert seconds_until_ended(client, lambda: client.send(b"\r\n")) <= 75.0 + SLACK_S


def test_each_answer_gives_the_idle_time_anew() -> None:
    client = Server().connect()
    for at in range(5):
        client.send(GET)
        assert client.statuses == [200] * (at + 1)
        client.server.pass_time(74.0)
        assert not client.transport.is_ended


def test_a_next_head_has_its_own_time() -> None:
    client = Server().connect()
    client.server.pass_time(9.0)
    client.send(GET + GET[:5])
    client.server.pass_time(9.0)
    assert not client.transport.is_ended
    client.send(GET[5:] + GET[:5])
    client.server.pass_time(9.0)
    assert not client.transport.is_ended
    client.server.pass_time(1.0 + SLACK_S)
    assert client.statuses == [200, 200, 408]


def test_answers_do_not_give_a_head_more_time() -> None:
    server = Server()
    server.service.is_holding = True
    client = server.connect()
    client.send(GET * 10 + GET[:5])
    for exchange in server.service.handled:
        server.pass_time(1.1)
        server.service.answer(exchange)
    assert client.statuses[-1] == 408
    assert len(client.statuses) == 11


def test_a_request_in_work_has_no_time_of_the_servers() -> None:
    server = Server()
    server.service.is_holding = True
    client = server.connect()
    client.send(GET)
    server.pass_time(600.0)
    assert not client.transport.is_ended
    server.service.answer(server.service.handled[0])
    assert client.statuses == [200]


def test_a_timeout_waits_its_turn() -> None:
    server = Server()
    server.service.is_holding = True
    client = server.connect()
    client.send(GET + b"GET /slow")
    server.pass_time(20.0)
    assert client.statuses == []
    server.service.answer(server.service.handled[0])
    assert client.statuses == [200, 408]
    assert client.transport.is_eof_written


def test_a_held_client_loses_no_time() -> None:
    server = Server(ServerLimits(max_pipelined=2))
    server.service.is_holding = True
    client = server.connect()
    client.send(GET + GET + GET[:5])
    assert not client.transport.is_read
    server.pass_time(60.0)
    assert not client.transport.is_ended
    server.service.answer(server.service.handled[0])
    assert client.transport.is_read
    server.pass_time(9.0)
    client.send(GET[5:])
    for exchange in server.service.handled[1:]:
        server.service.answer(exchange)
    assert client.statuses == [200, 200, 200]


def test_a_lingering_client_is_dropped() -> None:
    client = Server().connect()
    client.send(b"BROKEN\r\n\r\n")
    client.server.pass_time(0.25)
    assert not client.transport.is_closed
    client.server.pass_time(0.5)
    assert client.transport.is_lost


def test_many_half_open_clients_are_all_reaped() -> None:
    server = Server()
    heads = [server.connect() for _ in range(1000)]
    bodies = [server.connect() for _ in range(1000)]
    for client in heads:
        client.send(GET[:20])
    for client in bodies:
        client.send(post(b"Content-Length: 5"))
    quick = server.connect()
    quick.send(GET)
    assert quick.statuses == [200]
    server.pass_time(11.0)
    assert all(client.transport.is_lost for client in heads)
    server.pass_time(20.5)
    assert all(client.transport.is_lost for client in bodies)
    assert len(server.register.guests) == 1
    assert server.register.refused == {408: 2000}


def test_a_tls_client_that_never_agrees_to_the_end() -> None:
    # TLS waits for the other side's word at a close; uvloop reports the loss only then
    server = Server()
    client = server.connect()
    client.transport.has_half_close = False
    client.send(fields(b"Connection: close"))
    transport = client.transport
    transport.has_client_agreed = False
    server.pass_time(4.0)
    assert (transport.is_closed, transport.is_aborted) == (True, False)
    server.pass_time(1.5)
    assert transport.is_aborted
