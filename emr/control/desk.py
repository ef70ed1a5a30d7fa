"""The desk: where a request goes by its provider and model, and in which words.

Implements `emr.front.desk.Desk` over the registered providers and the pump. Where a request goes is
found by `destinations`; one that does not name its provider may be answered by any provider of the
same family. Never by another model.

Rules of this file
- A twin stands in only where the request means the same to it: in its terms the parameters must be
  the very same. A provider that tells queries from documents and one that does not give different
  vectors for a query, whatever their rows say of a family.
- A plan may be older than the providers: between two tries of a request its provider may have
  changed. What is closed by then is opened anew, in the same words, or the request is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from emr.control.accounts import Accounts
from emr.control.cache.recall import Recall
from emr.control.catalogue import Catalogue
from emr.control.destinations import Destinations
from emr.control.ledger import Ledger
from emr.control.providers import Providers
from emr.control.quotas import Quotas
from emr.control.rows import Row
from emr.control.vocabulary import Vocabulary
from emr.front.desk import Ask, Plan, Principal
from emr.lane.account import Account
from emr.lane.family import healthy
from emr.lane.refusal import Refusal, Refused
from emr.lane.roster import Roster
from emr.lane.ticket import Params, Request
from emr.pump import Pump
from emr.upstream.kinds import Kind, Model
from emr.upstream.table import say_dimensions

TOKEN_IDS = (
    "does not take token ids: send texts (in LangChain: check_embedding_ctx_length=False), use a "
    "provider of type openai, or let emr find tiktoken's data (TIKTOKEN_CACHE_DIR)"
)


SHUT_RETRY_S = 60.0  # somebody must look at it: soon enough for whoever waits
REMEMBERED = 1024  # kinds of requests whose way is kept at hand


class Target(NamedTuple):
    """The desk's own handle in a plan: the row, and the accounts that may answer.

    `space` names the vectors that they give (see `emr.control.catalogue`).
    """

    row: Row
    members: tuple[Account, ...]
    space: str


class FrontDesk:
    """The real desk. `catalogue` is what it knows of models, with the settings in use.

    `quotas` are the limits of keys; `ledger` is told of whom they keep out. `recall` is the cache.
    """

    def __init__(
        self,
        providers: Providers,
        accounts: Accounts,
        pump: Pump,
        catalogue: Catalogue,
        quotas: Quotas,
        ledger: Ledger,
    ) -> None:
        self._providers = providers
        self._accounts = accounts
        self._pump = pump
        self._catalogue = catalogue
        self._quotas = quotas
        self._ledger = ledger
        self.recall: Recall | None = None  # None: it is switched off
        self.vocabulary: Vocabulary | None = None  # None: token ids stay what they are
        self._destinations = Destinations(providers, catalogue)
        # where requests of a kind go, while what that depends on is the same
        self._ways: dict[object, tuple[Target, Params, bool]] = {}
        self._edition: object = None
        self._versions = (0, 0)
        # the members that know of each other, while the accounts are the same
        self._related: set[tuple[Account, ...]] = set()
        self._related_at = -1

    # where a request goes

    def resolve(self, ask: Ask, principal: Principal) -> Plan:
        """See emr.front.desk.Desk."""
        if ask.whole is not None:
            target, params, pinned = self._find(ask, principal)
        else:
            target, params, pinned = self._way(ask, principal)
        texts = ask.texts
        if ask.token_ids and not params.token_ids and ask.whole is None:
            assert self.vocabulary is not None, "ids were let in without a vocabulary: a bug"
            texts = self.vocabulary.texts_of(ask)
        return Plan(target.row.name, target, params, texts, pinned)

    def _way(self, ask: Ask, principal: Principal) -> tuple[Target, Params, bool]:
        """As `_find`, which is asked once for all requests of a kind. Raises Refused."""
        edition = self._providers.edition
        versions = (self._accounts.version, self._catalogue.version)
        if edition is not self._edition or versions != self._versions:
            self._ways.clear()
            self._edition, self._versions = edition, versions
        kind = (
            ask.provider, ask.model, ask.input_type, ask.dimensions, ask.truncate, ask.dtype,
            ask.token_ids, principal.providers,
        )  # fmt: skip
        way = self._ways.get(kind)
        if way is None:
            if len(self._ways) >= REMEMBERED:
                self._ways.clear()
            way = self._ways[kind] = self._find(ask, principal)
        return way

    def _find(self, ask: Ask, principal: Principal) -> tuple[Target, Params, bool]:
        row, model, pinned = self._destinations.find(ask, principal)
        params = self._params(ask, row, model)
        twins = () if pinned else self._catalogue.family(row, model)
        if twins:
            twins = tuple(
                twin for twin in twins if self._stands_in(twin, ask, row, params, principal)
            )
        if self._catalogue.why_shut(row.name):
            target = Target(row, self._members(twins, model), self._catalogue.space(row, model))
            return target, params, pinned
        members = self._members((row, *twins), model) if twins else None
        members = members or self._accounts.members(row, model)
        return Target(row, members, self._catalogue.space(row, model)), params, pinned

    def _members(self, family: Iterable[Row], model: str) -> tuple[Account, ...]:
        """The accounts of all of these; those without a key cannot help."""
        found: list[Account] = []
        for row in family:
            try:
                found += self._accounts.members(row, model)
            except Refused:
                continue
        return tuple(found)

    def _stands_in(
        self, twin: Row, ask: Ask, row: Row, params: Params, principal: Principal
    ) -> bool:
        """Whether a request to `row` means the same to a provider of its family."""
        if principal.providers is not None and twin.name not in principal.providers:
            return False
        if ask.whole is not None and twin.provider_type != row.provider_type:
            return False  # a body in one provider's words
        try:
            return self._params(ask, twin, params.model) == params
        except Refused:
            return False

    def _params(self, ask: Ask, row: Row, model: str) -> Params:
        """The parameters in the provider's terms. Raises Refused: it has no such thing."""
        kind = self._catalogue.kinds[row.provider_type]
        if ask.whole is not None:
            check_whole(ask, row, self._catalogue.kinds)
            return Params(model, whole=self._catalogue.with_model(ask.whole, model), path=ask.path)
        known = self._catalogue.dimensions(row, model)
        check_terms(ask, row, kind, known)
        if ask.token_ids and not kind.token_ids and not self._knows_ids():
            raise Refused(no_token_ids(ask, row))
        # a model of one length refuses to be told which
        dimensions = None if (ask.dimensions,) == known else ask.dimensions
        return Params(
            model,
            input_type=ask.input_type if kind.input_types else None,
            dimensions=dimensions,
            truncate=ask.truncate,
            dtype=ask.dtype,
            token_ids=ask.token_ids and kind.token_ids,
        )

    def _knows_ids(self) -> bool:
        return self.vocabulary is not None and self.vocabulary.is_there()

    # the rest of the port

    def prefer(self, plans: Sequence[Plan]) -> list[Plan]:
        """See emr.front.desk.Desk."""
        now = self._pump.clock()
        return sorted(plans, key=lambda plan: standing(plan, now))

    def admit(self, principal: Principal, plans: Sequence[Plan], requests: int) -> None:
        """See emr.front.desk.Desk."""
        refusal = self._quotas.admit(principal, requests, partial(estimate_of, plans))
        if refusal is not None:
            self._pump.refused[refusal.type] += len(plans)
            for plan in plans:
                self._ledger.limited(principal.id, plan.provider, plan.params.model, 1)
            raise Refused(refusal)

    def submit(self, plan: Plan, request: Request) -> None:
        """See emr.front.desk.Desk."""
        recall = self.recall
        if recall is not None and plan.params.whole is None and not request.no_store:
            _, request.members, request.space = _target(plan)
            request.answered_by = plan.provider
            if recall.answers(request, partial(self._ask, plan, request)):
                return
        self._ask(plan, request)

    def _ask(self, plan: Plan, request: Request) -> None:
        """What the cache does not have is asked of the provider."""
        members = _target(plan).members
        if not members:
            request.refusal = shut(plan.provider, self._catalogue)
            self._pump.end(request)
            return
        for member in members:
            if member.closed:
                try:
                    members = reopened(
                        plan, request, self._providers, self._catalogue, self._accounts
                    )
                except Refused as refused:
                    request.refusal = refused.refusal
                    self._pump.end(request)
                    return
                break
        if len(members) > 1:
            self._relate(members)
        self._pump.submit(members, request)
        self._quotas.hold(request)

    def _relate(self, members: tuple[Account, ...]) -> None:
        """Let the members of a family know of each other; once, for it takes all pairs."""
        if self._related_at != self._accounts.version:
            self._related_at = self._accounts.version
            self._related.clear()
        if members not in self._related:
            self._related.add(members)
            Roster.relate(members)

    def leave(self, request: Request) -> None:
        """See emr.front.desk.Desk."""
        self._pump.leave(request)

    def models(self, allowed: frozenset[str] | None) -> list[dict[str, Any]]:
        """See emr.front.desk.Desk."""
        return self._catalogue.listing(allowed)

    def default_timeout_s(self, bulk: bool) -> float:
        """See emr.front.desk.Desk."""
        server = self._catalogue.settings.server
        return (server.bulk_deadline_ms if bulk else server.deadline_ms) / 1000

    def max_texts_per_request(self) -> int:
        """See emr.front.desk.Desk."""
        return self._catalogue.settings.server.max_texts_per_request


def check_whole(ask: Ask, row: Row, kinds: Mapping[str, Kind]) -> None:
    """Refuse a body that its provider cannot take as it is. Raises Refused."""
    kind = kinds[row.provider_type]
    if ask.path is not None and ask.path not in kind.passes:
        raise Refused(no_such_route(row, ask.path, kinds))
    if ask.path is None and not kind.takes_openai_form:
        raise Refused(no_such_field(ask, row))
    if ask.token_ids and not kind.token_ids:  # to a server of another vocabulary they lie
        raise Refused(no_token_ids(ask, row))


def standing(plan: Plan, now: float) -> int:
    """0 for one that may go now, 1 where it would wait, 2 in the sin-bin and worse."""
    members = [each for each in _target(plan).members if healthy(each)]
    if not members:
        return 2
    return 0 if any(may_go(each, plan, now) for each in members) else 1


def may_go(account: Account, plan: Plan, now: float) -> bool:
    """Whether neither gate nor pace makes a request wait for longer than its call takes."""
    if account.gate.until > now:
        return False
    tokens = account.caps.weigh(plan.texts, token_ids=plan.params.token_ids)
    call_s = account.latency.estimate_s(sum(tokens))
    return account.pace.wait(now, sum(tokens), len(tokens)) <= call_s


def no_such_route(row: Row, path: str, kinds: Mapping[str, Kind]) -> Refusal:
    """What is told of a route that a provider's type has nothing like."""
    able = [kind.name for kind in kinds.values() if path in kind.passes]
    message = (
        f"{row.name} is of type {row.provider_type} and has nothing like {path}; name a "
        f"provider of type {' or '.join(able)}"
    )
    return Refusal("validation_error", message, param="provider")


def estimate_of(plans: Iterable[Plan]) -> int:
    """The tokens that planned requests are expected to cost."""
    tokens = 0
    for plan in plans:
        for member in _target(plan).members[:1]:  # one that is shut has none
            tokens += sum(member.caps.weigh(plan.texts, token_ids=plan.params.token_ids))
    return tokens


def check_terms(ask: Ask, row: Row, kind: Kind, known: tuple[int, ...]) -> None:
    """Refuse what a provider cannot give. `known` are its model's lengths. Raises Refused."""
    name = row.name
    if ask.dimensions is not None and known and ask.dimensions not in known:
        has = say_dimensions(Model(known))
        message = f"{name} has no vectors of {ask.dimensions} dimensions for this model; it has"
        raise Refused(Refusal("validation_error", f"{message} {has}", param="dimensions"))
    if ask.dtype not in kind.dtypes:
        message = f"{name} has no vectors of type {ask.dtype}; it has {', '.join(kind.dtypes)}"
        raise Refused(Refusal("validation_error", message, param="output_dtype"))
    if ask.truncate is not None and ask.truncate not in kind.truncations:
        message = (
            f"{name} cannot shorten a text that is too long in this way ({ask.truncate}); it has "
            f"{', '.join(kind.truncations) or 'none'}"
        )
        raise Refused(Refusal("validation_error", message, param="truncate"))


def no_token_ids(ask: Ask, row: Row) -> Refusal:
    """Lists of ids, to a provider that does not know them."""
    return Refusal("validation_error", f"{row.name} {TOKEN_IDS}", param=ask.param)


def reopened(
    plan: Plan, request: Request, providers: Providers, catalogue: Catalogue, accounts: Accounts
) -> tuple[Account, ...]:
    """Accounts for a plan some of whose are closed by now. Raises Refused: it went away.

    What was found for the request is dropped when the provider gives other vectors now.
    """
    old, members, _ = _target(plan)
    living = tuple(member for member in members if not member.closed)
    if living:
        return living
    row, model = providers.get(old.name), plan.params.model
    if (
        row is None
        or not row.enabled
        or row.provider_type != old.provider_type
        or model not in catalogue.models_of(row)
    ):
        raise Refused(gone(old))
    space = catalogue.space(row, model)
    if request.space not in (None, space):
        request.space = space
        if request.cached:
            request.ask_anew()
    return accounts.members(row, model)


def gone(row: Row) -> Refusal:
    """The provider of a plan is not there any more, or another one."""
    message = f"the provider {row.name} was changed or removed before it could be asked"
    return Refusal("unknown_provider", message, param="provider")


def shut(provider: str, catalogue: Catalogue) -> Refusal:
    """The provider's vectors are not what they were, and its row says to sin-bin it then."""
    message = (
        f"{provider} is sin-binned (on_drift): {catalogue.why_shut(provider)}. `emr providers test "
        f"{provider} --accept` takes the new vectors for right"
    )
    return Refusal("provider_unavailable", message, retry_after=SHUT_RETRY_S)


def no_such_field(ask: Ask, row: Row) -> Refusal:
    """A body in OpenAI's form with a field that only the provider could know, which has another."""
    names = ", ".join(repr(name[:64]) for name in ask.unknown[:8])
    message = (
        f"{row.name} is of type {row.provider_type}, which has a form of its own: emr cannot tell "
        f"it what is meant by {names}. Leave that out, or send the request in the provider's form"
    )
    return Refusal("validation_error", message, param=ask.unknown[0] if ask.unknown else None)


def _target(plan: Plan) -> Target:
    target = plan.account
    assert isinstance(target, Target), "a plan that this desk did not make: a bug"
    return target
