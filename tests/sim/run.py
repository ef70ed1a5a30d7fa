"""A scenario, run: the production core (or a baseline) against its providers and callers."""

from __future__ import annotations

import time
import zlib
from random import Random

from emr.lane.account import Account
from emr.lane.effects import Send
from emr.lane.roster import Roster
from emr.lane.settings import AccountSpec, Home, LaneSettings, LimitSpec
from emr.lane.verdict import Dimension, Outcome
from tests.sim.baselines import Baseline, Policy
from tests.sim.callers import Asked, Callers
from tests.sim.measure import Run
from tests.sim.scenario import ProviderPlan, Scenario
from tests.sim.server import Server
from tests.sim.world import World

LIMITS = ("limits", "guesses")  # the operator's word; the table's default


class Traced(World):
    """A world that keeps a checksum of all that is sent and comes back, and when."""

    trace = 0

    def sent(self, send: Send) -> None:
        """A call leaves."""
        batch = send.batch
        self._add(f"{self.now!r} {send.account.spec.provider} {batch.number} {batch.texts}")

    def end(self, send: Send, outcome: Outcome) -> None:
        self._add(f"{self.now!r} {send.batch.number} {outcome.verdict.ending.value}")
        super().end(send, outcome)

    def _add(self, line: str) -> None:
        self.trace = zlib.crc32(line.encode(), self.trace)


class TracedServer(Server):
    """A server whose every incoming call is in the trace."""

    def send(self, world: World, send: Send) -> None:
        assert isinstance(world, Traced)
        world.sent(send)
        super().send(world, send)


def spec_of(name: str, plan: ProviderPlan) -> AccountSpec:
    """What emr knows of the provider before its first call."""
    told = dict(plan.account)
    limits = {
        Dimension(dimension): LimitSpec(per_minute, key == "limits")
        for key in LIMITS
        for dimension, per_minute in told.pop(key, {}).items()
    }
    home = Home(told.pop("home", "hosted"))
    return AccountSpec(provider=name, scope="m", home=home, limits=limits, **told)


def run(scenario: Scenario, policy: Policy | None = None, seed: int | None = None) -> Run:
    """Run the scenario; with `policy` by that baseline.

    Raises AssertionError when a caller got somebody else's vectors, or two answers.
    """
    number = scenario.seed if seed is None else seed
    settings = LaneSettings(**scenario.settings)
    roster = Roster(settings, Random(number + 1)) if policy is None else Baseline(policy)
    world = Traced(number, settings, roster)
    servers: dict[str, Server] = {}
    accounts: list[Account] = []
    for name, plan in scenario.providers.items():
        server = servers[name] = TracedServer(plan)
        accounts.append(world.open(spec_of(name, plan), server))
        server.start(world)
    if isinstance(roster, Roster):
        roster.relate(accounts)
    log: list[Asked] = []
    for name, callers in scenario.callers.items():
        Callers(world, name, callers, log).start(accounts)
    began = time.process_time()
    world.run(scenario.seconds)
    done = Run(scenario, servers, log, time.process_time() - began, world.trace)
    caps = accounts[0].caps
    done.most_texts, done.most_tokens = caps.max_texts, caps.max_tokens  # 0.9 of the table's
    if scenario.twin is not None:
        done.twin = run(scenario.twin, policy, seed)
    return done
