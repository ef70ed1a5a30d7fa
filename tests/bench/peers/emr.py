"""emr itself, as `emr serve` starts it, with every feature on and the default settings.

Its one provider is a row whose limits a minute are set so high that only the machine limits it.
"""

from __future__ import annotations

import json

from tests.bench.peers.peer import KEY, MODEL, Door, Peer, Place, own_python

CONFIG = """\
[log]
level = "warning"

[[providers]]
name = "provider"
provider_type = "{kind}"
endpoint = {url}
model = {model}
api_key_env_var = "PROVIDER_API_KEY"
requests_per_minute = 1e9
tokens_per_minute = 1000000000000
"""


def config(kind: str, url: str, model: str) -> str:
    """A configuration file."""
    return CONFIG.format(kind=kind, url=json.dumps(url), model=json.dumps(model))


class Emr(Peer):
    """This tree's emr, before the provider as a row of type voyage."""

    name = "emr"
    environment = {"PROVIDER_API_KEY": KEY}

    def config(self, place: Place) -> str:
        """Its configuration file."""
        return config("voyage", f"{place.provider_url}/embeddings", MODEL)

    def command(self, place: Place) -> list[str]:
        path = place.write("config.toml", self.config(place))
        bind = f"127.0.0.1:{place.port}"
        return [*self.program(place), "serve", "--config", str(path), "--bind", bind]

    def program(self, place: Place) -> list[str]:
        """How emr's command line is run."""
        return [own_python(), "-m", "emr"]

    def door(self, place: Place) -> Door | None:
        first = place.folder / ".config" / "emr" / "first-key"
        if not first.exists():
            return None
        key = first.read_text().strip()
        return Door(place.port, model=f"provider/{MODEL}", key=key) if key else None


class Sidecar(Emr):
    """An emr whose provider is another emr, the central one."""

    def __init__(self, central: Door) -> None:
        self._central = central
        self.environment = {"PROVIDER_API_KEY": central.key}

    def config(self, place: Place) -> str:
        """With a row of type emr."""
        return config("emr", self._central.url, self._central.model)

    def door(self, place: Place) -> Door | None:
        told = super().door(place)
        return told and Door(told.port, model=f"provider/{self._central.model}", key=told.key)
