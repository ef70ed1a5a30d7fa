"""Where one process ends, and what lies beyond: callers upwards, then several processes.

First one emr, with more and more callers: requests a second, the share of a core that it takes,
and times. It ends where the share nears 100 %: one process has one event loop.

Then the ways beyond, at the largest number of callers that one takes without a refusal: one emr for
each tenant, with its share of the callers; and a sidecar for each, all before a central emr that
alone talks to the provider (it sees all limits and fills the largest calls).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.load import Shape, load
from tests.bench.machine import machine
from tests.bench.measure import Measurement, Stuck
from tests.bench.page import OUT, Page, figure, table
from tests.bench.peers.emr import Emr, Sidecar
from tests.bench.peers.peer import Subject
from tests.bench.provider import Provider
from tests.bench.rows import DELAY_MS, Row
from tests.bench.running import alone, behind, place
from tests.bench.usage import usage

CALLERS = (1, 4, 16, 64, 256, 1000, 2000, 4000)
BEYOND = 1000
SIDECARS = (2, 4)
WARM_S, SECONDS = 1.5, 3.0


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--callers", type=int, nargs="*", default=CALLERS, help="how many to try")
    parser.add_argument("--beyond", type=int, default=BEYOND, help=f"(default {BEYOND})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"(default {SECONDS:g})")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of ends.md, ends.json")


@dataclass(frozen=True, slots=True)
class Together:
    """Several processes at once: requests a second of all, and CPU of each kind a request."""

    name: str
    rate: float
    asked_us: float  # of those that callers ask
    central_us: float
    share: float  # of the busiest process, of one core
    texts_a_call: float
    refused: int


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    page = Page("ends", "Where one process ends", machine(args.venvs))
    for delay_ms in (0.0, DELAY_MS):
        text, told = upwards(args, delay_ms)
        page.parts += [f"## One emr, the provider answers after {delay_ms:.0f} ms", text]
        page.data[f"upwards_{delay_ms:.0f}ms"] = told
    head = ["", "requests/s", "asked, µs", "central, µs", "busiest", "texts a call", "refused"]
    for delay_ms in (0.0, DELAY_MS):
        found = beyond(args, delay_ms)
        rows = [
            [
                each.name, f"{each.rate:,.0f}", figure(each.asked_us), figure(each.central_us),
                f"{each.share:.0%}", figure(each.texts_a_call), each.refused,
            ]
            for each in found
        ]  # fmt: skip
        title = f"## Beyond one, {args.beyond:,} callers, {delay_ms:.0f} ms"
        page.parts += [title, table(head, rows)]
        page.data[f"beyond_{delay_ms:.0f}ms"] = [asdict(each) for each in found]
    page.parts.append(
        "µs are CPU a request: of all processes that callers ask, and of the central emr. The "
        "provider, wrk and all processes share the machine's cores, so requests a second here end "
        "where the cores do; the share of the busiest process tells who could go on."
    )
    page.block = "\n\n".join(page.parts).replace("## ", "### ")
    print(page.write(args.out))
    return 0


def upwards(args: argparse.Namespace, delay_ms: float) -> tuple[str, list[dict[str, object]]]:
    """One emr, more and more callers."""
    rows: list[list[object]] = []
    told: list[dict[str, object]] = []
    with alone(Emr(), args.venvs) as (subject, provider):
        measurement = Measurement(provider, args.seconds)
        for callers in args.callers:
            row = Row(f"float-1x{callers}-{delay_ms:.0f}ms", Shape("float", 1, callers), delay_ms)
            try:
                m = measurement.take(subject, row)
            except Stuck as error:
                print(f"{row.name}: {error}", file=sys.stderr)
                continue
            texts_a_call = m.provider_texts / max(1, m.provider_calls)
            rows.append([
                f"{callers:,}", f"{m.rate:,.0f}", figure(m.cpu_us),
                f"{m.rate * m.cpu_us / 1e6:.0%}", f"{1e6 / m.cpu_us:,.0f}",
                figure(m.p50_ms), figure(m.p99_ms), figure(texts_a_call),
                f"{m.rss_mib:.0f}", m.failures,
            ])  # fmt: skip
            told.append(asdict(m))
            print(*rows[-1], file=sys.stderr)
    head = [
        "callers", "requests/s", "µs a request", "of a core", "a whole core, requests/s",
        "p50, ms", "p99, ms", "texts a call", "MiB", "refused",
    ]  # fmt: skip
    return table(head, rows), told


def beyond(args: argparse.Namespace, delay_ms: float) -> list[Together]:
    """One, several, and several before a central one."""
    found = []
    for count in (1, *SIDECARS):
        with behind(args.venvs) as (provider, folder), ExitStack() as stack:
            provider.delay(delay_ms)
            asked = [
                stack.enter_context(
                    Emr().started(place(folder, f"emr-{number}", provider.port, args.venvs))
                )
                for number in range(count)
            ]
            name = "one emr" if count == 1 else f"{count} emr, one a tenant"
            found.append(together(name, asked, None, provider, args))
    for count in SIDECARS:
        with behind(args.venvs) as (provider, folder), ExitStack() as stack:
            provider.delay(delay_ms)
            central = stack.enter_context(
                Emr().started(place(folder, "central", provider.port, args.venvs))
            )
            asked = [
                stack.enter_context(
                    Sidecar(central.door).started(
                        place(folder, f"sidecar-{number}", provider.port, args.venvs)
                    )
                )
                for number in range(count)
            ]
            name = f"{count} sidecars before a central emr"
            found.append(together(name, asked, central, provider, args))
    return found


def together(
    name: str,
    asked: Sequence[Subject],
    central: Subject | None,
    provider: Provider,
    args: argparse.Namespace,
) -> Together:
    """All callers on `asked`, evenly; nobody but these asks `central`."""
    shape = Shape("float", 1, max(1, args.beyond // len(asked)))
    everyone = [*asked, *([central] if central else [])]

    def cpu() -> list[float]:
        return [usage(each.pid).cpu_s for each in everyone]

    with ExitStack() as stack:
        loads = [stack.enter_context(load(each.door, shape)) for each in asked]
        time.sleep(WARM_S)
        first, first_cpu, began = provider.told(), cpu(), time.perf_counter()
        time.sleep(args.seconds)
        last, last_cpu = provider.told(), cpu()
        seconds = time.perf_counter() - began
        refused = sum(each.stop().refused for each in loads)
    texts = max(1, last.texts - first.texts)
    used = [b - a for a, b in zip(first_cpu, last_cpu, strict=True)]
    made = Together(
        name, texts / seconds, sum(used[: len(asked)]) / texts * 1e6,
        sum(used[len(asked) :]) / texts * 1e6, max(used) / seconds,
        texts / max(1, last.calls - first.calls), refused,
    )  # fmt: skip
    print(made, file=sys.stderr)
    return made
