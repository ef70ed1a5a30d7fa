"""The raw-byte suite: several hundred cases, each whole, byte by byte, cut in two, and followed."""

from __future__ import annotations

import pytest

from tests.front.cases import Case, End, fields, post
from tests.front.cases_body import BODY_CASES
from tests.front.cases_connection import CONNECTION_CASES
from tests.front.cases_fields import FIELD_CASES
from tests.front.cases_line import LINE_CASES
from tests.support.server import Client, Server

CASES = LINE_CASES + FIELD_CASES + BODY_CASES + CONNECTION_CASES

# The beginning of a next request: it must neither be answered nor change what came before.
TRAILING = b"GET /next HTT"


def check(client: Client, case: Case) -> None:
    assert client.statuses == list(case.statuses)
    assert client.transport.is_ended is (case.end is End.CLOSES)
    served = [answer for answer in client.answers if answer.status == 200]
    assert len(client.server.service.handled) == len(served)


def test_names_are_unique_and_there_are_hundreds() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
    assert len(names) >= 600


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whole(case: Case) -> None:
    client = Server().connect()
    client.send(case.data)
    check(client, case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bytewise(case: Case) -> None:
    client = Server().connect()
    client.send_bytewise(case.data)
    check(client, case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_followed_by_trailing_bytes(case: Case) -> None:
    client = Server().connect()
    client.send(case.data + TRAILING)
    check(client, case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cut_in_two(case: Case) -> None:
    step = max(1, len(case.data) // 60)
    for at in range(1, len(case.data), step):
        client = Server().connect()
        client.send(case.data[:at])
        client.send(case.data[at:])
        check(client, case)


# What is remembered of heads must change nothing: these leave heads behind that many cases nearly
# repeat.
BEFORE = (
    fields(),
    post(b"Content-Length: 5", body=b"hello"),
    post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
)


@pytest.mark.parametrize("before", BEFORE, ids=["get", "sized", "chunked", "old"])
def test_after_other_requests(before: bytes) -> None:
    for case in CASES:
        client = Server().connect()
        for _ in range(3):
            client.send(before)
        client.send(case.data)
        assert client.statuses == [200, 200, 200, *case.statuses], case.name
        assert client.transport.is_ended is (case.end is End.CLOSES), case.name


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.end is End.CLOSES], ids=lambda case: case.name
)
def test_nothing_is_answered_after_the_end(case: Case) -> None:
    client = Server().connect()
    client.send(case.data + b"\r\n\r\nGET /after HTTP/1.1\r\nHost: a\r\n\r\n")
    client.send(b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n")
    check(client, case)
