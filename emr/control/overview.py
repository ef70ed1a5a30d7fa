"""Counts what passes, and makes the snapshot from which every view is a projection."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emr import __version__
from emr.control.accounts import Accounts
from emr.control.catalogue import Catalogue
from emr.control.history import History
from emr.control.keys import Keys
from emr.control.providers import Providers
from emr.control.snapshot import Snapshot, view_provider
from emr.control.store import Store
from emr.front.routes import Route
from emr.lane.effects import Send
from emr.lane.verdict import Outcome
from emr.pump import Pump


@dataclass(frozen=True, slots=True)
class Sights:
    """What the overview looks at. `connections` and `draining` ask the server."""

    store: Store
    keys: Keys
    providers: Providers
    accounts: Accounts
    catalogue: Catalogue
    pump: Pump
    connections: Callable[[], int]
    draining: Callable[[], bool]


class Overview:
    """The counters that no place in the router has anyway, and `take`."""

    def __init__(self, sights: Sights) -> None:
        self._sights = sights
        self._started = time.monotonic()
        self._histories: dict[str, History] = {}
        self._answers: Counter[tuple[int, int]] = Counter()
        self._routes: Sequence[Route] = ()

    def name_routes(self, routes: Sequence[Route]) -> None:
        """The table whose numbers `answered` is told."""
        self._routes = routes

    def answered(self, number: int, status: int, seconds: float) -> None:
        """A request to the route of that number got an answer."""
        self._answers[number, status] += 1

    def called(self, send: Send, outcome: Outcome, seconds: float) -> None:
        """A provider call ended."""
        provider = send.account.spec.provider
        history = self._histories.get(provider)
        if history is None:
            window_s = send.account.settings.rolling_window_s
            history = self._histories[provider] = History(window_s)
        history.called(outcome, send.batch.texts, seconds, self._sights.pump.clock())
        params = send.batch.lane_params
        reply = outcome.reply
        if reply is not None and params.dimensions is None and params.whole is None:
            self._sights.catalogue.seen(provider, params.model, reply.dimensions)

    def take(self) -> Snapshot:
        """Everything as it is now."""
        sights = self._sights
        pump, now = sights.pump, sights.pump.clock()
        providers = []
        for row in sights.providers.enabled():
            history = self._histories.get(row.name)
            if history is None:
                history = History(pump.roster.settings.rolling_window_s)
            providers.append(
                view_provider(
                    row,
                    history.figures(now),
                    sights.accounts.of(row.name),
                    pump.roster.settings.failure_threshold,
                    now,
                )
            )
        return Snapshot(
            version=__version__,
            uptime_s=time.monotonic() - self._started,
            draining=sights.draining(),
            storage_ok=not sights.store.trouble,
            active_keys=sights.keys.active,
            connections=sights.connections(),
            requests_served=pump.answered,
            texts_served=pump.answered_texts,
            provider_calls=sum([sum(h.calls.values()) for h in self._histories.values()]),
            cache_hits=0,
            providers=tuple(providers),
            answers=self._answers_by_route(),
            refusals=dict(pump.refused),
            histories=dict(self._histories),
        )

    def learned_caps(self, provider: str) -> dict[str, int] | None:
        """The least caps of a provider's accounts, None before the first request."""
        accounts = self._sights.accounts.of(provider)
        if not accounts:
            return None
        return {
            "texts": min(account.caps.max_texts for account in accounts),
            "tokens": min(account.caps.max_tokens for account in accounts),
            "bytes": min(account.caps.max_bytes for account in accounts),
        }

    def _answers_by_route(self) -> dict[tuple[str, int], int]:
        named: Counter[tuple[str, int]] = Counter()
        for (number, status), count in self._answers.items():
            pattern = self._routes[number].pattern if number >= 0 else "none"
            named[pattern, status] += count
        return dict(named)
