"""Usage that is kept: when it is flushed, what a failing disk does, what is forgotten and told."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emr.control.ledger import CALL
from emr.control.quotas import Quotas
from emr.control.settings import Usage as UsageSettings
from emr.control.store import StorageError, Store
from emr.control.usage import FLUSH_S, HOURS_KEPT, Usage
from emr.control.usage_report import ROWS_MAX, question_of
from emr.control.usage_rows import HOUR_S, Question
from emr.front.desk import NO_LIMITS
from emr.front.exchange import Stage
from emr.front.routes import FrontService
from tests.control.parts import FakeLoop
from tests.front.double import SECRET, Answer, Client, KeysDouble

NOW = 1_800_000_000  # 2027-01-15T08:00:00Z: an hour begins
HOUR = NOW // HOUR_S
AS_ADMIN = {b"authorization": b"Bearer " + SECRET}
MEASURES = {
    "requests", "errors", "abandoned", "limited", "texts", "cache_hits", "tokens", "calls",
    "calls_saved", "cost", "tokens_without_price",
}  # fmt: skip


class World:
    """Usage over a store, with a loop whose time the test makes."""

    def __init__(self, path: Path | None = None, days: int = 90) -> None:
        self.loop = FakeLoop()
        self.loop.wall = float(NOW)
        self.prices: dict[str, float] = {"paid": 2.0}
        self.store = Store(path)
        self.quotas = Quotas(lambda: self.loop.now, lambda: self.loop.wall, NO_LIMITS)
        self.usage = Usage(
            self.store, self.loop.shell(), self.quotas,
            lambda provider, model: self.prices.get(provider), UsageSettings(days),
        )  # fmt: skip
        self.client = Client(FrontService(self.usage.routes(), KeysDouble(), lambda: self.loop.now))

    def close(self) -> None:
        self.usage.close()
        self.store.close()

    def count(self, key: str, tokens: int, provider: str = "paid", model: str = "m") -> None:
        """Something of a key."""
        line = self.usage.ledger._line(key, provider, model)
        line.requests += 1
        line.texts += 2
        line.tokens += tokens
        line.alone += 1
        line.call_parts += CALL // 4

    def rows(self) -> list[tuple[Any, ...]]:
        """What is in the table."""
        statement = "SELECT hour, key_id, requests, tokens FROM usage ORDER BY 1, 2"
        return self.store.read(lambda c: c.execute(statement).fetchall()).result()

    def ask(self, query: str = "") -> Answer:
        """What `GET /admin/usage` answers."""
        self.client.send("GET", f"/admin/usage{query}", headers=AS_ADMIN)
        while not self.client.answers:
            self.loop.turn()
        return self.client.answers.pop()

    def told(self, query: str = "") -> Any:
        answer = self.ask(query)
        assert answer.status == 200, answer.body
        return answer.json

    def refuse_writes(self, *, yes: bool) -> None:
        """Let the database refuse what is written, or take it again."""
        self.store.read(lambda c: c.execute(f"PRAGMA query_only = {int(yes)}").fetchall()).result()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


# flushing


def test_it_is_flushed_in_batches_and_not_when_nothing_was_used(world: World) -> None:
    assert world.loop.timers() == []
    for _ in range(1000):
        world.count("a", 3)
        world.count("b", 1)
    assert world.loop.timers() == [FLUSH_S]
    assert world.rows() == []
    world.loop.advance(FLUSH_S)
    world.loop.turn()
    assert world.rows() == [(HOUR, "a", 1000, 3000), (HOUR, "b", 1000, 1000)]
    assert world.loop.timers() == []
    world.count("a", 1)
    assert world.loop.timers() == [FLUSH_S]
    world.loop.advance(FLUSH_S)
    world.loop.turn()
    assert world.rows() == [(HOUR, "a", 1001, 3001), (HOUR, "b", 1000, 1000)]


def test_each_hour_has_its_own_row(world: World) -> None:
    world.loop.advance(HOUR_S - 2.0)
    world.count("a", 3)
    assert world.loop.timers() == [2.0]  # not over the hour's end
    world.loop.advance(2.0)
    world.count("a", 4)
    world.loop.advance(FLUSH_S)
    world.loop.turn()
    world.loop.turn()
    assert world.rows() == [(HOUR, "a", 1, 3), (HOUR + 1, "a", 1, 4)]


def test_what_the_database_refuses_waits_for_the_next_flush(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.refuse_writes(yes=True)
    world.count("a", 3)
    with caplog.at_level(logging.WARNING):
        world.loop.advance(FLUSH_S)
        world.loop.turn()
        assert world.loop.timers() == [FLUSH_S]
        world.count("a", 4)
        world.loop.advance(FLUSH_S)
        world.loop.turn()
    assert [record.message for record in caplog.records] == ["Usage is not written"]  # once
    assert "read-only" in str(vars(caplog.records[0])["figures"])
    assert world.told("?by=key")["usage"][0]["tokens"] == 7  # told all the same
    world.refuse_writes(yes=False)
    world.loop.advance(FLUSH_S)
    while not world.loop.is_idle():
        world.loop.turn()
    world.usage.flush()
    assert world.rows() == [(HOUR, "a", 2, 7)]


def test_hours_that_cannot_be_written_do_not_pile_up(world: World) -> None:
    world.refuse_writes(yes=True)
    for _ in range(HOURS_KEPT + 5):
        world.count("a", 1)
        world.loop.advance(HOUR_S)
        world.loop.turn()
    assert len(world.usage._unwritten) == HOURS_KEPT
    world.refuse_writes(yes=False)
    world.usage.flush()
    world.loop.turn()
    assert sum(row[3] for row in world.rows()) == HOURS_KEPT + 5


def test_the_end_keeps_what_was_counted(tmp_path: Path) -> None:
    world = World(tmp_path / "emr.db")
    world.count("a", 3)
    world.close()
    again = World(tmp_path / "emr.db")
    assert again.rows() == [(HOUR, "a", 1, 3)]
    again.close()
    again.usage.close()  # nothing to keep: the closed store is not asked


def test_an_end_that_cannot_write_says_what_is_lost(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.refuse_writes(yes=True)
    world.count("a", 3)
    with caplog.at_level(logging.ERROR):
        world.usage.close()
    assert [record.message for record in caplog.records] == ["The last usage is lost"]
    assert vars(caplog.records[0])["figures"]["lines"] == 1


def test_a_kill_loses_what_came_after_the_last_flush_alone(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    world = World(path)
    world.count("a", 3)
    world.loop.advance(FLUSH_S)
    world.loop.turn()
    world.count("a", 4)
    copies = {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal")}
    for suffix, content in copies.items():  # what a killed process leaves
        (tmp_path / f"killed.db{suffix}").write_bytes(content)
    with closing(sqlite3.connect(tmp_path / "killed.db")) as connection:
        assert connection.execute("SELECT sum(tokens) FROM usage").fetchone() == (3,)
    world.close()


# months and retention


def test_the_month_so_far_is_read_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    world = World(path)
    for days in (20, 10, 0):  # in December, and twice in January
        world.loop.wall = NOW - days * 86_400.0
        world.count("a", 100 + days)
        world.usage.flush()
    world.close()
    again = World(path)
    assert again.quotas.purse("a").tokens_month == 210
    again.close()


def test_a_month_that_ended_while_nothing_was_asked_begins_with_the_first_line(
    world: World,
) -> None:
    world.count("a", 1)
    purse = world.quotas.purse("a")
    purse.tokens_month = 50
    world.loop.advance(FLUSH_S)
    world.loop.wall += 40 * 86_400
    world.count("a", 1)
    assert purse.tokens_month == 0
    purse.tokens_month = 7
    world.loop.advance(FLUSH_S)
    assert purse.tokens_month == 7


@pytest.mark.parametrize(("hours", "stays"), [(23, True), (24, True), (25, False)])
def test_rows_are_forgotten_by_the_hour(tmp_path: Path, hours: int, stays: bool) -> None:
    world = World(tmp_path / "emr.db", days=1)
    now = NOW + 17 * 86_400.0 + 2 * HOUR_S  # the first of February, in the morning
    world.loop.wall = now - hours * HOUR_S
    world.count("a", 1)
    world.usage.flush()
    world.loop.wall = now
    world.count("b", 1)
    world.usage.flush()
    assert [row[1] for row in world.rows()] == (["a", "b"] if stays else ["b"])
    world.close()


def test_the_present_month_is_kept_whatever_the_retention(tmp_path: Path) -> None:
    world = World(tmp_path / "emr.db", days=1)
    for days in (20, 14, 2, 0):  # the 15th of January is today
        world.loop.wall = NOW - days * 86_400.0
        world.count(f"{days} days ago", 1)
        world.usage.flush()
    assert [row[1] for row in world.rows()] == ["14 days ago", "2 days ago", "0 days ago"]
    world.close()


# what is told


def test_what_is_told(world: World) -> None:
    world.store.run(
        lambda c: c.execute(
            "INSERT INTO api_keys (id, name, key_hash, key_prefix, created_at) VALUES"
            " ('a', 'zoo', 'x', 'emr_zzzz', 'now'), ('b', 'app', 'y', 'emr_aaaa', 'now')"
        )
    )
    for _ in range(4):
        world.count("a", 500_000)
    world.count("b", 1, provider="free")
    world.usage.ledger.called_by_operator("paid", "m", 3)
    told = world.told()
    assert (told["since"], told["until"]) == ("2026-12-16T09:00:00Z", "2027-01-15T09:00:00Z")
    assert told["by"] == ["key", "provider", "model"]
    own, app, zoo = told["usage"]
    assert set(own) == {"key", "key_name", "provider", "model"} | MEASURES
    assert (own["key"], own["key_name"], own["tokens"]) == (None, "emr's own", 3)
    assert (app["key"], app["key_name"], app["provider"]) == ("b", "app", "free")
    assert (app["cost"], app["tokens_without_price"]) == (None, 1)
    assert zoo == {
        "key": "a", "key_name": "zoo", "provider": "paid", "model": "m", "requests": 4,
        "errors": 0, "abandoned": 0, "limited": 0, "texts": 8, "cache_hits": 0,
        "tokens": 2_000_000, "calls": 1, "calls_saved": 3, "cost": 4.0, "tokens_without_price": 0,
    }  # fmt: skip
    assert told["total"]["tokens"] == 2_000_004
    assert told["total"]["cost"] is None
    assert set(told["total"]) == MEASURES


def test_parts_of_calls_are_told_as_they_are(world: World) -> None:
    world.count("a", 1)
    row = world.told("?by=key")["usage"][0]
    assert (row["calls"], row["calls_saved"]) == (0.25, 0.75)


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("", [{}]),
        ("key", [{"key": "a", "key_name": None}, {"key": "b", "key_name": None}]),
        ("provider", [{"provider": "free"}, {"provider": "paid"}]),
        ("hour", [{"hour": "2027-01-15T08:00:00Z"}, {"hour": "2027-01-15T09:00:00Z"}]),
        ("day", [{"day": "2027-01-15"}]),
        ("model,%20provider", [{"model": "m", "provider": "free"},
                               {"model": "m", "provider": "paid"}]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("written", [True, False])
def test_by_what_it_is_told(world: World, by: str, groups: list[Any], written: bool) -> None:
    if not written:
        world.refuse_writes(yes=True)
    world.count("a", 3)
    world.loop.advance(HOUR_S)
    world.count("b", 4, provider="free")
    told = world.told(f"?by={by}")
    rows = [{n: v for n, v in row.items() if n not in MEASURES} for row in told["usage"]]
    assert rows == groups
    assert sum(row["tokens"] for row in told["usage"]) == told["total"]["tokens"] == 7


def test_of_which_time_it_is_told(world: World) -> None:
    for hours in range(30):
        world.count(f"key {hours}", 1)
        world.loop.advance(HOUR_S)
    for query, count in (
        ("?since=1h", 0), ("?since=2h", 1), ("?since=1d", 23), ("?since=3w", 30), ("", 30),
        ("?since=month", 30), ("?since=", 30), ("?since=2027-01-16", 14),
        ("?since=2027-01-16T08:00:00Z", 6), ("?since=2027-01-16T09:30:00%2B01:00", 6),
        ("?until=2027-01-15T09:00:00Z", 1),
        ("?since=2027-01-15T09:00:00Z&until=2027-01-15T11:00:00Z", 2),
        ("?since=1970-01-01", 30), ("?until=9999-12-31T23:59:59-23:59", 30),
    ):  # fmt: skip
        assert len(world.told(f"{query or '?'}&by=key")["usage"]) == count, query


def test_nothing_was_used(world: World) -> None:
    for by in ("", "key", "hour"):
        told = world.told(f"?by={by}")
        assert told["usage"] == []
        assert (told["total"]["requests"], told["total"]["cost"]) == (0, 0.0)


@pytest.mark.parametrize(
    ("query", "param", "said"),
    [
        ("by=keys", "by", "'keys' is nothing to group by; there are day, hour, key"),
        ("by=key,key", "by", "must not name a thing twice"),
        ("since=yesterday", "since", "must be a time such as"),
        ("since=2027-02-30", "since", "must be a time such as"),
        ("since=5m", "since", "must be a time such as"),
        ("since=999999h", "since", "must be a time such as"),
        ("until=2027-01-15T08:00:00", "until", "must be a time such as"),
        ("since=2027-01-15T08:00:00Z&until=2027-01-15T08:59:59Z", "until", "later than since"),
        ("since=2028-01-01", "until", "later than since"),
        ("form=csv", "form", "is not known; there are by, since, until"),
    ],
)
def test_what_cannot_be_asked(world: World, query: str, param: str, said: str) -> None:
    answer = world.ask(f"?{query}")
    assert (answer.status, answer.error["type"]) == (400, "validation_error")
    assert (answer.error["param"], said in answer.error["message"]) == (param, True)


def test_spans_go_back_in_whole_hours() -> None:
    question = question_of({"by": "", "since": "2h"}, NOW + 1800.0)
    assert question == Question((), HOUR - 1, HOUR + 1)


@pytest.mark.parametrize("written", [True, False])
def test_at_the_most_so_many_rows(world: World, written: bool) -> None:
    for number in range(ROWS_MAX):
        world.count(f"key {number}", 1)
    if not written:
        world.refuse_writes(yes=True)
    assert len(world.told("?by=key")["usage"]) == ROWS_MAX
    world.count("one more", 1)
    answer = world.ask("?by=key")
    assert (answer.status, answer.error["param"]) == (400, "by")
    assert world.told("?by=provider")["total"]["tokens"] == ROWS_MAX + 1


def test_what_a_provider_says_cannot_break_the_sums(world: World) -> None:
    for key in ("a", "b"):
        world.count(key, 1 << 62)
        world.count(key, 1 << 62)
    assert world.told("?by=provider")["usage"][0]["tokens"] == 2 << 53


def test_a_database_that_cannot_be_read(world: World) -> None:
    world.store.close()
    answer = world.ask()
    assert (answer.status, answer.error["type"]) == (503, "storage_error")
    assert answer.headers["retry-after"] == "5"


def test_who_left_meanwhile_gets_nothing(world: World) -> None:
    world.count("a", 1)
    exchange = world.client.send("GET", "/admin/usage", headers=AS_ADMIN)
    exchange.gone()
    world.loop.turn()
    world.loop.turn()
    assert world.client.answers == []
    assert exchange.stage is Stage.GONE


def test_callers_may_not_ask(world: World) -> None:
    world.client.send("GET", "/admin/usage")
    assert world.client.answers[0].status == 401


def test_an_unreadable_table_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "emr.db"
    Store(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE usage")
    with pytest.raises(StorageError, match="no such table"):
        World(path)
