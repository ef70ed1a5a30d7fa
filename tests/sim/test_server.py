"""The simulated provider: its limits at limit and limit + 1, faults, sizes, servers, words."""

from __future__ import annotations

from typing import Any

import pytest

from emr.lane.effects import Send
from emr.lane.settings import AccountSpec
from emr.lane.ticket import Batch, Params, Request, Ticket
from emr.lane.verdict import Ending, Limits, Outcome, Verdict
from tests.sim.scenario import read
from tests.sim.server import HUGE_S, Server
from tests.sim.world import World

OK, RATE = Ending.OK, Ending.RATE


class Desk(World):
    """A world without a router: calls are sent by hand, and what comes back is kept."""

    def __init__(self, **plan: Any) -> None:
        super().__init__(1)
        table = {
            "row": "", "curve": "", "seconds": 1, "callers": {}, "spans": {},
            "providers": {"p": {"latency": {"a": 0.1, "sigma": 0.0}, **plan}},
        }  # fmt: skip
        self.server = Server(read("desk", table)[0].providers["p"])
        self.account = self.open(AccountSpec("p", "m"), self.server)
        self.came: list[tuple[float, Outcome]] = []
        self.server.start(self)

    def end(self, send: Send, outcome: Outcome) -> None:
        self.came.append((self.now, outcome))

    def call(
        self, at: float, texts: int = 1, *, size: int = 42, first_byte_s: float = 60.0
    ) -> None:
        """Send a call of so many texts of ten tokens."""
        many = [b'"%s"' % b"x".ljust(size - 2, b"y")] * texts
        self._send(at, many, first_byte_s)

    def _send(self, at: float, many: list[bytes], first_byte_s: float = 60.0) -> None:
        request = Request(Params("m"), many, "a", 1e9, lambda request: None)
        request.tokens = [10] * len(many)
        batch = Batch(request.params, [Ticket(request, range(len(many)), (0.0, False), at)])
        send = Send(self.account, batch, first_byte_s, 60.0)
        self.at(at, lambda: self.server.send(self, send))

    def endings(self) -> list[Ending]:
        self.run(self.now + 1000.0)
        return [outcome.verdict.ending for _, outcome in self.came]

    def verdicts(self) -> list[Verdict]:
        self.endings()
        return [outcome.verdict for _, outcome in self.came]


def limited(counts: str, per_minute: float, **plan: Any) -> dict[str, Any]:
    return {"limits": {"x": {"counts": counts, "per_minute": per_minute, **plan}}}


# limits


@pytest.mark.parametrize(
    ("counts", "per_minute", "texts"), [("calls", 3, 7), ("items", 21, 7), ("tokens", 210, 7)]
)
def test_it_refuses_what_is_over_the_limit(counts: str, per_minute: int, texts: int) -> None:
    desk = Desk(**limited(counts, per_minute))
    for number in range(4):
        desk.call(float(number), texts)
    desk.call(62.0, texts)
    assert desk.endings() == [OK, OK, OK, RATE, OK]


@pytest.mark.parametrize(("refused_count", "endings"), [(False, [OK, RATE, OK]),
                                                        (True, [OK, RATE, RATE])])  # fmt: skip
def test_refused_calls_count_where_it_is_said(refused_count: bool, endings: list[Ending]) -> None:
    desk = Desk(**limited("calls", 1, refused_count=refused_count))
    for at in (0.0, 30.0, 61.0):
        desk.call(at)
    assert desk.endings() == endings


@pytest.mark.parametrize(("said", "told"), [("right", 50.0), ("none", None), ("short", 5.0),
                                            ("huge", HUGE_S)])  # fmt: skip
def test_what_it_says_of_when_to_come_back(said: str, told: float | None) -> None:
    desk = Desk(retry_after=said, uplink=[0.5, 0.5], **limited("calls", 1))
    desk.call(0.0)
    desk.call(10.0)
    assert desk.verdicts()[1].retry_after == (told and pytest.approx(told))


@pytest.mark.parametrize("tells", ["nothing", "dimension", "numbers"])
def test_what_its_words_tell(tells: str) -> None:
    desk = Desk(tells=tells, **limited("tokens", 10))
    desk.call(0.0)
    desk.call(1.0)
    verdict = desk.verdicts()[1]
    assert (verdict.dimension is not None) == (tells != "nothing")
    assert verdict.limits == (Limits(tokens=10) if tells == "numbers" else None)


def test_its_headers_tell_what_is_left() -> None:
    desk = Desk(headers="full", **limited("calls", 5))
    desk.call(0.0)
    desk.call(1.0)
    desk.endings()
    assert [o.limits for _, o in desk.came] == [Limits(calls=5, calls_left=n) for n in (4.0, 3.0)]


def test_a_limit_changes_when_it_is_said() -> None:
    desk = Desk(**limited("calls", 1, changes=[[100, 2]]))
    for at in (0.0, 1.0, 100.0, 101.0, 102.0):
        desk.call(at)
    assert desk.endings() == [OK, RATE, OK, OK, RATE]
    assert desk.server.limits[0].allowed(40.0, 160.0) == pytest.approx(3.0)


def test_a_thief_takes_his_part_while_he_is_there() -> None:
    stolen = {"stolen": 0.5, "stolen_since": 60.0, "stolen_until": 120.0}
    desk = Desk(**limited("calls", 60, **stolen))
    desk.run(119.0)
    limit = desk.server.limits[0]
    assert 20 <= 60 - limit.limiter.left(119.0) <= 40
    desk.run(300.0)
    assert limit.limiter.left(300.0) == 60
    assert limit.allowed(0.0, 180.0) == pytest.approx(180.0 - 30.0)


# faults, sizes, servers, time


def test_a_fault_lasts_from_when_to_when() -> None:
    desk = Desk(faults={"x": {"trouble": "ERROR", "since": 10, "until": 20}})
    for at in (9.8, 10.0, 19.8, 20.0):
        desk.call(at)
    assert desk.endings() == [OK, Ending.TRANSIENT, Ending.TRANSIENT, OK]


def test_a_fault_of_a_share_breaks_about_that_share() -> None:
    desk = Desk(faults={"x": {"trouble": "ERROR", "p": 0.3}})
    for number in range(1000):
        desk.call(number / 10)
    assert 0.25 < desk.endings().count(Ending.TRANSIENT) / 1000 < 0.35


@pytest.mark.parametrize(("cap", "got", "ending"), [
    ("texts", 4, OK), ("texts", 5, Ending.SIZE_ITEMS), ("tokens", 40, OK),
    ("tokens", 39, Ending.SIZE_TOKENS), ("bytes", 168, OK), ("bytes", 167, Ending.SIZE_BYTES),
])  # fmt: skip
def test_a_call_over_a_cap_is_refused(cap: str, got: int, ending: Ending) -> None:
    desk = Desk(takes={cap: 4 if cap == "texts" else got})
    desk.call(0.0, got if cap == "texts" else 4)
    assert desk.endings() == [ending]


def test_so_many_are_computed_at_a_time_and_so_many_wait() -> None:
    desk = Desk(servers=2, queue=1, uplink=[0.0, 0.0])
    for _ in range(4):
        desk.call(0.0)
    assert sorted(desk.endings(), key=lambda e: e.value) == [OK, OK, OK, Ending.OVERLOAD]
    done = [at for at, outcome in desk.came if outcome.verdict.ending is OK]
    assert done == pytest.approx([0.1, 0.1, 0.2])
    assert desk.server.servers is not None
    assert desk.server.servers.busy_s == pytest.approx(0.3)


def test_it_is_slow_while_it_is_slow() -> None:
    desk = Desk(slow={"x": {"factor": 10.0, "since": 10, "until": 20}})
    for at in (9.0, 10.0, 19.9, 20.0):
        desk.call(at)
    desk.endings()
    took = [seen.ended - seen.sent for seen in desk.server.seen]
    assert took == pytest.approx([0.1, 1.0, 1.0, 0.1])


@pytest.mark.parametrize(("first_byte_s", "ending"), [(0.11, OK), (0.09, Ending.TRANSIENT)])
def test_a_call_that_is_given_up_is_billed_all_the_same(
    first_byte_s: float, ending: Ending
) -> None:
    desk = Desk()
    desk.call(0.0, 3, first_byte_s=first_byte_s)
    assert desk.endings() == [ending]
    assert desk.server.billed == 30


@pytest.mark.parametrize("tells_index", [True, False])
def test_a_poisoned_text_is_refused(tells_index: bool) -> None:
    desk = Desk(poisoned=True, tells_index=tells_index)
    desk._send(0.0, [b'"good"', b'"poison 1"', b'"also poison"'])
    desk._send(1.0, [b'"also poison"'])
    first, second = desk.verdicts()
    assert (first.ending, first.index) == (Ending.BAD_TEXT, 1 if tells_index else None)
    assert second.ending is OK
