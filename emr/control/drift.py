"""Whether a provider still gives the vector that it gave for one fixed sentence at first.

A model that is exchanged behind its name spoils every index that was made with the old one, and no
error tells of it: the length may be the same. So the vector of the canary sentence is kept in the
database from the first time, and each later one is compared with it: of `providers test`, and of
the probe of a provider that comes out of the sin-bin while nothing waits.

Rules of this file
- A vector belongs to what was asked: the model, the type of input, the dimensions. Only vectors of
  floats are compared; bits say too little.
- The same text does not always give the same bits: hosted models differ by 1e-4 in a number, and
  what shares a call changes more (openai-python#868, sentence-transformers#3278). All that leaves
  a cosine of over SAME.
- A change is told until the old vector comes again, or an operator accepts the new one. With
  `on_drift = "sinbin"` the provider gets no requests meanwhile; a twin serves them, if it has one.
- The database may refuse to keep a vector; it is then kept in memory, and a warning is logged.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import Future
from math import sqrt
from struct import iter_unpack, pack
from typing import Any

import orjson

from emr.control.catalogue import Catalogue
from emr.control.providers import Providers
from emr.control.store import StorageError, Store
from emr.control.times import time_text
from emr.lane.ticket import Params

log = logging.getLogger("emr.drift")

# of unit vectors that differ by 1e-3 in each of 1,024 numbers it is 0.9995; of two models about 0
SAME = 0.999
SHUT = "sinbin"  # the word of `on_drift`
Key = tuple[str, str]  # a provider, and what was asked


class Drift:
    """The kept vectors, and what is wrong with those that came since. Used on the loop."""

    def __init__(self, store: Store, providers: Providers, catalogue: Catalogue) -> None:
        self._store = store
        self._providers = providers
        self._catalogue = catalogue
        self._kept: dict[Key, tuple[float, ...]] = store.read(_read).result()
        self._wrong: dict[Key, str] = {}
        self.accepted: Callable[[], None] = lambda: None  # told that old vectors are of no use

    def look(self, provider: str, params: Params, vector: bytes) -> str:
        """Compare a vector of the canary sentence, as JSON; the first one is kept.

        Returns what is wrong with it, empty when it is as it was.
        """
        if params.dtype != "float" or params.whole is not None:
            return ""
        key = provider, asked_of(params)
        numbers = numbers_of(vector)
        kept = self._kept.get(key)
        if kept is None:
            self._keep(key, numbers)
            return ""
        fault = difference(kept, numbers)
        before = self._wrong.get(key, "")
        if fault:
            self._wrong[key] = fault
        else:
            self._wrong.pop(key, None)
        if bool(fault) != bool(before):
            figures = {"provider": provider, "model": params.model}
            if fault:
                log.warning("Vectors changed: %s", fault, extra={"figures": figures})
            else:
                log.info("Vectors are as they were", extra={"figures": figures})
            self._tell(provider)
        return fault

    def warning(self, provider: str) -> str:
        """What is wrong with the provider's vectors, empty when nothing is known."""
        for (name, asked), fault in self._wrong.items():
            if name == provider:
                return f"{fault} ({asked})"
        return ""

    def accept(self, provider: str) -> None:
        """The next vectors are right; with the old ones they must not be mixed."""
        if self.warning(provider):
            log.warning("New vectors accepted", extra={"figures": {"provider": provider}})
            self.accepted()
        self.forget(provider)

    def forget(self, provider: str) -> None:
        """Keep the next vectors as the first."""
        gone = [key for key in self._kept if key[0] == provider]
        if not gone:
            return
        for key in gone:
            del self._kept[key]
            self._wrong.pop(key, None)
        self._tell(provider)
        self._write(lambda db: db.execute("DELETE FROM canaries WHERE provider = ?", (provider,)))

    def changed(self, names: frozenset[str]) -> None:
        """Rows changed: a removed provider's vectors are forgotten."""
        for name in names:
            if self._providers.get(name) is None:
                self.forget(name)
            else:
                self._tell(name)

    def _tell(self, provider: str) -> None:
        row = self._providers.get(provider)
        shut = row is not None and row.on_drift == SHUT
        self._catalogue.shut(provider, self.warning(provider) if shut else "")

    def _keep(self, key: Key, numbers: tuple[float, ...]) -> None:
        self._kept[key] = numbers
        values = (*key, pack(f"<{len(numbers)}f", *numbers), time_text(time.time()))
        self._write(
            lambda db: db.execute("INSERT OR REPLACE INTO canaries VALUES (?, ?, ?, ?)", values)
        )

    def _write(self, work: Callable[[sqlite3.Connection], Any]) -> None:
        self._store.submit(work).add_done_callback(_written)


def _written(future: Future[Any]) -> None:
    error = future.exception()
    if isinstance(error, StorageError):
        log.warning("The canary's vector is kept in memory only: %s", error)


def _read(connection: sqlite3.Connection) -> dict[Key, tuple[float, ...]]:
    rows = connection.execute("SELECT provider, asked, vector FROM canaries")
    return {
        (provider, asked): tuple(number for (number,) in iter_unpack("<f", raw))
        for provider, asked, raw in rows
    }


def asked_of(params: Params) -> str:
    """What was asked for, in words that are the same at every start."""
    more = [params.input_type or "", f"{params.dimensions} dimensions" if params.dimensions else ""]
    return ", ".join(filter(None, (params.model, *more)))


def numbers_of(vector: bytes) -> tuple[float, ...]:
    """A vector's numbers, from base64 of float32 or from a list."""
    value: Any = orjson.loads(vector)
    if isinstance(value, str):
        return tuple(number for (number,) in iter_unpack("<f", b64decode(value)))
    return tuple(map(float, value))


def difference(kept: tuple[float, ...], numbers: tuple[float, ...]) -> str:
    """How a vector differs from the kept one, empty when it is the same."""
    if len(kept) != len(numbers):
        return f"the same text now gives {len(numbers)} numbers, and gave {len(kept)}"
    product = sum(a * b for a, b in zip(kept, numbers, strict=True))
    norms = sqrt(sum(a * a for a in kept) * sum(b * b for b in numbers))
    cosine = product / norms if norms else 0.0
    if cosine > SAME:
        return ""
    return f"the same text now gives another vector than at first: their cosine is {cosine:.4f}"
