"""The exposition, read by prometheus_client's own parser."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from emr.control.history import BUCKETS_S
from emr.control.metrics import CONTENT_TYPE, exposition
from emr.lane.gate import Reason
from emr.lane.verdict import Ending
from tests.control.overlooked import Overlooked
from tests.control.routed import row_of, server
from tests.support.aio import run
from tests.support.scripted import turns


def read(text: bytes) -> dict[str, Metric]:
    """The families by name; fails on a series that stands twice."""
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    series = Counter(
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in families.values()
        for sample in family.samples
    )
    assert [each for each, count in series.items() if count > 1] == []
    return families


def values(family: Metric, *labels: str) -> dict[Any, float]:
    """The samples of a family by some of their labels."""
    return {
        tuple(sample.labels[label] for label in labels): sample.value for sample in family.samples
    }


def scraped(overlooked: Overlooked) -> dict[str, Metric]:
    return read(exposition(overlooked.take()))


def test_what_was_counted_is_what_is_exposed() -> None:
    async def main() -> None:
        async with Overlooked(row_of("voyage", "voyage"), row_of("cohere", "cohere")) as overlooked:
            overlooked.overview.name_routes(overlooked.routes)
            overlooked.overview.answered(0, 200, 0.1)
            overlooked.overview.answered(-1, 404, 0.1)
            for n in range(3):
                await overlooked.ask(provider="voyage", text=f"text {n}").vectors()
            await overlooked.fail("cohere", Ending.AUTH)
            families = scraped(overlooked)
            told = {
                name: families[name].samples[0].value
                for name in ("emr_requests", "emr_texts", "emr_cache_hits", "emr_draining",
                             "emr_storage_ok", "emr_active_keys", "emr_connections")
            }  # fmt: skip
            assert told == {
                "emr_requests": 3, "emr_texts": 3, "emr_cache_hits": 0, "emr_draining": 0,
                "emr_storage_ok": 1, "emr_active_keys": 3, "emr_connections": 2,
            }  # fmt: skip
            assert values(families["emr_http_requests"], "route", "status") == {
                ("/health", "200"): 1, ("none", "404"): 1,
            }  # fmt: skip
            assert values(families["emr_refusals"], "type") == {("provider_error",): 1}
            assert values(families["emr_provider_calls"], "provider", "ending") == {
                ("voyage", "ok"): 3, ("cohere", "auth"): 1,
            }  # fmt: skip
            assert values(families["emr_provider_texts"], "provider")["voyage",] == 3
            assert values(families["emr_provider_tokens"], "provider")["voyage",] == 9
            gates = values(families["emr_gate"], "provider", "scope", "reason")
            assert gates["voyage", "voyage-code-3", "CLEAR"] == 1
            assert gates["cohere", "embed-v4.0", "AUTH"] == 1
            for at in (("voyage", "voyage-code-3"), ("cohere", "embed-v4.0")):
                assert sum(gates[*at, reason.value] for reason in Reason) == 1
            limits = values(families["emr_limit_per_minute"], "provider", "dimension", "source")
            assert limits["voyage", "calls", "default"] == 2000
            assert families["process_start_time_seconds"].samples

    run(main())


def test_the_histogram_of_call_times_is_one() -> None:
    async def main() -> None:
        async with Overlooked(row_of("voyage", "voyage")) as overlooked:
            await overlooked.ask(provider="voyage").vectors()
            await turns(2)
            history = overlooked.overview._histories["voyage"]
            for seconds in (0.02, 0.3, 100.0):
                history.by_bucket[sum(seconds > edge for edge in BUCKETS_S)] += 1
                history.seconds += seconds
            samples = scraped(overlooked)["emr_provider_call_seconds"].samples
            edges = {s.labels["le"]: s.value for s in samples if s.name.endswith("_bucket")}
            assert [float(edge) for edge in edges] == [*BUCKETS_S, float("inf")]
            assert list(edges.values()) == sorted(edges.values())
            assert (edges["0.025"], edges["0.4"], edges["+Inf"]) == (2, 3, 4)
            (count,) = [s.value for s in samples if s.name.endswith("_count")]
            (total,) = [s.value for s in samples if s.name.endswith("_sum")]
            assert count == 4
            assert total == pytest.approx(100.32, abs=0.02)

    run(main())


def test_several_keys_of_a_provider_are_one_series() -> None:
    async def main() -> None:
        row = row_of(
            "voyage", "voyage", api_key_env_vars=["A_API_KEY", "B_API_KEY"],
            requests_per_minute=100, max_concurrency=4,
        )  # fmt: skip
        async with Overlooked(row) as overlooked:
            await overlooked.ask(provider="voyage").vectors()
            first, second = overlooked.accounts.of("voyage")
            second.gate.reason = Reason.AUTH
            first.threshold.value = 7
            families = scraped(overlooked)
            at = ("voyage", "voyage-code-3")
            assert values(families["emr_slots"], "provider", "scope")[at] == 8
            assert values(families["emr_fill_threshold"], "provider", "scope")[at] == 7
            assert values(families["emr_gate"], "provider", "scope", "reason")[*at, "AUTH"] == 1
            (limit,) = [
                s.value for s in families["emr_limit_per_minute"].samples
                if s.labels["dimension"] == "calls"
            ]  # fmt: skip
            assert limit == 200

    run(main())


def test_a_changed_provider_is_one_series_with_what_is_left_of_it() -> None:
    async def main() -> None:
        async with Overlooked(server("own")) as overlooked:
            asked = overlooked.ask("m")
            old = overlooked.caller("own")
            old.holds = True
            await old.called(1)
            (account,) = overlooked.accounts.of("own")
            await overlooked.reload(server("own", endpoint="http://127.0.0.1:10/v1"))
            account.gate.reason = Reason.AUTH
            at = ("own", "m")
            families = scraped(overlooked)  # the old one alone
            assert values(families["emr_gate"], "provider", "scope", "reason")[*at, "AUTH"] == 1
            overlooked.callers.clear()
            await overlooked.ask("m").vectors()
            families = scraped(overlooked)
            assert values(families["emr_calls_in_flight"], "provider", "scope") == {at: 1}
            assert values(families["emr_gate"], "provider", "scope", "reason")[*at, "CLEAR"] == 1
            assert values(families["emr_slots"], "provider", "scope")[at] == 4
            old.let_go()
            await asked.vectors()

    run(main())


@pytest.mark.parametrize("model", ['a"b', "a\\b", "a\\nb", "ä/世界", "a{b}"])
def test_names_of_models_are_escaped(model: str) -> None:
    async def main() -> None:
        async with Overlooked(server("own", model)) as overlooked:
            await overlooked.ask(provider="own").vectors()
            await turns(2)
            at = values(scraped(overlooked)["emr_slots"], "provider", "scope")
            assert at == {("own", model): 4}

    run(main())


def test_nothing_at_all_is_a_good_exposition_too() -> None:
    async def main() -> None:
        async with Overlooked() as overlooked:
            families = scraped(overlooked)
            assert families["emr_requests"].samples[0].value == 0
            assert families["emr_gate"].samples == []

    run(main())
    assert CONTENT_TYPE.startswith(b"text/plain; version=0.0.4")
