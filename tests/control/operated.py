"""The admin routes over a real store and real rows, and a client that waits for its answers."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from emr.app import row_rules
from emr.control.admin import Admin, Works
from emr.control.keyring import Shell
from emr.control.keys import Keys
from emr.control.rows import Row
from emr.control.trials import After, Trials
from emr.front.exchange import Exchange, Headers
from emr.front.routes import FrontService, Route
from tests.control.overlooked import Overlooked
from tests.front.double import SECRET, Answer, Client, KeysDouble

AS_ADMIN = {b"authorization": b"Bearer " + SECRET}
RULES = row_rules()


class Waiter(Client):
    """A client whose answers come in later turns."""

    def __init__(self, service: FrontService) -> None:
        super().__init__(service)
        self.ended = asyncio.Event()
        self.aborted: list[Exchange] = []

    def write_reply(self, exchange: Exchange, status: int, headers: Headers, body: bytes) -> None:
        super().write_reply(exchange, status, headers, body)
        self.ended.set()

    def end_stream(self, exchange: Exchange) -> None:
        self.ended.set()

    def abort(self, exchange: Exchange) -> None:
        self.aborted.append(exchange)
        self.ended.set()

    async def last(self) -> Answer:
        """The answer, once it is there."""
        await self.ended.wait()
        (answer,) = self.answers
        return answer


class Operated(Overlooked):
    """With keys, the admin routes and trials. `works` are what the process would do."""

    def __init__(self, *rows: Row) -> None:
        super().__init__(*rows)
        self.drains = 0
        self.reloads: list[Any] = []
        self.tested: list[str] = []
        shell = Shell(self.loop.call_soon_threadsafe, self.loop.call_later)
        self.keys = Keys(self.store, shell)
        works = Works(lambda: {"server": {}}, self._reload, self._drain, self.overview.learned_caps)
        self.admin = Admin(self.keys, self.providers, works, self.loop)
        makers = self.accounts._makers
        after = After(self._cleared, self.drift, self.ledger.called_by_operator)
        self.trials = Trials(self.providers, makers, self.catalogue, after)

    async def __aexit__(self, *error: object) -> None:
        self.keys.close()
        await super().__aexit__(*error)

    @property
    def routes(self) -> list[Route]:
        return [*self.views.routes(), *self.admin.routes(), *self.trials.routes()]

    def _reload(self) -> dict[str, Any]:
        told = self.reloads.pop(0)
        if isinstance(told, Exception):
            raise told
        return {"changed": told}

    def _drain(self) -> None:
        self.drains += 1

    def _cleared(self, row: Row) -> None:
        self.tested.append(row.name)
        self.accounts.reset(row)
        self.overview.cleared(row.name)

    def client(self) -> Waiter:
        return Waiter(FrontService(self.routes, KeysDouble(), self.pump.clock))

    def send(self, method: str, path: str, body: Any = b"") -> tuple[Waiter, Exchange]:
        """A request whose answer is waited for by the test."""
        client = self.client()
        data = body if type(body) is bytes else orjson.dumps(body)
        return client, client.send(method, path, data, AS_ADMIN)

    async def request(self, method: str, path: str, body: Any = b"") -> Answer:
        """A request of the admin, and its answer."""
        client, _ = self.send(method, path, body)
        return await client.last()
