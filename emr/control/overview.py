"""Counts what passes, and makes the snapshot from which every view is a projection."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emr import __version__
from emr.control.accounts import Accounts
from emr.control.cache.recall import Recall
from emr.control.catalogue import Catalogue
from emr.control.drift import Drift
from emr.control.history import History
from emr.control.keys import Keys
from emr.control.providers import Providers
from emr.control.rows import Row
from emr.control.snapshot import AccountView, ProviderView, Snapshot, view_account
from emr.control.store import Store
from emr.front.routes import Route
from emr.lane.caps import Caps
from emr.lane.effects import Send
from emr.lane.lengths import PACKED
from emr.lane.verdict import Outcome
from emr.pump import Pump

GONE_REMEMBERED = 64  # providers that were removed, for the exposition: names come and go by hand


@dataclass(frozen=True, slots=True)
class Sights:
    """What the overview looks at. `connections` and `draining` ask the server.

    `recall` is the cache, None when it is switched off.
    """

    store: Store
    keys: Keys
    providers: Providers
    accounts: Accounts
    catalogue: Catalogue
    pump: Pump
    drift: Drift
    connections: Callable[[], int]
    draining: Callable[[], bool]
    recall: Recall | None = None


class Overview:
    """The counters that no place in the router has anyway, and `take`."""

    def __init__(self, sights: Sights) -> None:
        self._sights = sights
        self._started = time.monotonic()
        self._histories: dict[str, History] = {}
        self._calls_forgotten = 0  # of histories that were let go of
        self._answers: Counter[tuple[int, int]] = Counter()
        self._routes: Sequence[Route] = ()

    # being told

    def name_routes(self, routes: Sequence[Route]) -> None:
        """The table whose numbers `answered` is told."""
        self._routes = routes

    def answered(self, number: int, status: int, seconds: float) -> None:
        """A request to the route of that number got an answer."""
        self._answers[number, status] += 1

    def called(self, send: Send, outcome: Outcome, seconds: float) -> None:
        """A provider call ended."""
        account, batch = send.account, send.batch
        history = self._history(account.spec.provider)
        history.count(outcome, batch.texts, seconds)
        if account.closed:
            return  # it was of the row as it was before: that says nothing about the one there is
        history.judge(outcome.verdict.ending, seconds, self._sights.pump.clock())
        params, reply = batch.lane_params, outcome.reply
        if batch.canary and reply is not None:
            self._sights.drift.look(account.spec.provider, params, reply.vectors[0])
        # what an account tells of its model's length when nobody asked for another
        if (
            reply is not None
            and params.dimensions is None
            and params.whole is None
            and params.dtype not in PACKED
        ):
            self._sights.catalogue.seen(account.spec.provider, params.model, reply.dimensions)

    def cleared(self, provider: str) -> None:
        """The provider answered a test: its failures are not in a row any more."""
        if provider in self._histories:
            self._histories[provider].answered()

    def changed(self, provider: str) -> None:
        """The provider is another one now, by the same name."""
        if provider in self._histories:
            self._histories[provider].start_anew()

    def _history(self, provider: str) -> History:
        history = self._histories.get(provider)
        if history is None:
            self._let_go()
            history = self._histories[provider] = self._new_history()
        return history

    def _new_history(self) -> History:
        return History(self._sights.pump.roster.settings.rolling_window_s)

    def _let_go(self) -> None:
        """Of the providers that are not registered any more, remember the last few."""
        gone = [name for name in self._histories if self._sights.providers.get(name) is None]
        for name in gone[: max(0, len(gone) - GONE_REMEMBERED)]:
            self._calls_forgotten += self._histories.pop(name).calls.total()

    # telling

    def take(self) -> Snapshot:
        """Everything as it is now."""
        sights = self._sights
        pump, now = sights.pump, sights.pump.clock()
        views: dict[str, list[AccountView]] = {}
        for account in pump.roster.accounts:
            view = view_account(account, now)
            views.setdefault(view.provider, []).append(view)
        providers = tuple(
            self._provider(row, views.pop(row.name, []), now) for row in sights.providers.enabled()
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
            provider_calls=self._calls_forgotten
            + sum([history.calls.total() for history in self._histories.values()]),
            providers=providers,
            others=tuple(view for rest in views.values() for view in rest),
            answers=self._answers_by_route(),
            refusals=dict(pump.refused),
            histories=dict(self._histories),
            cache=None if sights.recall is None else sights.recall.view(),
        )

    def _provider(self, row: Row, views: Sequence[AccountView], now: float) -> ProviderView:
        accounts = tuple(view for view in views if not view.closing)
        first: tuple[AccountView, ...] = ()
        if not accounts:
            of_first = self._sights.accounts.of_first(row)
            first = tuple(view_account(account, now) for account in of_first)
        history = self._histories.get(row.name) or self._new_history()
        return ProviderView(
            row=row,
            figures=history.figures(now),
            accounts=accounts,
            closing=tuple(view for view in views if view.closing),
            first=first,
            failure_threshold=self._sights.pump.roster.settings.failure_threshold,
            drift=self._sights.drift.warning(row.name),
            shut=bool(self._sights.catalogue.why_shut(row.name)),
        )

    def learned_caps(self, provider: str) -> dict[str, int | None]:
        """The caps of a provider that its own errors taught, the least of its accounts."""
        accounts = self._sights.accounts.of(provider)
        known = [(account.caps, Caps(account.spec)) for account in accounts]
        learned = {
            "texts": [now.max_texts for now, told in known if now.max_texts < told.max_texts],
            "tokens": [now.max_tokens for now, told in known if now.max_tokens < told.max_tokens],
            "bytes": [now.max_bytes for now, told in known if now.max_bytes < told.max_bytes],
        }
        return {name: min(values, default=None) for name, values in learned.items()}

    def _answers_by_route(self) -> dict[tuple[str, int], int]:
        named: Counter[tuple[str, int]] = Counter()
        for (number, status), count in self._answers.items():
            pattern = self._routes[number].pattern if number >= 0 else "none"
            named[pattern, status] += count
        return dict(named)
