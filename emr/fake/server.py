"""The fake on a port: emr's own HTTP server with the fake as its service.

async with FakeServer(FakeSettings(latency_ms=50.0)) as fake:
    ...  # fake.url + "/voyage/v1/embeddings"
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from emr.fake.service import FakeService
from emr.fake.settings import FakeSettings
from emr.front.exchange import ServerLimits
from emr.front.listener import Listener

# emr may send 1,000 texts of 32,000 tokens in a call: more than a router takes from a caller.
# Connections are kept longer than clients keep them, so that a close comes from them.
LIMITS = ServerLimits(max_body_bytes=256 * 1024 * 1024, keepalive_s=600.0, body_timeout_s=120.0)


class FakeServer:
    """A fake provider that listens on `bind` (`host:port`, port 0 for any, or `unix:/path`).

    Raises ValueError for settings that cannot be read, and BindError (`emr.front.binds`) when it
    cannot listen.
    """

    def __init__(self, settings: FakeSettings, bind: str = "127.0.0.1:0") -> None:
        self._settings = settings
        self._bind = bind
        self._listener: Listener | None = None
        self.service: FakeService
        self.address = ""

    @property
    def url(self) -> str:
        """Where it is, without a path: `http://host:port`, or `unix:/path`."""
        return self.address if self.address.startswith("unix:") else f"http://{self.address}"

    async def start(self) -> None:
        """Listen."""
        self.service = FakeService(self._settings, asyncio.get_running_loop())
        self._listener = Listener(self.service, LIMITS)
        await self._listener.start([self._bind])
        self.address = self._listener.addresses[0]

    async def stop(self) -> None:
        """Leave at once, whatever is under way: a provider's outage looks like that."""
        if self._listener is not None:
            self._listener.close()
            await asyncio.sleep(0)  # lets the loop close the sockets

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
