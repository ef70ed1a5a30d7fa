"""The cheap scenarios, each held against its bounds; all of them: `scripts/simulate`."""

from __future__ import annotations

import re

import pytest

from tests.sim.measure import judge
from tests.sim.run import run
from tests.sim.scenario import FOLDER, Scenario, scenarios

ALL = scenarios()
FAST = [scenario for scenario in ALL if scenario.fast]


@pytest.mark.parametrize("scenario", FAST, ids=[scenario.name for scenario in FAST])
def test_every_bound_is_met(scenario: Scenario) -> None:
    judged = judge(run(scenario))
    assert judged, "a scenario asks for something"
    assert [str(each) for each in judged if not each.met] == []


def test_nothing_of_the_table_is_without_a_bound() -> None:
    assert [s.name for s in ALL if not any(span.bounds for span in s.spans)] == []


def test_most_of_its_rows_are_guarded_here() -> None:
    guarded = {scenario.name.split("/")[0] for scenario in FAST}
    assert len(guarded) >= 0.7 * len(list(FOLDER.glob("*.toml")))


def test_the_same_seed_gives_the_same_trace_and_another_one_another() -> None:
    """I17, of a whole run: what was sent and came back, and when."""
    scenario = next(s for s in FAST if s.name == "guessed/a tenth")
    traces = [run(scenario, seed=seed).trace for seed in (1, 1, 2)]
    assert traces[0] == traces[1] != traces[2]


def test_the_page_of_the_docs_has_every_scenario_and_no_other() -> None:
    page = (FOLDER.parent.parent / "docs" / "simulator.md").read_text()
    assert re.findall(r"^- `(.+?)`: ", page, re.MULTILINE) == [s.name for s in ALL]
    assert "not run" not in page
    assert [s.row for s in ALL if s.row.lower() not in page.lower()] == []
    asked = [bound.figure for s in ALL for span in s.spans for bound in span.bounds]
    assert page.count(" (asked ") == len(asked)
