"""The demo: 1,000 callers at a time embed the docstrings of the standard library through a router.

Starts a router of its own (a home in a temporary folder, a free port, the built-in model), sends
every docstring as a request of one text, and asks which three are nearest to a question. What is
shown is measured: the requests by the callers, the calls by the router's own `/status`.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from operator import mul
from pathlib import Path

import uvloop

from emr.lane.settings import Home
from emr.upstream.endpoint import Endpoint, check_endpoint
from emr.upstream.kinds import Kind
from emr.upstream.transport import Transport

CALLERS = 1000
QUESTION = "parse a date from a string"
SHORTEST, LONGEST = 40, 600  # characters of a docstring that is worth embedding
START_S = 60.0
HERE = Kind("router", Home.SELF_HOSTED, "", "/v1/embeddings", "", "", 1, 1, 1)


@dataclass(slots=True)
class Docstring:
    """A docstring of the standard library, where it stands, and its vector."""

    name: str
    text: str
    vector: list[float]


def docstrings() -> Iterator[Docstring]:
    """Every docstring of the standard library's own modules, first paragraph only."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if {"test", "tests", "site-packages", "idlelib", "lib2to3"} & set(parts):
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        module = ".".join(parts).removesuffix(".py").removesuffix(".__init__")
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            text = (ast.get_docstring(node) or "").split("\n\n")[0].strip()
            if SHORTEST <= len(text) <= LONGEST:
                yield Docstring(f"{module}.{node.name}", text, [])


@dataclass(slots=True)
class Router:
    """A router of the demo's own."""

    process: subprocess.Popen[str]
    url: str
    key: str

    def status(self) -> dict[str, int]:
        """`GET /status`."""
        with urllib.request.urlopen(f"{self.url}/status") as answer:
            told: dict[str, int] = json.load(answer)
        return told

    def stop(self) -> None:
        """End it as an operator would."""
        self.process.terminate()
        self.process.wait(40)


def start_router(home: str) -> Router:
    """Start `emr serve` on a free port and wait until it says where it is."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EMR_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "emr", "serve", "--bind", "127.0.0.1:0", "--log-level", "warning"],
        env=environment | {"HOME": home}, stdout=subprocess.PIPE, text=True, cwd=home,
    )  # fmt: skip
    assert process.stdout is not None
    until = time.monotonic() + START_S
    url = ""
    for line in process.stdout:
        if "dashboard" in line:
            url = line.split()[-1].rstrip("/")
        if "caller key" in line or time.monotonic() > until:
            break
    if not url:
        process.kill()
        sys.exit("demo: the router did not start")
    key = Path(home, ".config/emr/first-key").read_text().strip()
    return Router(process, url, key)


class Caller:
    """Asks the router for one vector at a time, over its own connection."""

    def __init__(self, transport: Transport, endpoint: Endpoint, key: str) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._head = (
            f"POST {endpoint.path} HTTP/1.1\r\nHost: {endpoint.authority}\r\n"
            f"Authorization: Bearer {key}\r\nContent-Length: "
        )

    async def embed(self, text: str) -> list[float]:
        """The vector of a text."""
        body = json.dumps({"input": text}).encode()
        head = f"{self._head}{len(body)}\r\n\r\n".encode()
        answer = await self._transport.exchange(self._endpoint, head + body, 60.0, 60.0)
        told = json.loads(answer.body)
        if answer.status != 200:
            raise RuntimeError(told["message"])
        vector: list[float] = told["data"][0]["embedding"]
        return vector


async def embed_all(caller: Caller, texts: list[Docstring]) -> list[float]:
    """All texts by CALLERS callers at a time; returns every request's time in seconds."""
    waiting = iter(texts)
    times: list[float] = []

    async def one_caller() -> None:
        for docstring in waiting:
            started = time.perf_counter()
            docstring.vector = await caller.embed(docstring.text)
            times.append(time.perf_counter() - started)

    await asyncio.gather(*[one_caller() for _ in range(min(CALLERS, len(texts)))])
    return sorted(times)


async def run(router: Router) -> None:
    """Embed, then ask."""
    transport = Transport()
    endpoint = check_endpoint(f"{router.url}/v1/embeddings", HERE)
    caller = Caller(transport, endpoint, router.key)
    await caller.embed("the model is loaded by the first text")
    texts = list(docstrings())
    calls_before = router.status()["provider_calls"]
    started = time.perf_counter()
    times = await embed_all(caller, texts)
    seconds = time.perf_counter() - started
    calls = router.status()["provider_calls"] - calls_before
    question = await caller.embed(QUESTION)
    await transport.close()
    show(texts, times, calls, seconds)
    nearest = sorted(texts, key=lambda each: -nearness(each.vector, question))[:3]
    print(f'\nNearest to "{QUESTION}":')
    for docstring in nearest:
        near = nearness(docstring.vector, question)
        print(f"  {near:.3f}  {docstring.name}: {' '.join(docstring.text.split())[:90]}")


def nearness(one: list[float], other: list[float]) -> float:
    """The cosine of two vectors of length one."""
    return sum(map(mul, one, other))


def show(texts: list[Docstring], times: list[float], calls: int, seconds: float) -> None:
    """The table."""
    at = {share: times[min(len(times) - 1, int(len(times) * share))] for share in (0.5, 0.9, 0.99)}
    rows = [
        ("requests (one docstring each)", f"{len(texts):,}"),
        ("callers at a time", f"{min(CALLERS, len(texts)):,}"),
        ("calls of the model", f"{calls:,}"),
        ("requests a call", f"{len(texts) / max(1, calls):.1f}"),
        ("seconds", f"{seconds:.2f}"),
        ("requests a second", f"{len(texts) / seconds:,.0f}"),
        *[(f"p{share * 100:.0f}", f"{value * 1000:.0f} ms") for share, value in at.items()],
    ]
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"  {name:<{width}}  {value:>8}" for name, value in rows))


def main() -> int:
    """Run the demo."""
    with tempfile.TemporaryDirectory() as home:
        router = start_router(home)
        try:
            uvloop.run(run(router))
        finally:
            router.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
