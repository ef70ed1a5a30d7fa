"""A desk with scripted providers, and the overview of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from emr.control.drift import Drift
from emr.control.overview import Overview, Sights
from emr.control.rows import Row
from emr.control.snapshot import ProviderView, Snapshot
from emr.control.views import Views, provider_health
from emr.front.routes import Route
from emr.lane.settings import LaneSettings
from emr.lane.verdict import Ending, Outcome, Verdict
from emr.upstream.call import Call
from tests.control.routed import Routed, answer_of


def failing(ending: Ending, **more: Any) -> Any:
    """A caller's answer that is always this ending."""
    outcome = Outcome(Verdict(ending, 400, "its words", **more))

    def answer(call: Call) -> Outcome:
        return outcome

    return answer


class Overlooked(Routed):
    """With an overview that is told of everything."""

    def __init__(
        self, *rows: Row, lanes: LaneSettings | None = None, has_local: bool = False
    ) -> None:
        super().__init__(*rows, has_local=has_local)
        if lanes is not None:
            self.pump.roster.settings = lanes
        self.active_keys, self.connections, self.draining = 3, 2, False
        keys: Any = SimpleNamespace(active=3)
        self.drift = Drift(self.store, self.providers, self.catalogue)
        self.overview = Overview(
            Sights(
                self.store, keys, self.providers, self.accounts, self.catalogue, self.pump,
                self.drift,
                lambda: self.connections, lambda: self.draining,
            )
        )  # fmt: skip
        self.pump.observe = self.overview.called
        self.views = Views(self.overview.take)

    @property
    def routes(self) -> list[Route]:
        return self.views.routes()

    def take(self) -> Snapshot:
        return self.overview.take()

    def view(self, name: str) -> ProviderView:
        (found,) = [each for each in self.take().providers if each.row.name == name]
        return found

    def health(self, name: str) -> dict[str, Any]:
        """The provider's entry of `GET /health/providers`."""
        return provider_health(self.view(name))

    def _changed(self, names: frozenset[str]) -> None:
        for name in self.accounts.changed({name: self.providers.get(name) for name in names}):
            self.overview.changed(name)
        self.catalogue.refresh()
        for name in names:
            self.catalogue.forget(name)

    async def fail(self, name: str, ending: Ending, times: int = 1, **more: Any) -> None:
        """Let so many requests of one provider end so."""
        self.accounts.members(self.row(name), self.row(name).model)
        for caller in self.callers_of(name):
            caller.answer = failing(ending, **more)
        for n in range(times):
            await self.ask(provider=name, text=f"text {n}").ended.wait()

    def mend(self, name: str) -> None:
        """Let it answer well from now on."""
        for caller in self.callers_of(name):
            caller.answer = answer_of(self.row(name))

    def row(self, name: str) -> Row:
        row = self.providers.get(name)
        assert row is not None
        return row

    def callers_of(self, name: str) -> list[Any]:
        return [caller for (of, _), caller in self.callers.items() if of == name]
