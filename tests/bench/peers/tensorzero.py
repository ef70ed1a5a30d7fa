"""TensorZero's gateway, from its wheel, without a database: nothing is observed or stored."""

from __future__ import annotations

from tests.bench.peers.peer import KEY, Door, Peer, Place

CONFIG = """\
[gateway]
bind_address = "127.0.0.1:{port}"
observability.enabled = false

[embedding_models.bench]
routing = ["provider"]

[embedding_models.bench.providers.provider]
type = "openai"
model_name = "bench"
api_base = "{url}/"
api_key_location = "env::BENCH_API_KEY"
"""


class TensorZero(Peer):
    """TensorZero 2026.4.1, written in Rust."""

    name = "tensorzero"
    packages = ("tensorzero==2026.4.1",)
    environment = {"BENCH_API_KEY": KEY, "RUST_LOG": "warn"}

    def command(self, place: Place) -> list[str]:
        config = place.write(
            "tensorzero.toml", CONFIG.format(port=place.port, url=place.provider_url)
        )
        program = [str(self.python(place.venvs)), "-m", "tests.bench.peers.apps.tensorzero"]
        return [*program, str(config), str(place.folder / "port")]

    def door(self, place: Place) -> Door | None:
        told = place.folder / "port"
        port = told.read_text() if told.exists() else ""
        if not port.endswith("\n"):
            return None
        return Door(
            int(port), "/openai/v1/embeddings", model="tensorzero::embedding_model_name::bench"
        )
