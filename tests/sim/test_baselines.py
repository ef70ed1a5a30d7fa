"""The baselines of the table: each answers everyone, in as many calls as its policy makes."""

from __future__ import annotations

from tests.sim.baselines import POLICIES
from tests.sim.run import run
from tests.sim.scenario import scenarios

BURST = next(scenario for scenario in scenarios() if scenario.name == "burst/none")


def test_each_answers_a_burst_of_a_thousand() -> None:
    calls = {}
    for policy in POLICIES:
        done = run(BURST, policy)
        assert sum(asked.end == "ok" for asked in done.log) == len(done.log) == 1000
        calls[policy.name] = len(done.calls)
    assert calls.pop("pass") == 1000, "one by one"
    assert calls.pop("window") == 8, "full calls, as all come within a few windows"
    assert all(8 < made < 50 for made in calls.values())
