"""The measures on a log made by hand: each figure is what one counts with a pencil."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from emr.lane.verdict import Ending
from tests.sim.callers import Asked
from tests.sim.measure import Figures, Run, judge
from tests.sim.scenario import read
from tests.sim.server import Seen, Server

OK, RATE, BROKEN = Ending.OK, Ending.RATE, Ending.TRANSIENT


def call(arrived: float, texts: int = 1, ending: Ending = OK, **more: Any) -> Seen:
    """A call of ten tokens a text that took 0.2 s, of one interactive ticket."""
    made = Seen(arrived, texts, 10 * texts, 0.2, 1, 0, arrived, arrived + 0.2, ending)
    for key, value in more.items():
        setattr(made, key, value)
    return made


def asked(at: float, took: float | None = 1.0, end: str = "ok", **more: Any) -> Asked:
    """A request of one text; `took` None: it has no end yet."""
    made = Asked(at, "a", False, 1, 60.0, "c")
    if took is not None:
        made.ended, made.end = at + took, end
    for key, value in more.items():
        setattr(made, key, value)
    return made


def figures(calls: list[Seen], log: list[Asked], **more: Any) -> Figures:
    """Of the minute from 60 to 120 s, at a limit of 60 calls and 1,000 tokens a minute."""
    limits = {
        "calls": {"counts": "calls", "per_minute": 60},
        "tokens": {"counts": "tokens", "per_minute": 1000},
    }
    table = {
        "row": "", "curve": "", "seconds": 120,
        "providers": {"p": {"limits": limits, **more}},
        "callers": {"c": {"kind": "closed"}, "d": {"kind": "closed", "measured": False}},
        "spans": {"s": {"since": 60, "bounds": {"goodput": ">= 0.5", "single_p50": "<= 2 own"}}},
    }  # fmt: skip
    (scenario,) = read("by hand", table)
    server = Server(scenario.providers["p"])
    server.seen = calls
    run = Run(scenario, {"p": server}, log, most_texts=10, most_tokens=80)
    return Figures(run, scenario.spans[0])


def value(name: str, calls: list[Seen], log: list[Asked] | None = None) -> float:
    return figures(calls, log or []).value(name)


# of calls


def test_goodput_is_of_the_limit_that_was_used_most() -> None:
    calls = [call(59.9, 50), *[call(60.0 + n) for n in range(30)], call(120.0, 50)]
    assert value("goodput", calls) == pytest.approx(0.5)
    assert value("goodput_least", calls) == pytest.approx(0.3)
    assert value("goodput", [*calls, call(70.0, 60)]) == pytest.approx(0.9)


def test_refused_calls_used_nothing() -> None:
    calls = [call(60.0 + n, ending=RATE if n < 10 else OK) for n in range(40)]
    assert value("goodput", calls) == pytest.approx(0.5)
    assert value("refused", calls) == pytest.approx(0.25)
    assert value("calls", calls) == 40


def test_a_broken_call_is_no_good_one() -> None:
    calls = [call(60.0, 3), call(61.0, 9), call(62.0, 500, BROKEN)]
    assert value("texts_a_call", calls) == 6.0


@pytest.mark.parametrize(("sizes", "over"), [([8, 8, 8], 1.0), ([8, 8, 4, 4], 4 / 3), ([1], 1.0)])
def test_a_perfect_packer_fills_texts_and_tokens(sizes: list[int], over: float) -> None:
    """Eight texts have the eighty tokens of a call."""
    calls = [call(60.0, texts) for texts in sizes]
    assert value("of_ideal", calls) == pytest.approx(over)


def test_fullness_is_of_the_calls_that_the_limit_allows() -> None:
    assert value("fullness", [call(60.0 + n, 5) for n in range(60)]) == pytest.approx(0.5)


def test_sizes_that_were_refused() -> None:
    sizes = [Ending.SIZE_ITEMS, Ending.SIZE_TOKENS, Ending.SIZE_BYTES, OK, RATE]
    assert value("too_large", [call(60.0, ending=each) for each in sizes]) == 3.0


# of requests


LOG = [
    asked(59.9, 100.0, "deadline_exceeded"),  # before the span
    asked(60.0, 1.0),
    asked(61.0, 3.0),
    asked(62.0, 5.0, bulk=True, texts=7, key="b"),
    asked(63.0, 0.0, "rate_limited", at_door=True),
    asked(64.0, 9.0, "deadline_exceeded"),
    asked(65.0, 2.0, "left"),
    asked(66.0, None),
    asked(67.0, 0.5, group="d"),  # of callers that are not measured
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("served", 3 / 5), ("answered", 3.0), ("told_429", 1.0), ("let_down", 1 / 4),
        ("single_served", 2 / 4), ("bulk_served", 1.0), ("rate", 10 / 60),
        ("single_p50", 3.0), ("single_p99", math.inf), ("bulk_p50", 5.0), ("all_p50", 5.0),
        ("c_p50", 5.0),
    ],
)  # fmt: skip
def test_figures_of_requests(name: str, expected: float) -> None:
    assert value(name, [], LOG) == pytest.approx(expected)


def test_who_waits_though_his_deadline_is_over_has_waited_for_ever() -> None:
    assert math.isnan(value("single_p99", [], [asked(60.0, None)]))
    assert value("single_p99", [], [asked(60.0, None, deadline_s=59.0)]) == math.inf


def test_the_guilty_are_not_counted_among_the_innocent() -> None:
    log = [asked(60.0), asked(61.0, 1.0, "validation_error", poisoned=True), asked(62.0)]
    assert value("innocent_served", [], log) == 1.0
    assert value("served", [], log) == pytest.approx(2 / 3)


def test_texts_sent_over_texts_asked() -> None:
    assert value("sent_of_asked", [call(60.0, 3)], [asked(60.0), asked(60.0)]) == 1.5


@pytest.mark.parametrize(("got", "index"), [((5, 5), 1.0), ((10, 0), 0.5), ((9, 3), 0.8)])
def test_jains_index(got: tuple[int, int], index: float) -> None:
    log = [asked(60.0 + n, key="x" if n < got[0] else "y") for n in range(sum(got))]
    everybody = [asked(60.0, 0.0, "overloaded", key=key) for key in "xy"]
    assert value("jain", [], [*log, *everybody]) == pytest.approx(index)


# against the provider's own


def test_own_is_weighted_by_the_tickets_of_the_class() -> None:
    calls = [
        call(60.0, own_s=1.0, singles=3, bulks=1),
        call(61.0, own_s=2.0, singles=1, bulks=3),
        call(62.0, own_s=9.0, singles=50, ending=BROKEN),
    ]
    each = figures(calls, [])
    assert [each.own(f"{kind}_p50") for kind in ("single", "bulk", "all")] == [1.0, 2.0, 2.0]
    assert math.isnan(each.own("goodput"))


def test_a_bound_is_judged_by_it() -> None:
    made = figures([call(60.0 + n) for n in range(31)], [asked(60.0, 0.39), asked(61.0, 0.41)])
    judged = judge(made.run)
    assert [str(each) for each in judged] == [
        "s: goodput 0.5167 (asked >= 0.5)",
        "s: single_p50 0.41 (asked <= 0.4)",
    ]
    assert [each.met for each in judged] == [True, False]


def test_a_name_that_nobody_knows_is_an_error() -> None:
    for name in ("goodputt", "nobody_p50", "single_p98"):
        with pytest.raises(KeyError):
            value(name, [call(60.0)], LOG)


# recoveries


def answers(*spans: tuple[float, float, float]) -> list[Asked]:
    """So many answers a second, from when to when."""
    log = []
    for since, until, rate in spans:
        log += [asked(since + n / rate - 1.0) for n in range(round((until - since) * rate))]
    return log


def test_a_recovery_is_the_first_second_of_eighty_percent() -> None:
    fault = {"x": {"trouble": "RESET", "since": 50, "until": 60}}
    log = answers((40.0, 50.0, 20.0), (60.0, 63.0, 10.0), (63.0, 120.0, 20.0))
    each = figures([], log, faults=fault)
    assert each.value("recovery_s") == pytest.approx(2.75, abs=0.26), "a second at 0.8 of it"
    assert each.value("lasting") == pytest.approx(1.0, abs=0.11)


def test_a_second_collapse_is_seen() -> None:
    fault = {"x": {"trouble": "RESET", "since": 50, "until": 60}}
    log = answers((40.0, 50.0, 20.0), (60.0, 80.0, 20.0), (90.0, 120.0, 20.0))
    assert figures([], log, faults=fault).value("lasting") == 0.0


def test_one_that_never_comes() -> None:
    fault = {"x": {"trouble": "RESET", "since": 50, "until": 60}}
    log = answers((40.0, 50.0, 20.0), (60.0, 120.0, 15.0))
    assert figures([], log, faults=fault).value("recovery_s") == math.inf


# against a twin


def test_against_the_twin_without_faults() -> None:
    fault = {"x": {"trouble": "ERROR", "p": 0.5}}
    each = figures([call(60.0 + n) for n in range(30)], [asked(60.0)] * 3, faults=fault)
    twin = figures([call(60.0 + n) for n in range(20)], [asked(60.0)] * 4)
    each.run = replace(each.run, twin=twin.run)
    assert each.value("of_twin_rate") == pytest.approx(0.75)
    assert each.value("of_needed") == pytest.approx(30 / (20 * 2))


def test_without_one_there_is_nothing_to_compare() -> None:
    with pytest.raises(AssertionError, match="no twin"):
        value("of_twin_rate", [])
