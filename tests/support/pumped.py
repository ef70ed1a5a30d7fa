"""A pump over a real core, with one account whose caller a test scripts."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from emr.lane.effects import Effects
from emr.lane.roster import Roster
from emr.lane.settings import LaneSettings
from emr.pump import Pump
from tests.support.scripted import Asked, Scripted, spec_of


class CountingRoster(Roster):
    """The core, which counts how often it was stepped."""

    steps = 0

    def step(self, now: float) -> Effects:
        self.steps += 1
        return super().step(now)


class Bench:
    """A pump with one account."""

    def __init__(
        self,
        caller: Scripted,
        settings: LaneSettings | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.roster = CountingRoster(settings or LaneSettings(), random.Random(1))
        self.pump = Pump(self.roster, loop or asyncio.get_running_loop())
        self.caller = caller
        self.account = self.pump.open(spec_of(), caller)

    def ask(self, *texts: str, wait_s: float = 60.0) -> Asked:
        asked = Asked(*texts, deadline=self.pump.clock() + wait_s)
        self.pump.submit((self.account,), asked.request)
        return asked

    def check_is_empty(self) -> None:
        assert self.pump.calls_in_flight == 0
        assert self.roster.live == 0
        assert all(account.idle for account in self.roster.accounts)


def others() -> list[asyncio.Task[Any]]:
    """The tasks that are there beside the test's own."""
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
