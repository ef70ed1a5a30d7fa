"""The composition root: builds every part from the settings, once; starts, drains and stops them.

app = App(start)            # reads the database, makes the parts
await app.open(sockets)     # listens
…                           # SIGHUP → app.reload()
await app.drain()           # no new work; what was taken is finished
await app.close()
"""

from __future__ import annotations

import asyncio
import logging
import random
import resource
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from socket import socket
from typing import Any

from emr.control.accounts import Accounts, Makers
from emr.control.admin import Admin, Works
from emr.control.cache.admin import CacheAdmin
from emr.control.cache.recall import Recall, make_recall
from emr.control.catalogue import Catalogue
from emr.control.config import Loaded
from emr.control.config_text import changes, effective, in_effect, nested_sources
from emr.control.desk import FrontDesk
from emr.control.drift import Drift
from emr.control.endpoints import endpoint_of, row_rules
from emr.control.keyring import Shell
from emr.control.keys import Keys
from emr.control.learned import Learned
from emr.control.logs import loop_trouble, set_level
from emr.control.overview import Overview, Sights
from emr.control.places import Places
from emr.control.providers import Environs, Providers
from emr.control.quotas import Quotas
from emr.control.rows import LOCAL, Row
from emr.control.secrets import Secret, SecretError, find_key
from emr.control.settings import lane_settings, server_limits
from emr.control.store import Store
from emr.control.trials import After, Trials
from emr.control.usage import Usage
from emr.control.views import Views
from emr.control.vocabulary import Vocabulary
from emr.front.callers import caller_routes
from emr.front.listener import Listener
from emr.front.offload import Threads
from emr.front.register import Unfinished
from emr.front.routes import FrontService, Route
from emr.front.tls import server_context
from emr.lane.refusal import Refusal, Refused
from emr.lane.roster import Roster
from emr.lane.settings import Home
from emr.pump import Pump, in_turn
from emr.upstream.call import Caller
from emr.upstream.caller import HttpCaller
from emr.upstream.endpoint import home_of
from emr.upstream.local.caller import LocalCaller
from emr.upstream.local.model import NotInstalled, is_installed
from emr.upstream.table import KINDS
from emr.upstream.transport import Transport, TransportSettings

log = logging.getLogger("emr.app")

FILES_BESIDE = 512  # open files beside clients' connections: providers, database, log
WORKERS = 2  # threads for large bodies; the machine's cores are the applications'
KEPT_SECRET = "there is no admin secret any more: the old one holds until a restart"

Reread = Callable[[], tuple[Loaded, Secret | None]]


@dataclass(frozen=True, slots=True)
class Start:
    """What a process starts from. `reread` reads configuration and admin secret again."""

    loaded: Loaded
    secret: Secret | None
    places: Places
    environment: Mapping[str, str]
    store: Store
    reread: Reread


class App:
    """A running router. Made inside its event loop."""

    def __init__(self, start: Start) -> None:
        """Raises StorageError, SecretError."""
        settings = start.loaded.settings
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(loop_trouble)
        self.loaded = start.loaded
        self.secret = start.secret
        self._start = start
        # providers' side
        timeouts = TransportSettings(connect_s=settings.retry.connect_timeout_ms / 1000)
        self._transport = Transport(timeouts)
        self._local = LocalCaller()
        self.pump = Pump(Roster(lane_settings(settings), random.Random()), self.loop)
        # control plane
        post = self.loop.call_soon_threadsafe
        shell = Shell(post=post, later=self.loop.call_later)
        self.keys = Keys(start.store, shell, start.places)
        self.keys.ring.set_admin_secret(start.secret.value if start.secret else None)
        self.providers = Providers(start.store, Environs(row_rules(), is_installed, post), settings)
        makers = Makers(KINDS, self._key_of, self._caller_of, home_of_row)
        self.learned = Learned(start.store, shell)
        self.accounts = Accounts(self.pump, makers, self.learned)
        self.learned.accounts = self.accounts.all
        self.catalogue = Catalogue(KINDS, self.providers, settings)
        self.drift = Drift(start.store, self.providers, self.catalogue)
        self.quotas = Quotas(self.pump.clock, shell.wall, settings.keys.limits())
        self.quotas.heed(self.keys)
        self.usage = Usage(start.store, shell, self.quotas, self.catalogue.price, settings.usage)
        ledger = self.usage.ledger
        self.desk = FrontDesk(
            self.providers, self.accounts, self.pump, self.catalogue, self.quotas, ledger
        )
        self.desk.vocabulary = Vocabulary(start.environment)
        self.recall = make_recall(settings, start.places, self.pump, self.loop)
        self.desk.recall, self.drift.accepted = self.recall, partial(forget_vectors, self.recall)
        self.overview = Overview(
            Sights(
                start.store, self.keys, self.providers, self.accounts, self.catalogue, self.pump,
                self.drift,
                lambda: self.listener.open_connections, lambda: self.listener.is_draining,
                self.recall,
            )
        )  # fmt: skip
        observers = [ledger.called, self.overview.called, self.learned.called]
        if self.recall is not None:
            observers.append(self.recall.called)
        self.pump.observe = in_turn(*observers)
        self.pump.observe_end = ledger.ended
        self.providers.on_change.append(self._providers_changed)
        # clients' side
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="emr-work")
        offload = Threads(self.loop, self._threads, work_failed)
        routes = routes_of(self, offload, makers)
        self.overview.name_routes(routes)
        service = FrontService(
            routes, self.keys.ring, self.pump.clock, self.overview.answered, self.quotas.headers
        )
        self.listener = Listener(service, server_limits(settings))
        self.drain_asked = asyncio.Event()
        self._warming: asyncio.Task[None] | None = None

    # life

    async def open(self, sockets: Iterable[socket] = ()) -> None:
        """Listen: on `sockets` when there are any, else where the settings say.

        Raises BindError, TlsError.
        """
        server = self.loaded.settings.server
        inherited = list(sockets)
        raise_file_limit(server.max_connections + FILES_BESIDE)
        tls = None
        if server.tls_cert is not None:
            tls = server_context(
                server.tls_cert, server.tls_key or server.tls_cert, server.client_ca
            )
        binds = () if inherited else server.bind
        await self.listener.start(binds, tls, inherited, server.socket_mode)
        for warning in self.loaded.settings.start_warnings():
            log.warning(warning)
        if self.recall is not None:
            self.recall.open()
        self._tell_of_keys()
        if any(row.provider_type == LOCAL for row in self.providers.enabled()):
            self._warming = self.loop.create_task(self._warm())

    def ask_to_drain(self) -> None:
        """Whoever runs the app is to drain it and leave."""
        self.drain_asked.set()

    async def drain(self) -> list[Unfinished]:
        """Take no new work, finish what was taken; returns what had to be broken off."""
        return await self.listener.drain()

    async def close(self) -> None:
        """End everything that is left."""
        self.listener.close()
        if self._warming is not None:
            self._warming.cancel()
        await self.pump.stop()
        if self.recall is not None:
            await self.recall.close()
        await self._transport.close()
        self._local.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.keys.close()
        self.usage.close()
        self.learned.close()
        self._start.store.close()

    # configuration

    def config(self) -> dict[str, Any]:
        """The effective configuration, and where each value came from."""
        sources = nested_sources(self.loaded)
        if self.secret is not None:
            sources["admin"] = {"secret": self.secret.source}
        return effective(self.loaded) | {"sources": sources}

    def reload(self) -> dict[str, Any]:
        """Read configuration, secret and keys again.

        Raises ConfigError, SecretError: nothing changed then. What may raise comes first.
        """
        read, secret = self._start.reread()
        found = [change.view() for change in changes(self.loaded.settings, read.settings)]
        self.loaded = in_effect(self.loaded, read)
        settings = self.loaded.settings
        if secret is not None:
            self.secret = secret
            self.keys.ring.set_admin_secret(secret.value)
        set_level(settings.log.level)
        self.catalogue.settings = settings
        self.quotas.defaults = settings.keys.limits()
        self.providers.reload(settings)
        self.accounts.keys_may_have_changed()
        self.catalogue.refresh()
        for row in self.providers.rows():
            self.accounts.reset(row)
        log.info("Configuration reloaded", extra={"figures": {"changes": len(found)}})
        warnings = [*read.warnings, *([KEPT_SECRET] if self.secret is not secret else ())]
        for warning in warnings:
            log.warning(warning)
        self._tell_of_keys()
        return {
            "changed": [each for each in found if not each["restart"]],
            "needs_restart": [each for each in found if each["restart"]],
            "warnings": warnings,
        }

    def _tell_of_keys(self) -> None:
        """Log which providers will fail for want of a key."""
        for row in self.providers.enabled():
            for why in self.accounts.unusable(row):
                log.warning(
                    "A provider has no key", extra={"figures": {"provider": row.name, "why": why}}
                )

    async def _warm(self) -> None:
        """Load the built-in model, so that its first request does not wait for it."""
        try:
            await self._local.warm()
        except NotInstalled as error:
            log.warning("The built-in model cannot be used: %s", error)

    # what turns a row into calls

    def _key_of(self, variable: str) -> str | None:
        try:
            found = find_key(self._start.places, self._start.environment, variable)
        except SecretError as error:
            log.warning("A provider's key cannot be used: %s", error)
            return None
        return None if found is None else found.value

    def _caller_of(self, row: Row, credential: str) -> Caller:
        kind = KINDS[row.provider_type]
        if kind.home is Home.LOCAL:
            return self._local
        try:
            return HttpCaller(kind, endpoint_of(row), credential, self._transport)
        except ValueError as error:
            raise Refused(Refusal("provider_error", str(error), final=True)) from None

    def _providers_changed(self, names: frozenset[str]) -> None:
        for name in self.accounts.changed({name: self.providers.get(name) for name in names}):
            self.overview.changed(name)
        self.catalogue.refresh()
        for name in names:
            self.catalogue.forget(name)
        self.drift.changed(names)

    def cleared(self, row: Row) -> None:
        """A provider answered an operator's test."""
        self.accounts.reset(row)
        self.overview.cleared(row.name)


def home_of_row(row: Row) -> Home:
    """Where a provider runs."""
    kind = KINDS[row.provider_type]
    return kind.home if kind.home is Home.LOCAL else home_of(kind, endpoint_of(row))


def forget_vectors(recall: Recall | None) -> None:
    """The cache holds vectors of a model that is not used any more."""
    if recall is not None:
        recall.memory.clear()
        if recall.disk is not None:
            recall.disk.clear()


def work_failed(error: BaseException) -> None:
    """Work in a thread met a defect."""
    log.error("Work in a thread failed", exc_info=error)


def routes_of(app: App, offload: Threads, makers: Makers) -> list[Route]:
    """Every route of the server."""
    works = Works(app.config, app.reload, app.ask_to_drain, app.overview.learned_caps)
    told = app.usage.ledger.called_by_operator
    return [
        *caller_routes(app.desk, app.pump.clock, offload),
        *Views(app.overview.take).routes(),
        *Admin(app.keys, app.providers, works, app.loop).routes(),
        *app.usage.routes(),
        *Trials(app.providers, makers, app.catalogue, After(app.cleared, app.drift, told)).routes(),
        *CacheAdmin(app.recall, app.loop).routes(),
    ]


def raise_file_limit(wanted: int) -> None:
    """Raise the soft limit of open files to `wanted`, as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < wanted:
        log.warning(
            "The system allows %d open files, server.max_connections needs %d; raise the limit "
            "(LimitNOFILE=, ulimit -n)",
            most,
            wanted,
        )
