"""One of two providers of the same model dies under load, and returns.

`scripts/failover [--callers 200] [--seconds 10] [--sinbin-s 5]`: fake providers, a router and the
callers, each a process of its own; the one that dies is killed. Most callers ask for the model that
both serve; some for one that the dying provider does not have, and some for one that dies with its
only provider: they must get an error then, and never another model's vector.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from struct import pack
from typing import Any

import uvloop

from emr.fake.vectors import maker
from tests.support.crowd import Caller, NoAnswer
from tests.support.processes import fake, provider_row, router

MODEL = "voyage-code-3"
LONELY = "text-embedding-3-small"  # its only provider dies too
LENGTH = 1024  # of both
PAUSE_S = 0.02  # of a caller, between an answer and its next request
Change = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request: when it ended, how long it took, who answered, and how. Seconds."""

    at: float
    took: float
    model: str
    provider: str
    status: int
    right: bool
    told: str


@dataclass(frozen=True, slots=True)
class Part:
    """What became of the requests of one model in one span of time."""

    name: str
    requests: int
    failed: int
    wrong: int
    by_provider: Counter[str]
    median_ms: float
    worst_ms: float


def rows(a: str, b: str, key_variable: str = "FAKE_API_KEY") -> str:
    """`a` and `b` serve one model; `lonely`, at the address of `a`, another of the same length."""
    more = {
        "api_key_env_var": key_variable, "requests_per_minute": 10_000_000,
        "tokens_per_minute": 10_000_000_000,
    }  # fmt: skip
    return "\n".join(
        (
            provider_row("a", "voyage", f"{a}/voyage/v1/embeddings", model=MODEL, **more),
            provider_row("b", "voyage", f"{b}/voyage/v1/embeddings", model=MODEL, **more),
            provider_row("lonely", "openai", f"{a}/openai/v1/embeddings", model=LONELY, **more),
        )
    )


def health(sinbin_s: int) -> str:
    """How soon a provider that died is asked again."""
    return (
        f"[health]\nsinbin_initial_seconds = {sinbin_s}\nsinbin_max_seconds = {4 * sinbin_s}\n"
        f"recovery_probe_interval_seconds = {sinbin_s}\n"
    )


class Crowd:
    """Callers who ask until they are told to stop."""

    def __init__(self, url: str, key: str, callers: int, lonely: int) -> None:
        self._url, self._key = url, key
        self._models = [MODEL] * callers + [LONELY] * lonely
        self._stop = False
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()
        self.seen: list[Seen] = []

    def start(self) -> None:
        """Begin to ask."""
        self._tasks = [
            asyncio.create_task(self._caller(number, model))
            for number, model in enumerate(self._models)
        ]

    async def stop(self) -> None:
        """Wait until everybody was answered."""
        self._stop = True
        await asyncio.gather(*self._tasks)

    async def until(self, provider: str, answers: int) -> None:
        """Wait for so many further answers of a provider."""
        seen = self.seen
        counted = len(seen)
        while answers > 0:
            await self._news.wait()
            self._news.clear()
            answers -= sum(one.provider == provider for one in seen[counted:])
            counted = len(seen)

    async def _caller(self, number: int, model: str) -> None:
        rng = Random(number)
        one = Caller(self._url, self._key, 75.0, 60_000)
        make = maker(model, None, LENGTH)
        asked = 0
        while not self._stop:
            text = f"text {asked} of {number}"
            asked += 1
            body: dict[str, Any] = {"model": model, "input": text}
            if model == LONELY:
                body["dimensions"] = LENGTH
            started = time.monotonic()
            try:
                told = await one.ask(body)
            except NoAnswer as error:
                status, provider, right, words = 0, "", False, str(error)
            else:
                answer: Any = told.body
                status, provider, words = told.status, answer.get("provider", ""), ""
                if status == 200:
                    vector = answer["data"][0]["embedding"]
                    right = pack(f"<{len(vector)}f", *vector) == make.raw(text)
                else:
                    right, words = False, answer["error"]["message"]
            ended = time.monotonic()
            self.seen.append(Seen(ended, ended - started, model, provider, status, right, words))
            self._news.set()
            await asyncio.sleep(rng.uniform(0, 2 * PAUSE_S))
        one.close()


async def run_course(
    crowd: Crowd, die: Change, come_back: Change, spans: Sequence[Change]
) -> list[float]:
    """Both; then one; then both again, as long as `spans` say. Returns when each began."""
    begins = [time.monotonic()]
    crowd.start()
    for span, change in zip(spans, (die, come_back, None), strict=True):
        await span()
        if change is not None:
            await change()
        begins.append(time.monotonic())
    await spans[0]()
    await crowd.stop()
    return begins


SPANS = ("both", "one is dead", "it returned", "long after")


def parts_of(seen: Sequence[Seen], begins: Sequence[float], model: str) -> list[Part]:
    """The spans, each with what ended in it."""
    ends = [*begins[1:], float("inf")]
    parts = []
    for name, begin, end in zip(SPANS, begins, ends, strict=True):
        mine = [one for one in seen if one.model == model and begin <= one.at < end]
        times = sorted(one.took for one in mine) or [0.0]
        parts.append(
            Part(
                name,
                len(mine),
                sum(one.status != 200 for one in mine),
                sum(one.status == 200 and not one.right for one in mine),
                Counter(one.provider for one in mine if one.status == 200),
                times[len(times) // 2] * 1000,
                times[-1] * 1000,
            )
        )
    return parts


def back_after_s(seen: Sequence[Seen], begins: Sequence[float]) -> float:
    """How long after its return the provider answered first."""
    again = [one.at for one in seen if one.provider == "a" and one.at >= begins[2]]
    return min(again, default=float("inf")) - begins[2]


def said(seen: Sequence[Seen], begins: Sequence[float]) -> list[str]:
    """The figures."""
    lines = []
    for model in (MODEL, LONELY):
        lines.append(f"{model}:")
        for part in parts_of(seen, begins, model):
            who = ", ".join(
                f"{count:,} by {name}" for name, count in sorted(part.by_provider.items())
            )
            lines.append(
                f"  {part.name:12} {part.requests:7,} requests, {part.failed:,} failed,"
                f" {part.wrong:,} wrong; {who or 'nobody answered'};"
                f" median {part.median_ms:.1f} ms, worst {part.worst_ms:.0f} ms"
            )
    lines.append(f"a answered again {back_after_s(seen, begins):.1f} s after its return")
    words = Counter(one.told for one in seen if one.told and one.model == MODEL)
    lines += [f"  {count} {told}" for told, count in words.most_common(5)]
    return lines


def is_right(seen: Sequence[Seen], begins: Sequence[float]) -> bool:
    """Nobody failed who had a twin, nothing was wrong, and both work again."""
    family, lonely = (parts_of(seen, begins, model) for model in (MODEL, LONELY))
    return (
        not any(part.failed or part.wrong or not part.requests for part in family)
        and all(part.by_provider["a"] and part.by_provider["b"] for part in (family[0], family[3]))
        and all(set(part.by_provider) <= {"lonely"} and not part.wrong for part in lonely)
    )


async def run_with(url: str, key: str, args: argparse.Namespace, a: Sequence[Change]) -> bool:
    """The course, and its figures."""
    crowd = Crowd(url, key, args.callers, max(1, args.callers // 20))

    async def span() -> None:
        await asyncio.sleep(args.seconds)

    begins = await run_course(crowd, a[0], a[1], [span] * 3)
    print("\n".join(said(crowd.seen, begins)))
    return is_right(crowd.seen, begins)


def main() -> int:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(prog="scripts/failover")
    parser.add_argument("--callers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each span")
    parser.add_argument("--sinbin-s", type=int, default=5)
    parser.add_argument("--latency-ms", default="50")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        homes = [Path(folder) / name for name in ("emr", "a", "b")]
        for home in homes:
            home.mkdir()
        latency = ("--latency-ms", args.latency_ms)
        a = running.enter_context(fake(homes[1], *latency))
        b = running.enter_context(fake(homes[2], *latency))
        port = a.url.rpartition(":")[2]

        async def die() -> None:
            a.process.kill()

        async def come_back() -> None:
            loop = asyncio.get_running_loop()
            again = fake(homes[1], *latency, "--port", port)
            await loop.run_in_executor(None, running.enter_context, again)

        config = rows(a.url, b.url) + health(args.sinbin_s)
        emr = running.enter_context(router(homes[0], config))
        return 0 if uvloop.run(run_with(emr.url, emr.key, args, (die, come_back))) else 1


if __name__ == "__main__":
    sys.exit(main())
