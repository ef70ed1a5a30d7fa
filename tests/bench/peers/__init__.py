"""Those that the bench compares: each a small class that says what it needs and how it starts."""

from __future__ import annotations

from tests.bench.peers.batched import Batched
from tests.bench.peers.emr import Emr
from tests.bench.peers.litellm import LiteLLM
from tests.bench.peers.nginx import Nginx
from tests.bench.peers.peer import Peer
from tests.bench.peers.plain import Floor
from tests.bench.peers.tensorzero import TensorZero

ALL: dict[str, Peer] = {
    peer.name: peer for peer in (Nginx(), Emr(), Floor(), TensorZero(), Batched(), LiteLLM())
}


def chosen_peers(names: list[str]) -> list[Peer]:
    """Those of that name; all when none is named. Raises SystemExit for one that is unknown."""
    unknown = [name for name in names if name not in ALL]
    if unknown:
        raise SystemExit(f"bench: no peer {unknown[0]!r}; there are {', '.join(ALL)}")
    return [ALL[name] for name in names or ALL]
