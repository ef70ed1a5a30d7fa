"""What came of a load: counts, latencies and rates, and how they are shown."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from math import ceil
from typing import Any

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Results:
    """Collects what each request came to. Times in seconds.

    Only requests that were due after the warm-up are counted.
    """

    def __init__(self, keys: int) -> None:
        self.good = [array("d") for _ in range(keys)]  # latencies of answers with a 200
        self.refused = array("d")  # of all other answers
        self.lag = array("d")  # how late a request was sent, in an open loop
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self.examples: dict[str, str] = {}  # one answer of each kind of error
        self.total = 0  # every request that ended, the warm-up's too
        self.in_time = 0  # answered before the load's end
        self.texts_in_time = 0
        self.checked = 0
        self.seconds = 0.0
        self.cpu_s = 0.0

    @property
    def answered(self) -> int:
        """Requests that got a 200."""
        return sum(len(times) for times in self.good)

    @property
    def ended(self) -> int:
        """Requests that came to any end."""
        return self.answered + len(self.refused) + sum(self.errors.values())

    def fail(self, kind: str, example: str = "") -> None:
        """A request without an answer that is one, or with a wrong one."""
        self.errors[kind] += 1
        if example:
            self.examples.setdefault(kind, example)

    def plain(self) -> dict[str, Any]:
        """As JSON shows it. Latencies in milliseconds, of the answers with a 200."""
        good = array("d")
        for times in self.good:
            good.extend(times)
        seconds = max(self.seconds, 1e-9)
        shown: dict[str, Any] = {
            "seconds": round(self.seconds, 3),
            "requests": self.ended,
            "answered": len(good),
            "requests_per_second": round(self.in_time / seconds, 1),
            "texts_per_second": round(self.texts_in_time / seconds, 1),
            "latency_ms": spread(good),
            "refused_latency_ms": spread(self.refused) if self.refused else None,
            "statuses": {str(k): n for k, n in sorted(self.statuses.items())},
            "errors": dict(self.errors.most_common()),
            "examples": self.examples,
            "vectors_checked": self.checked,
            "models": dict(self.models),
            "client": {
                "cpu_seconds": round(self.cpu_s, 3),
                "cpu_share": round(self.cpu_s / seconds, 3),
                "cpu_us_per_request": round(1e6 * self.cpu_s / max(1, self.total), 1),
                "lag_ms": spread(self.lag) if self.lag else None,
            },
        }
        if len(self.good) > 1:
            rates = [len(times) / seconds for times in self.good]
            shown["by_key"] = [
                {"requests_per_second": round(rate, 1), "latency_ms": spread(times)}
                for rate, times in zip(rates, self.good, strict=True)
            ]
            shown["jain_index"] = round(jain(rates), 4)
        return shown


def spread(times: Sequence[float]) -> dict[str, float | None]:
    """Percentiles in milliseconds of times in seconds; None for each of no times."""
    ordered = sorted(times)
    names = [f"p{p:g}" for p in PERCENTILES]
    if not ordered:
        return dict.fromkeys([*names, "mean", "max"])
    values = [percentile(ordered, p) for p in PERCENTILES]
    values += [sum(ordered) / len(ordered), ordered[-1]]
    return {n: round(1000.0 * v, 3) for n, v in zip([*names, "mean", "max"], values, strict=True)}


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all are not above (nearest rank)."""
    return ordered[max(0, ceil(len(ordered) * percent / 100.0) - 1)]


def jain(rates: Sequence[float]) -> float:
    """Jain's fairness index: 1 for equal rates, 1/n for one that has all."""
    total = sum(rates)
    squares = sum(rate * rate for rate in rates)
    return total * total / (len(rates) * squares) if squares else 1.0
