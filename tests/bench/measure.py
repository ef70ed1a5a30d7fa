"""One measurement: a load on a subject, and what it took of each process.

Two ways, by the row. *Steady*: when the provider answers at once, the counters of the provider and
the CPU of all processes are read twice while the load runs, first when every caller had an answer;
neither start nor end counts. *Whole*: when the provider answers late, callers come in waves, and a
window would cut one; so CPU is read before the load and after it, and those requests that were cut
off at its end count half (the average of what was done for them). Rows of cache hits are measured
so too, and the floor, as the provider does not see them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.bench.connections import opened
from tests.bench.load import Load, load
from tests.bench.peers.peer import Subject
from tests.bench.provider import Provider
from tests.bench.rows import Row
from tests.bench.usage import Usage, usage

WARM_S = 0.4
WARM_S_MAX = 30.0
QUIET_S = 0.1  # in which a subject does nothing more about callers that left
QUIET_S_MAX = 60.0
QUIET_CPU_S = 0.005  # of QUIET_S; timers of an idle process take less
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """What one load on one subject gave. CPU in seconds; shares are of one core."""

    subject: str
    row: str
    requests: float
    window_s: float
    cpu_s: float
    rss_mib: float
    provider_calls: int
    provider_texts: int
    provider_share: float
    load_share: float
    p50_ms: float
    p99_ms: float
    failures: int

    @property
    def cpu_us(self) -> float:
        """Of the subject, a request."""
        return self.cpu_s / max(self.requests, 1.0) * 1e6

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.window_s


class Stuck(Exception):
    """A subject that answered nothing for too long."""


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    texts: int
    calls: int
    subject: Usage
    provider: Usage
    load: Usage


class Measurement:
    """Measures subjects of one provider."""

    def __init__(self, provider: Provider, seconds: float) -> None:
        self._provider = provider
        self._seconds = seconds

    def take(self, subject: Subject, row: Row) -> Measured:
        """One load. Raises Stuck."""
        self._provider.delay(row.delay_ms)
        is_whole = row.is_whole or not subject.passes_on
        with opened(subject.door, row.idle):
            before = self._cpu_s(subject)
            with load(subject.door, row.shape) as running:
                self._warm_up(row, subject, running)
                first = self._read(subject, running)
                time.sleep(self._seconds)
                last = self._read(subject, running)
                told = running.stop()
            self._wait_for_quiet(subject)
            if is_whole:
                cpu = self._cpu_s(subject) - before
                requests, window = told.requests + row.shape.callers / 2, told.seconds
            else:
                cpu = last.subject.cpu_s - first.subject.cpu_s
                requests = (last.texts - first.texts) / row.shape.texts
                window = last.at - first.at
        return Measured(
            subject.name, row.name, requests, window, cpu, last.subject.rss_kib / 1024,
            last.calls - first.calls, last.texts - first.texts,
            (last.provider.cpu_s - first.provider.cpu_s) / (last.at - first.at),
            (last.load.cpu_s - first.load.cpu_s) / (last.at - first.at),
            told.p50_ms, told.p99_ms, told.refused + told.timeouts + told.broken,
        )  # fmt: skip

    def _wait_for_quiet(self, subject: Subject) -> None:
        """Wait until nothing is done any more for callers that left: the next one's figures.

        Raises Stuck.
        """
        until = time.monotonic() + QUIET_S_MAX
        while time.monotonic() < until:
            before = self._provider.told(), self._cpu_s(subject)
            time.sleep(QUIET_S)
            told, cpu_s = self._provider.told(), self._cpu_s(subject)
            if told == before[0] and told.waiting == 0 and cpu_s - before[1] < QUIET_CPU_S:
                return
        raise Stuck(f"busy with callers that left for more than {QUIET_S_MAX:.0f} s")

    @staticmethod
    def _cpu_s(subject: Subject) -> float:
        return usage(subject.pid).cpu_s if subject.pid else 0.0

    def _read(self, subject: Subject, running: Load) -> _Reading:
        told = self._provider.told()
        nobody = Usage(0.0, 0)
        return _Reading(
            time.perf_counter(), told.texts, told.calls,
            usage(subject.pid) if subject.pid else nobody,
            usage(self._provider.pid), usage(running.process.pid),
        )  # fmt: skip

    def _warm_up(self, row: Row, subject: Subject, running: Load) -> None:
        """Wait until the provider answered as many texts as all callers ask for at a time."""
        wanted = self._provider.told().texts + row.shape.texts * row.shape.callers
        time.sleep(WARM_S)
        if row.shape.cycle or not subject.passes_on:
            return
        until = time.monotonic() + WARM_S_MAX
        while self._provider.told().texts < wanted:
            if time.monotonic() > until or running.process.poll() is not None:
                raise Stuck(f"no {row.shape.callers} requests in {WARM_S_MAX:.0f} s")
            time.sleep(POLL_S)
