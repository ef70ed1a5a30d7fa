"""What the tests of the control plane share: types of providers, a check of endpoints, a loop."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from emr.control.keyring import Shell
from emr.control.keys import Keys
from emr.control.places import Places
from emr.control.providers import Environs, Providers
from emr.control.rows import Leeway, RowRules
from emr.control.settings import Settings
from emr.control.store import Store
from emr.lane.refusal import Refusal, Refused
from emr.lane.settings import Home
from emr.upstream.kinds import Kind, Model

PATIENCE_S = 20.0  # the most that a test waits for another thread
NOBODY = 65534


def _kind(name: str, endpoint: str, model: str, variable: str, **more: Any) -> Kind:
    told: dict[str, Any] = {"path": "/v1/embeddings", "home": Home.HOSTED, **more}
    return Kind(
        name=name, endpoint=endpoint, default_model=model, key_variable=variable,
        max_texts=128, max_tokens=100_000, max_bytes=1 << 20, **told,
    )  # fmt: skip


KINDS = {
    kind.name: kind
    for kind in (
        _kind("voyage", "https://api.voyage.test/v1/embeddings", "voyage-code-3", "VOYAGE_API_KEY",
              models={"voyage-code-3": Model((1024,), max_text_tokens=32_000)}),
        _kind("cohere", "https://api.cohere.test/v2/embed", "embed-v4.0", "CO_API_KEY"),
        _kind("openai-compatible", "", "", "OPENAI_API_KEY"),
        _kind("tei", "http://127.0.0.1:8080/v1/embeddings", "model", "",
              home=Home.SELF_HOSTED),
        _kind("local", "", "wordllama", "", home=Home.LOCAL),
    )
}  # fmt: skip


def check_endpoint(endpoint: str, kind: Kind, leeway: Leeway) -> str:
    """A small stand-in: https, or http to loopback or with leeway; a bare base gets the path."""
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname or "@" in url.netloc:
        raise ValueError("must be an https URL")
    is_loopback = url.hostname in ("127.0.0.1", "localhost")
    if url.scheme == "http" and not is_loopback and not leeway & (Leeway.HTTP | Leeway.ADOPTED):
        raise ValueError("must be https")
    return endpoint if url.path not in ("", "/") else endpoint.rstrip("/") + kind.path


RULES = RowRules(KINDS, check_endpoint)


@contextmanager
def unprivileged() -> Iterator[None]:
    """What permissions mean for everybody but root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


class FakeLoop:
    """A loop whose turns and time the test makes."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall = 1_800_000_000.0
        self._posted: queue.Queue[Callable[[], None]] = queue.Queue()
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def shell(self) -> Shell:
        return Shell(self.post, self.later, lambda: self.wall, lambda: self.now)

    def post(self, run: Callable[[], None]) -> None:
        self._posted.put(run)

    def later(self, seconds: float, run: Callable[[], None]) -> None:
        self._timers.append((self.now + seconds, run))

    def turn(self) -> None:
        """Run what was posted next, waiting for the thread that posts it."""
        self._posted.get(timeout=PATIENCE_S)()

    def is_idle(self) -> bool:
        return self._posted.empty()

    def timers(self) -> list[float]:
        """In how many seconds the timers end."""
        return [at - self.now for at, _ in self._timers]

    def advance(self, seconds: float) -> None:
        """Let time pass, and run the timers that it ends."""
        self.now += seconds
        self.wall += seconds
        due = [run for at, run in self._timers if at <= self.now]
        self._timers = [(at, run) for at, run in self._timers if at > self.now]
        for run in due:
            run()


def places_in(folder: Path) -> Places:
    """Places of a test's own."""
    for name in ("home", "etc", "here"):
        (folder / name).mkdir(exist_ok=True)
    return Places(folder / "home", folder / "etc", folder / "here")


def make_keys(store: Store, loop: FakeLoop, places: Places | None = None) -> Keys:
    return Keys(store, loop.shell(), places)


def make_providers(
    store: Store, loop: FakeLoop, settings: Settings | None = None, has_local: bool = False
) -> Providers:
    environs = Environs(RULES, lambda: has_local, loop.post, lambda: loop.wall)
    return Providers(store, environs, settings or Settings())


def refusal_of(act: Callable[[], Any]) -> Refusal:
    """The refusal that `act` raises, or that comes out of the Future it gives."""
    with pytest.raises(Refused) as caught:
        outcome = act()
        if isinstance(outcome, Future):
            outcome.result(timeout=PATIENCE_S)
    return caught.value.refusal
