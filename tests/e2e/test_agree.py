"""Scenarios over sockets: how they become flags and rows, how runs are judged, and a short run.

Goal: what is compared is the same scenario, and a difference is seen. Method: every cell of the
folder is made into flags that the fake understands, or refused by name; figures of known runs are
judged; one cell of some seconds is run with real processes, every vector checked.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from emr.cli import fake as fake_command
from emr.control.config import load
from emr.control.endpoints import row_rules
from emr.fake.limits import Counting
from emr.fake.schedule import Rules
from emr.fake.settings import DEFAULTS, FakeSettings, RetryAfter, Tell, Words, changed
from emr.fake.vectors import maker
from emr.lane.verdict import Dimension, Ending
from tests.e2e.agree import run_cell
from tests.e2e.agreement.judge import Compared, allowed, compare
from tests.e2e.agreement.kinds import know
from tests.e2e.agreement.plan import (
    DIMENSIONS,
    MODEL,
    CannotRun,
    as_it_is_run,
    config,
    guesses,
    planned,
)
from tests.e2e.agreement.run import callers_of, ending_of, server_of, told_at_door
from tests.e2e.agreement.world import WrongVectors, check_vectors
from tests.sim.callers import Asked
from tests.sim.measure import Run
from tests.sim.scenario import FaultPlan, LimitPlan, ProviderPlan, Scenario, Span, scenarios
from tests.support.processes import ROOT

URL = "http://127.0.0.1:1"
CELLS = {each.name: each for each in scenarios()}
# what the real programs have no words for, and why
CANNOT = {
    "brownout/10%/resets", "brownout/30%/resets", "brownout/50%/resets", "brownout/60%/resets",
    "sizes/96 texts, not named",
}  # fmt: skip


def fake_settings(flags: tuple[str, ...]) -> FakeSettings:
    """The settings that `emr fake` makes of the flags, its schedule read."""
    parser = argparse.ArgumentParser()
    fake_command.add(parser.add_subparsers())
    args = parser.parse_args(["fake", *flags])
    settings = changed(FakeSettings(), {name: getattr(args, name) for name in DEFAULTS})
    Rules(settings)
    return settings


# the plan


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_is_run_or_refused_by_name(name: str, tmp_path: Path) -> None:
    scenario = as_it_is_run(CELLS[name])
    lanes = max(plan.lanes for plan in scenario.callers.values())
    if name in CANNOT:
        with pytest.raises(CannotRun):
            [planned(plan, lanes, 1) for plan in scenario.providers.values()]
        return
    plans = {name: planned(plan, lanes, 1) for name, plan in scenario.providers.items()}
    for name_of, one in plans.items():
        settings = fake_settings(one.flags)
        for limit in scenario.providers[name_of].limits.values():
            flag = {"calls": settings.rpm, "tokens": settings.tpm, "items": settings.ipm}
            assert flag[limit.counts] == limit.per_minute
    file = tmp_path / "config.toml"
    file.write_text(config(scenario, [(each, plans[each], URL) for each in plans]))
    rows = load(file, {}, row_rules()).settings.providers
    assert [row.name for row in rows] == list(plans)
    for row in rows:
        told = scenario.providers[row.name].account.get("limits", {})
        assert row.requests_per_minute == told.get("calls")
        assert row.tokens_per_minute == told.get("tokens")
    caps = {plan.account.get("max_tokens", 100_000) for plan in scenario.providers.values()}
    assert {guesses(scenario)["max_tokens"]} == caps


def test_limits_faults_and_changes_become_settings_and_a_schedule() -> None:
    plan = ProviderPlan(
        limits={
            "l": LimitPlan(
                "calls", 300, kind="windows", window_s=2, refused_count=True,
                changes=((300, 150), (700, 300)), stolen=0.5, stolen_since=10, stolen_until=20,
            )
        },
        headers="full", tells="numbers", retry_after="short", servers=2, queue=7,
        takes={"texts": 96}, poisoned=True, tells_index=True,
        faults={"x": FaultPlan("RESET", 60, 92), "y": FaultPlan("ERROR", 0, 30, 0.3)},
    )  # fmt: skip
    settings = fake_settings(planned(plan, 1, 7).flags)
    assert (settings.rpm, settings.counting, settings.window_s) == (300, Counting.WINDOWS, 2.0)
    assert (settings.count_failed, settings.seed, settings.servers) == (True, 7, 2)
    assert (settings.waiting, settings.max_texts, settings.poison) == (7, 96, "poison=index")
    assert (settings.tell, settings.words) == (Tell.FULL, Words.FIGURES)
    assert settings.retry_after is RetryAfter.SHORT
    assert settings.schedule == (
        "10-20 thief=0.5; 300-700 rpm=150; 700- rpm=300; 0-30 500=0.3; "
        "60-92 reset=1.0 latency_ms=68.0 latency_sigma=0"
    )


@pytest.mark.parametrize(
    "plan",
    [
        ProviderPlan(account={"tokens_a_byte": 0.3}),
        ProviderPlan(account={"home": "local"}),
        ProviderPlan(tells="dimension"),
        ProviderPlan(limits={"a": LimitPlan("calls", 1), "b": LimitPlan("items", 1, kind="fixed")}),
        ProviderPlan(limits={"a": LimitPlan("calls", 1), "b": LimitPlan("items", 1, stolen=0.5)}),
        ProviderPlan(faults={"a": FaultPlan("ERROR", 0, 9), "b": FaultPlan("HANG", 8, 10)}),
        ProviderPlan(faults={"a": FaultPlan("RATE", retry_after=3.0)}),
        ProviderPlan(faults={"a": FaultPlan("RESET", p=0.5)}),
        ProviderPlan(takes={"texts": 9}, names_caps="NOTHING"),
    ],
)
def test_what_has_no_word_is_refused(plan: ProviderPlan) -> None:
    with pytest.raises(CannotRun):
        planned(plan, 1, 1)


def test_other_guesses_for_each_provider_are_refused() -> None:
    scenario = replace(
        CELLS["closed/none"],
        providers={"a": ProviderPlan(), "b": ProviderPlan(account={"guesses": {"calls": 9}})},
    )
    with pytest.raises(CannotRun):
        guesses(scenario)
    with pytest.raises(CannotRun):
        config(replace(CELLS["closed/none"], settings={"binned_wait_s": 1}), [])


def test_a_key_for_each_caller_or_one_for_all() -> None:
    assert callers_of(CELLS["leaving"].callers)[19:21] == ["stay19", "leave0"]
    assert len(callers_of(CELLS["leaving"].callers)) == 40
    assert callers_of(CELLS["fair/1, 2, 8 and 64 callers"].callers) == [
        "one",
        "two",
        "eight",
        "many",
    ]


# what runs leave


LINE = {
    "came_s": 1.5, "texts": 3, "tokens": 30, "work_s": 0.2, "status": 200, "ended_s": 1.7,
    "complaint": "", "fault": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "ending"),
    [
        ({}, Ending.OK),
        ({"status": 0, "ended_s": -1.0}, Ending.OK),  # under way
        ({"status": 0}, Ending.TRANSIENT),  # given up
        ({"complaint": "rate of tokens", "status": 429}, Ending.RATE),
        ({"complaint": "overloaded", "fault": "503"}, Ending.OVERLOAD),
        ({"complaint": "crash", "fault": "500"}, Ending.TRANSIENT),
        ({"complaint": "too many texts"}, Ending.SIZE_ITEMS),
        ({"complaint": "poison"}, Ending.BAD_TEXT),
        ({"complaint": "no route"}, Ending.BAD_REQUEST),
        ({"fault": "reset", "status": 0}, Ending.TRANSIENT),
        ({"fault": "short"}, Ending.PROTOCOL),
        ({"fault": "gzip"}, Ending.OK),
    ],
)
def test_lines_of_a_journal_are_read(more: dict[str, object], ending: Ending) -> None:
    line = LINE | more
    assert ending_of(line, over=line["ended_s"] != -1.0) is ending


def test_a_server_is_made_of_a_journal() -> None:
    plan = ProviderPlan(limits={"l": LimitPlan("items", 60)})
    server = server_of(plan, [LINE, LINE | {"ended_s": -1.0}])
    first, second = server.seen
    assert (first.arrived, first.texts, first.tokens, first.own_s) == (1.5, 3, 30, 0.2)
    assert first.sent == pytest.approx(1.5 - 0.35 * 0.18)
    assert (first.ended, second.ended) == (1.7, math.inf)
    assert server.limits[0].dimension is Dimension.ITEMS


def test_who_was_refused_at_once_was_refused_at_the_door() -> None:
    def asked(end: str, took: float) -> Asked:
        return Asked(1.0, "k", False, 1, 60.0, "c", ended=1.0 + took, end=end)

    log = [asked("ok", 0.01), asked("left", 0.01), asked("overloaded", 0.03),
           asked("rate_limited", 0.5), asked("", math.inf)]  # fmt: skip
    assert told_at_door(log) == [pytest.approx(0.03), pytest.approx(0.5)]
    assert [each.at_door for each in log] == [False, False, True, False, False]


def test_somebody_elses_vector_is_found_out() -> None:
    one = maker(MODEL, None, DIMENSIONS, "float")

    def body(*texts: str) -> bytes:
        entries = [
            b'{"index":%d,"embedding":"%b"}' % (index, one.base64(text))
            for index, text in enumerate(texts)
        ]
        return b'{"data":[%b]}' % b",".join(entries)

    check_vectors([b'"a"', b'"b"'], DIMENSIONS, body("a", "b"))
    for wrong in (body("b", "a"), body("a"), body("a", "b", "c"), body("a", "c")):
        with pytest.raises(WrongVectors):
            check_vectors([b'"a"', b'"b"'], DIMENSIONS, wrong)


def test_the_table_of_kinds_knows_what_it_is_told() -> None:
    code = (
        "from tests.e2e.agreement.kinds import know\n"
        "know({'calls': 7, 'max_tokens': 9, 'max_bytes': 8})\n"
        "from emr.app import KINDS\n"
        "k = KINDS['openai']\n"
        "assert (k.calls_per_minute, k.tokens_per_minute, k.max_tokens, k.max_bytes) == "
        "(7, None, 9, 8)\n"
        "assert KINDS['openai-compatible'].max_tokens == 9\n"
        "assert KINDS['voyage'].calls_per_minute == 2000\n"
    )
    assert know.__module__ == "tests.e2e.agreement.kinds"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60)
    assert told.returncode == 0


# the judge


def test_a_tenth_is_allowed_and_of_few_what_chance_makes() -> None:
    assert allowed(10_000) == 0.1
    assert allowed(900) == pytest.approx(0.1)
    assert allowed(100) == pytest.approx(0.3)
    assert allowed(0) == 3.0


@pytest.mark.parametrize(
    ("virtual", "real", "agrees"),
    [
        (100.0, 110.0, True), (100.0, 110.1, False), (100.0, 90.0, True), (100.0, 89.9, False),
        (math.nan, math.nan, True), (math.nan, 1.0, False), (1.0, math.nan, False),
        (math.inf, math.inf, True), (1.0, math.inf, False), (0.0, 0.0, True), (0.0, 1.0, False),
    ],
)  # fmt: skip
def test_a_figure_agrees_within_what_is_allowed(virtual: float, real: float, agrees: bool) -> None:
    assert Compared("calls", virtual, real, 0.1, True).agrees is agrees
    assert Compared("calls", virtual, real, 0.1, False).agrees


def test_milliseconds_of_the_machine_are_no_difference() -> None:
    assert Compared("c_p50", 0.05, 0.0649, 0.1, True, 0.01).agrees
    assert not Compared("c_p50", 0.05, 0.0651, 0.1, True, 0.01).agrees


def quick(seconds: float) -> Scenario:
    """A limit of calls that is well used within some seconds."""
    plan = ProviderPlan(
        account={"max_texts": 8, "limits": {"calls": 600}},
        latency={"a": 0.12},
        limits={"l": LimitPlan("calls", 600)},
    )
    base = CELLS["closed/none"]
    singles = replace(base.callers["c"], count=120, key="some")  # a key costs a hash or two
    callers = {"c": singles, "b": replace(singles, count=2, texts=(40, 40), key="job")}
    return replace(
        base, name="quick", seconds=seconds, providers={"p": plan}, callers=callers,
        spans=(Span("all", 1.0, math.inf, ()),),
    )  # fmt: skip


def test_a_cell_over_sockets_does_what_it_does_in_virtual_time() -> None:
    cell = run_cell((quick(6.0), None))
    assert cell.wrong == []
    assert cell.agrees, cell.compared
    figures = {one.name: one for one in cell.compared}
    assert figures["goodput"].real > 0.9
    assert figures["served"].real == 1.0
    assert figures["refused"].real == 0.0


def test_runs_that_differ_are_seen() -> None:
    scenario = quick(6.0)
    server = server_of(
        scenario.providers["p"], [LINE | {"came_s": 2.0 + n / 50} for n in range(99)]
    )
    empty = server_of(scenario.providers["p"], [])
    log = [Asked(2.0, "c0", False, 1, 60.0, "c", ended=2.2, end="ok") for _ in range(99)]
    run, other = Run(scenario, {"p": server}, log), Run(scenario, {"p": empty}, log)
    assert all(one.agrees for one in compare(run, run))
    assert {one.name for one in compare(run, other) if not one.agrees} == {"goodput", "calls"}
