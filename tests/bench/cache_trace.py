"""The hit rate of the cache in memory against that of LRU, on traces by Zipf's law.

    python -m tests.bench.cache_trace [--texts 20000] [--asked 120000]

Nothing is real but the cache: texts are asked one by one, and what is not there is put there. Three
traces: the popular texts alone; with a *scan*, runs of texts that come once, two for each of the
others (somebody indexes documents beside the queries); and a *drift*, where every tenth of the
trace other texts are the popular ones. LRU has room for as many entries. Of a scan only the popular
texts are counted, and nothing of the first fifth, which fills the caches.
"""

from __future__ import annotations

import argparse
from bisect import bisect
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate, count
from random import Random
from typing import Protocol

from emr.lane.cache import ENTRY_BYTES, SECTION_BYTES, Cache
from emr.lane.ticket import Origin, Params, Request

ALPHAS = (0.6, 0.8, 1.0, 1.2)
ROOMS = (0.01, 0.05, 0.2)  # of all popular texts
RUN = 200  # popular texts between two runs of a scan
SCANS = 2  # texts of a scan for each popular one
DRIFTS = 10
VECTOR = bytes(100)
PARAMS = Params("m")
ORIGIN = Origin(100, "m", "p")
TEXT_BYTES = 12

Trace = Iterator[tuple[int, bool]]  # a text's number, and whether it is counted


class Policy(Protocol):
    """A cache that is asked for a text, and holds it from then on."""

    def asked(self, number: int) -> bool:
        """Whether it was there."""


class Lru:
    """The text that was asked longest ago goes first."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._kept: OrderedDict[int, None] = OrderedDict()

    def asked(self, number: int) -> bool:
        """See Policy."""
        if number in self._kept:
            self._kept.move_to_end(number)
            return True
        self._kept[number] = None
        if len(self._kept) > self._entries:
            self._kept.popitem(last=False)
        return False


class Ours:
    """The real cache."""

    def __init__(self, entries: int) -> None:
        room = entries * (ENTRY_BYTES + TEXT_BYTES + len(VECTOR)) + SECTION_BYTES
        self._cache = Cache(room, shared=True)

    def asked(self, number: int) -> bool:
        """See Policy."""
        request = Request(PARAMS, [b"%0*d" % (TEXT_BYTES, number)], "a", 0.0, ignore)
        request.space = "space"
        self._cache.find(request)
        if request.cached:
            return True
        section = self._cache.section_of(self._cache.key_of(request), ORIGIN)
        assert section is not None, "a vector without a place: a bug"
        self._cache.put(section, request.texts[0], VECTOR)
        return False


def ignore(request: Request) -> None:
    """Nobody waits."""


def popular(texts: int, alpha: float, rng: Random) -> Iterator[int]:
    """Texts by Zipf's law, for ever."""
    weights = list(accumulate([rank**-alpha for rank in range(1, texts + 1)]))
    while True:
        yield bisect(weights, rng.random() * weights[-1])


def plain(texts: int, alpha: float, asked: int) -> Trace:
    """The popular texts alone."""
    draw = popular(texts, alpha, Random(1))
    for place in range(asked):
        yield next(draw), place >= asked // 5


def scanned(texts: int, alpha: float, asked: int) -> Trace:
    """With runs of texts that come once."""
    draw, once = popular(texts, alpha, Random(1)), count(texts)
    for place in range(asked // (1 + SCANS)):
        yield next(draw), place >= asked // (1 + SCANS) // 5
        if place % RUN == 0:
            for _ in range(RUN * SCANS):
                yield next(once), False


def drifting(texts: int, alpha: float, asked: int) -> Trace:
    """Other texts become the popular ones."""
    draw = popular(texts, alpha, Random(1))
    for place in range(asked):
        shift = place * DRIFTS // asked * (texts // DRIFTS)
        yield (next(draw) + shift) % texts, place >= asked // 5


def rate(policy: Policy, trace: Trace) -> float:
    """Hits of a hundred that are counted."""
    hits = asked = 0
    for number, is_counted in trace:
        hit = policy.asked(number)
        if is_counted:
            asked += 1
            hits += hit
    return 100.0 * hits / asked


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--asked", type=int, default=120_000)
    args = parser.parse_args()
    print(f"{'':14}" + "".join(f"{f'alpha {alpha}':>18}" for alpha in ALPHAS))
    print(f"{'room':14}" + "".join(f"{room:>6.0%}" for _ in ALPHAS for room in ROOMS))
    for trace in (plain, scanned, drifting):
        for policy in (Lru, Ours):
            row = [
                rate(policy(int(args.texts * room)), trace(args.texts, alpha, args.asked))
                for alpha in ALPHAS
                for room in ROOMS
            ]
            name = f"{trace.__name__} {policy.__name__.lower()}"
            print(f"{name:14}" + "".join(f"{value:6.1f}" for value in row), flush=True)


if __name__ == "__main__":
    main()
