"""docs/simulator.md: what is asked of emr in every scenario, and what it gave when it was run last.

`python -m tests.sim.table --no-baselines --page docs/simulator.md` makes it anew. A test holds the
page against the scenario files, without running them: no row of it may be missing or left over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.sim.scenario import Scenario

HEAD = """# The simulator

`scripts/simulate` runs the router's own core, unchanged, against models of providers and callers in
virtual time: ten minutes of 200 requests a second take seconds. A scenario is data
(`tests/scenarios/*.toml`): providers with limits counted in four ways, with headers or none, honest
or misleading Retry-After, faults, finite servers; callers of every size; and what is asked of the
run. `--only NAME` runs some, `--seed N` another course of chance, `--deep` searches for worlds in
which a promise breaks, and without `--no-baselines` four simpler routers run beside it.
`python -m tests.sim.ablation` switches one law off at a time.

`own` is the provider's own time for a call of the size that was sent, at the same percentile.
`goodput` is what was used of what the limit allows, `refused` the share of calls that met a limit,
`told_429` the callers who were told of one. This page is made by `--page docs/simulator.md`.
"""


def page(scenarios: Sequence[Scenario], told: Iterable[tuple[str, str]]) -> str:
    """The page; `told` are the names of scenarios, each with what one of its bounds is."""
    lines: dict[str, list[str]] = {}
    for name, bound in told:
        lines.setdefault(name, []).append(bound)
    parts = [HEAD]
    row = ""
    for scenario in scenarios:
        if scenario.row != row:
            row = scenario.row
            parts.append(f"\n## {row[0].upper()}{row[1:]}\n\n{scenario.curve}\n")
        bounds = "; ".join(lines.get(scenario.name, ["not run"]))
        parts.append(f"- `{scenario.name}`: {bounds}")
    return "\n".join(parts) + "\n"
