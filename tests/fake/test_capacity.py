"""Servers with a line before them, and permits, at their edges."""

from __future__ import annotations

import pytest

from emr.fake.capacity import Permits, Servers


def servers(count: int, waiting: int) -> Servers:
    made = Servers()
    made.resize(count, waiting)
    return made


def test_no_servers_set_is_any_number() -> None:
    assert [servers(0, 1).start(9.0, 5.0) for _ in range(3)] == [5.0, 5.0, 5.0]


def test_calls_beyond_the_servers_wait_their_turn() -> None:
    two = servers(2, 0)
    assert [two.start(1.0, 0.0) for _ in range(5)] == [0.0, 0.0, 1.0, 1.0, 2.0]
    assert two.start(1.0, 2.5) == 2.5  # one is free since 2, the other works until 3
    assert two.start(1.0, 2.5) == 3.0
    assert two.start(1.0, 100.0) == 100.0


def test_the_line_has_an_end() -> None:
    one = servers(1, 2)
    assert [one.start(1.0, 0.0) for _ in range(4)] == [0.0, 1.0, 2.0, None]
    assert one.start(1.0, 0.999) is None
    assert one.start(1.0, 1.0) == 3.0  # the first of the line went to work
    assert one.start(1.0, 1.0) is None


def test_more_or_fewer_servers_from_now_on() -> None:
    some = servers(1, 0)
    some.start(10.0, 0.0)
    some.resize(2, 0)
    assert some.start(10.0, 1.0) == 1.0
    some.resize(1, 0)
    assert some.start(1.0, 2.0) == 11.0  # the one that is busy longest is kept
    some.resize(0, 0)
    assert some.start(1.0, 3.0) == 3.0


def test_permits_are_taken_whole() -> None:
    permits = Permits()
    permits.most = 10
    assert permits.acquire(9)
    assert not permits.acquire(2)
    assert permits.acquire(1)
    assert not permits.acquire(1)
    permits.release(10)
    assert permits.acquire(10)
    assert permits.most_seen == 10
    with pytest.raises(AssertionError, match="a bug"):
        permits.release(11)


def test_permits_without_a_number_are_counted() -> None:
    permits = Permits()
    assert permits.acquire(1_000_000)
    assert permits.most_seen == 1_000_000
