"""A caller's key: how it is made, what of it is kept, and what may be set about it.

A key is `emr_` and 32 letters and digits of the system's secure random source (190 bits). Kept are
its argon2id hash, the first 16 hex digits of its SHA-256 to find it by, and its first 8 characters
to show; never the key. A digest of 64 bits gives nothing away that helps against 190.

The cost of a hash, 19 MiB, 2 passes, 1 lane, is the second choice of OWASP's cheat sheet on storing
passwords and the default of the reference router's library: 24 ms measured. argon2-cffi's own
default (64 MiB, 3 passes, 4 lanes) costs 187 ms of CPU, and guards nothing more here: what is
hashed is random, not a password.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import string
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import (
    HashingError,
    InvalidHashError,
    VerificationError,
)
from argon2.low_level import error_to_str

from emr.control.rows import NAME, nearest
from emr.control.times import parse_time, time_text
from emr.control.values import Choice, Distinct, Form, Text, Whole
from emr.front.desk import NO_LIMITS, KeyLimits, Principal
from emr.lane.refusal import Refusal, Refused

PREFIX = "emr_"
LETTERS = string.ascii_letters + string.digits
KEY_LENGTH = len(PREFIX) + 32
SHOWN = 8  # characters, as the reference router shows and finds them
DIGEST_LENGTH = 16  # hex digits
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
NO_MEMORY = error_to_str(-22)  # ARGON2_MEMORY_ALLOCATION_ERROR of argon2.h
LIMIT_MAX = 10**15


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as it is kept. `key_digest` is None for an adopted key before its first use.

    Limits are None where there is none; `providers` are the only ones it may use. Times are RFC
    3339. `max_priority` is `bulk` for a key that is held to bulk. `replaces` is the key that this
    one was made instead of.
    """

    id: str
    name: str
    key_hash: str
    key_digest: str | None
    key_prefix: str
    created_at: str
    revoked_at: str | None = None
    last_used_at: str | None = None
    expires_at: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_month: int | None = None
    providers: tuple[str, ...] | None = None
    max_priority: str | None = None
    replaces: str | None = None

    def principal(self) -> Principal:
        """Who asks, as the routes see it."""
        allowed = None if self.providers is None else frozenset(self.providers)
        limits = KeyLimits(self.requests_per_minute, self.tokens_per_minute, self.tokens_per_month)
        return Principal(
            self.id,
            self.name,
            allowed,
            self.max_priority == "bulk",
            NO_LIMITS if limits == NO_LIMITS else limits,
        )

    def view(self) -> dict[str, Any]:
        """The row as the admin API shows it: never the hash, never the digest."""
        shown = {name: getattr(self, name) for name in COLUMNS if name not in _HIDDEN}
        if self.providers is not None:
            shown["providers"] = list(self.providers)
        return shown


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(KeyRow))
_HIDDEN = ("key_hash", "key_digest")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only time that it is seen.

    `replaced` is the key that it was made instead of, now revoked.
    """

    key: str
    row: KeyRow
    replaced: KeyRow | None = None

    def __repr__(self) -> str:
        return f"NewKey({self.row.key_prefix}…)"

    def view(self) -> dict[str, Any]:
        """What `POST /admin/keys` answers."""
        row = self.row
        return {
            "id": row.id,
            "key": self.key,
            "name": row.name,
            "key_prefix": row.key_prefix,
            "created_at": row.created_at,
        }


class _TimeForm(Text):
    """An RFC 3339 time with its offset, kept in UTC."""

    def take(self, value: object) -> str:
        return time_text(parse_time(super().take(value)))


LIMITS: Mapping[str, Form] = {
    "requests_per_minute": Whole(1, LIMIT_MAX),
    "tokens_per_minute": Whole(1, LIMIT_MAX),
    "tokens_per_month": Whole(1, LIMIT_MAX),
    "providers": Distinct(NAME, least=1),
    "expires_at": _TimeForm("a time such as 2026-12-31T23:59:59Z"),
    "max_priority": Choice(("bulk",)),
}
CHANGEABLE: Mapping[str, Form] = {"name": Text("a name", 200), **LIMITS}


def new_key() -> str:
    """A new key."""
    return PREFIX + "".join(secrets.choice(LETTERS) for _ in range(KEY_LENGTH - len(PREFIX)))


def digest_of(key: bytes) -> str:
    """What a key is found by: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(key).hexdigest()[:DIGEST_LENGTH]


def hash_of(key: str) -> str:
    """The argon2id hash that proves a key; 24 ms. Raises CannotHash."""
    try:
        return HASHER.hash(key)
    except HashingError as error:
        raise CannotHash from error


class CannotHash(Exception):
    """There was no memory for a hash: nothing is known of the key."""


def is_key_of(key: bytes, key_hash: str) -> bool:
    """Whether `key_hash` is of this key; 24 ms. A hash that cannot be read is nobody's.

    Raises CannotHash.
    """
    try:
        return HASHER.verify(key_hash, key)
    except InvalidHashError:
        return False
    except VerificationError as error:
        if str(error) == NO_MEMORY:
            raise CannotHash from error
        return False


def fresh_hash(key: bytes, key_hash: str) -> str | None:
    """A hash at today's cost for a key whose own was made at another, else None."""
    if not HASHER.check_needs_rehash(key_hash):
        return None
    try:
        return HASHER.hash(key)
    except HashingError:
        return None  # the old one still proves it


def check_changes(given: Mapping[str, object]) -> dict[str, Any]:
    """The fields that a change sets, checked. None takes a limit away.

    Raises Refused with `validation_error`, naming the field.
    """
    changes: dict[str, Any] = {}
    for name, value in given.items():
        form = CHANGEABLE.get(name)
        if form is None:
            known = ", ".join(CHANGEABLE)
            hint = nearest(name, tuple(CHANGEABLE))
            raise _refused(name, f"is not a field of a key; known: {known}{hint}")
        if value is None and name in LIMITS:
            changes[name] = None
            continue
        try:
            changes[name] = form.take(value)
        except ValueError as error:
            raise _refused(name, str(error)) from error
    return changes


def _refused(name: str, reason: str) -> Refused:
    return Refused(Refusal("validation_error", f"{name} {reason}", param=name))


# rows and the table


def read_rows(connection: sqlite3.Connection) -> list[KeyRow]:
    """Every key, the oldest first."""
    cursor = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM api_keys ORDER BY rowid")
    return [_row(values) for values in cursor]


def read_row(connection: sqlite3.Connection, key_id: str) -> KeyRow | None:
    """One key."""
    values = connection.execute(
        f"SELECT {', '.join(COLUMNS)} FROM api_keys WHERE id = ?", (key_id,)
    ).fetchone()
    return None if values is None else _row(values)


def insert(connection: sqlite3.Connection, row: KeyRow) -> None:
    """Add a key. Raises sqlite3.IntegrityError when its id or digest is there already."""
    marks = ", ".join("?" for _ in COLUMNS)
    connection.execute(
        f"INSERT INTO api_keys ({', '.join(COLUMNS)}) VALUES ({marks})",
        [_stored(name, getattr(row, name)) for name in COLUMNS],
    )


def update(connection: sqlite3.Connection, key_id: str, changes: Mapping[str, Any]) -> bool:
    """Change a key that is not revoked; False when there is none."""
    assert set(changes) <= set(COLUMNS), "a column that is not there: a bug"
    if not changes:
        found = connection.execute(
            "SELECT 1 FROM api_keys WHERE id = ? AND revoked_at IS NULL", (key_id,)
        ).fetchone()
        return found is not None
    columns = ", ".join(f"{name} = ?" for name in changes)
    cursor = connection.execute(
        f"UPDATE api_keys SET {columns} WHERE id = ? AND revoked_at IS NULL",
        [*(_stored(name, value) for name, value in changes.items()), key_id],
    )
    return cursor.rowcount == 1


def _stored(name: str, value: Any) -> Any:
    return json.dumps(value) if name == "providers" and value is not None else value


def _row(values: tuple[Any, ...]) -> KeyRow:
    told = dict(zip(COLUMNS, values, strict=True))
    try:
        if told["providers"] is not None:
            told["providers"] = tuple(json.loads(told["providers"]))
        if told["expires_at"] is not None:
            parse_time(told["expires_at"])
    except (TypeError, ValueError) as error:
        raise sqlite3.DataError(f"the limits of key {told['id']} cannot be read") from error
    return KeyRow(**told)
