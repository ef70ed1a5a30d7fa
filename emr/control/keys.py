"""The callers' keys: made, listed, changed, revoked and rotated, in the database and in memory.

Rules of this file
- A change is answered after its commit, and after the ring has it: a new key works at once, a
  revoked one is refused at once, and a kill after the answer loses nothing.
- The ring is changed between the commit and the answer, on the store's thread (`Store.submit`).
- What may be refused (a field, a key that is not there) raises Refused; what the database refuses
  is a StorageError. Both come out of the Future, but for bad fields, which raise at once.
"""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from emr.control.key_rows import (
    LIMITS,
    SHOWN,
    CannotHash,
    KeyRow,
    NewKey,
    check_changes,
    digest_of,
    hash_of,
    insert,
    new_key,
    read_row,
    read_rows,
    update,
)
from emr.control.keyring import Keyring, Proof, Shell
from emr.control.places import Places
from emr.control.private import PrivateFileError, read_private
from emr.control.store import StorageError, Store
from emr.control.times import parse_time, time_text
from emr.lane.refusal import Refusal, Refused


class Keys:
    """Manages the keys; `ring` answers who a key belongs to.

    `on_rotate` is told of a key and of the one that stands in its place, on the store's thread.
    """

    def __init__(self, store: Store, shell: Shell, places: Places | None = None) -> None:
        """Read every key into memory. With `places`, the first key's file goes with that key.

        Raises StorageError.
        """
        self.ring = Keyring(shell)
        self.ring.on_use = self._write_use
        self.ring.on_proof = self._write_proof
        self._store = store
        self._wall = shell.wall
        self._places = places
        self.on_rotate: Callable[[str, str], None] = lambda old_id, new_id: None
        for row in store.read(read_rows).result():
            self.ring.put(row)

    def rotations(self) -> list[tuple[str, str]]:
        """The keys that were rotated, each with the one that is in its place, the oldest first."""
        rows = [entry.row for entry in list(self.ring.entries.values())]
        return [(row.replaces, row.id) for row in rows if row.replaces is not None]

    @property
    def active(self) -> int:
        """How many keys may be used now."""
        now = self._wall()
        return sum(
            entry.refusal is None and (entry.expires is None or now < entry.expires)
            for entry in list(self.ring.entries.values())
        )

    def listing(self) -> list[dict[str, Any]]:
        """Every key as the admin API shows it, the oldest first, the revoked ones too."""
        return [entry.row.view() for entry in list(self.ring.entries.values())]

    def create(self, given: Mapping[str, object]) -> Future[NewKey]:
        """Make a key of the fields in `given`, of which `name` is needed. Raises Refused."""
        fields = check_changes(given)
        if "name" not in fields:
            raise Refused(Refusal("validation_error", "name is required", param="name"))
        return self._store.submit(lambda connection: self._add(connection, fields), self._have)

    def rotate(self, key_id: str) -> Future[NewKey]:
        """A new key of the same name and limits; the old one is revoked in the same transaction."""

        def work(connection: sqlite3.Connection) -> NewKey:
            old = self._find(connection, key_id)
            if old.expires_at is not None and self._wall() >= parse_time(old.expires_at):
                message = f"key {key_id} expired at {old.expires_at}; give it a new expires_at"
                raise Refused(Refusal("validation_error", message, param="expires_at"))
            fields = {name: getattr(old, name) for name in ("name", *LIMITS)}
            fields["replaces"] = key_id
            update(connection, key_id, {"revoked_at": self._now()})
            new = self._add(connection, fields)
            return replace(new, replaced=self._read(connection, key_id))

        return self._store.submit(work, self._have)

    def revoke(self, key_id: str) -> Future[KeyRow]:
        """Refuse a key from now on; work in flight finishes."""

        def work(connection: sqlite3.Connection) -> KeyRow:
            self._find(connection, key_id)
            update(connection, key_id, {"revoked_at": self._now()})
            return self._read(connection, key_id)

        return self._store.submit(work, self._revoked)

    def patch(self, key_id: str, given: Mapping[str, object]) -> Future[KeyRow]:
        """Change the name or the limits of a key; None takes a limit away. Raises Refused."""
        changes = check_changes(given)

        def work(connection: sqlite3.Connection) -> KeyRow:
            self._find(connection, key_id)
            update(connection, key_id, changes)
            return self._read(connection, key_id)

        return self._store.submit(work, self._put)

    def close(self) -> None:
        """Stop the thread for proofs; the store is closed by its owner."""
        self.ring.close()

    # on the store's thread, in a transaction

    def _add(self, connection: sqlite3.Connection, fields: Mapping[str, Any]) -> NewKey:
        key = new_key()
        try:
            key_hash = hash_of(key)
        except CannotHash as error:
            raise StorageError("there is no memory to make a key with; try again") from error
        row = KeyRow(
            id=str(uuid.uuid4()),
            key_hash=key_hash,
            key_digest=digest_of(key.encode()),
            key_prefix=key[:SHOWN],
            created_at=self._now(),
            **fields,
        )
        insert(connection, row)
        return NewKey(key, row)

    @staticmethod
    def _find(connection: sqlite3.Connection, key_id: str) -> KeyRow:
        row = read_row(connection, key_id)
        if row is None or row.revoked_at is not None:
            state = "unknown" if row is None else "revoked"
            raise Refused(Refusal("not_found", f"key {key_id[:64]} is {state}"))
        return row

    @staticmethod
    def _read(connection: sqlite3.Connection, key_id: str) -> KeyRow:
        row = read_row(connection, key_id)
        assert row is not None, "a key went away inside of a transaction: a bug"
        return row

    # on the store's thread, after a commit

    def _have(self, new: NewKey) -> None:
        if new.replaced is not None:
            self.on_rotate(new.replaced.id, new.row.id)
        self.ring.put_proven(new.row, new.key)
        if new.replaced is not None:
            self._revoked(new.replaced)

    def _put(self, row: KeyRow) -> None:
        self.ring.put(row)

    def _revoked(self, row: KeyRow) -> None:
        self.ring.put(row)
        if self._places is None or row.key_digest is None:
            return
        path = self._places.first_key
        with contextlib.suppress(PrivateFileError, OSError):  # a file that is not ours to remove
            text = read_private(path)
            if text is not None and digest_of(text.strip().encode()) == row.key_digest:
                path.unlink()

    # what the ring tells

    def _write_use(self, key_id: str) -> None:
        self._write(key_id, {"last_used_at": self._now()})

    def _write_proof(self, key_id: str, proof: Proof) -> None:
        changes = {"key_digest": proof.digest}
        if proof.fresh_hash is not None:
            changes["key_hash"] = proof.fresh_hash
        self._write(key_id, changes)

    def _write(self, key_id: str, changes: Mapping[str, Any]) -> None:
        """Write what can be lost: when the database refuses, it stands in `Store.trouble`."""

        def work(connection: sqlite3.Connection) -> KeyRow | None:
            update(connection, key_id, changes)
            return read_row(connection, key_id)

        def then(row: KeyRow | None) -> None:
            if row is not None:
                self.ring.put(row)

        self._store.submit(work, then)

    def _now(self) -> str:
        return time_text(self._wall())
