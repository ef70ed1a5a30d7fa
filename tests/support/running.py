"""The whole router inside the test's loop: a configuration, an environment, a port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from emr.app import App, Start, row_rules
from emr.control.config import Loaded, load
from emr.control.places import Places
from emr.control.secrets import Secret, find_admin_secret
from emr.control.store import Store
from emr.fake.server import FakeServer
from emr.fake.settings import FakeSettings
from tests.support.processes import PROVIDER_KEY, provider_row

SECRET = "a-secret-of-the-tests"


class Running:
    """A running app. `write` changes its configuration file, `environment` what it finds there."""

    def __init__(self, folder: Path, config: str, environment: dict[str, str]) -> None:
        self.folder = folder
        for name in ("home", "etc", "here"):
            (folder / name).mkdir(exist_ok=True)
        self.places = Places(folder / "home", folder / "etc", folder / "here")
        # not what the machine may have of a vocabulary
        nowhere = {"TIKTOKEN_CACHE_DIR": str(folder / "vocabulary")}
        self.environment = {"EMR_ADMIN_SECRET": SECRET, **nowhere, **environment}
        self.write(config)
        self.store = Store(None)
        loaded, secret = self.reread()
        start = Start(loaded, secret, self.places, self.environment, self.store, self.reread)
        self.app = App(start)
        self.key = self.app.keys.create({"name": "app"}).result().key
        self.http: httpx.AsyncClient

    def write(self, config: str) -> None:
        (self.folder / "config.toml").write_text(config)

    def reread(self) -> tuple[Loaded, Secret | None]:
        loaded = load(self.folder / "config.toml", self.environment, row_rules())
        return loaded, find_admin_secret(self.places, self.environment)

    async def embed(self, text: str = "a", key: str | None = None, **fields: Any) -> httpx.Response:
        """One text as a caller."""
        headers = {"Authorization": f"Bearer {key or self.key}"}
        body = {"input": text} | fields
        return await self.http.post("/v1/embeddings", json=body, headers=headers)

    async def admin(
        self, method: str, path: str, body: Any = None, secret: str = SECRET
    ) -> httpx.Response:
        """A request with the admin secret."""
        headers = {"Authorization": f"Bearer {secret}"}
        return await self.http.request(method, path, json=body, headers=headers)

    async def get(self, path: str) -> httpx.Response:
        """A public view."""
        return await self.http.get(path)


@asynccontextmanager
async def running(folder: Path, config: str = "", **environment: str) -> AsyncIterator[Running]:
    """The app on a free port, from its start to its end."""
    head = '[server]\nbind = "127.0.0.1:0"\n' if "[server]" not in config else ""
    emr = Running(folder, head + config, environment)
    try:
        await emr.app.open()
        url = f"http://{emr.app.listener.addresses[0]}"
        async with httpx.AsyncClient(base_url=url, timeout=20.0) as emr.http:
            yield emr
    finally:
        await emr.app.close()
        await asyncio.sleep(0)


def a_fake(**settings: Any) -> FakeServer:
    """A provider of the test's own loop, which takes one key."""
    return FakeServer(FakeSettings(latency_ms=1.0, keys=PROVIDER_KEY, **settings))


def voyage_row(provider: FakeServer, name: str = "voyage", **more: object) -> str:
    """A row of type voyage at the fake; its key is in V_API_KEY."""
    endpoint = f"{provider.url}/voyage/v1/embeddings"
    return provider_row(name, "voyage", endpoint, api_key_env_var="V_API_KEY", **more)


@asynccontextmanager
async def with_a_fake(
    folder: Path, key: str = PROVIDER_KEY
) -> AsyncIterator[tuple[Running, FakeServer]]:
    """The app with one provider, at a fake, which it asks with `key`."""
    async with a_fake() as provider, running(folder, voyage_row(provider), V_API_KEY=key) as emr:
        yield emr, provider
