"""What a team would write itself: a Starlette app of 60 lines around the library `batched`."""

from __future__ import annotations

from tests.bench.peers.peer import KEY, Peer, Place


class Batched(Peer):
    """batched 0.1.5, its defaults, behind Starlette and uvicorn on uvloop and httptools."""

    name = "batched"
    packages = (
        "batched==0.1.5", "starlette==1.10.0", "uvicorn==0.54.0", "uvloop==0.23.0",
        "httptools==0.9.0", "httpx==0.28.1", "orjson==3.13.0",
    )  # fmt: skip
    rounds_max = 1
    outstanding_max = 4096  # it makes one call at a time: 32,000 texts would take it a minute

    environment = {"BENCH_API_KEY": KEY}

    def command(self, place: Place) -> list[str]:
        program = [str(self.python(place.venvs)), "-m", "tests.bench.peers.apps.batched"]
        return [*program, str(place.port), f"{place.provider_url}/embeddings"]
