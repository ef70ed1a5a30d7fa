"""A running emr before one fake provider, with a row of its own for each cell that is tried.

What one cell does to an account (a gate, a cap that was learned) touches no other cell. All of it
goes over sockets: emr's own server, and emr's own calls to the fake.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

from emr.control.snapshot import WORST_FIRST
from emr.fake.server import FakeServer
from emr.fake.settings import FakeSettings, changed
from emr.fake.vectors import vector_of
from emr.front.forms.vectors import as_base64
from tests.support.processes import PROVIDER_KEY, provider_row
from tests.support.running import Running, running
from tests.table.subjects import Subject

AMPLE = {
    "requests_per_minute": 1_000_000,
    "tokens_per_minute": 1_000_000_000,
    "items_per_minute": 1_000_000_000,
}
Name = tuple[str, str]
# what a provider asks to wait is longer than this: the answer then comes at once
SOON_MS = "400"
# a back-off between two tries says nothing here; one text more than the largest call must go in
CONFIG = """[server]
bind = "127.0.0.1:0"
max_texts_per_request = 4096
[retry]
per_attempt_cap_ms = 1
"""


class Bench:
    """One cell's provider, and how to ask it. `row` is its name."""

    def __init__(self, subject: Subject, emr: Running, fake: FakeServer | None, row: str) -> None:
        self.subject = subject
        self.row = row
        self._emr = emr
        self._fake = fake

    # asking

    async def ask(self, texts: Any = "a text", **fields: Any) -> httpx.Response:
        """Ask in the form of `/v1/embeddings`; None leaves a field out."""
        body = {"provider": self.row, "input": texts} | fields
        body = {name: value for name, value in body.items() if value is not None}
        return await self.post("/v1/embeddings", body)

    async def post(self, path: str, body: object) -> httpx.Response:
        """Ask in another form."""
        return await self._emr.http.post(path, json=body, headers=self._headers(), timeout=30.0)

    async def hurry(self, text: str) -> httpx.Response:
        """Ask, and wait no longer than SOON_MS."""
        headers = self._headers() | {"x-emr-timeout-ms": SOON_MS}
        body = {"provider": self.row, "input": text}
        return await self._emr.http.post("/v1/embeddings", json=body, headers=headers)

    def _headers(self) -> dict[str, str]:
        """What is asked twice must reach the provider twice."""
        return {"Authorization": f"Bearer {self._emr.key}", "Cache-Control": "no-store"}

    def wanted(
        self,
        text: str,
        input_type: str | None = None,
        dimensions: int | None = None,
        dtype: str = "float",
        model: str | None = None,
    ) -> list[Any]:
        """The fake's vector."""
        if self.subject.kind_name == "cohere":
            input_type = input_type or "document"
        size = dimensions or self.subject.length
        return vector_of(text, model or self.subject.model, input_type, size, dtype)

    # the fake, and what emr makes of it

    def become(self, **settings: object) -> None:
        """Let the fake be so from now on."""
        assert self._fake is not None, "the built-in model is as it is"
        base = FakeSettings(latency_ms=0.0, refusal_ms=0.0, keys=PROVIDER_KEY, record=50)
        self._fake.service.provider.configure(changed(base, settings))
        self._fake.service.provider.reset(self._fake.service.clock.time())

    def sent(self) -> list[Any]:
        """The bodies that the fake got, oldest first."""
        assert self._fake is not None
        recent = self._fake.service.provider.recent
        return [orjson.loads(str(call["body"])) for call in recent]

    @property
    def calls(self) -> int:
        """The calls that the fake got."""
        assert self._fake is not None
        return self._fake.service.provider.tally.calls

    @property
    def tokens(self) -> int:
        """The tokens that the fake billed."""
        assert self._fake is not None
        return self._fake.service.provider.tally.good.tokens

    def gate(self) -> str:
        """The worst reason among the gates of the provider's accounts, CLEAR where it has none."""
        gates = {account.gate.reason for account in self._emr.app.accounts.of(self.row)}
        return next((reason.value for reason in WORST_FIRST if reason in gates), "CLEAR")


def same_bits(got: list[Any], wanted: list[Any], dtype: str = "float") -> bool:
    """Whether two lists of numbers are the same bytes."""
    return as_base64(orjson.dumps(got), dtype) == as_base64(orjson.dumps(wanted), dtype)


@asynccontextmanager
async def benches(
    folder: Path, subject: Subject, cells: Iterable[Name]
) -> AsyncIterator[dict[Name, Bench]]:
    """A bench for each cell, by the names of its table and column."""
    rows = {cell: f"p{number}" for number, cell in enumerate(cells)}
    if not subject.path:
        config = "".join(
            f'[[providers]]\nname = "{row}"\nprovider_type = "local"\n' for row in rows.values()
        )
        async with running(folder, config + CONFIG) as emr:
            yield {cell: Bench(subject, emr, None, row) for cell, row in rows.items()}
        return
    async with FakeServer(FakeSettings(latency_ms=0.0)) as fake:
        models = [*([subject.sized[0]] if subject.sized else []), "no-such-model"]
        models = [model for model in models if model != subject.model]
        more = {"api_key_env_var": "V_API_KEY", "model": subject.model, "models": models, **AMPLE}
        config = "".join(
            provider_row(row, subject.kind_name, fake.url + subject.path, **more)
            for row in rows.values()
        )
        async with running(folder, config + CONFIG, V_API_KEY=PROVIDER_KEY) as emr:
            yield {cell: Bench(subject, emr, fake, row) for cell, row in rows.items()}
