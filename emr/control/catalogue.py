"""What is known of models: which provider serves which, their dimensions, and who is a twin.

Providers that serve the same model id with the same dimensions, of one type or joined by an equal
`family` in their rows, are one family. Where the dimensions are not known from the table or a row,
both must have answered once with vectors of equal length before one stands in for the other.

A *space* is a name for the vectors of a model: what the cache has of a space may be given to
whoever asks a provider of that space. Providers of one type and family have one space, so that what
one answered is a hit for all. It is made of

- the row's type, for what a parameter means is the type's own;
- the row's `family`, if it has one; else nothing more at the type's own address, where a model id
  means one model; else its endpoint, for what a compatible server or an Azure deployment calls a
  model says nothing about what another of that name is;
- the model's length of vector as the table or the row tells it; where nobody does, the provider's
  name instead, for then nobody has said that two providers give the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import orjson

from emr import __version__
from emr.control.providers import Providers
from emr.control.rows import Row
from emr.control.settings import Settings
from emr.lane.settings import Home
from emr.upstream.kinds import Kind, Model

REMEMBERED = 1024  # models whose providers, and whose families, are kept at hand


class Catalogue:
    """The models of the registered providers. `settings` is replaced at a reload.

    What is kept at hand is thrown away whenever a row changes, or vectors of a new length come;
    `version` grows then.
    """

    def __init__(self, kinds: Mapping[str, Kind], providers: Providers, settings: Settings) -> None:
        self.kinds = kinds
        self.settings = settings
        self._providers = providers
        self._created = int(time.time())
        self._seen: dict[tuple[str, str], int] = {}  # lengths of vectors, by provider and model
        # what was asked for, until a row changes
        self._models: dict[str, tuple[Row, tuple[str, ...]]] = {}
        self._serving: dict[str, list[Row]] = {}
        self._families: dict[tuple[str, str], tuple[Row, ...]] = {}
        self._spaces: dict[tuple[str, str], tuple[Row, str]] = {}
        self.version = 0
        # providers that get no requests, and why (emr.control.drift)
        self._shut: dict[str, str] = {}

    def models_of(self, row: Row) -> tuple[str, ...]:
        """The model ids that may be asked of a provider, its default first."""
        kept = self._models.get(row.name)
        if kept is not None and kept[0] is row:
            return kept[1]
        kind = self.kinds[row.provider_type]
        own = (row.model or kind.default_model, *row.models, *kind.models)
        models = tuple(model for model in dict.fromkeys(own) if model)
        self._models[row.name] = (row, models)
        return models

    def serving(self, model: str) -> list[Row]:
        """The enabled providers that serve a model id."""
        found = self._serving.get(model)
        if found is None:
            found = [row for row in self._providers.enabled() if model in self.models_of(row)]
            if found and len(self._serving) < REMEMBERED:
                self._serving[model] = found
        return found

    def refresh(self) -> None:
        """The registered providers changed."""
        self._models.clear()
        self._serving.clear()
        self._families.clear()
        self._spaces.clear()
        self.version += 1

    def shut(self, provider: str, reason: str) -> None:
        """Give the provider no requests; an empty reason lets them go to it again."""
        if self._shut.get(provider, "") == reason:
            return
        if reason:
            self._shut[provider] = reason
        else:
            del self._shut[provider]
        self._families.clear()
        self.version += 1

    def why_shut(self, provider: str) -> str:
        """Why the provider gets no requests, empty when it does."""
        return self._shut.get(provider, "")

    def dimensions(self, row: Row, model: str) -> tuple[int, ...]:
        """The lengths of vector that a model gives, its default first; empty: not known."""
        if row.dimensions and model == (row.model or model):
            return row.dimensions
        return self.kinds[row.provider_type].models.get(model, Model()).dimensions

    def price(self, provider: str, model: str) -> float | None:
        """What a million tokens cost in dollars; None when neither the row nor the table tells."""
        row = self._providers.get(provider)
        if row is None:
            return None
        if row.price_per_million_tokens is not None:
            return row.price_per_million_tokens
        kind = self.kinds.get(row.provider_type)
        return None if kind is None else kind.models.get(model, Model()).price

    def seen(self, provider: str, model: str, dimensions: int) -> None:
        """A provider answered with vectors of that length, to a request that named none."""
        if self._seen.get((provider, model)) != dimensions:
            self._seen[provider, model] = dimensions
            self._families.clear()
            self.version += 1

    def forget(self, provider: str) -> None:
        """The provider changed: its vectors may be others now."""
        self._seen = {at: seen for at, seen in self._seen.items() if at[0] != provider}
        self._families.clear()
        self.version += 1

    def family(self, row: Row, model: str) -> tuple[Row, ...]:
        """The other enabled providers that give the same vectors."""
        found = self._families.get((row.name, model))
        if found is None:
            mine = self._length(row, model)
            found = tuple(
                twin
                for twin in self.serving(model)
                if twin.name != row.name
                and twin.name not in self._shut
                and _joined(row, twin)
                and mine is not None
                and self._length(twin, model) == mine
            )
            if len(self._families) < REMEMBERED:
                self._families[row.name, model] = found
        return found

    def space(self, row: Row, model: str) -> str:
        """The name of the vectors that a provider gives for a model."""
        kept = self._spaces.get((row.name, model))
        if kept is not None and kept[0] is row:
            return kept[1]
        known = self.dimensions(row, model)
        whose = ("length", str(known[0])) if known else ("provider", row.name)
        space = "\n".join((*self._origin(row), *whose))
        if len(self._spaces) < REMEMBERED:
            self._spaces[row.name, model] = (row, space)
        return space

    def _origin(self, row: Row) -> tuple[str, ...]:
        kind = self.kinds[row.provider_type]
        if row.family:
            return ("type", kind.name, "family", row.family)
        if kind.home is Home.LOCAL:
            return ("type", kind.name, "version", __version__)  # its numbers come with the program
        if kind.home is Home.HOSTED and row.endpoint == kind.endpoint:
            return ("type", kind.name)
        # what stands behind the ? may be a key
        return ("type", kind.name, "endpoint", row.endpoint.partition("?")[0])

    def _length(self, row: Row, model: str) -> int | None:
        known = self.dimensions(row, model)
        return known[0] if known else self._seen.get((row.name, model))

    def listing(self, allowed: frozenset[str] | None = None) -> list[dict[str, Any]]:
        """The entries of `GET /v1/models`: aliases first, then every model of every provider.

        `allowed` are the providers that a key may use, None for all. What could not be asked is
        left out: an alias whose provider does not serve its model, a model that an alias hides.
        """
        aliases = self.settings.models
        usable = [
            row for row in self._providers.enabled() if allowed is None or row.name in allowed
        ]
        entries: dict[str, dict[str, Any]] = {}
        for alias, target in aliases.items():
            provider, _, model = target.partition("/")
            row = self._providers.get(provider)
            if row is None or not row.enabled or (allowed is not None and provider not in allowed):
                continue
            if model in self.models_of(row):
                entries[alias] = self._entry(alias, row, model)
        for row in usable:
            for model in self.models_of(row):
                if model not in aliases:
                    entries.setdefault(model, self._entry(model, row, model))
        return list(entries.values())

    def _entry(self, shown: str, row: Row, model: str) -> dict[str, Any]:
        return {
            "id": shown,
            "object": "model",
            "created": self._created,
            "owned_by": row.name,
            "dimensions": self._length(row, model),
            "max_texts": self.settings.server.max_texts_per_request,
        }

    @staticmethod
    def with_model(whole: bytes, model: str) -> bytes:
        """A body that is passed on whole, naming the provider's own model id."""
        document = orjson.loads(whole)
        if document.get("model") == model:
            return whole
        document["model"] = model
        return orjson.dumps(document)


def _joined(row: Row, twin: Row) -> bool:
    if row.family or twin.family:
        return row.family == twin.family
    return row.provider_type == twin.provider_type
