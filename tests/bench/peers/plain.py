"""The ends of the scale: the provider asked directly, and the floor of Python's HTTP servers."""

from __future__ import annotations

from tests.bench.peers.peer import Door, Peer, Place, Subject, own_python


def direct(provider: int) -> Subject:
    """The provider itself, asked without anybody between."""
    return Subject("direct", Door(provider), 0, 0.0)


class Floor(Peer):
    """uvloop and httptools answering a constant of one vector: no proxy, the least there is."""

    name = "floor"
    texts_max = 1
    passes_on = False
    rounds_max = 1

    def command(self, place: Place) -> list[str]:
        program = [own_python(), "-m", "tests.bench.peers.apps.floor"]
        return [*program, str(place.port), str(place.provider)]
