"""The ring: one proof a key and process, none for a wrong key, and a revocation that holds."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from emr.control import key_rows, keyring
from emr.control.key_rows import KEY_LENGTH, KeyRow, digest_of, hash_of, new_key
from emr.control.keyring import (
    ADOPTED_WAITING_MAX,
    BUSY,
    NO_KEY,
    NO_MEMORY,
    NOT_OURS,
    REVOKED,
    UNKNOWN,
    WRONG_REMEMBERED_MAX,
    Keyring,
    Proof,
)
from emr.front.desk import Principal
from emr.lane.refusal import Refusal
from tests.control.parts import PATIENCE_S, FakeLoop

KEY = new_key()
ROW = KeyRow("id-1", "one", hash_of(KEY), digest_of(KEY.encode()), KEY[:8], "2026-01-01T00:00:00Z")
ADOPTED = replace(ROW, key_digest=None)


class Runs:
    """Counts the runs of argon2, and can hold them up."""

    def __init__(self) -> None:
        self.count = 0
        self.go_on = threading.Event()
        self.go_on.set()

    def is_key_of(self, key: bytes, key_hash: str) -> bool:
        self.count += 1
        assert self.go_on.wait(PATIENCE_S)
        return key_rows.is_key_of(key, key_hash)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    runs = Runs()
    monkeypatch.setattr(keyring, "is_key_of", runs.is_key_of)
    return runs


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture
def ring(loop: FakeLoop, runs: Runs) -> Iterator[Keyring]:
    ring = Keyring(loop.shell())
    yield ring
    runs.go_on.set()
    ring.close()


def ask(ring: Keyring, token: bytes) -> list[Principal | Refusal]:
    """Ask for a proof; the answer is in the list once it came."""
    answers: list[Principal | Refusal] = []
    ring.verify(token, answers.append)
    return answers


def forged(number: int) -> bytes:
    """A key with the first characters of KEY."""
    return f"{KEY[:8]}{number:028}".encode()


# proving


def test_a_right_key_is_proven_once(ring: Keyring, loop: FakeLoop, runs: Runs) -> None:
    ring.put(ROW)
    assert ring.look_up(KEY.encode()) is None
    answers = ask(ring, KEY.encode())
    assert answers == []
    loop.turn()
    assert answers == [Principal("id-1", "one")]
    for _ in range(3):
        assert ring.look_up(KEY.encode()) == Principal("id-1", "one")
    assert runs.count == 1


def test_many_requests_wait_for_one_run(ring: Keyring, loop: FakeLoop, runs: Runs) -> None:
    ring.put(ROW)
    runs.go_on.clear()
    answers = [ask(ring, KEY.encode()) for _ in range(100)]
    runs.go_on.set()
    loop.turn()
    assert answers == [[Principal("id-1", "one")]] * 100
    assert runs.count == 1
    assert loop.is_idle()


def test_a_key_that_this_process_made_needs_no_proof(ring: Keyring, runs: Runs) -> None:
    ring.put_proven(ROW, KEY)
    assert ring.look_up(KEY.encode()) == Principal("id-1", "one")
    assert runs.count == 0


def test_what_is_known_by_then_is_answered_in_a_later_turn(
    ring: Keyring, loop: FakeLoop, runs: Runs
) -> None:
    ring.put_proven(ROW, KEY)
    right, wrong = ask(ring, KEY.encode()), ask(ring, new_key().encode())
    assert (right, wrong) == ([], [])
    loop.turn()
    loop.turn()
    assert (right, wrong) == ([Principal("id-1", "one")], [UNKNOWN])
    assert runs.count == 0


def test_a_wrong_key_costs_no_argon2(ring: Keyring, runs: Runs) -> None:
    ring.put(ROW)
    for number in range(1000):
        assert ring.look_up(new_key().encode()) is UNKNOWN
        assert ring.look_up(forged(number)) is UNKNOWN
    assert runs.count == 0


def test_a_digest_that_fits_another_key_is_no_proof(
    ring: Keyring, loop: FakeLoop, runs: Runs
) -> None:
    """As if somebody had found a second key of the same 64 bits."""
    other = new_key()
    ring.put(replace(ROW, key_digest=digest_of(other.encode())))
    assert ring.look_up(other.encode()) is None
    answers = ask(ring, other.encode())
    loop.turn()
    assert answers == [UNKNOWN]
    assert runs.count == 1


@pytest.mark.parametrize(
    ("token", "refusal"),
    [
        (b"", NO_KEY),
        (b"sk-123", NOT_OURS),
        (b"emr_", NOT_OURS),
        (KEY.encode()[:-1], NOT_OURS),
        (KEY.encode() + b"x", NOT_OURS),
        (b"EMR_" + KEY.encode()[4:], NOT_OURS),
        (b"\xff" * KEY_LENGTH, NOT_OURS),
        (b"emr_" + b"\xff" * 32, UNKNOWN),
        (b"emr_" + "é".encode() * 16, UNKNOWN),
        (b"\x00" * 100_000, NOT_OURS),
    ],
)
def test_what_is_no_key(ring: Keyring, runs: Runs, token: bytes, refusal: Refusal) -> None:
    ring.put(ROW)
    ring.put(replace(ADOPTED, id="id-2"))
    assert ring.look_up(token) is refusal
    assert refusal.type == "unauthorized"
    assert "emr keys create" in refusal.message
    assert runs.count == 0


# changes


def test_a_revoked_key_is_refused_at_once(ring: Keyring, loop: FakeLoop) -> None:
    ring.put_proven(ROW, KEY)
    ring.put(replace(ROW, revoked_at="2026-01-02T00:00:00Z"))
    assert ring.look_up(KEY.encode()) is REVOKED


def test_a_revocation_holds_a_proof_under_way(ring: Keyring, loop: FakeLoop, runs: Runs) -> None:
    ring.put(ROW)
    runs.go_on.clear()
    answers = ask(ring, KEY.encode())
    ring.put(replace(ROW, revoked_at="2026-01-02T00:00:00Z"))
    runs.go_on.set()
    loop.turn()
    assert answers == [REVOKED]
    assert ring.look_up(KEY.encode()) is REVOKED


def test_a_key_that_was_revoked_before_costs_no_argon2(ring: Keyring, runs: Runs) -> None:
    ring.put(replace(ROW, revoked_at="2026-01-02T00:00:00Z"))
    assert ring.look_up(KEY.encode()) is REVOKED
    assert runs.count == 0


def test_expiry_to_the_second(ring: Keyring, loop: FakeLoop) -> None:
    ring.put_proven(replace(ROW, expires_at="2027-01-15T08:00:10Z"), KEY)
    loop.wall = 1_800_000_009.0
    assert ring.look_up(KEY.encode()) == Principal("id-1", "one")
    loop.wall = 1_800_000_009.99
    assert ring.look_up(KEY.encode()) == Principal("id-1", "one")
    loop.wall = 1_800_000_010.0
    refusal = ring.look_up(KEY.encode())
    assert isinstance(refusal, Refusal)
    assert refusal.type == "unauthorized"
    assert "expired at 2027-01-15T08:00:10Z" in refusal.message
    ring.put(ROW)
    assert ring.look_up(KEY.encode()) == Principal("id-1", "one")


def test_limits_reach_the_principal(ring: Keyring) -> None:
    ring.put_proven(ROW, KEY)
    ring.put(replace(ROW, name="two", providers=("v",), max_priority="bulk"))
    assert ring.look_up(KEY.encode()) == Principal("id-1", "two", frozenset({"v"}), True)


# adopted keys


def test_an_adopted_key_gets_its_digest_at_its_first_use(
    ring: Keyring, loop: FakeLoop, runs: Runs
) -> None:
    proofs: list[tuple[str, Proof]] = []
    ring.on_proof = lambda key_id, proof: proofs.append((key_id, proof))
    ring.put(ADOPTED)
    assert ring.look_up(KEY.encode()) is None
    answers = ask(ring, KEY.encode())
    loop.turn()
    assert answers == [Principal("id-1", "one")]
    ((key_id, proof),) = proofs
    assert (key_id, proof.digest, proof.fresh_hash) == ("id-1", digest_of(KEY.encode()), None)
    assert ring.look_up(KEY.encode()) == Principal("id-1", "one")
    for number in range(10):  # its first characters find nothing any more
        assert ring.look_up(forged(number)) is UNKNOWN
    assert runs.count == 1


def test_wrong_keys_against_an_adopted_one_are_tried_once_a_second(
    ring: Keyring, loop: FakeLoop, runs: Runs
) -> None:
    ring.put(ADOPTED)
    first, second, right = ask(ring, forged(1)), ask(ring, forged(2)), ask(ring, KEY.encode())
    again = ask(ring, forged(2))
    loop.turn()
    assert (first, second, runs.count) == ([UNKNOWN], [], 1)
    assert loop.timers() == [1.0]
    loop.advance(0.999)
    assert len(loop.timers()) == 1
    assert runs.count == 1
    loop.advance(0.001)
    loop.turn()
    assert (second, again, right, runs.count) == ([UNKNOWN], [UNKNOWN], [], 2)
    loop.advance(1.0)
    loop.turn()
    assert (right, runs.count) == ([Principal("id-1", "one")], 3)
    assert ring.look_up(forged(1)) is UNKNOWN


def test_a_wrong_key_is_remembered(ring: Keyring, loop: FakeLoop, runs: Runs) -> None:
    ring.put(ADOPTED)
    ask(ring, forged(1))
    loop.turn()
    for _ in range(100):
        assert ring.look_up(forged(1)) is UNKNOWN
    assert runs.count == 1


def test_what_is_remembered_has_a_bound(
    ring: Keyring, loop: FakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "is_key_of", lambda key, key_hash: False)
    ring.put(ADOPTED)
    for number in range(WRONG_REMEMBERED_MAX):
        ask(ring, forged(number))
        loop.turn()
        loop.advance(1.0)
    assert ring.look_up(forged(0)) is UNKNOWN
    ask(ring, forged(WRONG_REMEMBERED_MAX))
    loop.turn()
    assert ring.look_up(forged(0)) is None
    assert ring.look_up(forged(WRONG_REMEMBERED_MAX)) is UNKNOWN


def test_only_so_many_wait(ring: Keyring, loop: FakeLoop, runs: Runs) -> None:
    ring.put(ADOPTED)
    runs.go_on.clear()
    waiting = [ask(ring, forged(number)) for number in range(ADOPTED_WAITING_MAX)]
    beyond = ask(ring, forged(99))
    loop.turn()
    assert beyond == [BUSY]
    assert BUSY.retry_after is not None
    assert waiting == [[]] * ADOPTED_WAITING_MAX
    runs.go_on.set()
    loop.turn()
    assert waiting[0] == [UNKNOWN]
    later = ask(ring, forged(99))
    for _ in range(ADOPTED_WAITING_MAX):
        loop.advance(1.0)
        loop.turn()
    assert [*waiting, later] == [[UNKNOWN]] * (ADOPTED_WAITING_MAX + 1)


def test_two_adopted_keys_of_the_same_first_characters(
    ring: Keyring, loop: FakeLoop, runs: Runs
) -> None:
    ring.put(replace(ADOPTED, id="id-0", key_hash=hash_of(new_key())))
    ring.put(ADOPTED)
    answers = ask(ring, KEY.encode())
    loop.turn()
    assert answers == [Principal("id-1", "one")]
    assert runs.count == 2


def test_an_adopted_key_that_is_revoked_is_not_tried(
    ring: Keyring, loop: FakeLoop, runs: Runs
) -> None:
    ring.put(ADOPTED)
    runs.go_on.clear()
    first, queued = ask(ring, forged(1)), ask(ring, KEY.encode())
    ring.put(replace(ADOPTED, revoked_at="2026-01-02T00:00:00Z"))
    assert ring.look_up(forged(2)) is UNKNOWN
    runs.go_on.set()
    loop.turn()
    loop.advance(1.0)
    loop.turn()
    assert (first, queued, runs.count) == ([UNKNOWN], [UNKNOWN], 1)


# hashes


def test_a_hash_at_another_cost_is_made_anew(ring: Keyring, loop: FakeLoop) -> None:
    cheap = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(KEY)
    proofs: list[Proof] = []
    ring.on_proof = lambda key_id, proof: proofs.append(proof)
    ring.put(replace(ROW, key_hash=cheap))
    answers = ask(ring, KEY.encode())
    loop.turn()
    assert answers == [Principal("id-1", "one")]
    (proof,) = proofs
    assert proof.fresh_hash is not None
    assert proof.fresh_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert key_rows.is_key_of(KEY.encode(), proof.fresh_hash)


@pytest.mark.parametrize(
    "key_hash", ["", "x", "$argon2id$v=19$m=1", "$2b$12$abc", ROW.key_hash[:-4] + "$$$$"]
)
def test_a_hash_that_cannot_be_read_is_nobodys(
    ring: Keyring, loop: FakeLoop, key_hash: str
) -> None:
    ring.put(replace(ROW, key_hash=key_hash))
    answers = ask(ring, KEY.encode())
    loop.turn()
    assert answers == [UNKNOWN]


def test_without_memory_nothing_is_said_of_the_key(
    ring: Keyring, loop: FakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exhausted:
        def verify(self, key_hash: str, key: bytes) -> bool:
            raise VerificationError(key_rows.NO_MEMORY)

    ring.put(ROW)
    monkeypatch.setattr(key_rows, "HASHER", Exhausted())
    answers = ask(ring, KEY.encode())
    loop.turn()
    assert answers == [NO_MEMORY]
    monkeypatch.undo()
    assert ring.look_up(KEY.encode()) is None
    answers = ask(ring, KEY.encode())
    loop.turn()
    assert answers == [Principal("id-1", "one")]


def test_keys_are_random_and_hashes_salted() -> None:
    keys = {new_key() for _ in range(1000)}
    assert len(keys) == 1000
    for key in keys:
        assert len(key) == 36
        assert key.startswith("emr_")
        assert key[4:].isalnum()
        assert key.isascii()
    assert {char for key in keys for char in key[4:]} == set(key_rows.LETTERS)
    assert hash_of(KEY) != hash_of(KEY)
    assert digest_of(b"abc") == hashlib.sha256(b"abc").hexdigest()[:16]


# use, and the admin


def test_use_is_told_at_most_once_a_minute(ring: Keyring, loop: FakeLoop) -> None:
    used: list[str] = []
    ring.on_use = used.append
    ring.put_proven(ROW, KEY)
    for _ in range(10):
        ring.look_up(KEY.encode())
    assert used == ["id-1"]
    loop.advance(59.9)
    ring.look_up(KEY.encode())
    assert used == ["id-1"]
    loop.advance(0.1)
    ring.look_up(KEY.encode())
    assert used == ["id-1", "id-1"]


def test_the_first_proof_is_a_use(ring: Keyring, loop: FakeLoop) -> None:
    used: list[str] = []
    ring.on_use = used.append
    ring.put(ROW)
    ask(ring, KEY.encode())
    loop.turn()
    ring.look_up(KEY.encode())
    assert used == ["id-1"]


TOKENS: list[Callable[[str], Any]] = [
    lambda secret: b"",
    lambda secret: secret.encode()[:-1],
    lambda secret: secret.encode() + b"x",
    lambda secret: secret.upper().encode(),
    lambda secret: b"\xff\xfe",
    lambda secret: "é".encode(),
    lambda secret: b"\x00" * 10_000,
]


def test_the_admin(ring: Keyring) -> None:
    assert not ring.is_admin(b"")
    assert not ring.is_admin(b"None")
    ring.set_admin_secret("a secret")
    assert ring.is_admin(b"a secret")
    for token in TOKENS:
        assert not ring.is_admin(token("a secret"))
    ring.set_admin_secret("another")
    assert ring.is_admin(b"another")
    assert not ring.is_admin(b"a secret")
    for nothing in (None, ""):
        ring.set_admin_secret(nothing)
        assert not ring.is_admin(b"")
        assert not ring.is_admin(b"another")


def test_a_caller_key_is_no_admin(ring: Keyring) -> None:
    ring.put_proven(ROW, KEY)
    ring.set_admin_secret("a secret")
    assert not ring.is_admin(KEY.encode())
    assert ring.look_up(b"a secret") is NOT_OURS
