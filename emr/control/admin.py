"""The admin routes: keys, providers, configuration, reload, drain. One handler a route.

A change is answered when it is committed and in use. What the database refuses is a 503 and changes
nothing; serving goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from emr.control.config import ConfigError
from emr.control.keys import Keys
from emr.control.providers import Providers
from emr.control.replies import fields_of, refuse, reply_json
from emr.control.rows import Row
from emr.control.secrets import SecretError
from emr.control.store import StorageError
from emr.front.auth import Scope
from emr.front.exchange import Exchange, Stage
from emr.front.refusals import CREATED, NO_CONTENT, OK
from emr.front.routes import Handler, Route
from emr.front.sure import sure_answer
from emr.lane.refusal import Refusal, Refused

T = TypeVar("T")

RETRY_S = 5.0  # after a write that the database refused: a disk is freed by hand


@dataclass(frozen=True, slots=True)
class Works:
    """What the admin may have done to the process itself.

    `config` gives the effective configuration with its sources. `reload` reads it again and tells
    what changed; it raises ConfigError or SecretError, and then nothing did. `drain` starts the
    end. `learned_caps` tells what a provider's errors taught.
    """

    config: Callable[[], dict[str, Any]]
    reload: Callable[[], dict[str, Any]]
    drain: Callable[[], None]
    learned_caps: Callable[[str], dict[str, int | None]]


class Admin:
    """The handlers. `loop` is where answers are given; commits come from the store's thread."""

    def __init__(
        self, keys: Keys, providers: Providers, works: Works, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._keys = keys
        self._providers = providers
        self._works = works
        self._loop = loop

    def routes(self) -> list[Route]:
        """The admin routes of this class; `Trials` has those that call a provider."""
        table: list[tuple[str, str, Handler]] = [
            ("POST", "/admin/keys", self.create_key),
            ("GET", "/admin/keys", self.list_keys),
            ("PATCH", "/admin/keys/{id}", self.patch_key),
            ("DELETE", "/admin/keys/{id}", self.revoke_key),
            ("POST", "/admin/keys/{id}/rotate", self.rotate_key),
            ("POST", "/admin/providers", self.add_provider),
            ("GET", "/admin/providers", self.list_providers),
            ("PATCH", "/admin/providers/{name}", self.patch_provider),
            ("DELETE", "/admin/providers/{name}", self.delete_provider),
            ("GET", "/admin/config", self.config),
            ("POST", "/admin/reload", self.reload),
            ("POST", "/admin/drain", self.drain),
        ]
        return [Route((method,), path, Scope.ADMIN, run) for method, path, run in table]

    # keys

    def create_key(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Make a key; it is shown this once."""
        made = self._keys.create(fields_of(exchange))
        self._later(exchange, made, lambda key: reply_json(exchange, CREATED, key.view()))

    def list_keys(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Every key, without the key itself."""
        reply_json(exchange, OK, self._keys.listing())

    def patch_key(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Change a key's name or limits."""
        changed = self._keys.patch(captured[0], fields_of(exchange))
        self._later(exchange, changed, lambda row: reply_json(exchange, OK, row.view()))

    def revoke_key(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Refuse a key from now on."""
        revoked = self._keys.revoke(captured[0])
        self._later(exchange, revoked, lambda row: exchange.reply(NO_CONTENT, [], b""))

    def rotate_key(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """A new key of the same name and limits in place of the old one."""
        made = self._keys.rotate(captured[0])
        self._later(exchange, made, lambda key: reply_json(exchange, OK, key.view()))

    # providers

    def add_provider(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Register a provider."""
        added = self._providers.add(fields_of(exchange))
        self._later(exchange, added, lambda row: self._show(exchange, CREATED, row))

    def list_providers(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Every provider, with the caps that were learned."""
        shown = self._providers.listing()
        for entry in shown:
            # a row that the file hides has the name of another, which is in use
            in_use = entry["name"] if entry["enabled"] else ""
            entry["learned_caps"] = self._works.learned_caps(in_use)
        reply_json(exchange, OK, shown)

    def patch_provider(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Change a provider."""
        changed = self._providers.patch(captured[0], fields_of(exchange))
        self._later(exchange, changed, lambda row: self._show(exchange, OK, row))

    def delete_provider(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Take a provider away."""
        gone = self._providers.delete(captured[0])
        self._later(exchange, gone, lambda row: exchange.reply(NO_CONTENT, [], b""))

    def _show(self, exchange: Exchange, status: int, row: Row) -> None:
        reply_json(exchange, status, self._providers.view(row))

    # the process

    def config(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """The effective configuration, and where each value came from."""
        reply_json(exchange, OK, self._works.config())

    def reload(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Read the configuration again."""
        try:
            told = self._works.reload()
        except (ConfigError, SecretError) as error:
            raise Refused(Refusal("validation_error", f"nothing was changed: {error}")) from error
        reply_json(exchange, OK, told)

    def drain(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """Stop taking work, finish, leave."""
        reply_json(exchange, OK, {"status": "draining"})
        self._works.drain()

    # answers that wait for a commit

    def _later(self, exchange: Exchange, future: Future[T], then: Callable[[T], None]) -> None:
        finish = partial(self._finish, exchange, then)
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(finish, done))

    @staticmethod
    def _finish(exchange: Exchange, then: Callable[[T], None], future: Future[T]) -> None:
        if exchange.stage is not Stage.WAITING:
            return  # its client left; what was committed is committed
        with sure_answer(exchange):
            try:
                result = future.result()
            except Refused as refused:
                refuse(exchange, refused.refusal)
            except StorageError as error:
                refuse(exchange, Refusal("storage_error", str(error), retry_after=RETRY_S))
            else:
                then(result)
