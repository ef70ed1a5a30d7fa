"""Scenarios as data: a file of `tests/scenarios` read into worlds to be run, with what is asked.

A file describes one row of what is asked of emr: callers, providers, faults, and bounds by spans of
time. Its `axis` tables multiply it: each entry of an axis overrides part of the description, and
each combination is a scenario of its own, named `file/entry/entry`. Tables are merged by key, so
that an entry says only what is different. `except."entry/entry"` is merged last, where what is
asked of all is out of reach for one combination; a comment says why. A word that nobody knows is an
error, and all errors of a file are told together: a bound with a slip of the pen must not pass for
ever.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import tomli

FOLDER = Path(__file__).parent.parent / "scenarios"
BOUND = re.compile(r"(<=|>=) ([\d.]+)( own)?(?: \+ ([\d.]+))?")

Table = dict[str, Any]


class ScenarioError(Exception):
    """A file that cannot be understood, with every reason."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure must be at least, or at most, so much: `value`, or `value` × own + `plus`."""

    figure: str
    least: bool
    value: float
    of_own: bool
    plus: float

    def limit(self, own: float) -> float:
        """The number that the figure is held against."""
        return (self.value * own if self.of_own else self.value) + self.plus

    def met(self, figure: float, own: float) -> bool:
        """Whether the figure is within the bound; one that is not a number is not."""
        limit = self.limit(own)
        return figure >= limit if self.least else figure <= limit

    @classmethod
    def read(cls, figure: str, words: str) -> Bound:
        """`>= 0.98`, `<= 1.6 own`, or `<= 2 own + 0.4`."""
        match = BOUND.fullmatch(words)
        if match is None:
            raise ScenarioError(f"{figure}: {words!r} is not a bound such as '<= 1.6 own + 0.4'")
        sign, value, own, plus = match.groups()
        return cls(figure, sign == ">=", float(value), own is not None, float(plus or 0.0))


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the run in which figures are taken, and what is asked of them."""

    name: str
    since: float
    until: float
    bounds: tuple[Bound, ...]


@dataclass(frozen=True, slots=True)
class LimitPlan:
    """One limit of a provider. `changes` are (at, limit a minute); a thief takes `stolen` of it."""

    counts: str
    per_minute: float
    kind: str = "sliding"
    window_s: float = 1.0
    burst_s: float = 60.0
    refused_count: bool = False
    changes: tuple[tuple[float, float], ...] = ()
    stolen: float = 0.0
    stolen_since: float = 0.0
    stolen_until: float = float("inf")


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Trouble for a share of the calls for a while; `trouble` names one of `model.Trouble`."""

    trouble: str
    since: float = 0.0
    until: float = float("inf")
    p: float = 1.0
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class SlowPlan:
    """All calls take `factor` times as long for a while."""

    factor: float
    since: float = 0.0
    until: float = float("inf")


@dataclass(frozen=True, slots=True)
class ProviderPlan:
    """A provider, and the account that emr has there.

    `uplink` is the part of a call's time after which it is at the server, where limits, faults and
    sizes are decided. `servers` 0: each call is computed at once; else so many at a time, `queue`
    wait, the others are refused. `takes` are caps of one call (texts, tokens, bytes). `poisoned`:
    texts that begin with "poison" are refused.
    """

    account: Mapping[str, Any] = field(default_factory=dict)
    latency: Mapping[str, float] = field(default_factory=dict)
    uplink: tuple[float, float] = (0.2, 0.5)
    limits: Mapping[str, LimitPlan] = field(default_factory=dict)
    headers: str = "none"
    retry_after: str = "right"
    tells: str = "nothing"
    servers: int = 0
    queue: int = 512
    takes: Mapping[str, int] = field(default_factory=dict)
    names_caps: str = "CAP_AND_COUNT"
    poisoned: bool = False
    tells_index: bool = False
    faults: Mapping[str, FaultPlan] = field(default_factory=dict)
    slow: Mapping[str, SlowPlan] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallersPlan:
    """Callers of one kind.

    `kind`: `closed` (each of `count` asks, waits, asks again after `think_s`), `poisson` and `even`
    (`rate` requests a second), `burst` (`count` requests within `within_s`, every `every_s`).
    `texts` and `size` (bytes of a text) are a number or [least, most]. `key`: `each` caller has its
    own, or the one named. `lanes`: spread over so many. `universe`: texts are drawn from so many,
    Zipf with exponent `zipf`. `total`: stop after so many texts. `leaves_s`: whoever has no answer
    by then goes away. `again` says what is done with a refusal: `never`, `later` (the same text
    after the time that it names, or a second), `storm` (at once and again, up to 110 times).
    """

    kind: str
    count: int = 1
    rate: float = 0.0
    texts: tuple[int, int] = (1, 1)
    size: tuple[int, int] = (40, 40)
    bulk: bool | None = None
    timeout_s: float | None = None
    since: float = 0.0
    until: float = float("inf")
    within_s: float = 0.3
    every_s: float = float("inf")
    think_s: float = 0.001
    key: str = "each"
    lanes: int = 1
    universe: int = 0
    zipf: float = 1.0
    total: int = 0
    leaves_s: float | None = None
    again: str = "never"
    poison: float = 0.0
    measured: bool = True


@dataclass(frozen=True, slots=True)
class Scenario:
    """A world to be run. `figures` are those that its line of the table shows beside the usual."""

    name: str
    row: str
    curve: str
    seed: int
    seconds: float
    fast: bool
    baselines: bool
    settings: Mapping[str, Any]
    providers: Mapping[str, ProviderPlan]
    callers: Mapping[str, CallersPlan]
    spans: tuple[Span, ...]
    twin: Scenario | None = None


KINDS = {"closed", "poisson", "even", "burst"}
WORDS = {
    "kind of limit": {"sliding", "fixed", "bucket", "windows"},
    "headers": {"full", "partial", "none"},
    "retry_after": {"right", "none", "short", "huge"},
    "tells": {"nothing", "numbers", "dimension"},
    "again": {"never", "later", "storm"},
    "counts": {"calls", "tokens", "items"},
}


def scenarios(folder: Path = FOLDER) -> list[Scenario]:
    """Every scenario of the folder, file by file."""
    found: list[Scenario] = []
    wrong: list[str] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            found += read(path.stem, tomli.loads(path.read_text()))
        except (ScenarioError, tomli.TOMLDecodeError) as error:
            wrong.append(f"{path.name}: {error}")
    if wrong:
        raise ScenarioError("\n".join(wrong))
    return found


def read(stem: str, table: Table) -> list[Scenario]:
    """The scenarios of one file."""
    axes, exceptions = table.pop("axis", {}), table.pop("except", {})
    described = dict(_multiplied(stem, table, axes))
    for combination, changes in exceptions.items():
        name = f"{stem}/{combination}"
        if name not in described:
            raise ScenarioError(f"except: there is no {name}")
        described[name] = merge(described[name], changes)
    return [_scenario(name, merged) for name, merged in described.items()]


def _multiplied(stem: str, table: Table, axes: Table) -> Iterator[tuple[str, Table]]:
    for chosen in itertools.product(*axes.values()):
        names = [stem]
        merged = table
        for entry in chosen:
            changes = {key: value for key, value in entry.items() if key != "name"}
            merged = merge(merged, changes)
            names.append(entry["name"])
        yield "/".join(names), merged


def merge(table: Table, changes: Table) -> Table:
    """The table with the changes in it, table by table; neither is altered."""
    merged = dict(table)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = (
            merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _scenario(name: str, table: Table) -> Scenario:
    wrong: list[str] = []
    known = {f.name for f in fields(Scenario)} - {"name"}
    wrong += [f"{name}: nobody knows {key!r}" for key in sorted(set(table) - known)]
    for key in ("row", "curve", "seconds", "providers", "callers", "spans"):
        if key not in table:
            wrong.append(f"{name}: {key} is missing")
    if wrong:
        raise ScenarioError("; ".join(wrong))
    twin = table.get("twin")
    without = {key: value for key, value in table.items() if key != "twin"}
    made = Scenario(
        name=name,
        row=table["row"],
        curve=table["curve"],
        seed=table.get("seed", 1),
        seconds=table["seconds"],
        fast=table.get("fast", False),
        baselines=table.get("baselines", True),
        settings=table.get("settings", {}),
        providers={key: _provider(key, t, wrong) for key, t in table["providers"].items()},
        callers={key: _callers(key, t, wrong) for key, t in table["callers"].items()},
        spans=tuple(_span(key, t, wrong) for key, t in table["spans"].items()),
        twin=None if twin is None else _scenario(f"{name}'s twin", merge(without, twin)),
    )
    if wrong:
        raise ScenarioError("; ".join(f"{name}: {each}" for each in wrong))
    return made


def _made(kind: type, name: str, table: Table, wrong: list[str]) -> Any:
    known = {f.name for f in fields(kind)}
    wrong += [f"{name}: nobody knows {key!r}" for key in sorted(set(table) - known)]
    return kind(**{key: value for key, value in table.items() if key in known})


def _word(name: str, key: str, value: str, wrong: list[str]) -> None:
    if value not in WORDS[key]:
        wrong.append(f"{name}: {key} is one of {sorted(WORDS[key])}, not {value!r}")


def _provider(name: str, table: Table, wrong: list[str]) -> ProviderPlan:
    read_table = dict(table)
    if "uplink" in table:
        read_table["uplink"] = tuple(table["uplink"])
    for key, kind in (("limits", LimitPlan), ("faults", FaultPlan), ("slow", SlowPlan)):
        parts = {f"{name}.{key}.{each}": t for each, t in table.get(key, {}).items()}
        read_table[key] = {each: _made(kind, each, t, wrong) for each, t in parts.items()}
    plan: ProviderPlan = _made(ProviderPlan, name, read_table, wrong)
    for each, limit in plan.limits.items():
        _word(each, "counts", limit.counts, wrong)
        _word(each, "kind of limit", limit.kind, wrong)
    for key in ("headers", "retry_after", "tells"):
        _word(name, key, getattr(plan, key), wrong)
    return plan


def _callers(name: str, table: Table, wrong: list[str]) -> CallersPlan:
    read_table = dict(table)
    for key in ("texts", "size"):
        value = table.get(key)
        if value is not None:
            read_table[key] = tuple(value) if isinstance(value, list) else (value, value)
    plan: CallersPlan = _made(CallersPlan, name, read_table, wrong)
    if plan.kind not in KINDS:
        wrong.append(f"{name}: kind is one of {sorted(KINDS)}, not {plan.kind!r}")
    _word(name, "again", plan.again, wrong)
    return plan


def _span(name: str, table: Table, wrong: list[str]) -> Span:
    unknown = set(table) - {"since", "until", "bounds"}
    wrong += [f"span {name}: nobody knows {key!r}" for key in sorted(unknown)]
    bounds: list[Bound] = []
    for figure, words in table.get("bounds", {}).items():
        try:
            bounds.append(Bound.read(figure, words))
        except ScenarioError as error:
            wrong.append(f"span {name}: {error}")
    return Span(name, table.get("since", 0.0), table.get("until", float("inf")), tuple(bounds))
