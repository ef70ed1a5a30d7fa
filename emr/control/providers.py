"""The providers that are registered: of the file, of the database, and the built-in one.

Rules of this file
- The file wins: a row of the database with the name of one of the file's is shown, disabled.
- A row that a rule refuses now (a type that went away, an endpoint that is not allowed) stays
  registered and is shown with the reason, disabled: nothing is deleted behind an operator's back.
- The built-in `local` is there while nothing else is registered, and by its name always.
- A change is answered after its commit and after the table has it; whoever listens in `on_change`
  is told in the loop before whoever waits for the answer.

The table is replaced as a whole under a lock and read without one. Changes of the database come on
the store's thread, a reload on the loop's.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from emr.control.rows import (
    BY_NAME,
    DEFAULTS,
    FIELDS,
    KEY_FIELDS,
    LOCAL,
    BadRow,
    Fault,
    Row,
    RowRules,
    Setter,
    Source,
    check_api_variables,
    nearest,
)
from emr.control.settings import Settings
from emr.control.store import Store
from emr.control.times import time_text
from emr.lane.refusal import Refusal, Refused
from emr.upstream.kinds import Kind

COLUMNS = (
    "name", "provider_type", "api_key_env_var", "endpoint", "model", "enabled", "created_at",
    "adopted",
)  # fmt: skip
OPTIONS = tuple(field.name for field in FIELDS if field.name not in COLUMNS)
SHADOWED = "the configuration file has a provider of this name"
OnChange = Callable[[frozenset[str]], None]


@dataclass(frozen=True, slots=True)
class Environs:
    """What the providers need of the world.

    `post` runs a function in a later turn of the loop and may be called by any thread.
    `has_local` tells whether the embedded model is installed.
    """

    rules: RowRules
    has_local: Callable[[], bool]
    post: Callable[[Callable[[], None]], object]
    wall: Callable[[], float] = time.time


class Providers:
    """The table of providers, and the only door for changes of it."""

    def __init__(self, store: Store, environs: Environs, settings: Settings) -> None:
        """Read every row. Raises StorageError."""
        self._store = store
        self._environs = environs
        self._lock = threading.Lock()
        self.on_change: list[OnChange] = []
        # what is registered
        self._file: tuple[Row, ...] = settings.providers
        self._settings = settings
        self._database: dict[str, Row] = {
            row.name: self._judge(row) for row in store.read(_read_rows).result()
        }
        self._local = self._built_in()
        # what is in use by name, made of the above
        self._table: Mapping[str, Row] = {}
        self._rebuild()

    # asking

    def get(self, name: str) -> Row | None:
        """The row in use under `name`, disabled ones too; the built-in by its name always."""
        row = self._table.get(name)
        return self._local if row is None and name == LOCAL else row

    @property
    def edition(self) -> object:
        """The same object as long as nothing changed."""
        return self._table

    def rows(self) -> list[Row]:
        """The rows in use: one a name; the built-in only while nothing else is registered."""
        return list(self._table.values())

    def enabled(self) -> list[Row]:
        """The rows that may get requests."""
        return [row for row in self._table.values() if row.enabled]

    def only(self) -> Row | None:
        """The one that a request without provider and model goes to; None unless it is one.

        `local` does not count beside another, also when it was registered by its name.
        """
        enabled = self.enabled()
        counted = [row for row in enabled if row.name != LOCAL] or enabled
        return counted[0] if len(counted) == 1 else None

    def listing(self) -> list[dict[str, Any]]:
        """Every row as the admin API shows it, those that the file hides too."""
        table = self._table
        hidden = [
            replace(row, enabled=False, note=SHADOWED)
            for name, row in self._database.copy().items()
            if name in table and table[name].source is Source.FILE
        ]
        return [self.view(row) for row in (*table.values(), *hidden)]

    def view(self, row: Row) -> dict[str, Any]:
        """A row as the admin API shows it."""
        return view(row, self._environs.rules.kinds)

    def target(self, alias: str) -> tuple[str, str] | None:
        """The provider and the model that an alias of `[models]` stands for."""
        told = self._settings.models.get(alias)
        if told is None:
            return None
        provider, _, model = told.partition("/")
        return provider, model

    # changing

    def add(self, given: Mapping[str, object]) -> Future[Row]:
        """Register a provider. Raises Refused: bad fields, a name of the file."""
        rules = self._environs.rules
        allowed = self._settings.server.key_variables
        row = _checked(given, allowed, lambda: rules.make(given, Source.DATABASE, self._now()))
        self._not_of_file(row.name)

        def work(connection: sqlite3.Connection) -> Row:
            if _read_row(connection, row.name) is not None:
                raise _conflict(f"there is a provider {row.name} already")
            _write_row(connection, row)
            return row

        return self._store.submit(work, self._put)

    def patch(self, name: str, given: Mapping[str, object]) -> Future[Row]:
        """Change a provider of the database. Raises Refused; so does the Future."""
        self._editable(name)
        rules, allowed = self._environs.rules, self._settings.server.key_variables

        def work(connection: sqlite3.Connection) -> Row:
            old = _read_row(connection, name)
            if old is None:
                raise _not_found(name)
            row = _checked(given, allowed, lambda: rules.change(old, given))
            _write_row(connection, row)
            return row

        return self._store.submit(work, self._put)

    def delete(self, name: str) -> Future[Row]:
        """Take a provider of the database away; what was accepted before is still sent."""
        self._editable(name)

        def work(connection: sqlite3.Connection) -> Row:
            old = _read_row(connection, name)
            if old is None:
                raise _not_found(name)
            connection.execute("DELETE FROM providers WHERE name = ?", (name,))
            return old

        return self._store.submit(work, self._drop)

    def enable(self, name: str) -> Future[Row]:
        """Use a provider again."""
        return self.patch(name, {"enabled": True})

    def disable(self, name: str) -> Future[Row]:
        """Use a provider no more, but keep its row."""
        return self.patch(name, {"enabled": False})

    def reload(self, settings: Settings) -> frozenset[str]:
        """Take the file's rows, aliases and key variables anew; the names that changed."""
        with self._lock:
            self._settings = settings
            self._file = settings.providers
            changed = self._rebuild()
        self._tell(changed)
        return changed

    # how a change is made

    def _not_of_file(self, name: str) -> None:
        if any(row.name == name for row in self._file):
            raise _conflict(f"{name} is in the configuration file; change it there, and reload")

    def _editable(self, name: str) -> None:
        self._not_of_file(name)
        if name == LOCAL and name not in self._database and self._local is not None:
            raise _conflict(
                f"{LOCAL} is built in; `emr providers add --name {LOCAL} --type {LOCAL}` makes a"
                " row of it that can be changed"
            )

    def _put(self, row: Row) -> None:
        with self._lock:
            self._database[row.name] = self._judge(row)
            changed = self._rebuild()
        self._tell(changed)

    def _drop(self, row: Row) -> None:
        with self._lock:
            self._database.pop(row.name, None)
            changed = self._rebuild()
        self._tell(changed)

    def _tell(self, changed: frozenset[str]) -> None:
        if changed:
            for listener in self.on_change:
                self._environs.post(partial(listener, changed))

    def _rebuild(self) -> frozenset[str]:
        """Make the table anew; the names whose row is another now."""
        old = self._table
        table = {row.name: row for row in self._file}
        for row in self._database.values():
            table.setdefault(row.name, row)
        if not table and self._local is not None:
            table[LOCAL] = self._local
        self._table = table
        return frozenset(
            name for name in old.keys() | table.keys() if old.get(name) != table.get(name)
        )

    def _judge(self, row: Row) -> Row:
        """A row of the database, disabled with the reason where a rule refuses it now."""
        try:
            return self._environs.rules.complete(row)
        except BadRow as error:
            return replace(row, enabled=False, note=str(error))

    def _built_in(self) -> Row | None:
        if not self._environs.has_local():
            return None
        given = {"name": LOCAL, "provider_type": LOCAL}
        return self._environs.rules.make(given, Source.BUILT_IN)

    def _now(self) -> str:
        return time_text(self._environs.wall())


def view(row: Row, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """A row as the admin API shows it. It names the variables of keys, never a key."""
    shown = {name: _plain(getattr(row, name)) for name in (*COLUMNS, *OPTIONS)}
    shown["created_at"] = row.created_at or None
    shown["source"] = row.source.value
    shown["note"] = row.note or None
    if row.max_texts_per_request is None and row.provider_type in kinds:
        shown["max_texts_per_request"] = kinds[row.provider_type].max_texts
    return shown


def _checked(given: Mapping[str, object], allowed: Sequence[str], make: Callable[[], Row]) -> Row:
    """The row that `make` gives, if the admin API may set what is in `given`. Raises Refused."""
    try:
        for name, value in given.items():
            field = BY_NAME.get(name)
            if field is None:
                hint = nearest(name, tuple(BY_NAME))
                raise BadRow([Fault(name, f"is not a field of a provider{hint}")])
            if field.setter is Setter.FILE and value not in (None, DEFAULTS[name]):
                raise BadRow([Fault(name, "can only be set in the configuration file")])
        row = make()
        if any(name in given for name in KEY_FIELDS):
            check_api_variables(row.key_variables, allowed)
    except BadRow as error:
        fault = error.faults[0]
        message = f"{fault.field} {fault.reason}"
        raise Refused(Refusal("validation_error", message, param=fault.field)) from error
    return row


def _conflict(message: str) -> Refused:
    return Refused(Refusal("conflict", message, status=409))


def _not_found(name: str) -> Refused:
    return Refused(Refusal("not_found", f"there is no provider {name[:64]}"))


# the table in the database


def _read_rows(connection: sqlite3.Connection) -> list[Row]:
    query = f"SELECT {', '.join(COLUMNS)}, options FROM providers ORDER BY rowid"
    return [_row(values) for values in connection.execute(query)]


def _read_row(connection: sqlite3.Connection, name: str) -> Row | None:
    query = f"SELECT {', '.join(COLUMNS)}, options FROM providers WHERE name = ?"
    values = connection.execute(query, (name,)).fetchone()
    return None if values is None else _row(values)


def _write_row(connection: sqlite3.Connection, row: Row) -> None:
    options = {name: _plain(getattr(row, name)) for name in OPTIONS}
    kept = {name: value for name, value in options.items() if value != _plain(DEFAULTS[name])}
    values = [getattr(row, name) for name in COLUMNS]
    connection.execute(
        f"INSERT INTO providers ({', '.join(COLUMNS)}, options)"
        f" VALUES ({', '.join('?' for _ in COLUMNS)}, ?)"
        " ON CONFLICT (name) DO UPDATE SET"
        f" {', '.join(f'{name} = excluded.{name}' for name in (*COLUMNS[1:], 'options'))}",
        [*values, json.dumps(kept)],
    )


def _row(values: Sequence[Any]) -> Row:
    told = dict(zip(COLUMNS, values, strict=False))
    told["enabled"], told["adopted"] = bool(told["enabled"]), bool(told["adopted"])
    for name, value in _options(values[-1]).items():
        told[name] = tuple(value) if isinstance(value, list) else value
    return Row(**told, source=Source.DATABASE)


def _options(text: str) -> dict[str, Any]:
    """The fields that are kept as JSON; those that this version does not know are left out."""
    try:
        told = json.loads(text)
    except ValueError as error:
        raise sqlite3.DataError("providers.options has what is not JSON") from error
    if not isinstance(told, dict):
        raise sqlite3.DataError("providers.options has what is not an object")
    return {name: told[name] for name in told.keys() & set(OPTIONS)}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
