"""Scenario files: what they mean, and that every slip of the pen is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sim.scenario import Bound, ScenarioError, merge, read, scenarios


def table(**more: Any) -> dict[str, Any]:
    return merge(
        {
            "row": "a row", "curve": "a curve", "seconds": 10,
            "providers": {"p": {}}, "callers": {"c": {"kind": "closed"}},
            "spans": {"all": {"bounds": {"goodput": ">= 0.9"}}},
        },
        more,
    )  # fmt: skip


# bounds


@pytest.mark.parametrize(
    ("words", "limit", "at", "beyond"),
    [
        (">= 0.98", 0.98, 0.98, 0.979),
        ("<= 3", 3.0, 3.0, 3.001),
        ("<= 1.6 own", 3.2, 3.2, 3.201),
        ("<= 2 own + 0.4", 4.4, 4.4, 4.401),
    ],
)
def test_a_bound_is_met_at_its_limit_and_not_beyond(
    words: str, limit: float, at: float, beyond: float
) -> None:
    bound = Bound.read("figure", words)
    assert bound.limit(2.0) == pytest.approx(limit)
    assert bound.met(at, 2.0)
    assert not bound.met(beyond, 2.0)


@pytest.mark.parametrize("words", [">= 0.9", "<= 0.9"])
def test_a_figure_that_there_is_not_meets_no_bound(words: str) -> None:
    assert not Bound.read("figure", words).met(float("nan"), 1.0)


@pytest.mark.parametrize("words", ["0.9", "> 0.9", ">=0.9", "<= own", "<= 2 own +", "<= x", ""])
def test_what_is_no_bound(words: str) -> None:
    with pytest.raises(ScenarioError, match="is not a bound"):
        Bound.read("figure", words)


# axes


def test_axes_multiply_and_each_entry_says_only_what_is_different() -> None:
    axis = {
        "limit": [{"name": "few", "seconds": 20}, {"name": "many"}],
        "kind": [{"name": "a"}, {"name": "b", "callers": {"c": {"count": 7}}}],
    }
    made = read("f", table(axis=axis))
    assert [s.name for s in made] == ["f/few/a", "f/few/b", "f/many/a", "f/many/b"]
    assert [s.seconds for s in made] == [20, 20, 10, 10]
    assert [s.callers["c"].count for s in made] == [1, 7, 1, 7]
    assert {s.callers["c"].kind for s in made} == {"closed"}


def test_an_exception_is_of_one_combination() -> None:
    axis = {"limit": [{"name": "few"}, {"name": "many"}]}
    exception = {"few": {"spans": {"all": {"bounds": {"goodput": ">= 0.5"}}}}}
    made = read("f", table(axis=axis, **{"except": exception}))
    assert [s.spans[0].bounds[0].value for s in made] == [0.5, 0.9]


def test_merging_alters_neither_table() -> None:
    one, other = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merge(one, other) == {"a": {"b": 1, "c": 2}}
    assert (one, other) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_a_twin_is_the_same_but_for_what_it_says() -> None:
    (made,) = read("f", table(twin={"seconds": 5}))
    assert made.twin is not None
    assert (made.seconds, made.twin.seconds, made.twin.callers) == (10, 5, made.callers)


# slips


@pytest.mark.parametrize(
    ("slip", "told"),
    [
        ({"secondes": 3}, "nobody knows 'secondes'"),
        ({"providers": {"p": {"server": 3}}}, "p: nobody knows 'server'"),
        ({"providers": {"p": {"headers": "some"}}}, "headers is one of"),
        ({"providers": {"p": {"retry_after": "soon"}}}, "retry_after is one of"),
        ({"providers": {"p": {"tells": "all"}}}, "tells is one of"),
        ({"providers": {"p": {"limits": {"x": {"counts": "texts", "per_minute": 1}}}}}, "counts"),
        (
            {
                "providers": {
                    "p": {"limits": {"x": {"counts": "calls", "per_minute": 1, "kind": "k"}}}
                }
            },
            "kind of limit",
        ),
        ({"providers": {"p": {"faults": {"x": {"trouble": "RESET", "sine": 1}}}}}, "'sine'"),
        ({"providers": {"p": {"slow": {"x": {"factor": 2, "form": 1}}}}}, "'form'"),
        ({"callers": {"c": {"kind": "open"}}}, "kind is one of"),
        ({"callers": {"c": {"again": "often"}}}, "again is one of"),
        ({"callers": {"c": {"texst": 3}}}, "nobody knows 'texst'"),
        ({"spans": {"all": {"bound": {}}}}, "span all: nobody knows 'bound'"),
        ({"spans": {"all": {"bounds": {"goodput": "0.9"}}}}, "is not a bound"),
        ({"except": {"few": {}}}, "there is no f/few"),
    ],
)
def test_a_slip_of_the_pen_is_told(slip: dict[str, Any], told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        read("f", table(**slip))


@pytest.mark.parametrize("key", ["row", "curve", "seconds", "providers", "callers", "spans"])
def test_what_is_missing_is_told(key: str) -> None:
    without = {k: v for k, v in table().items() if k != key}
    with pytest.raises(ScenarioError, match=f"{key} is missing"):
        read("f", without)


def test_all_files_are_told_of_together(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text("seconds = ")
    (tmp_path / "two.toml").write_text("secondes = 3")
    with pytest.raises(ScenarioError) as told:
        scenarios(tmp_path)
    assert "one.toml" in str(told.value)
    assert "two.toml: two: nobody knows 'secondes'" in str(told.value)
