"""Lessons that outlive the process: when they are written, and who is told of them."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from emr.control.learned import AGAIN_S, KEPT_S, WRITE_S, Learned, made_of
from emr.control.rows import Row
from emr.control.snapshot import view_account
from emr.control.store import Store
from emr.lane.account import Account
from emr.lane.settings import AccountSpec, LaneSettings, LimitSpec
from emr.lane.verdict import Dimension
from tests.control.overlooked import Overlooked
from tests.control.parts import FakeLoop
from tests.control.routed import server
from tests.support.aio import run

ROW = server("s")
SPEC = AccountSpec("s", "m", "X_API_KEY")
CALL: Any = None  # what ended a call does not matter


def account(spec: AccountSpec = SPEC) -> Account:
    return Account(spec, LaneSettings(), Random(1))


class World:
    """A process with one open account, over a store that outlives it."""

    def __init__(self, path: Path, row: Row = ROW, spec: AccountSpec = SPEC) -> None:
        self.loop = FakeLoop()
        self.store = Store(path)
        self.learned = Learned(self.store, self.loop.shell())
        self.account = account(spec)
        self.row = row
        self.learned.tell(row, self.account)
        self.learned.accounts = lambda: [(self.row, self.account)]

    @property
    def limit(self) -> float | None:
        return self.account.pace.calls_per_minute

    def learn(self, limit: float) -> None:
        """A refusal teaches a limit."""
        learner = self.account.pace.meters[Dimension.CALLS].learner
        learner.cut(limit / 0.7, limit)
        self.learned.called(CALL, CALL, 0.1)

    def written(self) -> int:
        """How many lessons are in the table."""
        count = "SELECT count(*) FROM learned"
        return int(self.store.read(lambda c: c.execute(count).fetchone()).result()[0])

    def kill(self) -> None:
        self.store.close()

    def end(self) -> None:
        self.learned.close()
        self.store.close()


def test_it_is_written_behind_and_known_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    world = World(path)
    assert world.loop.timers() == []
    world.learn(210.0)
    world.learned.called(CALL, CALL, 0.1)
    assert (world.loop.timers(), world.written()) == ([WRITE_S], 0)
    world.loop.advance(WRITE_S)
    world.loop.turn()
    assert (world.loop.timers(), world.written()) == ([], 1)
    world.kill()
    again = World(path)
    assert again.limit == pytest.approx(210.0)
    assert view_account(again.account, 0.0).limits[Dimension.CALLS].source == "learned"
    again.end()


def test_an_orderly_end_writes_at_once(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    world = World(path)
    world.learn(210.0)
    world.end()
    again = World(path)
    assert again.limit == pytest.approx(210.0)
    again.end()


def test_what_did_not_change_is_written_once_a_day(tmp_path: Path) -> None:
    world = World(tmp_path / "emr.db")
    world.learn(210.0)
    assert world.learned.flush() is not None
    world.loop.turn()
    assert world.learned.flush() is None
    world.loop.wall += AGAIN_S - 1.0
    assert world.learned.flush() is None
    world.loop.wall += 1.0
    assert world.learned.flush() is not None
    world.loop.turn()
    world.learn(100.0)
    assert world.learned.flush() is not None
    world.loop.turn()
    assert world.written() == 1
    world.end()


def test_who_learned_nothing_writes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path / "emr.db")
    world.learned.called(CALL, CALL, 0.1)
    world.loop.advance(WRITE_S)
    assert world.loop.is_idle()
    assert world.written() == 0
    world.end()


def test_it_is_told_once(tmp_path: Path) -> None:
    """An account that was closed, and is opened again, has another key or another row."""
    path = tmp_path / "emr.db"
    world = World(path)
    world.learn(210.0)
    world.end()
    again = World(path)
    another = account()
    again.learned.tell(ROW, another)
    assert another.pace.calls_per_minute is None
    again.learned.show(ROW, another)
    assert another.pace.calls_per_minute is None
    again.end()


def test_a_view_of_what_is_not_opened_yet_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    world = World(path)
    world.learn(210.0)
    world.end()
    store = Store(path)
    learned = Learned(store, FakeLoop().shell())
    for _ in range(2):
        shown = account()
        learned.show(ROW, shown)
        assert shown.pace.calls_per_minute == pytest.approx(210.0)
    opened = account()
    learned.tell(ROW, opened)
    assert opened.pace.calls_per_minute == pytest.approx(210.0)
    assert list(learned.accounts()) == []
    learned.close()
    store.close()


@pytest.mark.parametrize(
    ("row", "spec"),
    [
        (server("s", endpoint="http://127.0.0.1:10/v1"), SPEC),
        (replace(ROW, provider_type="tei"), SPEC),
        (replace(ROW, api_version="2026-01-01"), SPEC),
        (ROW, replace(SPEC, max_texts=64)),
        (ROW, replace(SPEC, limits={Dimension.CALLS: LimitSpec(900.0, True)})),
        (ROW, replace(SPEC, scope="another")),
        (ROW, replace(SPEC, key="Y_API_KEY")),
        (ROW, replace(SPEC, provider="t")),
    ],
)
def test_another_account_is_told_nothing(tmp_path: Path, row: Row, spec: AccountSpec) -> None:
    path = tmp_path / "emr.db"
    world = World(path)
    world.learn(210.0)
    world.end()
    other = World(path, row, spec)
    assert other.limit == (900.0 if spec.limits else None)
    other.end()


def test_what_does_not_touch_limits_is_the_same_account() -> None:
    paid = replace(ROW, price_per_million_tokens=5.0, models=("m", "n"))
    assert made_of(paid, SPEC) == made_of(ROW, replace(SPEC, weight=2.0))


@pytest.mark.parametrize(("more", "known"), [(-1.0, True), (0.0, True), (1.0, False)])
def test_after_a_month_it_is_forgotten(tmp_path: Path, more: float, known: bool) -> None:
    path = tmp_path / "emr.db"
    world = World(path)
    world.learn(210.0)
    world.end()
    store, loop = Store(path), FakeLoop()
    loop.wall += KEPT_S + more
    learned, later = Learned(store, loop.shell()), account()
    learned.tell(ROW, later)
    assert (later.pace.calls_per_minute is not None) is known
    store.close()


def test_what_is_too_old_leaves_the_table(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    world = World(path)
    world.learn(210.0)
    world.end()
    other = World(path, server("t"), replace(SPEC, provider="t"))
    other.loop.wall += KEPT_S + 1.0
    other.learn(100.0)
    other.learned.flush()
    assert other.written() == 1
    other.end()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"limits":{"calls":{}}}', b'{"max_texts":"x"}']
)
def test_what_cannot_be_read_is_no_lesson(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "emr.db"
    world = World(path)
    world.learn(210.0)
    world.end()
    store = Store(path)
    store.run(lambda c: c.execute("UPDATE learned SET content = ?", (content,)))
    store.close()
    with caplog.at_level(logging.WARNING):
        again = World(path)
    assert again.limit is None
    assert [record.message for record in caplog.records] == ["What was learned cannot be read"]
    again.end()


def test_what_the_database_refuses_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path / "emr.db")
    world.store.read(lambda c: c.execute("PRAGMA query_only = 1").fetchall()).result()
    world.learn(210.0)
    world.loop.advance(WRITE_S)
    world.loop.turn()
    with caplog.at_level(logging.ERROR):
        world.learned.close()
    assert [record.message for record in caplog.records] == ["What was learned last is lost"]
    world.store.read(lambda c: c.execute("PRAGMA query_only = 0").fetchall()).result()
    assert world.learned.flush() is not None
    world.loop.turn()
    assert world.written() == 1
    world.end()


def test_accounts_are_told_when_they_are_opened_and_when_they_are_viewed() -> None:
    async def main() -> None:
        async with Overlooked(ROW) as overlooked:
            accounts = overlooked.accounts
            told: list[str] = []

            class Spy:
                def tell(self, row: Row, account: Account) -> None:
                    told.append(f"tell {row.name} {account.spec.scope}")

                def show(self, row: Row, account: Account) -> None:
                    told.append(f"show {row.name} {account.spec.scope}")

            accounts._learned = Spy()
            overlooked.take()
            assert told == ["show s m"]
            await overlooked.ask("m").vectors()
            assert told == ["show s m", "tell s m"]
            ((row, opened),) = accounts.all()
            assert (row.name, opened.spec.scope) == ("s", "m")

    run(main())
