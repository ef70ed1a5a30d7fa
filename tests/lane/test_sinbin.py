"""The sin-bin alone: the length of bins, and the wait for the next probe."""

from __future__ import annotations

import pytest

from emr.lane.settings import LaneSettings
from emr.lane.sinbin import DOUBLINGS_MAX, SinBin, doubled
from emr.lane.verdict import Ending


def a_bin(**settings: float) -> SinBin:
    return SinBin(LaneSettings(**settings))


def test_bins_grow_up_to_the_longest() -> None:
    each = a_bin(sinbin_initial_s=30.0, sinbin_multiplier=3.0, sinbin_max_s=600.0)
    lengths = []
    for _ in range(5):
        each.start(Ending.TRANSIENT, 100.0)
        lengths.append(each.ends - each.started)
    assert lengths == [30.0, 90.0, 270.0, 600.0, 600.0]
    assert (each.times, each.by) == (5, Ending.TRANSIENT)


def test_a_forgotten_one_is_the_first_again() -> None:
    each = a_bin()
    each.start(Ending.OVERLOAD, 100.0)
    each.times = 0
    each.start(Ending.OVERLOAD, 200.0)
    assert each.ends == 230.0
    assert each.by is Ending.OVERLOAD


@pytest.mark.parametrize(("now", "ends"), [(129.9, 130.0), (130.0, 190.0)])
def test_a_failed_probe_lengthens_only_a_bin_that_is_over(now: float, ends: float) -> None:
    each = a_bin(sinbin_initial_s=30.0)
    each.start(Ending.TRANSIENT, 100.0)
    each.probe_failed(now)
    assert each.ends == ends
    assert each.started == 100.0


def test_alone_the_next_probe_is_soon() -> None:
    each = a_bin()
    each.start(Ending.TRANSIENT, 100.0)
    waits = []
    for _ in range(5):
        waits.append(each.probe_wait(100.0))
        each.probe_failed(100.0)
    assert waits == [0.5, 1.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize(("now", "wait"), [(100.0, 20.0), (110.0, 20.0), (110.1, 19.9)])
def test_with_a_twin_it_is_at_leisure_and_at_the_end(now: float, wait: float) -> None:
    each = a_bin(sinbin_initial_s=30.0, probe_interval_s=20.0)
    each.start(Ending.TRANSIENT, 100.0)
    each.twin = True
    assert each.probe_wait(now) == pytest.approx(wait)


def test_left_alone_it_is_probed_as_from_its_beginning() -> None:
    each = a_bin()
    each.start(Ending.TRANSIENT, 100.0)
    each.twin = True
    each.probe_failed(100.0)
    assert each.left_alone()
    assert not each.left_alone(), "only once"
    assert each.probe_wait(101.0) == 0.5


def test_one_that_was_alone_goes_on_as_it_was() -> None:
    each = a_bin()
    each.start(Ending.TRANSIENT, 100.0)
    each.probe_failed(100.0)
    assert not each.left_alone()
    assert each.probe_wait(101.0) == 1.0


def test_a_new_bin_begins_with_a_short_wait() -> None:
    each = a_bin()
    each.start(Ending.TRANSIENT, 100.0)
    each.probe_failed(101.0)
    each.start(Ending.TRANSIENT, 200.0)
    assert each.probe_wait(200.0) == 0.5


def test_waits_double_without_end_and_without_overflow() -> None:
    assert [doubled(times) for times in (0, 1, 10)] == [1.0, 2.0, 1024.0]
    assert doubled(DOUBLINGS_MAX + 1) == doubled(100_000) == 2.0**DOUBLINGS_MAX
