"""The manager that works on the store itself, where no server runs: the same code, the same rules.

It holds the lock of the database as long as it works, so that no server starts meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from emr.cli.ask.address import Address, Server, parse_address
from emr.cli.output import plain, say
from emr.cli.trouble import Trouble
from emr.control.endpoints import row_rules
from emr.control.lockfile import Lock, LockError, LockHeld, take_lock
from emr.control.store import StorageError, Store
from emr.lane.refusal import Refused

if TYPE_CHECKING:
    from emr.cli.ask.manager import Manager
    from emr.cli.ask.whom import Local
    from emr.control.keys import Keys
    from emr.control.providers import Providers

T = TypeVar("T")
Fields = Mapping[str, object]
Told = dict[str, Any]


def take_store(local: Local) -> OwnStore | Address:
    """The store of this machine, or the address of the server that has it. Raises Trouble."""
    path = local.database
    if path is None:
        raise Trouble(
            "database.path is :memory:, so only a server that runs has keys, and none does"
        )
    try:
        lock = take_lock(path)
    except LockHeld as held:
        if held.holder.address is None:
            raise Trouble(str(held)) from held
        return parse_address(held.holder.address)
    except LockError as error:
        raise Trouble(f"database.path {path}: {error}; no server answers either") from error
    try:
        store = Store(path)
    except StorageError as error:
        lock.release()
        raise Trouble(str(error)) from error
    say(f"emr: no server runs: working on {path} itself")
    for news in store.news:
        say(f"emr: {news}")
    return OwnStore(local, store, lock)


class OwnStore:
    """A Manager. Close it, to free the database."""

    def __init__(self, local: Local, store: Store, lock: Lock) -> None:
        self.where = str(store.path)
        self._local = local
        self._store = store
        self._lock = lock

    def close(self) -> None:
        """Finish, and free the database."""
        self._store.close()
        self._lock.release()

    @cached_property
    def _keys(self) -> Keys:
        from emr.control.keyring import no_loop
        from emr.control.keys import Keys

        return Keys(self._store, no_loop(), self._local.places)

    @cached_property
    def _providers(self) -> Providers:
        from emr.control.providers import Environs, Providers
        from emr.upstream.local.model import is_installed

        environs = Environs(row_rules(), is_installed, post=lambda run: run())
        return Providers(self._store, environs, self._local.loaded.settings)

    # keys

    def create_key(self, fields: Fields) -> Told:
        """See Manager."""
        return done(lambda: self._keys.create(fields)).view()

    def keys(self) -> list[Told]:
        """See Manager."""
        return tried(lambda: self._keys).listing()

    def change_key(self, key_id: str, fields: Fields) -> Told:
        """See Manager."""
        return done(lambda: self._keys.patch(key_id, fields)).view()

    def revoke_key(self, key_id: str) -> None:
        """See Manager."""
        done(lambda: self._keys.revoke(key_id))

    def rotate_key(self, key_id: str) -> Told:
        """See Manager."""
        return done(lambda: self._keys.rotate(key_id)).view()

    # providers

    def add_provider(self, fields: Fields) -> Told:
        """See Manager."""
        row = done(lambda: self._providers.add(fields))
        return self._providers.view(row)

    def providers(self) -> list[Told]:
        """See Manager."""
        return tried(lambda: self._providers).listing()

    def change_provider(self, name: str, fields: Fields) -> Told:
        """See Manager."""
        row = done(lambda: self._providers.patch(name, fields))
        return self._providers.view(row)

    def remove_provider(self, name: str) -> None:
        """See Manager."""
        done(lambda: self._providers.delete(name))

    # calls to a provider

    def test_provider(self, name: str, fields: Fields) -> Told:
        """See Manager."""
        with self._router() as manager:
            return manager.test_provider(name, fields)

    def probe_provider(self, name: str, sizes: Sequence[int], samples: int) -> Iterator[Told]:
        """See Manager."""
        with self._router() as manager:
            yield from manager.probe_provider(name, sizes, samples)

    # usage

    def usage(self, asked: Mapping[str, str]) -> Told:
        """See Manager."""
        from emr.control.usage import answer_of
        from emr.control.usage_report import question_of

        def answer() -> Future[Told]:
            question = question_of(asked, time.time())
            return self._store.read(lambda connection: answer_of(connection, question, {}))

        return done(answer)

    @contextmanager
    def _router(self) -> Iterator[Manager]:
        """A router in this process on this store, that nobody else can ask.

        Its store is another on the same file, for it closes its own at the end.
        """
        from emr.app import Start
        from emr.cli.ask.inside import Inside, hidden_socket
        from emr.cli.ask.whom import over_api
        from emr.control.logs import set_up
        from emr.control.secrets import Secret, new_secret
        from emr.control.settings import Cache

        set_up("warning", "text")
        loaded, places = self._local.loaded, self._local.places
        server = replace(loaded.settings.server, tls_cert=None, tls_key=None, client_ca=None)
        no_cache = Cache(max_bytes=0)
        settings = replace(loaded.settings, server=server, cache=no_cache)
        loaded = replace(loaded, settings=settings)
        secret = Secret(new_secret(), "this command")
        with hidden_socket() as (sock, address):
            store = tried(lambda: Store(self._store.path))
            start = Start(loaded, secret, places, os.environ, store, lambda: (loaded, secret))
            with Inside(start, [sock]), over_api(Server(address), secret) as manager:
                yield manager


def done(act: Callable[[], Future[T]]) -> T:
    """What the future that `act` gives comes to. Raises Trouble with why it was refused."""
    return tried(lambda: act().result())


def tried(act: Callable[[], T]) -> T:
    """What `act` gives. Raises Trouble with why it was refused."""
    try:
        return act()
    except Refused as refused:
        raise Trouble(plain(refused.refusal.message)) from refused
    except StorageError as error:
        raise Trouble(str(error)) from error
