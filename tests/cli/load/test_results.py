"""Percentiles by nearest rank, fairness, and the table."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from emr.cli.load.report import print_report
from emr.cli.load.results import Results, jain, percentile, spread


def test_percentiles() -> None:
    ordered = [float(i) for i in range(1, 101)]
    assert [percentile(ordered, p) for p in (0, 1, 50, 50.1, 99, 99.9, 100)] == [
        1, 1, 50, 51, 99, 100, 100
    ]  # fmt: skip
    assert percentile([7.0], 50) == percentile([7.0], 99.9) == 7.0
    shown = spread([0.003, 0.001, 0.002])
    assert (shown["p50"], shown["mean"], shown["max"]) == (2.0, 2.0, 3.0)
    assert set(spread([]).values()) == {None}


def test_jain() -> None:
    assert jain([5.0, 5.0, 5.0]) == pytest.approx(1.0)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain([0.0, 0.0]) == 1.0


def results() -> Results:
    made = Results(2)
    made.good[0].extend([0.010, 0.020])
    made.good[1].extend([0.030])
    made.refused.append(0.001)
    made.statuses.update({200: 3, 429: 1})
    made.fail("timeout")
    made.fail("wrong vector", "vector 0 of 1 is not that of its text")
    made.fail("wrong vector", "another")
    made.in_time, made.texts_in_time, made.total = 3, 6, 7
    made.seconds, made.cpu_s = 2.0, 1.9
    return made


def test_counts() -> None:
    shown = results().plain()
    assert (shown["requests"], shown["answered"], shown["requests_per_second"]) == (7, 3, 1.5)
    assert shown["texts_per_second"] == 3.0
    assert shown["errors"] == {"wrong vector": 2, "timeout": 1}
    assert shown["examples"] == {"wrong vector": "vector 0 of 1 is not that of its text"}
    assert shown["latency_ms"]["p50"] == 20.0
    assert shown["refused_latency_ms"]["max"] == 1.0
    assert [k["requests_per_second"] for k in shown["by_key"]] == [1.0, 0.5]
    assert shown["jain_index"] == 0.9


def test_the_table_says_it_all() -> None:
    report = results().plain()
    report["provider"] = {"calls": 2, "texts": 6, "requests_per_call": 3.5, "texts_per_call": 3.0}
    out = io.StringIO()
    print_report(report, Console(file=out, width=200))
    text = out.getvalue()
    for words in ("1.5 requests/s", "p50 20.00", "429: 1", "timeout: 1", "not that of its text",
                  "3.50 requests a call", "key 2", "0.900", "95% of a core",
                  "0 vectors right, 2 replies wrong"):  # fmt: skip
        assert words in text
    report["provider"] = None
    out = io.StringIO()
    print_report(report | {"latency_ms": spread([])}, Console(file=out, width=200))
    assert "not known" in out.getvalue()
