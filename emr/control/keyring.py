"""Who a key belongs to, in memory: found by a digest, proven once, then one look-up a request.

Theory of operation. A key that is proven stands in `_verified` under a keyed digest (BLAKE2b with
a key that this process made up): an ordinary look-up is one hash and one dictionary. One that is
not yet proven is found by the digest it was stored with; only then argon2 runs, once, on the one
thread for that, and every request with the same key waits for that one run. A key that nobody has
costs no argon2 at all: its digest finds nothing.

A key adopted from the reference router has no digest before its first use. It is found by its
first 8 characters, which somebody may guess, so such runs are at most one a second; who comes
while 16 wait is asked to come again. Tokens that such a run found wrong are remembered.

Each key is one `Entry`, changed in place: a revocation is one assignment, and holds whatever proof
is under way. The loop's thread calls `look_up` and `verify`; the store's thread changes entries.
Every step that both could see is one assignment, or one operation of a dictionary.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from emr.control.key_rows import (
    KEY_LENGTH,
    PREFIX,
    SHOWN,
    CannotHash,
    KeyRow,
    digest_of,
    fresh_hash,
    is_key_of,
)
from emr.control.times import parse_time
from emr.front.desk import Principal
from emr.lane.refusal import Refusal

ADOPTED_EVERY_S = 1.0  # between runs for adopted keys: 2.4% of a core at the most
ADOPTED_WAITING_MAX = 16
WRONG_REMEMBERED_MAX = 1024
USE_WRITTEN_EVERY_S = 60.0

_MAKE_ONE = "make one with `emr keys create --name NAME`"
NO_KEY = Refusal(
    "unauthorized", f"no API key: send `Authorization: Bearer emr_…`; {_MAKE_ONE}", final=True
)
NOT_OURS = Refusal(
    "unauthorized",
    "this is not a key of this router: its keys are emr_ and 32 letters and digits (a provider's"
    f" own key is not sent here); {_MAKE_ONE}",
    final=True,
)
UNKNOWN = Refusal("unauthorized", f"unknown API key; {_MAKE_ONE}", final=True)
REVOKED = Refusal("unauthorized", f"this API key was revoked; {_MAKE_ONE}", final=True)
BUSY = Refusal(
    "overloaded", "too many unknown API keys at a time; try again", retry_after=ADOPTED_EVERY_S
)

NO_MEMORY = Refusal(
    "overloaded", "no memory to check the API key with; try again", retry_after=ADOPTED_EVERY_S
)

Answer = Callable[[Principal | Refusal], None]
Post = Callable[[Callable[[], None]], object]
Later = Callable[[float, Callable[[], None]], object]


@dataclass(slots=True, eq=False)
class Entry:
    """A key in memory. `refusal` is set once it is revoked, `expires` in seconds since 1970."""

    row: KeyRow
    principal: Principal
    refusal: Refusal | None
    expires: float | None
    use_written: float = float("-inf")  # monotonic

    @classmethod
    def of(cls, row: KeyRow) -> Entry:
        entry = cls(row, row.principal(), None, None)
        entry.take(row)
        return entry

    def take(self, row: KeyRow) -> None:
        """Be `row` from now on."""
        self.row = row
        self.principal = row.principal()
        self.expires = None if row.expires_at is None else parse_time(row.expires_at)
        self.refusal = REVOKED if row.revoked_at is not None else None


@dataclass(frozen=True, slots=True)
class Proof:
    """What a run of argon2 showed: which key it is, None for none of them.

    `fresh_hash` is a hash at today's cost, where the key's own was made at another. Without
    `is_known` the run could not be made.
    """

    digest: str
    entry: Entry | None = None
    fresh_hash: str | None = None
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class Shell:
    """What the ring needs of the world: the loop, its timers, the clocks.

    `post` runs a function in a later turn of the loop and may be called by any thread; `later`
    runs one after some seconds and is called by the loop's thread alone.
    """

    post: Post
    later: Later
    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class Keyring:
    """The keys of this process. Implements what the routes ask about a key."""

    def __init__(self, shell: Shell) -> None:
        # for the life of the process
        self._shell = shell
        self._secret = secrets.token_bytes(32)
        self._admin: bytes | None = None
        self._prover = ThreadPoolExecutor(max_workers=1, thread_name_prefix="emr-verify")
        self.on_use: Callable[[str], None] = lambda key_id: None
        self.on_proof: Callable[[str, Proof], None] = lambda key_id, proof: None
        # the keys
        self.entries: dict[str, Entry] = {}
        self._by_digest: dict[str, Entry] = {}
        self._adopted: dict[str, list[Entry]] = {}  # by their first characters
        self._verified: dict[bytes, Entry] = {}
        # who waits for a proof, by the keyed digest
        self._waiting: dict[bytes, list[Answer]] = {}
        self._adopted_queue: deque[tuple[bytes, bytes]] = deque()
        self._adopted_next = float("-inf")
        self._wrong: dict[bytes, None] = {}

    # what the routes ask

    def look_up(self, token: bytes) -> Principal | Refusal | None:
        """Who `token` belongs to, or why it is refused; None when it must be verified first."""
        entry = self._verified.get(self._mark(token))
        if entry is None:
            return self._look_further(token)
        if entry.refusal is not None or entry.expires is not None:
            refusal = self._refusal(entry)
            if refusal is not None:
                return refusal
        if self._shell.monotonic() - entry.use_written >= USE_WRITTEN_EVERY_S:
            self._use(entry)
        return entry.principal

    def verify(self, token: bytes, then: Answer) -> None:
        """Verify a token that `look_up` did not know yet; `then` is called in a later turn."""
        known = self.look_up(token)
        if known is not None:
            self._shell.post(lambda: then(known))
            return
        mark = self._mark(token)
        waiting = self._waiting.get(mark)
        if waiting is not None:
            waiting.append(then)
            return
        entry = self._by_digest.get(digest_of(token))
        if entry is not None:
            self._waiting[mark] = [then]
            self._prove(mark, token, (entry,))
        elif len(self._adopted_queue) >= ADOPTED_WAITING_MAX:
            self._shell.post(lambda: then(BUSY))
        else:
            self._waiting[mark] = [then]
            self._adopted_queue.append((mark, token))
            if len(self._adopted_queue) == 1:
                self._prove_adopted()

    def is_admin(self, token: bytes) -> bool:
        """Whether `token` is the admin secret, compared in constant time."""
        return self._admin is not None and hmac.compare_digest(self._mark(token), self._admin)

    def set_admin_secret(self, secret: str | None) -> None:
        """Take another admin secret; with None or an empty one nobody is admin."""
        self._admin = self._mark(secret.encode()) if secret else None

    # the keys themselves

    def put(self, row: KeyRow) -> Entry:
        """Have a key, new or changed."""
        entry = self.entries.get(row.id)
        if entry is None:
            entry = self.entries[row.id] = Entry.of(row)
            if row.key_digest is not None:
                self._by_digest[row.key_digest] = entry
            elif row.revoked_at is None:
                self._adopted.setdefault(row.key_prefix, []).append(entry)
        else:
            entry.take(row)
        return entry

    def put_proven(self, row: KeyRow, key: str) -> None:
        """Have a key that this process has just made: it needs no proof."""
        self._verified[self._mark(key.encode())] = self.put(row)

    def close(self) -> None:
        """Stop the thread; who waits for a proof gets no answer any more."""
        self._prover.shutdown(cancel_futures=True)

    # looking up

    def _mark(self, token: bytes) -> bytes:
        return hashlib.blake2b(token, digest_size=16, key=self._secret).digest()

    def _look_further(self, token: bytes) -> Refusal | None:
        if not token:
            return NO_KEY
        if len(token) != KEY_LENGTH or not token.startswith(PREFIX.encode()):
            return NOT_OURS
        entry = self._by_digest.get(digest_of(token))
        if entry is not None:
            return self._refusal(entry)
        if self._adopted and self._mark(token) not in self._wrong and self._candidates(token):
            return None
        return UNKNOWN

    def _candidates(self, token: bytes) -> Sequence[Entry]:
        """The adopted keys that a token may be, by its first characters."""
        shown = token[:SHOWN].decode("ascii", "replace")
        return [entry for entry in self._adopted.get(shown, ()) if entry.refusal is None]

    def _refusal(self, entry: Entry) -> Refusal | None:
        if entry.refusal is not None:
            return entry.refusal
        if entry.expires is not None and self._shell.wall() >= entry.expires:
            message = f"this API key expired at {entry.row.expires_at}; {_MAKE_ONE}"
            return Refusal("unauthorized", message, final=True)
        return None

    def _use(self, entry: Entry) -> None:
        entry.use_written = self._shell.monotonic()
        self.on_use(entry.row.id)

    # proving

    def _prove(self, mark: bytes, token: bytes, entries: Sequence[Entry]) -> None:
        def prove() -> None:
            proof = _try(token, entries)
            self._shell.post(lambda: self._proven(mark, proof))

        self._prover.submit(prove)

    def _prove_adopted(self) -> None:
        """Run for the first of the queue, as soon as a second has passed since the last run."""
        now = self._shell.monotonic()
        if now < self._adopted_next:
            self._shell.later(self._adopted_next - now, self._prove_adopted)
            return
        self._adopted_next = now + ADOPTED_EVERY_S
        mark, token = self._adopted_queue[0]
        self._prove(mark, token, self._candidates(token))

    def _proven(self, mark: bytes, proof: Proof) -> None:
        """A run ended: tell who waited, and keep what it showed."""
        if self._adopted_queue and self._adopted_queue[0][0] == mark:
            self._adopted_queue.popleft()
            if self._adopted_queue:
                self._prove_adopted()
        entry = proof.entry
        answer: Principal | Refusal
        if entry is not None:
            self._keep(mark, entry, proof)
            answer = self._refusal(entry) or entry.principal
            self._use(entry)
        elif proof.is_known:
            if len(self._wrong) >= WRONG_REMEMBERED_MAX:
                self._wrong.clear()
            self._wrong[mark] = None
            answer = UNKNOWN
        else:
            answer = NO_MEMORY
        for then in self._waiting.pop(mark):
            then(answer)

    def _keep(self, mark: bytes, entry: Entry, proof: Proof) -> None:
        self._verified[mark] = entry
        if entry.row.key_digest == proof.digest and proof.fresh_hash is None:
            return
        self._by_digest[proof.digest] = entry
        adopted = self._adopted.get(entry.row.key_prefix, [])
        if entry in adopted:
            adopted.remove(entry)
        self.on_proof(entry.row.id, proof)


def _try(token: bytes, entries: Sequence[Entry]) -> Proof:
    """Find the key that `token` is among `entries`; 24 ms each, on the thread for proofs."""
    digest = digest_of(token)
    try:
        for entry in entries:
            if is_key_of(token, entry.row.key_hash):
                return Proof(digest, entry, fresh_hash(token, entry.row.key_hash))
    except CannotHash:
        return Proof(digest, is_known=False)
    return Proof(digest)


def no_loop() -> Shell:
    """The shell of a process that only manages keys: nothing is ever verified there."""
    return Shell(post=lambda run: run(), later=lambda seconds, run: None)
