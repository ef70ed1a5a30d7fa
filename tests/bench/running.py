"""A provider and peers before it, in folders of their own: what every command starts with."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.peers.peer import Peer, Place, Subject, free_port
from tests.bench.provider import Provider, provider


@contextmanager
def behind(venvs: Path) -> Iterator[tuple[Provider, Path]]:
    """A provider, and a folder for peers; both end together."""
    with tempfile.TemporaryDirectory() as folder, provider(venvs) as made:
        yield made, Path(folder)


@contextmanager
def alone(peer: Peer, venvs: Path, delay_ms: float = 0.0) -> Iterator[tuple[Subject, Provider]]:
    """One peer before a provider of its own. Raises NotStarted."""
    with behind(venvs) as (made, folder):
        made.delay(delay_ms)
        with peer.started(place(folder, peer.name, made.port, venvs)) as subject:
            yield subject, made


def place(folder: Path, name: str, provider_port: int, venvs: Path) -> Place:
    """A place in that folder, before whoever has that port."""
    home = folder / name
    home.mkdir(exist_ok=True)
    return Place(home, free_port(), provider_port, venvs)
