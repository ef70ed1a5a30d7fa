"""A short run of the wire fuzz, and proof that its invariants can fail."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from tests.fuzz.mutate import good_requests, mutate
from tests.fuzz.wire import (
    Broken,
    check_statuses,
    compare,
    look_with_h11,
    run_in_process,
    run_over_sockets,
)
from tests.support.aio import run

IN_PROCESS, SOCKETS = 20_000, 500


def test_in_process() -> None:
    counts = run_in_process(IN_PROCESS, seed=1)
    assert counts["streams"] == IN_PROCESS
    assert counts["status 200"] > IN_PROCESS // 10
    assert counts["status 400"] > IN_PROCESS // 10
    assert counts["h11 agrees"] > IN_PROCESS // 10


def test_over_sockets() -> None:
    counts = run(run_over_sockets(SOCKETS, seed=2))
    assert counts["streams"] == SOCKETS


def test_the_same_seed_makes_the_same_streams() -> None:
    def streams(seed: int) -> list[bytes]:
        random = Random(seed)
        corpus = good_requests(random, 10)
        return [mutate(random, corpus) for _ in range(100)]

    assert streams(7) == streams(7)
    assert streams(7) != streams(8)


def test_good_requests_are_good_to_h11() -> None:
    for request in good_requests(Random(1), 200):
        seen, refused = look_with_h11(request)
        assert (len(seen), refused) == (1, "")


@pytest.mark.parametrize(("statuses", "requests"), [
    ([500], 0), ([502], 1), ([200, 200], 0), ([200], 2), ([400, 200], 1), ([200, 400, 400], 1),
])  # fmt: skip
def test_statuses_that_must_not_be(statuses: list[int], requests: int) -> None:
    with pytest.raises(Broken):
        check_statuses(statuses, requests)


def test_a_request_that_h11_does_not_see() -> None:
    hidden = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\n"
    hidden += b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
    with pytest.raises(Broken, match="where h11 sees"):
        compare([200, 200], [("POST", b"", False), ("GET", b"", False)], hidden, Counter())
    with pytest.raises(Broken, match="and then: illegal request line"):
        compare([200], [("GET", b"", False)], b"BROKEN\r\n\r\n", Counter())
