"""The desk: where a request goes by its provider and model, and in which words.

Implements `emr.front.desk.Desk` over the registered providers and the pump. The order in which a
model is looked for: an alias of the configuration, a model id that an enabled provider serves, a
provider's name, and `provider/model`. A request that names its provider stays with it; one that
names a model only may be answered by any provider of the same family. Never by another model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emr.control.accounts import Accounts
from emr.control.catalogue import Catalogue
from emr.control.providers import Providers
from emr.control.rows import LOCAL, Row
from emr.front.desk import Ask, Plan, Principal
from emr.lane.account import Account
from emr.lane.family import healthy
from emr.lane.refusal import Refusal, Refused
from emr.lane.roster import Roster
from emr.lane.ticket import Params, Request
from emr.pump import Pump
from emr.upstream.kinds import Kind

SHOWN_MAX = 20  # names in a message: enough to see a typing error

TOKEN_IDS = (
    "does not take token ids: send texts (in LangChain: check_embedding_ctx_length=False), or use "
    "a provider of type openai"
)


class FrontDesk:
    """The real desk. `catalogue` is what it knows of models."""

    def __init__(
        self, providers: Providers, accounts: Accounts, pump: Pump, catalogue: Catalogue
    ) -> None:
        self._providers = providers
        self._accounts = accounts
        self._pump = pump
        self._catalogue = catalogue
        self.settings = catalogue.settings

    # where a request goes

    def resolve(self, ask: Ask, principal: Principal) -> Plan:
        """See emr.front.desk.Desk."""
        row, model, pinned = self._find(ask)
        if principal.providers is not None and row.name not in principal.providers:
            raise Refused(
                Refusal(
                    "forbidden",
                    f"this key may not use {row.name}; it may use "
                    f"{', '.join(sorted(principal.providers))}",
                )
            )
        kind = self._catalogue.kinds[row.provider_type]
        params = self._params(ask, row, kind, model)
        members = self._accounts.members(row, model)
        if not pinned:
            members += self._twins(row, model, principal)
        return Plan(row.name, members, params, ask.texts, pinned)

    def _find(self, ask: Ask) -> tuple[Row, str, bool]:
        """The provider, the model, and whether the caller named the provider."""
        if ask.provider is not None:
            row = self._enabled(ask.provider)
            return row, self._model_of(row, ask.model), True
        asked = ask.model
        if asked is None:
            row = self._the_only_one()
            return row, self._model_of(row, None), False
        target = self._providers.target(asked)
        if target is not None:
            row = self._enabled(target[0])
            return row, self._model_of(row, target[1]), True
        served = self._catalogue.serving(asked)
        if served:
            return served[0], asked, False
        row_of_name = self._providers.get(asked)
        if row_of_name is not None:
            row = self._enabled(asked)
            return row, self._model_of(row, None), True
        provider, slash, model = asked.partition("/")
        if slash and self._providers.get(provider) is not None:
            row = self._enabled(provider)
            return row, self._model_of(row, model), True
        raise Refused(self._no_such_model(asked))

    def _enabled(self, name: str) -> Row:
        row = self._providers.get(name)
        if row is not None and row.enabled:
            return row
        known = ", ".join(each.name for each in self._providers.enabled()[:SHOWN_MAX]) or "none"
        state = "is not registered" if row is None else "is disabled"
        message = f"the provider {name[:64]} {state}; enabled are: {known}{self._nothing_yet()}"
        raise Refused(Refusal("unknown_provider", message, param="provider"))

    def _the_only_one(self) -> Row:
        row = self._providers.only()
        if row is not None:
            return row
        names = [each.name for each in self._providers.enabled()]
        if names:
            message = f"name a model or a provider; enabled are: {', '.join(names[:SHOWN_MAX])}"
        else:
            message = f"no provider is registered{self._nothing_yet()}"
        raise Refused(Refusal("validation_error", message, param="model"))

    def _nothing_yet(self) -> str:
        """What to do when there is nothing at all to ask."""
        if self._providers.enabled() or self._providers.get(LOCAL) is not None:
            return ""
        return (
            ": add one (`emr providers add --name voyage --type voyage`), or get the built-in model"
            " with `pip install 'emr[local]'` or emr-local.pyz"
        )

    def _model_of(self, row: Row, asked: str | None) -> str:
        """The model id to ask `row` for."""
        kind = self._catalogue.kinds[row.provider_type]
        default = row.model or kind.default_model
        if asked is None:
            if not default:
                message = f"{row.name} has no model of its own: name one"
                raise Refused(Refusal("validation_error", message, param="model"))
            return default
        if asked in self._catalogue.models_of(row):
            return asked
        known = ", ".join(self._catalogue.models_of(row)[:SHOWN_MAX])
        message = f"{row.name} does not serve {asked[:128]}; it serves {known or 'no model yet'}"
        raise Refused(Refusal("model_not_found", message, param="model"))

    def _no_such_model(self, asked: str) -> Refusal:
        known = [each["id"] for each in self.models()]
        shown = ", ".join(known[:SHOWN_MAX]) + (", …" if len(known) > SHOWN_MAX else "")
        message = (
            f"no enabled provider serves the model {asked[:128]}; known are: {shown or 'none'}"
            f"{self._nothing_yet()}"
        )
        hint = self._providers.get(LOCAL)
        if hint is not None and hint.enabled and len(self._providers.enabled()) <= 1:
            message += (
                f'. For clients that insist on another name: [models] "{asked[:64]}" = '
                f'"{LOCAL}/{hint.model}"'
            )
        return Refusal("model_not_found", message, param="model")

    def _twins(self, row: Row, model: str, principal: Principal) -> tuple[Account, ...]:
        """The accounts of other providers of the same family."""
        found: list[Account] = []
        for twin in self._catalogue.family(row, model):
            if principal.providers is None or twin.name in principal.providers:
                try:
                    found.extend(self._accounts.members(twin, model))
                except Refused:
                    continue  # a twin without its key cannot help
        return tuple(found)

    # in which words

    def _params(self, ask: Ask, row: Row, kind: Kind, model: str) -> Params:
        if ask.path is not None and ask.path not in kind.passes:
            able = [each.name for each in self._catalogue.kinds.values() if ask.path in each.passes]
            message = (
                f"{row.name} is of type {kind.name} and has nothing like {ask.path}; name a "
                f"provider of type {' or '.join(able)}"
            )
            raise Refused(Refusal("validation_error", message, param="provider"))
        if ask.whole is not None:
            return Params(model, whole=self._catalogue.with_model(ask.whole, model), path=ask.path)
        if ask.token_ids and not kind.token_ids:
            raise Refused(Refusal("validation_error", f"{row.name} {TOKEN_IDS}", param=ask.param))
        known = self._catalogue.dimensions(row, model)
        if ask.dimensions is not None and known and ask.dimensions not in known:
            message = (
                f"{model} of {row.name} has no vectors of {ask.dimensions} dimensions; it has "
                f"{', '.join(str(each) for each in known)}"
            )
            raise Refused(Refusal("validation_error", message, param="dimensions"))
        if ask.dtype not in kind.dtypes:
            message = f"{row.name} has no vectors of type {ask.dtype}: {', '.join(kind.dtypes)}"
            raise Refused(Refusal("validation_error", message, param="output_dtype"))
        return Params(
            model,
            input_type=ask.input_type if kind.input_types else None,
            dimensions=ask.dimensions,
            truncate=ask.truncate if ask.truncate in kind.truncations else None,
            dtype=ask.dtype,
            token_ids=ask.token_ids,
        )

    # the rest of the port

    def prefer(self, plans: Sequence[Plan]) -> list[Plan]:
        """See emr.front.desk.Desk."""
        now = self._pump.clock()

        def standing(plan: Plan) -> int:
            members = _members(plan)
            if not any(healthy(member) for member in members):
                return 2
            return 1 if all(member.gate.until > now for member in members) else 0

        return sorted(plans, key=standing)

    def submit(self, plan: Plan, request: Request) -> None:
        """See emr.front.desk.Desk."""
        members = _members(plan)
        if len(members) > 1:
            Roster.relate(members)
        self._pump.submit(members, request)

    def leave(self, request: Request) -> None:
        """See emr.front.desk.Desk."""
        self._pump.leave(request)

    def models(self) -> list[dict[str, Any]]:
        """See emr.front.desk.Desk."""
        return self._catalogue.listing()

    def default_timeout_s(self, bulk: bool) -> float:
        """See emr.front.desk.Desk."""
        server = self.settings.server
        return (server.bulk_deadline_ms if bulk else server.deadline_ms) / 1000

    def max_texts_per_request(self) -> int:
        """See emr.front.desk.Desk."""
        return self.settings.server.max_texts_per_request


def _members(plan: Plan) -> tuple[Account, ...]:
    members = plan.account
    assert isinstance(members, tuple), "a plan that this desk did not make: a bug"
    return members
