"""The laws' promises, searched for a counterexample: what must hold of any world.

The state machines of `tests.lane.machine` let anything happen at any time and look at every turn
(I1 to I5, I7 to I10, I12 to I14, I16 to I19, and I6 of what emr knows). Here are the promises that
only whole runs can break: I6 as the server sees it, I11, I15, I20, I21.

    python -m tests.sim.deep --seed 1          at least 10,000 steps, some minutes
    scripts/simulate --deep                    the same after the table

A counterexample is printed, small; the same seed finds it again.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from emr.lane.effects import Send
from emr.lane.settings import AccountSpec
from emr.lane.verdict import Ending
from tests.lane import machine
from tests.lane.support import Crowd, text
from tests.sim.measure import Figures, Run
from tests.sim.model import Poison, Provider, Times
from tests.sim.run import run as simulate
from tests.sim.scenario import Span, read
from tests.sim.world import World

STEPS = 20_000  # of the state machines
EXAMPLES = 60  # of each promise, a world of a minute or more
BULK_WEIGHT, SINGLE_WEIGHT = 1.0, 4.0

Check = Callable[..., None]
PROMISES: dict[Check, tuple[st.SearchStrategy[Any], ...]] = {}


def promise(*drawn: st.SearchStrategy[Any]) -> Callable[[Check], Check]:
    """What is promised of every world that is drawn so."""

    def keep(check: Check) -> Check:
        PROMISES[check] = drawn
        return check

    return keep


def checked(examples: int, number: int, check: Check) -> None:
    """Look for a counterexample in so many worlds."""
    quiet = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    seed(number)(quiet(given(*PROMISES[check])(check)))()


def world_of(seconds: float, number: int, provider: dict[str, Any], **callers: Any) -> Run:
    """A run of one provider and these callers."""
    table = {
        "row": "", "curve": "", "seconds": seconds, "seed": number,
        "providers": {"p": provider}, "callers": callers, "spans": {"all": {}},
    }  # fmt: skip
    return simulate(read("deep", table)[0])


def rate_of(run: Run, since: float) -> float:
    """Texts answered a second from then on."""
    return Figures(run, Span("", since, math.inf, ())).value("rate")


# I6


@promise(
    st.integers(0, 1 << 16),
    st.sampled_from([3, 20, 60, 600]),
    st.sampled_from([0, 50, 400]),
    st.sampled_from([0.01, 0.2, 3.0, 20.0]),
    st.sampled_from([0.0, 0.15, 1.0]),
    st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)).map(sorted),
)
def no_minute_holds_more(
    number: int, calls: int, items: int, a: float, sigma: float, uplink: list[float]
) -> None:
    """I6: whatever the delay from sending to arrival, no minute of the server exceeds a limit."""
    limits = {"calls": calls} | ({"items": items} if items else {})
    plan = {key: {"counts": key, "per_minute": each} for key, each in limits.items()}
    provider = {
        "account": {"limits": limits, "max_texts": 16}, "limits": plan, "uplink": uplink,
        "latency": {"a": a, "sigma": sigma},
    }  # fmt: skip
    one = {"kind": "poisson", "rate": 2.0, "count": 5}
    bulk = {"kind": "closed", "count": 5, "texts": [1, 60], "bulk": True}
    done = world_of(240, number, provider, one=one, bulk=bulk)
    refused = [seen for seen in done.calls if seen.ending is Ending.RATE]
    assert not refused, f"I6: refused at {refused[0].arrived}"


# I11


class Shares(Provider):
    """A provider that keeps what each flow got, in tokens over its weight."""

    def __init__(self) -> None:
        super().__init__(times=Times(sigma=0.0))
        self.got = {"a": 0.0, "b": 0.0}
        self.largest = self.batch = 0.0
        self.ahead: list[float] = []

    def send(self, world: World, send: Send) -> None:
        for ticket in send.batch.tickets:
            request = ticket.request
            weight = BULK_WEIGHT if request.bulk else SINGLE_WEIGHT
            self.got[request.caller] += ticket.tokens / weight
            self.largest = max(self.largest, sum(request.tokens) / weight)
        self.batch = max(self.batch, float(send.batch.tokens))
        self.ahead.append(self.got["a"] - self.got["b"])
        super().send(world, send)


@promise(
    st.integers(0, 1 << 16),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from([1, 4, 32]),
)
def both_get_their_share(
    number: int, texts: tuple[int, int], bulk: tuple[bool, bool], cap: int
) -> None:
    """I11: while two flows wait, none is ahead by more than a piece of each and a batch."""
    provider = Shares()
    world = World(number)
    spec = AccountSpec("p", "m", max_texts=cap, max_concurrency=1)
    crowd = Crowd(world, world.open(spec, provider))
    for who in (0, 1):
        for each in range(800 // texts[who]):
            many = [text(f"{who} {each:3} {place:2}") for place in range(texts[who])]
            crowd.ask(*many, caller="ab"[who], bulk=bulk[who], timeout_s=1e6)
    account = crowd.account
    while len({ticket.request.caller for ticket in account.waiting()}) == 2 or not provider.ahead:
        world.run(world.now + 0.1)
    last = max(1, len(provider.ahead) - 2)  # those before one of the two ran out
    spread = max(provider.ahead[:last]) - min(provider.ahead[:last])
    assert spread <= 2.0 * provider.largest + provider.batch + 1e-6, f"I11: {spread}"


# I15


@promise(st.integers(0, 1 << 16), st.integers(2, 60), st.data())
def the_guilty_are_soon_found(number: int, callers: int, data: st.DataObject) -> None:
    """I15: k guilty of n are found by at most 2k·ceil(log2 n) + 2 calls, and only they are told."""
    guilty = data.draw(st.sets(st.integers(0, callers - 1), min_size=1, max_size=4))
    tells_index = data.draw(st.booleans())
    bad = {text(f"guilty {each}") for each in guilty}
    provider = Provider(Poison(bad, tells_index=tells_index), times=Times(sigma=0.0))
    world = World(number)
    crowd = Crowd(world, world.open(AccountSpec("p", "m"), provider))
    first = crowd.ask(text("first"))  # the others come while it is out, and share a call
    world.run(0.01)
    for each in range(callers):
        crowd.ask(text(f"guilty {each}" if each in guilty else f"good {each}"))
    world.run(120.0)
    served = [answer.served for answer in crowd.answers if answer is not first]
    assert served == [each not in guilty for each in range(callers)], "I16: an innocent was told"
    merged = max([len(seen.texts) for seen in provider.seen])
    most = 2 * len(guilty) * math.ceil(math.log2(max(2, merged))) + 2
    firsts = 1 + math.ceil(callers / merged)
    assert len(provider.seen) - firsts <= most, f"I15: {len(provider.seen)} calls, {most} allowed"


# I20


@promise(
    st.integers(0, 1 << 16),
    st.sampled_from([30, 120, 600]),
    st.floats(1.0, 3.0),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.floats(0.0, 0.3),
)
def more_is_never_worse(
    number: int, limit: int, times: float, p: float, more_faults: float
) -> None:
    """I20: a higher limit, or fewer faults, never lowers goodput by more than 5%."""

    def rate(per_minute: float, broken: float) -> float:
        provider = {
            "account": {"limits": {"calls": per_minute}, "max_texts": 4},
            "limits": {"calls": {"counts": "calls", "per_minute": per_minute}},
            "faults": {"x": {"trouble": "ERROR", "p": broken}},
        }
        bulk = {"kind": "closed", "count": 60, "texts": 4, "bulk": True, "again": "later"}
        return rate_of(world_of(480, number, provider, bulk=bulk), 60.0)

    usual = rate(limit, p)
    assert rate(limit * times, p) >= 0.95 * usual, "I20: a higher limit"
    assert rate(limit, p + more_faults) <= usual / 0.95 + 4.0 / 60.0, "I20: more faults"


# I21


@promise(
    st.integers(0, 1 << 16),
    st.floats(0.0, 0.5),
    st.sampled_from(["ERROR", "RESET", "WRONG_COUNT"]),
    st.sampled_from([5.0, 20.0, 60.0]),
)
def never_worse_than_asking_directly(number: int, p: float, trouble: str, rate: float) -> None:
    """I21: of requests of one call a lone provider serves 0.95 × (1 − p³)."""
    provider = {"faults": {"x": {"trouble": trouble, "p": p}}}
    one = {"kind": "poisson", "rate": rate, "count": 50}
    done = world_of(300, number, provider, one=one)
    ended = [asked.end == "ok" for asked in done.log if asked.end]
    served = sum(ended) / len(ended)
    assert served >= 0.95 * (1.0 - p**3), f"I21: {served} of them at {p}"


def run(number: int, steps: int = STEPS, examples: int = EXAMPLES) -> None:
    """Everything, from one seed. Raises AssertionError with the counterexample."""
    machine.run(steps, number)
    print(f"{steps} steps of the state machines: every check held", flush=True)
    for check in PROMISES:
        checked(examples, number, check)
        print(f"{examples} worlds: {check.__doc__}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.deep")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="of each promise")
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}")
    run(options.seed, options.steps, options.examples)
    return 0


if __name__ == "__main__":
    sys.exit(main())
