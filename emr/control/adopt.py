"""Takes over the database of the reference router: its keys keep working, its providers too.

Its tables (github.com/LightspeedDMS/embeddings-router, src/db.rs):

    providers  name, provider_type, api_key_env_var, endpoint, model, enabled, created_at
    api_keys   id, name, key_hash, key_prefix, created_at, revoked_at

It writes times as `YYYY-MM-DD HH:MM:SS` in UTC, hashes keys with argon2id at the same cost as we
do, and keeps the first 8 characters of a key (`emr_` and four) to find it by. What we find it by,
a digest, can only be had from the key itself: an adopted key gets it at its first use.

Columns are read by name and may be missing: other versions may have others. A key without a hash
cannot be verified and is left out; a time that cannot be read is now, so that what was revoked
stays revoked.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from typing import Any

from emr.control.times import from_sqlite, time_text

TABLES = ("api_keys", "providers")
_MARKS = {"api_keys": {"key_hash", "key_prefix"}, "providers": {"name", "provider_type"}}


def is_reference(connection: sqlite3.Connection) -> bool:
    """Whether the tables are those of the reference router, and not ours."""
    if "key_digest" in _columns(connection, "api_keys"):
        return False
    return all(_MARKS[name] <= _columns(connection, name) for name in TABLES)


def adopt(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Copy `reference_api_keys` and `reference_providers` into our tables; what was done."""
    now = time_text(time.time())
    keys = sum(_adopt_key(connection, row, now) for row in _rows(connection, "reference_api_keys"))
    providers = sum(
        _adopt_provider(connection, row, now) for row in _rows(connection, "reference_providers")
    )
    return (f"{keys} keys and {providers} providers of the reference router are taken over",)


def _adopt_key(connection: sqlite3.Connection, row: dict[str, Any], now: str) -> int:
    if not row.get("key_hash"):
        return 0
    revoked = row.get("revoked_at")
    prefix = str(row.get("key_prefix") or "")
    values = (
        str(row.get("id") or uuid.uuid4()),
        str(row.get("name") or prefix),
        str(row["key_hash"]),
        prefix,
        from_sqlite(row.get("created_at")) or now,
        (from_sqlite(revoked) or now) if revoked else None,
        from_sqlite(row.get("last_used_at")),
    )
    return connection.execute(
        "INSERT OR IGNORE INTO api_keys"
        " (id, name, key_hash, key_prefix, created_at, revoked_at, last_used_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        values,
    ).rowcount


def _adopt_provider(connection: sqlite3.Connection, row: dict[str, Any], now: str) -> int:
    if not row.get("name") or not row.get("provider_type"):
        return 0
    enabled = row.get("enabled")
    values = (
        str(row["name"]),
        str(row["provider_type"]),
        str(row.get("api_key_env_var") or ""),
        str(row.get("endpoint") or ""),
        str(row.get("model") or ""),
        1 if enabled is None else int(bool(enabled)),
        from_sqlite(row.get("created_at")) or now,
    )
    return connection.execute(
        "INSERT OR IGNORE INTO providers"
        " (name, provider_type, api_key_env_var, endpoint, model, enabled, created_at, adopted)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
        values,
    ).rowcount


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def _rows(connection: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    """Every row by the names of its columns, in the order in which they were added."""
    cursor = connection.execute(f"SELECT * FROM {table} ORDER BY rowid")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
