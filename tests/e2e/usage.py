"""Usage against the providers' own counts: many keys, two providers that fail, token for token.

`python -m tests.e2e.usage [--requests 100000] [--keys 50] [--callers 200]` starts two fake
providers of one family that refuse, break and reset some of their calls, of which each in its turn
is down for a while, and a router in front of them. Callers ask one text or a few, now and then the
same text as others at the same time; some go away without waiting for their answer. At the end
every sum that the router kept is held against the fakes' own counts, and against what each caller
was told; what differs is an error that says where.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from tests.e2e.conftest import voyage_row
from tests.support.processes import Router, Running, fake, router

MODEL = "voyage-code-3"
PRICE = 0.18  # dollars a million tokens, of that model in the table
NAMES = ("first", "second")
LIMIT = 600  # calls a minute, that nobody told the router: it is refused now and then
# of calls; a reset call was not billed, as those that are refused
FAULTS = "500=0.02,503=0.01,502=0.01,reset=0.01"
DOWN = (0.25, 0.10)  # of the callers' course: when the first provider is down, and how long
SHARED = 50  # texts that several ask for at the same time
# so that the first is back before the second goes down, in a short course too
CONFIG = """
[health]
sinbin_initial_seconds = 1
sinbin_max_seconds = 1
recovery_probe_interval_seconds = 1
"""
LEAVES = 0.005  # of requests: the caller does not wait


@dataclass(slots=True)
class Told:
    """What the callers of one key sent and were told. `tokens` are those of the 200s' `usage`."""

    requests: int = 0
    left: int = 0
    tokens: int = 0
    texts: int = 0
    statuses: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class Course:
    """What is asked, by whom, at what router. `begun` counts the requests."""

    address: tuple[str, int]
    keys: Sequence[str]
    requests: int
    told: list[Told]
    begun: int = 0

    def next(self) -> bool:
        """Whether there is another request to make."""
        self.begun += 1
        return self.begun <= self.requests


def request_of(key: str, texts: Sequence[str]) -> bytes:
    """The bytes of one request."""
    body = orjson.dumps({"model": MODEL, "input": texts, "encoding_format": "base64"})
    head = (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    at = head.index(b"content-length:") + 15
    return int(head[9:12]), await reader.readexactly(int(head[at:].split(b"\r\n", 1)[0]))


async def call_in(course: Course, number: int) -> None:
    """One caller: a connection, on which one request follows the other."""
    rng = random.Random(number)
    at = number % len(course.keys)
    told = course.told[at]
    reader, writer = await asyncio.open_connection(*course.address)
    while course.next():
        count = 1 if rng.random() < 0.8 else rng.randint(2, 8)
        texts = [
            f"shared {course.begun // 500} {rng.randrange(SHARED)}"
            if rng.random() < 0.1
            else f"text {number} {course.begun} {n} " + "word " * rng.randrange(20)
            for n in range(count)
        ]
        told.requests += 1
        writer.write(request_of(course.keys[at], texts))
        if rng.random() < LEAVES:
            told.left += 1
            await writer.drain()
            writer.close()
            reader, writer = await asyncio.open_connection(*course.address)
            continue
        status, body = await read_answer(reader)
        told.statuses[status] += 1
        if status == 200:
            told.texts += count
            told.tokens += int(orjson.loads(body)["usage"]["total_tokens"])
    writer.close()


async def run_course(course: Course, callers: int, providers: Sequence[Running]) -> None:
    """Every caller to the end, each provider down once in its turn."""

    async def go_down(provider: Running, begin: float) -> None:
        async with httpx.AsyncClient() as client:
            for at, faults in ((begin, "500"), (begin + DOWN[1], FAULTS)):
                while course.begun < at * course.requests:
                    await asyncio.sleep(0.01)
                url = f"{provider.url}/_fake/settings"
                (await client.post(url, json={"faults": faults})).raise_for_status()

    downs = [go_down(each, DOWN[0] * (n + 1)) for n, each in enumerate(providers)]
    await asyncio.gather(*downs, *[call_in(course, number) for number in range(callers)])


def usage_of(emr: Router, by: str) -> list[dict[str, Any]]:
    """The rows that the router keeps; those of its own calls have the key None."""
    told = emr.admin("GET", f"/admin/usage?by={by}&since=1d")
    told.raise_for_status()
    rows: list[dict[str, Any]] = told.json()["usage"]
    return rows


class Book:
    """Holds what is kept against what was counted elsewhere."""

    def __init__(self) -> None:
        self.differences: list[str] = []

    def equal(self, what: str, kept: object, counted: object) -> None:
        """They must be the same."""
        if kept != counted:
            self.differences.append(f"{what}: usage has {kept}, counted were {counted}")

    def between(self, what: str, low: int, kept: int, high: int) -> None:
        """It must not be outside of these."""
        if not low <= kept <= high:
            self.differences.append(f"{what}: usage has {kept}, counted were {low} to {high}")


def compare_providers(book: Book, emr: Router, stats: Mapping[str, Mapping[str, Any]]) -> None:
    """The tokens and calls of each provider, and what they cost."""
    rows = {row["provider"]: row for row in usage_of(emr, "provider,model")}
    book.equal("providers", sorted(rows), sorted(stats))
    for name, told in stats.items():
        row = rows[name]
        book.equal(f"tokens of {name}", row["tokens"], told["good"]["tokens"])
        # a call on a connection that was reset as it was idle, as it seems, is made once more
        resets = told["by_fault"].get("reset", 0)
        book.between(f"calls of {name}", told["calls"] - resets, row["calls"], told["calls"])
        cost = round(told["good"]["tokens"] * PRICE / 1e6, 6)
        book.equal(f"cost of {name}", round(row["cost"], 6), cost)


def compare_keys(book: Book, emr: Router, ids: Sequence[str], told: Sequence[Told]) -> None:
    """What each key's callers were told, and what is kept of it."""
    rows = {row["key"]: row for row in usage_of(emr, "key")}
    for key_id, one in zip(ids, told, strict=True):
        row = rows[key_id]
        failed = sum(one.statuses.values()) - one.statuses[200]
        book.equal(f"requests of {key_id}", row["requests"], one.requests)
        # who left may have been answered, or refused, before it was seen
        book.between(f"errors of {key_id}", failed, row["errors"], failed + one.left)
        book.between(f"abandoned of {key_id}", 0, row["abandoned"], one.left)
        book.between(f"texts of {key_id}", one.texts, row["texts"], one.texts + 8 * one.left)
        if one.left or failed:  # what was sent for them was billed, and nobody was told
            most = row["tokens"]
            book.between(f"tokens of {key_id}", one.tokens, row["tokens"], most)
        else:
            book.equal(f"tokens of {key_id}", row["tokens"], one.tokens)
    by_hour = usage_of(emr, "key,provider,model,hour")
    for name in ("requests", "texts", "tokens"):
        book.equal(
            f"{name} by hour", sum(r[name] for r in by_hour), sum(r[name] for r in rows.values())
        )


def reconcile(folder: Path, requests: int, keys: int, callers: int) -> tuple[list[str], str]:
    """Run the course. What differs, of which there must be nothing, and the figures in words."""
    with ExitStack() as stack:
        providers, config = [], CONFIG
        for seed, name in enumerate(NAMES):
            home = folder / name
            home.mkdir()
            flags = ["--latency-ms", "20", "--latency-sigma", "0.3", "--seed", str(seed)]
            flags += ["--rpm", str(LIMIT), "--tell", "none"]
            providers.append(stack.enter_context(fake(home, *flags, "--faults", FAULTS)))
            config += voyage_row(providers[-1], name)
        emr = stack.enter_context(router(folder, config))
        made = [emr.admin("POST", "/admin/keys", {"name": f"key {n}"}).json() for n in range(keys)]
        parts = urlsplit(emr.url)
        address = (str(parts.hostname), int(parts.port or 0))
        course = Course(address, [m["key"] for m in made], requests, [Told() for _ in made])
        started = time.perf_counter()
        asyncio.run(run_course(course, callers, providers))
        took = time.perf_counter() - started
        drained(emr)
        stats = {
            name: httpx.get(f"{each.url}/_fake/stats").json()
            for name, each in zip(NAMES, providers, strict=True)
        }
        book = Book()
        compare_providers(book, emr, stats)
        compare_keys(book, emr, [m["id"] for m in made], course.told)
        return book.differences, figures(course, stats, usage_of(emr, "provider"), took)


def drained(emr: Router) -> None:
    """Return when nothing is under way: the calls for those who left land too."""
    while any(
        each["in_flight_batches"] for each in httpx.get(f"{emr.url}/health/providers").json()
    ):
        time.sleep(0.02)


def figures(
    course: Course, stats: Mapping[str, Any], usage: Sequence[Mapping[str, Any]], took: float
) -> str:
    """What happened, in words."""
    statuses: Counter[int] = Counter()
    for one in course.told:
        statuses.update(one.statuses)
    lines = [
        f"{course.requests} requests of {len(course.keys)} keys in {took:.1f} s; answers by status "
        f"{dict(sorted(statuses.items()))}; {sum(t.left for t in course.told)} callers left"
    ]
    for row in usage:
        told = stats[row["provider"]]
        lines.append(
            f"{row['provider']:<7} {row['requests']} requests, {row['texts']} texts in "
            f"{row['calls']} calls ({row['calls_saved']} saved), {row['tokens']} tokens; the fake "
            f"counts {told['calls']} calls, {told['good']['tokens']} tokens, by status "
            f"{told['by_status']}, resets {told['by_fault'].get('reset', 0)}"
        )
    return "\n".join(lines)


def main() -> int:
    """Run it, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=50)
    parser.add_argument("--callers", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        differences, told = reconcile(Path(home), args.requests, args.keys, args.callers)
    print(told)
    print("\n".join(differences) or "usage is equal to the counts, token for token")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
