"""What each law is good for: it is switched off, and the rows that it should move are run again.

    python -m tests.sim.ablation               every law
    python -m tests.sim.ablation --only dips   those whose name contains it

One line a law: the bounds that are missed without it, and else the figures that changed, with it
and without. A law that changes nothing anywhere makes emr larger for nothing, and goes; all but K,
which operators know and set.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from emr.lane import forecast, learner, pace, retry, shape, slots, step, words
from emr.lane.account import Account
from emr.lane.fill import Threshold
from emr.lane.lane import Lane
from emr.lane.learner import Learner
from emr.lane.lessons import Lessons
from emr.lane.meter import Meter
from emr.lane.pace import Pace
from tests.sim.measure import Judged, judge
from tests.sim.run import run
from tests.sim.scenario import scenarios

Change = tuple[Any, str, Any]


@dataclass(frozen=True, slots=True)
class Law:
    """A law, what it is without (attributes that are set), and the rows that it should move."""

    name: str
    changes: tuple[Change, ...]
    rows: tuple[str, ...]


def _as_it_was(account: Account, lane: Lane, filling: Any, *_: Any) -> Any:
    return filling


def _never(*_: Any) -> None:
    return None


def _false(*_: Any, **__: Any) -> bool:
    return False


def _owe_from_now(meter: Meter, cost: float, unit_s: float, now: float, *, made_up: bool) -> None:
    meter.due = max(meter.due, now) + cost * unit_s


def _behind(lane: Lane, ticket: Any) -> None:
    lane.put(ticket)


def _just_even(each: Pace, dimension: Any, cap: float) -> float:
    limit = each.meters[dimension].learner.w
    return cap if limit == math.inf else limit / math.ceil(limit / cap)


LAWS = (
    Law("K", ((Threshold, "rate_limited", _never),), ("unknown/300/sliding", "burst")),
    Law("hold", ((step, "HOLD_PART", 1e9),), ("closed/2000", "closed/none", "burst")),
    Law("eager slots", ((step, "EAGER_MIN", 32), (step, "EAGER_HOSTED", 32)), ("burst", "closed")),
    Law("shape", ((step, "shaped", _as_it_was),), ("beside/1M tokens", "beside/150,000 tokens")),
    Law(
        "debt beside singles",
        ((shape, "_debt", lambda *_: math.inf),),
        ("beside/1M tokens", "beside/2,000 calls"),
    ),
    Law("burst of few", ((pace, "BURST_OF_FEW_S", 0.5),), ("burst", "twenty/3M")),
    Law("even calls", ((Pace, "evenly", lambda *a: a[2]),), ("tiers/150,000", "tiers/1M")),
    Law("the rest of a minute", ((Pace, "evenly", _just_even),), ("tiers/150,000", "tiers/1M")),
    Law("made up time", ((Meter, "owe", _owe_from_now),), ("tiers/150,000", "beside/150,000")),
    Law("virtual clock", ((Pace, "_burst", lambda *_: 1e9),), ("beside/300", "configured/300/10")),
    Law("tiny start", ((pace, "TINY", 0.0),), ("tiny",)),
    Law("one by one", ((pace, "BUNCHED", 0.0),), ("configured/300/1 s", "thief/300/sliding")),
    Law("still full", ((Lessons, "_still_full", _never),), ("unknown/300/no Ret",)),
    Law(
        "refused too", ((Learner, "refused_too", _never),), ("unknown/300/sliding", "unknown/60/s")
    ),
    Law(
        "confirmed cuts",
        ((learner, "BETA_CONFIRMED", 0.7),),
        ("unknown/300/sliding", "unknown/60/s"),
    ),
    Law("way back", ((learner, "BACK", -2.0),), ("changed/halved/sliding", "thief/300/sliding")),
    Law("beyond", ((learner, "TAU_BEYOND_S", 60.0),), ("changed/doubled/sliding",)),
    Law("ceiling soon", ((learner, "TAU_CEILING_S", 60.0),), ("configured/300/1 s", "thief/300/s")),
    Law("latency", ((slots, "SLOW_FACTOR", 1e9),), ("self_hosted",)),
    Law("dips", ((slots, "DIP", 1.0),), ("self_hosted",)),
    Law("aim at a rate", ((slots, "MOST_OF_RATE", 1e-9),), ("configured/2000/calls of 1 s",)),
    Law("retry credits", ((retry.Credits, "take", _false),), ("brownout/30%/500s",)),
    Law("more credits", ((retry, "PER_FIRST_ATTEMPT", 0.5),), ("brownout/50%/500s",)),
    Law("overtaken", ((forecast, "OVERTAKEN", 0.0),), ("overload/singles", "overload/bulk")),
    Law("margin", ((forecast, "MARGIN", 1.0),), ("overload/singles", "overload/bulk")),
    Law("come back later", ((words, "COME_BACK_MIN_S", 0.001),), ("storm/resets",)),
    Law("back before", ((Lane, "put_back", _behind),), ("configured/30/10 s",)),
)


@contextmanager
def without(law: Law) -> Iterator[None]:
    """The law is switched off meanwhile."""
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in law.changes]
    for owner, name, value in law.changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def figures(row: str) -> dict[str, list[Judged]]:
    """Every bound of the scenarios whose name begins so."""
    return {s.name: judge(run(s)) for s in scenarios() if s.name.startswith(row)}


def compare(law: Law, known: dict[str, dict[str, list[Judged]]]) -> list[str]:
    """What its absence changes, in words; nothing when nothing does."""
    told: list[str] = []
    for row in law.rows:
        if row not in known:
            known[row] = figures(row)
        with without(law):
            changed = figures(row)
        for name, judged in changed.items():
            for now, usual in zip(judged, known[row][name], strict=True):
                same = abs(now.figure - usual.figure) <= 0.01 * abs(usual.figure)
                missed = usual.met and not now.met
                if missed or not (same or now.figure == usual.figure):
                    word = "MISSED " if missed else ""
                    told.append(
                        f"{word}{name}: {now.bound.figure} {usual.figure:.4g} → {now.figure:.4g}"
                    )
    return told


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 1 when a law makes no difference."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.ablation")
    parser.add_argument("--only", default="", metavar="NAME")
    options = parser.parse_args(arguments)
    idle = 0
    known: dict[str, dict[str, list[Judged]]] = {}
    for law in LAWS:
        if options.only not in law.name:
            continue
        told = compare(law, known)
        idle += not told and law.name != "K"
        print(f"without {law.name}: {'; '.join(told) or 'no difference'}", flush=True)
    return 1 if idle else 0


if __name__ == "__main__":
    sys.exit(main())
