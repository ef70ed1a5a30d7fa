"""Usage, kept: flushed in batches by the store's one writer, pruned, and asked for.

Theory of operation. The ledger counts in memory. The first line of an interval sets a timer; when
it fires, or an hour ends, all lines go to the store's thread in one transaction, under the hour in
which they were counted. So a kill loses what was counted in the last `FLUSH_S` seconds, nothing is
ever counted twice, and a router that does nothing writes nothing. What the database refuses waits
for the next flush.

To answer what is asked, everything is flushed first; what came since, or could not be written, is
added to what is read. The loop's thread alone touches lines that are not handed over yet.
"""

from __future__ import annotations

import logging
import sqlite3
from concurrent.futures import Future
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from emr.control.keyring import Shell
from emr.control.ledger import At, Ledger, Line, Price
from emr.control.quotas import Quotas, month_start
from emr.control.replies import refuse, reply_json
from emr.control.settings import Usage as UsageSettings
from emr.control.store import StorageError, Store
from emr.control.usage_report import ROWS_MAX, question_of, report, too_many
from emr.control.usage_rows import (
    HOUR_S,
    Question,
    Sums,
    add_lines,
    in_order,
    names_of,
    prune,
    read,
    tokens_since,
    write,
)
from emr.front.auth import Scope
from emr.front.exchange import Exchange, Stage
from emr.front.refusals import OK
from emr.front.routes import Route
from emr.front.sure import sure_answer
from emr.lane.refusal import Refusal, Refused

log = logging.getLogger("emr.usage")

FLUSH_S = 5.0  # what a kill may lose; a commit of a few rows costs a fsync
HOURS_KEPT = 24  # that could not be written: beyond it, hours are laid together
RETRY_S = 5.0  # of an answer that the database refused

Lines = dict[At, Line]
Told = dict[str, Any]


class Usage:
    """Keeps the ledger's lines, and answers `GET /admin/usage`.

    Mutable state: the hour in which lines are counted, those that could not be written by their
    hour, whether a flush is due, and the hour up to which rows were pruned.
    """

    def __init__(
        self, store: Store, shell: Shell, quotas: Quotas, price: Price, settings: UsageSettings
    ) -> None:
        """Read what was used of this month. Raises StorageError."""
        self.ledger = Ledger(quotas, price, self._begun)
        self._quotas = quotas
        self._store = store
        self._shell = shell
        self._retention_h = settings.retention_days * 24
        self._hour = self._this_hour()
        self._unwritten: dict[int, Lines] = {}
        self._is_due = False
        self._has_failed = False
        self._pruned = 0
        month = int(month_start(shell.wall())) // HOUR_S
        quotas.begin(store.read(lambda connection: tokens_since(connection, month)).result())

    def routes(self) -> list[Route]:
        """The admin route of usage."""
        return [Route(("GET",), "/admin/usage", Scope.ADMIN, self.usage)]

    # flushing

    def _this_hour(self) -> int:
        return int(self._shell.wall()) // HOUR_S

    def _begun(self) -> None:
        """The first line since the last flush is made."""
        self._quotas.turn_month()  # before it counts: nothing may have been, over its end
        self._hour = self._this_hour()
        self._flush_later()

    def _flush_later(self) -> None:
        if not self._is_due:
            self._is_due = True
            left = HOUR_S - self._shell.wall() % HOUR_S
            self._shell.later(min(FLUSH_S, left), self._time_has_come)

    def _time_has_come(self) -> None:
        self._is_due = False
        self._quotas.turn_month()
        self.flush()

    def flush(self) -> Future[None]:
        """Hand over what was counted; the Future is done when it is kept, or was refused.

        What it is done with is of no interest: refused lines wait for the next flush.
        """
        hours = self._unwritten
        lines = self.ledger.take()
        if lines:
            lay_together(hours, self._hour, lines)
        self._unwritten = {}
        done: Future[None] = Future()
        if not hours:
            done.set_result(None)
            return done
        written = self._store.submit(partial(self._write, hours))
        written.add_done_callback(
            lambda future: self._shell.post(lambda: self._written(hours, future, done))
        )
        return done

    def _write(self, hours: dict[int, Lines], connection: sqlite3.Connection) -> None:
        for hour, lines in hours.items():
            write(connection, hour, lines)
        now = self._shell.wall()
        this = int(now) // HOUR_S
        if this > self._pruned:  # of this month all is kept: limits are held against it
            prune(connection, min(this - self._retention_h, int(month_start(now)) // HOUR_S))
            self._pruned = this

    def _written(self, hours: dict[int, Lines], written: Future[None], done: Future[None]) -> None:
        error = written.exception()
        if error is None:
            self._has_failed = False
        else:
            for hour, lines in hours.items():
                lay_together(self._unwritten, hour, lines)
            self._flush_later()
            if not self._has_failed:
                self._has_failed = True
                why = str(error) if isinstance(error, StorageError) else type(error).__name__
                log.warning("Usage is not written", extra={"figures": {"why": why}})
        done.set_result(None)

    def close(self) -> None:
        """Keep what was counted, now; the store is closed by its owner."""
        hours, self._unwritten = self._unwritten, {}
        lines = self.ledger.take()
        if lines:
            lay_together(hours, self._hour, lines)
        if not hours:
            return
        try:
            self._store.run(partial(self._write, hours))
        except StorageError as error:
            figures = {"why": str(error), "lines": sum([len(each) for each in hours.values()])}
            log.error("The last usage is lost", extra={"figures": figures})

    # asking

    def usage(self, exchange: Exchange, captured: tuple[str, ...]) -> None:
        """What was used, by what the query says. Raises Refused."""
        given = dict(parse_qsl(exchange.query, keep_blank_values=True))
        question = question_of(given, self._shell.wall())
        flushed = self.flush()
        flushed.add_done_callback(lambda _: self._read(exchange, question))

    def _read(self, exchange: Exchange, question: Question) -> None:
        """Everything is written that can be: read it, and add the rest as it is at this moment."""
        rest = {hour: list_of(lines) for hour, lines in self._unwritten.items()}
        lay_together(rest, self._hour, list_of(self.ledger.lines))

        def answer(connection: sqlite3.Connection) -> Told:
            return answer_of(connection, question, rest)

        self._store.read(answer).add_done_callback(
            lambda done: self._shell.post(lambda: self._finish(exchange, done))
        )

    @staticmethod
    def _finish(exchange: Exchange, done: Future[Told]) -> None:
        if exchange.stage is not Stage.WAITING:
            return  # its client left
        with sure_answer(exchange):
            try:
                reply_json(exchange, OK, done.result())
            except Refused as refused:
                refuse(exchange, refused.refusal)
            except StorageError as error:
                refuse(exchange, Refusal("storage_error", str(error), retry_after=RETRY_S))


def answer_of(
    connection: sqlite3.Connection, question: Question, unwritten: dict[int, Lines]
) -> Told:
    """The report of what a database holds, and of what is not in it yet, by hours.

    Raises Refused when it is too much for one answer.
    """
    groups = read(connection, question, ROWS_MAX)
    for hour, lines in unwritten.items():
        add_lines(groups, question, hour, lines)
    if len(groups) > ROWS_MAX:
        raise too_many(question)
    names = names_of(connection)
    order = in_order(question, groups, names)
    total = Sums.of(groups.values())
    return report(question, [(group, groups[group]) for group in order], names, total)


def lay_together(hours: dict[int, Lines], hour: int, lines: Lines) -> None:
    """Add the lines of an hour to those of it; beyond HOURS_KEPT to the newest."""
    if hour not in hours and len(hours) >= HOURS_KEPT:
        hour = max(hours)
    there = hours.setdefault(hour, {})
    for at, line in lines.items():
        known = there.get(at)
        if known is None:
            there[at] = line
        else:
            known.add(line)


def list_of(lines: Lines) -> Lines:
    """Copies of lines that go on counting."""
    copies: Lines = {}
    for at, line in lines.items():
        copies[at] = Line(line.price, line.purse)
        copies[at].add(line)
    return copies
