"""Which provider a request goes to, and which model is asked there.

The order in which a model is looked for: an alias of the configuration, a model id that an enabled
provider serves, a provider's name, and `provider/model`. A request that names its provider stays
with it; one by an alias too, for an alias names a provider. Without model and provider it is the
one that is enabled, if there is one only. A key that may not use the first provider of a model gets
the next one that it may use.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from emr.control.catalogue import Catalogue
from emr.control.providers import Providers
from emr.control.rows import LOCAL, Row
from emr.front.desk import Ask, Principal
from emr.lane.refusal import Refusal, Refused

SHOWN_MAX = 20  # names in a message: enough to see a typing error
NAME_SHOWN_MAX = 128  # characters of a name that a caller made up
NOTHING_YET = (
    ": add one (`emr providers add --name voyage --type voyage`), or get the built-in model"
    " with `pip install 'emr[local]'` or emr-local.pyz"
)


class Destination(NamedTuple):
    """Where a request goes. `pinned`: it named its provider, and stays with it."""

    row: Row
    model: str
    pinned: bool


class Destinations:
    """Finds the destination of a request, or says why it has none."""

    def __init__(self, providers: Providers, catalogue: Catalogue) -> None:
        self._providers = providers
        self._catalogue = catalogue

    def find(self, ask: Ask, principal: Principal) -> Destination:
        """Where a request goes.

        Raises Refused: unknown_provider, model_not_found, forbidden, validation_error.
        """
        found = self._find(ask, principal)
        allowed = principal.providers
        if allowed is not None and found.row.name not in allowed:
            may = ", ".join(sorted(allowed))
            message = f"this key may not use {found.row.name}; it may use {may}"
            raise Refused(Refusal("forbidden", message))
        return found

    def _find(self, ask: Ask, principal: Principal) -> Destination:
        if ask.provider is not None:
            row = self._enabled(ask.provider, "provider")
            return Destination(row, self._model_of(row, ask.model), True)
        asked = ask.model
        if asked is None:
            row = self._the_only_one()
            return Destination(row, self._model_of(row, None), False)
        target = self._providers.target(asked)
        if target is not None:
            row = self._enabled(target[0], "model")
            return Destination(row, self._model_of(row, target[1]), True)
        served = self._catalogue.serving(asked)
        if served:
            allowed = principal.providers
            if allowed is not None and served[0].name not in allowed:
                served = [row for row in served if row.name in allowed] or served
            return Destination(served[0], asked, False)
        if self._providers.get(asked) is not None:
            row = self._enabled(asked, "model")
            return Destination(row, self._model_of(row, None), True)
        provider, slash, model = asked.partition("/")
        if slash and self._providers.get(provider) is not None:
            row = self._enabled(provider, "model")
            return Destination(row, self._model_of(row, model), True)
        raise Refused(self._no_such_model(asked, principal))

    def _enabled(self, name: str, param: str) -> Row:
        row = self._providers.get(name)
        if row is not None and row.enabled:
            return row
        state = "is not registered" if row is None else "is disabled"
        message = f"the provider {name[:NAME_SHOWN_MAX]} {state}; {self._those_enabled()}"
        raise Refused(Refusal("unknown_provider", message, param=param))

    def _the_only_one(self) -> Row:
        row = self._providers.only()
        if row is not None:
            return row
        message = f"name a model or a provider; {self._those_enabled()}"
        raise Refused(Refusal("validation_error", message, param="model"))

    def _those_enabled(self) -> str:
        names = [each.name for each in self._providers.enabled()]
        if names:
            return f"enabled are: {some(names)}"
        if self._providers.rows():
            return "none is enabled"
        return f"no provider is registered{self._nothing_yet()}"

    def _nothing_yet(self) -> str:
        """What to do when there is nothing at all to ask."""
        if self._providers.rows() or self._providers.get(LOCAL) is not None:
            return ""
        return NOTHING_YET

    def _model_of(self, row: Row, asked: str | None) -> str:
        """The model id to ask `row` for."""
        if asked is None:
            assert row.model, "a provider in use without a model: a bug"
            return row.model
        models = self._catalogue.models_of(row)
        if asked in models:
            return asked
        provider, _, model = "/".join(self._providers.target(asked) or (asked,)).partition("/")
        if provider == row.name and model in models:
            return model  # an alias, or provider/model, beside the provider's name
        message = f"{row.name} does not serve {asked[:NAME_SHOWN_MAX]}; it serves {some(models)}"
        raise Refused(Refusal("model_not_found", message, param="model"))

    def _no_such_model(self, asked: str, principal: Principal) -> Refusal:
        known = [each["id"] for each in self._catalogue.listing(principal.providers)]
        message = (
            f"no enabled provider serves the model {asked[:NAME_SHOWN_MAX]}; known are: "
            f"{some(known) or 'none'}{self._nothing_yet()}"
        )
        enabled = self._providers.enabled()
        if [row.name for row in enabled] == [LOCAL]:
            alias, target = json.dumps(asked[:NAME_SHOWN_MAX]), f'"{LOCAL}/{enabled[0].model}"'
            message += f". For clients that insist on another name: [models] {alias} = {target}"
        return Refusal("model_not_found", message, param="model")


def some(names: Sequence[str]) -> str:
    """The first of some names; how many more there are stands at the end."""
    more = len(names) - SHOWN_MAX
    return ", ".join(names[:SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
