"""Many batches in flight: the order of the results, the bound, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from emr.cli.bulk.flow import in_order
from tests.cli.parts import PATIENCE_S

WORKERS = 4


def test_results_come_in_the_order_of_the_batches() -> None:
    """The first batch of each four is done last."""
    gates = [threading.Event() for _ in range(16)]

    def work(batch: int) -> int:
        if batch % WORKERS:
            gates[batch].set()
        else:
            for other in gates[batch + 1 : batch + WORKERS]:
                assert other.wait(PATIENCE_S)
        return batch * 10

    assert list(in_order(range(16), work, WORKERS)) == [batch * 10 for batch in range(16)]


def test_as_many_are_in_flight_as_there_are_workers() -> None:
    together = threading.Barrier(WORKERS)

    def work(batch: int) -> None:
        together.wait(PATIENCE_S)

    assert list(in_order(range(WORKERS * 3), work, WORKERS)) == [None] * WORKERS * 3


def test_no_more_is_read_than_is_taken() -> None:
    """Batches without end: those read are bounded by what stands in the line."""
    read = 0
    is_full = threading.Event()

    def source() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            if read == WORKERS + 2:
                is_full.set()
            yield read

    results = in_order(source(), lambda batch: batch, WORKERS)
    assert next(results) == 1
    assert is_full.wait(PATIENCE_S)
    for expected in range(2, 200):
        assert next(results) == expected
        # taken, in the line, in the hand of the one who reads, and the one being made
        assert read <= expected + WORKERS + 2


def test_what_the_work_raises_comes_in_its_place() -> None:
    def work(batch: int) -> int:
        if batch == 2:
            raise ValueError("two")
        return batch

    results = in_order(range(5), work, WORKERS)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_what_the_batches_raise_comes_after_what_was_read() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    results = in_order(source(), lambda batch: batch, WORKERS)
    assert next(results) == 1
    with pytest.raises(ValueError, match="broken"):
        next(results)


def test_nothing_at_all() -> None:
    assert list(in_order([], lambda batch: batch, WORKERS)) == []
