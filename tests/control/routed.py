"""A desk over real rows, accounts and the core, with callers that a test scripts.

Made inside a loop. The types of providers and the rules for endpoints are the real ones.
"""

from __future__ import annotations

import asyncio
import random
from base64 import b64encode
from hashlib import sha256
from typing import Any

import orjson
import pytest

from emr.app import endpoint_of, row_rules
from emr.control.accounts import Accounts, Makers
from emr.control.catalogue import Catalogue
from emr.control.desk import FrontDesk
from emr.control.ledger import Ledger
from emr.control.providers import Environs, Providers
from emr.control.quotas import Quotas
from emr.control.rows import Row, Source
from emr.control.settings import Server, Settings
from emr.control.store import Store
from emr.control.vocabulary import Vocabulary
from emr.front.desk import NO_LIMITS, Ask, Plan, Principal
from emr.lane.refusal import Refusal, Refused
from emr.lane.roster import Roster
from emr.lane.settings import Home, LaneSettings
from emr.lane.ticket import Request
from emr.lane.verdict import Outcome
from emr.pump import Pump
from emr.upstream.call import Call, Caller
from emr.upstream.endpoint import home_of
from emr.upstream.kinds import Model
from emr.upstream.table import KINDS
from tests.support.aio import run
from tests.support.scripted import Answer, Asked, Scripted, good

ANYONE = Principal("key-1", "app")
RULES = row_rules()


def row_of(name: str, kind: str, **more: Any) -> Row:
    """A row as the configuration file gives it; its key is in KEY_OF_<NAME> unless it says so."""
    given: dict[str, Any] = {"name": name, "provider_type": kind}
    if KINDS[kind].key_variable and not {"api_key_env_var", "api_key_env_vars"} & more.keys():
        given["api_key_env_var"] = f"KEY_OF_{name.upper().replace('-', '_')}"
    if not KINDS[kind].endpoint and kind != "local":
        given["endpoint"] = "http://127.0.0.1:9/v1"
    return RULES.make(given | more, Source.FILE)


def settings_of(*rows: Row, models: dict[str, str] | None = None, **server: Any) -> Settings:
    """Settings with these rows and aliases."""
    return Settings(server=Server(**server), providers=rows, models=models or {})


# a vocabulary of five ids: the bytes of é are two of them
SMALL = [b"hello", b" world", b"\xc3", b"\xa9", b"\xff"]
SMALL_FILE = b"".join(b"%b %d\n" % (b64encode(word), n) for n, word in enumerate(SMALL))
SMALL_CHECKSUM = sha256(SMALL_FILE).hexdigest()


class Routed:
    """The whole of it. `callers` has a caller for each provider and key value."""

    def __init__(
        self, *rows: Row, models: dict[str, str] | None = None, has_local: bool = False
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.store = Store(None)
        self.callers: dict[tuple[str, str], Scripted] = {}
        self.no_keys: set[str] = set()
        self.values: dict[str, str] = {}
        self.key_looks: list[str] = []
        settings = settings_of(*rows, models=models)
        post = self.loop.call_soon_threadsafe
        environs = Environs(RULES, lambda: has_local, post)
        self.providers = Providers(self.store, environs, settings)
        self.pump = Pump(Roster(LaneSettings(), random.Random(1)), self.loop)
        self.accounts = Accounts(self.pump, Makers(KINDS, self.key_of, self.caller_of, home_of_row))
        self.catalogue = Catalogue(KINDS, self.providers, settings)
        self.wall = 1_800_000_000.0  # 2027-01-15T08:00:00Z
        self.quotas = Quotas(self.pump.clock, lambda: self.wall, NO_LIMITS)
        self.ledger = Ledger(self.quotas, self.catalogue.price, lambda: None)
        self.desk = FrontDesk(
            self.providers, self.accounts, self.pump, self.catalogue, self.quotas, self.ledger
        )
        self.environment: dict[str, str] = {"TIKTOKEN_CACHE_DIR": "/nowhere"}
        self.desk.vocabulary = Vocabulary(self.environment, SMALL_CHECKSUM)
        self.pump.observe = self.ledger.called
        self.pump.observe_end = self.ledger.ended
        self.providers.on_change.append(self._changed)

    async def __aenter__(self) -> Routed:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.pump.stop()
        self.store.close()

    def key_of(self, variable: str) -> str | None:
        self.key_looks.append(variable)
        if variable in self.no_keys:
            return None
        return self.values.get(variable, f"value-of-{variable}")

    def caller_of(self, row: Row, credential: str) -> Caller:
        return self.callers.setdefault((row.name, credential), Scripted(answer_of(row)))

    def caller(self, name: str) -> Scripted:
        """The one caller of a provider."""
        (found,) = [each for (of, _), each in self.callers.items() if of == name]
        return found

    def _changed(self, names: frozenset[str]) -> None:
        self.accounts.changed({name: self.providers.get(name) for name in names})
        self.catalogue.refresh()
        for name in names:
            self.catalogue.forget(name)

    def resolve(self, ask: Ask, principal: Principal = ANYONE) -> Plan:
        return self.desk.resolve(ask, principal)

    def submit(self, plan: Plan, wait_s: float = 60.0) -> Asked:
        """Take a planned request in."""
        asked = Asked(deadline=self.pump.clock() + wait_s)
        asked.request = Request(
            plan.params, plan.texts, "key-1", self.pump.clock() + wait_s, asked._done
        )
        self.desk.submit(plan, asked.request)
        return asked

    def ask(self, model: str | None = None, provider: str | None = None, text: str = "a") -> Asked:
        """Resolve and submit one text."""
        return self.submit(self.resolve(ask_of(model, provider, text)))

    async def answered_by(self, model: str | None = None, provider: str | None = None) -> str:
        """Who answers one text."""
        asked = self.ask(model, provider)
        await asked.vectors()
        return asked.request.answered_by

    async def reload(self, *rows: Row, models: dict[str, str] | None = None) -> None:
        """Take other rows of the file."""
        settings = settings_of(*rows, models=models)
        self.catalogue.settings = settings
        self.providers.reload(settings)
        await asyncio.sleep(0)


def answer_of(row: Row, otherwise: int = 8) -> Answer:
    """Good answers with vectors as long as those of the model, where that is known."""

    def answer(call: Call) -> Outcome:
        model = call.params.model
        known = row.dimensions if row.dimensions and model == row.model else ()
        known = known or KINDS[row.provider_type].models.get(model, Model()).dimensions
        return good(call, known[0] if known else otherwise)

    return answer


def ask_of(
    model: str | None = None, provider: str | None = None, text: str = "a", **more: Any
) -> Ask:
    """What a caller wants, with one text."""
    return Ask([orjson.dumps(text)], single=True, model=model, provider=provider, **more)


def home_of_row(row: Row) -> Home:
    kind = KINDS[row.provider_type]
    return kind.home if kind.home is Home.LOCAL else home_of(kind, endpoint_of(row))


def server(name: str, model: str = "m", **more: Any) -> Row:
    """A server of the operator's own."""
    return row_of(name, "openai-compatible", model=model, api_key_env_var="X_API_KEY", **more)


def plan_of(
    ask: Ask, *rows: Row, who: Principal = ANYONE, models: dict[str, str] | None = None,
    has_local: bool = False,
) -> Plan:  # fmt: skip
    """Where a request goes when these rows are registered."""

    async def main() -> Plan:
        async with Routed(*rows, models=models, has_local=has_local) as routed:
            return routed.resolve(ask, who)

    return run(main())


def no_plan_of(ask: Ask, *rows: Row, **more: Any) -> Refusal:
    """Why it goes nowhere."""
    with pytest.raises(Refused) as caught:
        plan_of(ask, *rows, **more)
    return caught.value.refusal


def told(plan: Plan) -> tuple[str, str, bool]:
    """Provider, model, and whether it stays there."""
    return plan.provider, plan.params.model, plan.pinned


def members(plan: Plan) -> list[str]:
    """The providers that may answer."""
    target: Any = plan.account
    return [account.spec.provider for account in target.members]
