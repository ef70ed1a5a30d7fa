"""The table of usage: a row an hour, key, provider and model; written in batches, summed when read.

Money is kept with the row, in dollars by the price of that time; tokens of which the price was not
known are counted beside it, so that a sum never takes them for free. Calls are kept in millionths
(`emr.control.ledger`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from emr.control.ledger import At, Line

HOUR_S = 3600
MOST = 1 << 53  # of a counter in one line: SQLite's sums must not overflow by what a provider says
# in hours since 1970; the parts of a group's key, as SQL and by the names that callers use
GROUPS: Mapping[str, str] = {
    "day": "hour / 24 * 24",
    "hour": "hour",
    "key": "key_id",
    "provider": "provider",
    "model": "model",
}


class Sums(NamedTuple):
    """What was counted, summed over some rows."""

    requests: int = 0
    errors: int = 0
    abandoned: int = 0
    limited: int = 0
    texts: int = 0
    cache_hits: int = 0
    tokens: int = 0
    call_parts: int = 0
    alone: int = 0
    tokens_without_price: int = 0
    cost: float = 0.0

    @classmethod
    def of(cls, several: Iterable[Sums]) -> Sums:
        """All of them together."""
        return cls._make([sum(each) for each in zip(cls(), *several, strict=True)])


Group = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of usage: by what it is grouped (names of GROUPS), and from which hour on.

    `until` is the first hour that is not asked for. Hours count from 1970.
    """

    by: tuple[str, ...]
    since: int
    until: int

    def group_of(self, hour: int, at: At) -> Group:
        """The group that a line belongs to."""
        key_id, provider, model = at
        parts: dict[str, str | int] = {
            "day": hour // 24 * 24, "hour": hour,
            "key": key_id, "provider": provider, "model": model,
        }  # fmt: skip
        return tuple(parts[name] for name in self.by)


def sums_of(line: Line) -> Sums:
    """The counters of one line."""
    return Sums(*[min(getattr(line, name), MOST) for name in Sums._fields])


def write(connection: sqlite3.Connection, hour: int, lines: Mapping[At, Line]) -> None:
    """Add lines to the rows of an hour."""
    columns = ("hour", "key_id", "provider", "model", *Sums._fields)
    marks = ", ".join("?" for _ in columns)
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in Sums._fields)
    connection.executemany(
        f"INSERT INTO usage ({', '.join(columns)}) VALUES ({marks})"
        f" ON CONFLICT (hour, key_id, provider, model) DO UPDATE SET {added}",
        [(hour, *at, *sums_of(line)) for at, line in lines.items()],
    )


def prune(connection: sqlite3.Connection, before: int) -> None:
    """Forget the rows of the hours before this one."""
    connection.execute("DELETE FROM usage WHERE hour < ?", (before,))


def read(connection: sqlite3.Connection, question: Question, most: int) -> dict[Group, Sums]:
    """The sums of each group; of more than `most` groups one more than that, in no order."""
    keys = [GROUPS[name] for name in question.by]
    sums = [f"sum({name})" for name in Sums._fields]
    grouped = f" GROUP BY {', '.join(keys)}" if keys else ""
    rows = connection.execute(
        f"SELECT {', '.join([*keys, *sums])} FROM usage WHERE hour >= ? AND hour < ?"
        f"{grouped} LIMIT ?",
        (question.since, question.until, most + 1),
    )
    count = len(keys)
    # without groups there is one row, of nothing when there is nothing
    return {tuple(row[:count]): Sums(*row[count:]) for row in rows if row[count] is not None}


def names_of(connection: sqlite3.Connection) -> dict[str, str]:
    """The names of all keys, the revoked ones too, by their ids."""
    return dict(connection.execute("SELECT id, name FROM api_keys"))


def tokens_since(connection: sqlite3.Connection, hour: int) -> dict[str, int]:
    """The tokens of each key from an hour on."""
    return dict(
        connection.execute(
            "SELECT key_id, sum(tokens) FROM usage WHERE hour >= ? GROUP BY key_id", (hour,)
        )
    )


def add_lines(
    found: dict[Group, Sums], question: Question, hour: int, lines: Mapping[At, Line]
) -> None:
    """Add what is not written yet to what was read."""
    if question.since <= hour < question.until:
        for at, line in lines.items():
            group = question.group_of(hour, at)
            found[group] = Sums.of([found.get(group, Sums()), sums_of(line)])


def in_order(
    question: Question, groups: Iterable[Group], names: Mapping[str, str]
) -> Sequence[Group]:
    """The groups in the order of `by`, keys by their names."""
    at = question.by.index("key") if "key" in question.by else None

    def order(group: Group) -> tuple[str | int, ...]:
        if at is None:
            return group
        return (*group[:at], names.get(str(group[at]), ""), *group[at:])

    return sorted(groups, key=order)
