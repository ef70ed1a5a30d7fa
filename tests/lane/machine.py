"""Callers and a provider that do anything at any time, and the checks that must hold meanwhile.

A `Play` is a world in which everything that happens was asked for by a line of a script, so that
the same script gives the same trace. The machine writes such scripts; at the end of each the play
is finished, every request must have been answered once, and the script is played a second time.

Deep runs: `python -m tests.lane.machine --steps 20000 --seed 1`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from emr.lane.account import Account
from emr.lane.settings import AccountSpec, Home, LaneSettings, LimitSpec
from emr.lane.ticket import Params, Request
from emr.lane.verdict import Dimension, Ending, Verdict
from tests.lane.checks import POISON, Watch, WatchedProvider, word
from tests.sim.model import End, Named, Poison, Script, Seen, TakesAtMost, Times
from tests.sim.world import World, vector_of

LANES = [
    Params("m"),
    Params("m", input_type="query"),
    Params("m", dimensions=256),
    Params("m", token_ids=True),
    Params("m", whole=b'{"input":"x"}'),
]
STEPS_A_SCRIPT = 40

QUOTE = "<a text of the call>"

Line = tuple[str, dict[str, Any]]


class Quoting(Script):
    """A script whose messages quote a text of the very call that they end.

    `lasting`, when set, is the end of every call after the scripted ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lasting: End | None = None

    def __call__(self, world: World, seen: Seen) -> End | None:
        end = super().__call__(world, seen) or self.lasting
        if end is None or QUOTE not in end.verdict.message:
            return end
        quoted = seen.texts[len(seen.texts) // 2].decode() if seen.texts else ""
        message = end.verdict.message.replace(QUOTE, quoted)
        return replace(end, verdict=replace(end.verdict, message=message))


class Play:
    """A world that is driven by the lines of a script."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.script: list[Line] = []
        self.world = World(options["seed"], LaneSettings(**options["settings"]))
        self.watch = Watch(self.world)
        self.scripted = Quoting()
        self.provider = WatchedProvider(
            self.scripted,
            TakesAtMost(texts=options["takes"], tokens=3000, bytes=9000, named=options["named"]),
            Poison([POISON], tells_index=options["tells_index"]),
            times=Times(a=0.1, b=1e-4, sigma=options["sigma"]),
        )
        self.provider.watch = self.watch
        limits = {d: LimitSpec(limit, True) for d, limit in options["limits"].items()}
        self.spec = AccountSpec("voyage", "m", limits=limits, **options["spec"])
        self.accounts = [self.open(), self.open()]
        self.asked = 0
        self.answers: dict[int, int] = {}
        self.sound = True  # no check failed so far
        self.world.run(1.0)

    def do(self, name: str, **arguments: Any) -> None:
        """Play a line, and remember it."""
        self.script.append((name, arguments))
        self.sound = False
        getattr(self, name)(**arguments)
        self.sound = True

    def open(self) -> Account:
        """A new account at the provider."""
        account = self.world.open(self.spec, self.provider)
        self.watch.account(account)
        return account

    # lines

    def ask(
        self,
        texts: int,
        size: int,
        lane: int,
        caller: str,
        bulk: bool,
        timeout_s: float,
        shared: bool = False,
    ) -> None:
        """A caller asks; of a poisoned size the last text is one that the provider refuses.

        Shared texts are those that others ask for, too, and that this request has twice.
        """
        self.asked += 1
        number, params = self.asked, LANES[lane]
        many = [self.text(number, place, size) for place in range(texts)]
        if shared:
            many = [b'"shared %d"' % ((number + place) % 4) for place in range(texts)]
        if params.token_ids:
            many = [b"[%d,%d]" % (number, place) for place in range(texts)]
        elif size == 0 and many:
            many[-1] = POISON
        self.answers[number] = 0

        def done(request: Request) -> None:
            self.answers[number] += 1
            assert self.answers[number] == 1, "I1: answered twice"
            self.watch.ended(number, request)
            if request.refusal is None and params.whole is None:
                assert request.vectors == [vector_of(t, params) for t in many], "I2"

        account = self.accounts[caller == "b"]
        request = self.world.ask(
            account, many, done, caller=caller, timeout_s=timeout_s, params=params, bulk=bulk
        )
        if not request.ended:
            self.watch.asked(number, request)

    def leave(self, which: int) -> None:
        """One of the waiting callers goes away."""
        numbers = sorted(self.watch.requests)
        number = numbers[which % len(numbers)]
        request = self.watch.requests[number]
        self.watch.left(number)
        self.world.roster.abandon(request)
        self.world.at(self.world.now, lambda: None)

    def end(self, ends: list[End]) -> None:
        """How the next calls will end."""
        self.scripted.then(*ends)

    def break_down(self, end: End | None) -> None:
        """How all calls end from now on; None: as the provider itself decides."""
        self.scripted.lasting = end

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.run(self.world.now + seconds)

    def reset(self) -> None:
        """The operator tests the provider, or changes its key."""
        for account in self.accounts:
            self.world.roster.reset(account)
        self.world.at(self.world.now, lambda: None)

    def replace(self) -> None:
        """A provider is removed, and added again."""
        self.world.roster.close(self.accounts[0])
        self.accounts[0] = self.open()
        self.world.at(self.world.now, lambda: None)

    # the end

    def finish(self) -> None:
        """Let all deadlines pass: I1."""
        self.scripted.forget()
        self.scripted.lasting = None
        self.world.run(self.world.now + 1000.0)
        assert not self.watch.requests
        assert set(self.world.roster.accounts) == set(self.accounts), "a closed one is still there"
        for account in self.accounts:
            assert account.idle, "something flies or waits when all are gone"
            assert (account.texts, account.bytes) == (0, 0)

    @staticmethod
    def text(number: int, place: int, size: int) -> bytes:
        """A text that is known again by its request."""
        return b'"%s %d %s"' % (word(number), place, b"x" * size)


# what the machine draws

seconds = st.sampled_from([0.0, 0.001, 0.02, 0.1, 0.5, 2.0, 16.0, 61.0])
retry_after = st.sampled_from([None, None, None, 0.0, -1.0, 0.3, 5.0, 70.0, 1e9])
CUT_SHORT = [Ending.SIZE_ITEMS, Ending.SIZE_TOKENS, Ending.SIZE_BYTES]


@st.composite
def ends(draw: Callable[..., Any]) -> End:
    """The end of a call: any verdict, soon, late or never; some quote a text."""
    ending = draw(st.sampled_from([*Ending, Ending.TRANSIENT, Ending.RATE, Ending.OVERLOAD]))
    after_s = draw(st.sampled_from([None, 0.0, 0.01, 0.3, 4.0, float("inf")]))
    if ending is Ending.OK:
        return End(Verdict(ending, 200), after_s)
    verdict = Verdict(
        ending,
        draw(st.sampled_from([None, 400, 500])),
        draw(st.sampled_from(["", "no", f"bad: {QUOTE}"])),
        draw(retry_after),
        cap=draw(st.sampled_from([None, 0, 3, 900])) if ending in CUT_SHORT else None,
        got=draw(st.sampled_from([None, 5, 5000])) if ending in CUT_SHORT else None,
        index=draw(st.sampled_from([None, -1, 0, 2, 99])) if ending is Ending.BAD_TEXT else None,
    )
    return End(verdict, after_s)


outages = st.builds(
    End,
    st.sampled_from([Verdict(Ending.TRANSIENT, 500)] * 3 + [Verdict(Ending.OVERLOAD, 503)]),
    st.sampled_from([0.0, 0.01, 0.3, float("inf")]),
)
options = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 1 << 16),
        "sigma": st.sampled_from([0.0, 0.15, 1.5]),  # at 1.5 replies overtake each other
        "takes": st.sampled_from([5, 32, 1000]),
        "named": st.sampled_from(list(Named)),
        "tells_index": st.booleans(),
        "limits": st.sampled_from(
            [{}, {Dimension.CALLS: 5.0}, {Dimension.CALLS: 300.0, Dimension.ITEMS: 40.0}]
        ),
        "spec": st.fixed_dictionaries(
            {
                "home": st.sampled_from(list(Home)),
                "max_texts": st.sampled_from([1, 4, 32]),
                "max_tokens": st.sampled_from([50, 4000]),
                "max_bytes": st.sampled_from([400, 20_000]),
                "tokens_a_byte": st.sampled_from([0.05, 0.35]),
                "max_concurrency": st.sampled_from([None, 1, 3]),
            }
        ),
        "settings": st.fixed_dictionaries(
            {
                "batch_window_s": st.sampled_from([0.0, 0.05]),
                "initial_batch_size": st.sampled_from([1, 4, 64]),
                "success_streak_threshold": st.sampled_from([1, 10]),
                "channel_capacity": st.sampled_from([3, 1024, 1024]),
                "max_queue_bytes": st.sampled_from([3000, 1 << 20, 1 << 20]),
                "max_retries": st.sampled_from([0, 2]),
                "max_lanes_a_caller": st.sampled_from([2, 32]),
                "cumulative_cap_s": st.sampled_from([1.0, 45.0]),
                "share_flights": st.booleans(),
            }
        ),
    }
)


class LaneMachine(RuleBasedStateMachine):
    """Writes scripts; all checks are in the play."""

    @initialize(options=options)
    def begin(self, options: dict[str, Any]) -> None:
        self.options = options
        self.play = Play(options)

    @rule(
        texts=st.integers(1, 12),
        size=st.sampled_from([0, 1, 30, 300]),
        lane=st.integers(0, len(LANES) - 1),
        caller=st.sampled_from("abc"),
        bulk=st.booleans(),
        timeout_s=st.sampled_from([0.01, 0.5, 3.0, 60.0, 600.0]),
        shared=st.booleans(),
    )
    def ask(self, **arguments: Any) -> None:
        self.play.do("ask", **arguments)

    @rule(
        times=st.integers(2, 20),
        size=st.sampled_from([10, 100]),
        poisoned=st.none() | st.integers(0, 9),
        lane=st.integers(0, 2),
        bulk=st.booleans(),
        seconds=seconds,
    )
    def many_ask(
        self, times: int, size: int, poisoned: int | None, lane: int, bulk: bool, seconds: float
    ) -> None:
        for number in range(times):
            self.play.do(
                "ask",
                texts=1 + number % 3,
                size=0 if number == poisoned else size,
                lane=lane,
                caller="abc"[number % 3],
                bulk=bulk,
                timeout_s=60.0,
            )
            self.play.do("wait", seconds=seconds / 16)

    @precondition(lambda self: self.play.watch.requests)
    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        self.play.do("leave", which=which)

    @rule(ends=st.lists(ends(), min_size=1, max_size=4))
    def end(self, ends: list[End]) -> None:
        self.play.do("end", ends=ends)

    @rule(end=st.one_of(outages, outages, ends()))
    def break_down(self, end: End) -> None:
        self.play.do("break_down", end=end)

    @rule()
    def heal(self) -> None:
        self.play.do("break_down", end=None)

    @rule(seconds=seconds)
    def wait(self, seconds: float) -> None:
        self.play.do("wait", seconds=seconds)

    @rule()
    def reset(self) -> None:
        self.play.do("reset")

    @rule()
    def replace(self) -> None:
        self.play.do("replace")

    @invariant()
    def not_started_or_sound(self) -> None:
        """The checks themselves run after every turn of the world."""

    def teardown(self) -> None:
        if not self.play.sound:
            return
        self.play.finish()
        again = Play(self.options)
        for name, arguments in self.play.script:
            again.do(name, **arguments)
        again.finish()
        assert again.watch.trace == self.play.watch.trace, "I17: the same script, another trace"


def run(steps: int, number: int) -> None:
    """Play scripts of so many steps in all; `number` makes a run repeatable."""
    run_state_machine_as_test(
        seed(number)(LaneMachine),
        settings=settings(
            max_examples=max(1, steps // STEPS_A_SCRIPT),
            stateful_step_count=STEPS_A_SCRIPT,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


def main() -> None:
    """The command line of deep runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    run(arguments.steps, arguments.seed)
    print(f"{arguments.steps} steps from seed {arguments.seed}: every check held")


if __name__ == "__main__":
    main()
