"""A provider that fails half of its calls, then resets all, then none: who is served, over sockets.

`python -m tests.e2e.outage [--seconds 60] [--rate 20]` runs three spans of so many seconds with
independent callers of one text each and prints what became of them. The same course in virtual time
is a test of the core; this is the real thing, with the fake provider in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.e2e.conftest import voyage_row
from tests.support.processes import Router, fake, router

MODEL = "voyage-code-3"


@dataclass(slots=True)
class Answer:
    """A request: when it came, after how long it was answered, and how. Seconds."""

    at: float
    took: float
    status: int
    retry_after: bool


async def ask_all(emr: Router, seconds: float, rate: float) -> list[Answer]:
    """Requests at random times over three spans; everyone waits for their answer."""
    answers: list[Answer] = []
    headers = {"Authorization": f"Bearer {emr.key}"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(headers=headers, timeout=90, limits=limits) as client:
        started = time.monotonic()

        async def ask(number: int) -> None:
            at = time.monotonic()
            body = {"model": MODEL, "provider": "voyage", "input": f"text {number}"}
            told = await client.post(f"{emr.url}/v1/embeddings", json=body)
            took = time.monotonic() - at
            answers.append(
                Answer(at - started, took, told.status_code, "retry-after" in told.headers)
            )

        tasks = []
        rng = random.Random(1)
        due, number = started, 0
        while due - started < 3 * seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.create_task(ask(number)))
            number += 1
            due += rng.expovariate(rate)
        await asyncio.gather(*tasks)
    return sorted(answers, key=lambda each: each.at)


def show(answers: list[Answer], seconds: float, rate: float) -> None:
    """What became of each span's requests."""
    for name, first in (("half fail", 0), ("all reset", 1), ("none fails", 2)):
        span = [a for a in answers if first * seconds <= a.at < (first + 1) * seconds]
        served = [a for a in span if a.status == 200]
        others = [a for a in span if a.status != 200]
        statuses = {
            status: sum(a.status == status for a in others) for status in {a.status for a in others}
        }
        longest = max((a.took for a in others), default=0.0)
        told = all(a.retry_after for a in others if a.status == 503)
        print(
            f"{name:<11} {len(span):>5} requests  served {len(served) / max(1, len(span)):.3f}  "
            f"others {statuses}  longest refusal {longest:.2f} s  Retry-After on each 503: {told}"
        )
        if first == 1:
            late = [a.took for a in others if a.at >= seconds + 20]
            print(f"{'':<11} refused later than 20 s: longest {max(late, default=0):.3f} s")
        if first == 2:
            for after in (1, 2, 3, 5):
                since = 2 * seconds + after
                got = sum(a.status == 200 and since - 1 <= a.at + a.took < since for a in answers)
                print(f"{'':<11} answered in second {after} of it: {got}, of {rate:.0f} a second")


def main() -> None:
    """Run the three spans."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=20.0)
    args = parser.parse_args()
    s = args.seconds
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        flags = ("--latency-ms", "180", "--latency-sigma", "0.15")
        with fake(folder, *flags) as provider, router(folder, voyage_row(provider)) as emr:
            plan = f"0-{s} error=0.5; {s}-{2 * s} reset=1; {2 * s}- none"
            httpx.post(f"{provider.url}/_fake/settings", json={"schedule": plan}).raise_for_status()
            answers = asyncio.run(ask_all(emr, s, args.rate))
            show(answers, s, args.rate)


if __name__ == "__main__":
    main()
