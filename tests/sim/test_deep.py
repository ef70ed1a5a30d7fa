"""A few worlds of each promise, and proof that a broken law is found; many: `--deep`."""

from __future__ import annotations

import pytest

from emr.lane.fair import FairOrder
from emr.lane.meter import Meter
from emr.lane.retry import Credits
from tests.sim import deep

FEW = 4


@pytest.mark.parametrize("promise", deep.PROMISES)
def test_a_promise_holds_in_a_few_worlds(promise: deep.Check) -> None:
    deep.checked(FEW, 1, promise)


def test_a_pace_that_does_not_wait_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Meter, "wait", lambda *_: 0.0)
    with pytest.raises(AssertionError, match="I6"):
        deep.checked(FEW, 1, deep.no_minute_holds_more)


def test_an_order_of_arrival_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FairOrder, "tag", lambda *_: (0.0, False))
    with pytest.raises(AssertionError, match="I11"):
        deep.checked(FEW, 1, deep.both_get_their_share)


def test_retries_that_nobody_may_make_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Credits, "take", lambda *_: False)
    with pytest.raises(AssertionError, match="I21"):
        deep.checked(2 * FEW, 1, deep.never_worse_than_asking_directly)
