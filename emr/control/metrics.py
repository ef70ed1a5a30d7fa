"""The exposition for Prometheus, read from the snapshot when it is scraped.

Nothing is counted for it on the way of a request: the collector turns the plain integers that the
router keeps anyway into metric families. Labels are names of providers and of their models, routes,
and closed sets of words, so their number is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from emr.control.history import BUCKETS_S, History
from emr.control.snapshot import AccountView, Snapshot, worst
from emr.lane.gate import Reason
from emr.lane.verdict import Dimension

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def exposition(snapshot: Snapshot) -> bytes:
    """The text of all metrics."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(snapshot))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


Views = Sequence[AccountView]

GAUGES = {
    "emr_waiting_texts": "Texts that wait.",
    "emr_calls_in_flight": "Calls in flight.",
    "emr_slots": "Calls that may be in flight.",
    "emr_fill_threshold": "K, the texts that must wait for another call.",
    "emr_retry_credits": "Retries that may be made now.",
}


class SnapshotCollector(Collector):
    """The metric families of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        yield from self._process()
        yield from self._front()
        yield from self._cache()
        yield from self._calls()
        yield from self._drift()
        yield from self._accounts()

    def _process(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        info = GaugeMetricFamily("emr_build_info", "The version that runs.", labels=["version"])
        info.add_metric([snapshot.version], 1)
        yield info
        yield gauge("emr_uptime_seconds", "Time since the start.", snapshot.uptime_s)
        yield gauge("emr_draining", "1 while it stops.", float(snapshot.draining))
        yield gauge("emr_storage_ok", "1 while the database takes writes.", snapshot.storage_ok)
        yield gauge("emr_active_keys", "Keys that may be used now.", snapshot.active_keys)
        yield gauge("emr_connections", "Open connections of clients.", snapshot.connections)

    def _front(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        answers = CounterMetricFamily(
            "emr_http_requests", "Requests answered.", labels=["route", "status"]
        )
        for (route, status), count in sorted(snapshot.answers.items()):
            answers.add_metric([route, str(status)], count)
        yield answers
        yield counter("emr_requests", "Embedding requests answered.", snapshot.requests_served)
        yield counter("emr_texts", "Texts in them.", snapshot.texts_served)
        refusals = CounterMetricFamily(
            "emr_refusals", "Requests refused in the lanes, by type.", labels=["type"]
        )
        for kind, count in sorted(snapshot.refusals.items()):
            refusals.add_metric([kind], count)
        yield refusals

    def _cache(self) -> Iterator[Metric]:
        cache = self._snapshot.cache
        hits, misses = (cache.hits, cache.misses) if cache else (0, 0)
        yield counter("emr_cache_hits", "Texts answered from the cache.", hits)
        yield counter("emr_cache_misses", "Texts that it did not have.", misses)
        found = CounterMetricFamily("emr_cache_store_hits", "Hits by store.", labels=["store"])
        gone = CounterMetricFamily(
            "emr_cache_evictions", "Vectors that went for want of room.", labels=["store"]
        )
        entries = GaugeMetricFamily("emr_cache_entries", "Vectors that it has.", labels=["store"])
        size = GaugeMetricFamily("emr_cache_bytes", "What they take.", labels=["store"])
        is_ok = GaugeMetricFamily("emr_cache_ok", "1 while the store is used.", labels=["store"])
        stores = {"memory": cache.memory, "disk": cache.disk} if cache else {}
        for name, store in stores.items():
            if store is not None:
                found.add_metric([name], store.hits)
                gone.add_metric([name], store.evictions)
                entries.add_metric([name], store.entries)
                size.add_metric([name], store.bytes)
                is_ok.add_metric([name], float(not store.trouble))
        yield from (found, gone, entries, size, is_ok)

    def _calls(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "emr_provider_calls", "Calls by how they ended.", labels=["provider", "ending"]
        )
        texts = CounterMetricFamily(
            "emr_provider_texts", "Texts answered by it.", labels=["provider"]
        )
        tokens = CounterMetricFamily("emr_provider_tokens", "Tokens billed.", labels=["provider"])
        seconds = HistogramMetricFamily(
            "emr_provider_call_seconds", "Time of a call.", labels=["provider"]
        )
        for name, history in sorted(self._snapshot.histories.items()):
            for ending, count in sorted(history.calls.items(), key=lambda each: each[0].value):
                calls.add_metric([name, ending.value], count)
            texts.add_metric([name], history.texts)
            tokens.add_metric([name], history.tokens)
            seconds.add_metric([name], list(buckets(history)), history.seconds)
        yield from (calls, texts, tokens, seconds)

    def _drift(self) -> Iterator[Metric]:
        drift = GaugeMetricFamily(
            "emr_vectors_changed", "1 while a text gives another vector.", labels=["provider"]
        )
        for provider in self._snapshot.providers:
            drift.add_metric([provider.row.name], float(bool(provider.drift)))
        yield drift

    def _accounts(self) -> Iterator[Metric]:
        labels = ["provider", "scope"]
        gate = GaugeMetricFamily(
            "emr_gate", "1 for the reason that holds.", labels=[*labels, "reason"]
        )
        families = {
            name: GaugeMetricFamily(name, text, labels=labels) for name, text in GAUGES.items()
        }
        limit = GaugeMetricFamily(
            "emr_limit_per_minute", "Limits that are kept.", labels=[*labels, "dimension", "source"]
        )
        for at, views in by_scope(self._snapshot.accounts).items():
            # what a changed provider has left is still counted, but its laws are those of now
            laws = [view for view in views if not view.closing] or views
            reason_now = worst(laws)
            for reason in Reason:
                gate.add_metric([*at, reason.value], float(reason is reason_now))
            for name, value in figures_of(views, laws).items():
                families[name].add_metric(at, value)
            for dimension in Dimension:
                limits = [view.limits[dimension] for view in laws if dimension in view.limits]
                if limits:
                    known = sum([each.per_minute for each in limits])
                    limit.add_metric([*at, dimension.value, limits[0].source], known)
        yield from (gate, *families.values(), limit)


def by_scope(accounts: Iterable[AccountView]) -> dict[tuple[str, str], list[AccountView]]:
    """The accounts by provider and scope: several keys are one series, or it would stand twice."""
    found: dict[tuple[str, str], list[AccountView]] = {}
    for view in accounts:
        found.setdefault((view.provider, view.scope), []).append(view)
    return found


def figures_of(views: Views, laws: Views) -> dict[str, float]:
    """The values of GAUGES for all accounts of a scope, `laws` being those whose laws hold."""
    return {
        "emr_waiting_texts": sum([view.texts for view in views]),
        "emr_calls_in_flight": sum([view.in_flight for view in views]),
        "emr_slots": sum([view.slots for view in laws]),
        "emr_fill_threshold": max([view.k for view in laws]),
        "emr_retry_credits": sum([view.retry_credits for view in laws]),
    }


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """A gauge without labels."""
    return GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: float) -> CounterMetricFamily:
    """A counter without labels; the exposition adds `_total` to its name."""
    return CounterMetricFamily(name, text, value=value)


def buckets(history: History) -> Iterator[tuple[str, float]]:
    """The cumulative buckets of a histogram."""
    total = 0
    for edge, count in zip((*map(str, BUCKETS_S), "+Inf"), history.by_bucket, strict=True):
        total += count
        yield edge, total
