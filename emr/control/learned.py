"""What accounts learned of their providers, kept over restarts: read at the start, written behind.

Theory of operation. The first provider call after a write sets a timer; when it fires, what the
open accounts know (`emr.lane.memory`) is compared with what is kept, and what differs goes to the
store's thread in one transaction. So a router without calls writes nothing, nothing waits for the
disk, and a kill loses what was learned in the last `WRITE_S` seconds.

Rules of this file
- What is kept is told once, to the first account that is opened at its place (provider, scope, key
  variable). One that is opened there later was closed for a reason: its row or its key is another.
- It is told only if the account is made of the same: type, endpoint, limits and caps (`made_of`). A
  limit that was learned somewhere else is worth nothing.
- It is about limits of a plan, which may be another one after a month: what is older is forgotten.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from random import Random

import orjson

from emr.control.keyring import Shell
from emr.control.rows import Row
from emr.control.store import StorageError, Store
from emr.lane.account import Account
from emr.lane.effects import Send
from emr.lane.memory import Kept, recall, remember
from emr.lane.settings import AccountSpec
from emr.lane.verdict import Outcome

log = logging.getLogger("emr.learned")

WRITE_S = 30.0  # half of the shortest time in which a limit is learned
KEPT_S = 30 * 86_400.0
AGAIN_S = 86_400.0  # what does not change is marked as known still, once a day

Place = tuple[str, str, str]  # provider name, scope, key variable
Spoken = tuple[Row, Account]  # an open account, and the row that it was opened for


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is kept of one account: of what it is made, what it learned, and when that was."""

    made_of: str
    content: bytes
    at: float


class Learned:
    """The lessons of all accounts. `accounts` gives the open ones; it is set when there are any.

    Mutable state: what is to be told yet, what is written, and whether a write is due.
    """

    def __init__(self, store: Store, shell: Shell) -> None:
        """Read what is kept. Raises StorageError."""
        self.accounts: Callable[[], Iterable[Spoken]] = tuple
        self._store = store
        self._shell = shell
        self._is_due = False
        since = shell.wall() - KEPT_S
        self._written = store.read(partial(read_lessons, since)).result()
        self._untold = dict(self._written)

    # telling

    def tell(self, row: Row, account: Account) -> None:
        """An account is opened: it goes on where the one at its place was, if there was one."""
        lesson = self._untold.pop(place_of(account.spec), None)
        self._tell(lesson, row, account)

    def show(self, row: Row, account: Account) -> None:
        """An account is made for views: what one that is opened now would know."""
        self._tell(self._untold.get(place_of(account.spec)), row, account)

    @staticmethod
    def _tell(lesson: Lesson | None, row: Row, account: Account) -> None:
        if lesson is None or lesson.made_of != made_of(row, account.spec):
            return
        try:
            kept = orjson.loads(lesson.content)
            recall(Account(account.spec, account.settings, Random()), kept)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            figures = {"provider": row.name, "why": type(error).__name__}
            log.warning("What was learned cannot be read", extra={"figures": figures})
            return
        recall(account, kept)

    # writing

    def called(self, send: Send, outcome: Outcome, seconds: float) -> None:
        """A provider call ended: something may have been learned."""
        if not self._is_due:
            self._is_due = True
            self._shell.later(WRITE_S, self._time_has_come)

    def _time_has_come(self) -> None:
        self._is_due = False
        self.flush()

    def flush(self) -> Future[None] | None:
        """Hand over what is not written yet; None when that is nothing."""
        news = self._news()
        if not news:
            return None
        written = self._store.submit(partial(write_lessons, news))
        written.add_done_callback(lambda done: self._shell.post(lambda: self._have(news, done)))
        return written

    def close(self) -> None:
        """Keep what was learned, now; the store is closed by its owner."""
        news = self._news()
        if news:
            try:
                self._store.run(partial(write_lessons, news))
            except StorageError as error:
                log.error("What was learned last is lost", extra={"figures": {"why": str(error)}})

    def _news(self) -> dict[Place, Lesson]:
        now, news = self._shell.wall(), {}
        for row, account in self.accounts():
            kept: Kept = remember(account)
            if not kept:
                continue
            lesson = Lesson(made_of(row, account.spec), orjson.dumps(kept), now)
            old = self._written.get(place_of(account.spec))
            is_same = old is not None and (old.made_of, old.content) == (
                lesson.made_of,
                lesson.content,
            )
            if old is None or not is_same or now - old.at >= AGAIN_S:
                news[place_of(account.spec)] = lesson
        return news

    def _have(self, news: dict[Place, Lesson], done: Future[None]) -> None:
        """What the database refused is tried again with what comes later; the store says why."""
        if done.exception() is None:
            self._written |= news


def place_of(spec: AccountSpec) -> Place:
    """Where an account is."""
    return spec.provider, spec.scope, spec.key


def made_of(row: Row, spec: AccountSpec) -> str:
    """A digest of what an account's lessons are about."""
    limits = sorted(
        (d.value, limit.per_minute, limit.configured) for d, limit in spec.limits.items()
    )
    parts = (
        row.provider_type, row.endpoint, row.api_version, spec.max_texts, spec.max_tokens,
        spec.max_bytes, limits,
    )  # fmt: skip
    return blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def read_lessons(since: float, connection: sqlite3.Connection) -> dict[Place, Lesson]:
    """What is kept since then."""
    rows = connection.execute(
        "SELECT provider, scope, key_variable, made_of, content, at FROM learned WHERE at >= ?",
        (since,),
    )
    return {(row[0], row[1], row[2]): Lesson(row[3], row[4], row[5]) for row in rows}


def write_lessons(news: dict[Place, Lesson], connection: sqlite3.Connection) -> None:
    """Keep these, instead of what was kept at their places, and forget what is too old."""
    connection.executemany(
        "INSERT OR REPLACE INTO learned (provider, scope, key_variable, made_of, content, at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [(*place, one.made_of, one.content, one.at) for place, one in news.items()],
    )
    newest = max(one.at for one in news.values())
    connection.execute("DELETE FROM learned WHERE at < ?", (newest - KEPT_S,))
