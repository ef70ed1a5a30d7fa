"""emr itself, as `emr serve` starts it, with every feature on and the default settings.

Its one provider is a row of type voyage, whose limits a minute are set so high that only the
machine limits it.
"""

from __future__ import annotations

from tests.bench.peers.peer import KEY, MODEL, Door, Peer, Place, own_python

CONFIG = """\
[log]
level = "warning"

[[providers]]
name = "voyage"
provider_type = "voyage"
endpoint = "{url}/embeddings"
api_key_env_var = "VOYAGE_API_KEY"
requests_per_minute = 1e9
tokens_per_minute = 1000000000000
"""


class Emr(Peer):
    """This tree's emr."""

    name = "emr"
    environment = {"VOYAGE_API_KEY": KEY}

    def command(self, place: Place) -> list[str]:
        config = place.write("config.toml", CONFIG.format(url=place.provider_url))
        bind = f"127.0.0.1:{place.port}"
        return [own_python(), "-m", "emr", "serve", "--config", str(config), "--bind", bind]

    def door(self, place: Place) -> Door | None:
        first = place.folder / ".config" / "emr" / "first-key"
        if not first.exists():
            return None
        key = first.read_text().strip()
        return Door(place.port, model=f"voyage/{MODEL}", key=key) if key else None
