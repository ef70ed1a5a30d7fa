"""Which settings are in force at a time: the base ones, and what a schedule changes for a while.

A schedule is entries parted by `;`, each a span of seconds since the start (or the last reset)
and words: `0-60 error=0.5; 60-120 reset=1 rpm=100; 120- none`. A word is a fault with its
probability, `none`, or a setting with its value. An entry that names faults, or `none`, puts them
in the place of the base ones; of entries that overlap, the later one wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf

from emr.fake.faults import (
    ALIASES,
    Fault,
    Odds,
    check_odds,
    fault_named,
    read_odds,
    read_probability,
)
from emr.fake.forms.form import Caps
from emr.fake.settings import DEFAULTS, UNSCHEDULED, FakeSettings, changed

FAULT_NAMES = frozenset(ALIASES) | {f.value for f in Fault}


class Poison(Enum):
    """What a text with a marker does to the call that carries it."""

    INDEX = "index"  # refused, its place named
    SILENT = "silent"  # refused, its place not named
    CRASH = "crash"  # the call ends in a 500
    HANG = "hang"  # the call never ends


@dataclass(frozen=True, slots=True)
class Entry:
    """A part of a schedule: from `start_s` to before `end_s`."""

    start_s: float
    end_s: float
    odds: Odds | None  # None: the faults are not changed
    values: dict[str, object]


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds until `until_s`."""

    settings: FakeSettings
    odds: Odds
    until_s: float
    caps: Caps


def hold(s: FakeSettings, odds: Odds, until_s: float) -> InForce:
    """These settings, until then."""
    caps = Caps(
        s.strict, s.dimensions, s.max_texts, s.max_tokens, s.max_text_tokens, s.bytes_per_token
    )
    return InForce(s, odds, until_s, caps)


def read_schedule(text: str) -> list[Entry]:
    """Raises ValueError, quoting the entry, for one that cannot be read."""
    entries = []
    for part in text.split(";"):
        words = part.replace(",", " ").split()
        if words:
            try:
                entries.append(read_entry(words))
            except ValueError as wrong:
                raise ValueError(f"schedule, {part.strip()!r}: {wrong}") from None
    return entries


def read_entry(words: list[str]) -> Entry:
    """One entry, as words: its span first."""
    first, dash, last = words[0].partition("-")
    try:
        start, end = float(first), float(last) if last else inf
    except ValueError:
        start, end = 0.0, 0.0
    if not dash or not 0.0 <= start < end:
        raise ValueError("it begins with a span of seconds: 0-60, or 60- for all that follows")
    if len(words) == 1:
        raise ValueError("it names no fault and no setting")
    odds: dict[Fault, float] | None = None
    values: dict[str, object] = {}
    for word in words[1:]:
        name, has_value, value = word.partition("=")
        if word == "none":
            odds = odds or {}
        elif name in FAULT_NAMES:
            odds = odds or {}
            odds[fault_named(name)] = read_probability(name, value) if has_value else 1.0
        elif name in DEFAULTS and has_value and name not in UNSCHEDULED:
            values[name] = value
        else:
            raise ValueError(f"{word!r} is no fault, and no setting that a schedule can change")
    check_odds(odds or {})
    return Entry(start, end, odds, values)


def read_poison(text: str) -> list[tuple[str, Poison]]:
    """`MARKER=index, OTHER=crash`; a marker alone is `silent`."""
    markers = []
    for part in text.split(","):
        if not part.strip():
            continue
        marker, _, how = part.strip().rpartition("=")
        if not marker:
            marker, how = how, "silent"
        try:
            markers.append((marker, Poison(how)))
        except ValueError:
            known = ", ".join(p.value for p in Poison)
            raise ValueError(f"poison, {part.strip()!r}: {how!r} is none of {known}") from None
    return markers


class Rules:
    """The settings with all their texts read. Raises ValueError for one that cannot be read."""

    __slots__ = ("_in_force", "_odds", "base", "entries", "poison")

    def __init__(self, base: FakeSettings) -> None:
        self.base = base
        self.entries = read_schedule(base.schedule)
        self.poison = read_poison(base.poison)
        self._odds = read_odds(base.faults)
        for entry in self.entries:
            changed(base, entry.values)
        for time in {0.0, *(e.start_s for e in self.entries)}:
            self._look_up(time)  # what overlaps is checked together
        self._in_force = hold(base, self._odds, -inf)

    def at(self, elapsed_s: float) -> InForce:
        """What holds `elapsed_s` after the start; times never go back but at a reset."""
        if elapsed_s >= self._in_force.until_s:
            self._in_force = self._look_up(elapsed_s)
        return self._in_force

    def restart(self) -> None:
        """The schedule begins again."""
        self._in_force = hold(self.base, self._odds, -inf)

    def _look_up(self, elapsed_s: float) -> InForce:
        settings, odds, until = self.base, self._odds, inf
        for entry in self.entries:
            if elapsed_s < entry.start_s:
                until = min(until, entry.start_s)
            elif elapsed_s < entry.end_s:
                until = min(until, entry.end_s)
                settings = changed(settings, entry.values) if entry.values else settings
                odds = odds if entry.odds is None else dict(entry.odds)
        return hold(settings, odds, until)
