"""The lock: one holder, found by others; waited for when it is a CLI, not when it is a server."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from emr.control.lockfile import (
    CLI_WAIT_S,
    Holder,
    LockError,
    LockHeld,
    find_holder,
    lock_path,
    take_lock,
)

HOLD = """
import sys
from pathlib import Path
from emr.control.lockfile import take_lock
lock = take_lock(Path(sys.argv[1]))
if sys.argv[2:]:
    lock.announce(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept = 0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "made" / "emr.db"


def holder_process(database: Path, *address: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database), *address],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_take_tell_and_release(database: Path) -> None:
    assert find_holder(database) is None
    lock = take_lock(database)
    assert lock.path == lock_path(database) == database.with_name("emr.db.lock")
    assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700
    assert find_holder(database) == Holder(os.getpid(), None)
    lock.announce("http://127.0.0.1:3200")
    assert find_holder(database) == Holder(os.getpid(), "http://127.0.0.1:3200")
    lock.announce("unix:/x")
    assert find_holder(database) == Holder(os.getpid(), "unix:/x")
    lock.release()
    lock.release()
    assert find_holder(database) is None
    assert lock.path.exists()
    take_lock(database).release()


def test_a_server_is_not_waited_for(database: Path) -> None:
    process = holder_process(database, "http://127.0.0.1:3200")
    try:
        clock = Clock()
        with pytest.raises(LockHeld) as caught:
            take_lock(database, clock=clock, sleep=clock.sleep)
        assert caught.value.holder == Holder(process.pid, "http://127.0.0.1:3200")
        assert f"process {process.pid}" in str(caught.value)
        assert "http://127.0.0.1:3200" in str(caught.value)
        assert clock.slept <= 1
        assert find_holder(database) == Holder(process.pid, "http://127.0.0.1:3200")
    finally:
        end(process)
    take_lock(database).release()


def test_another_cli_is_waited_for(database: Path) -> None:
    process = holder_process(database)
    try:
        clock = Clock()
        with pytest.raises(LockHeld) as caught:
            take_lock(database, clock=clock, sleep=clock.sleep)
        assert caught.value.holder == Holder(process.pid, None)
        assert clock.now == pytest.approx(100.0 + CLI_WAIT_S, abs=0.1)
    finally:
        end(process)


def test_it_is_had_once_the_other_is_done(database: Path) -> None:
    process = holder_process(database)
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.slept == 3:
            end(process)

    take_lock(database, clock=clock, sleep=sleep).release()
    assert clock.slept == 3


def test_what_a_killed_server_left_is_not_believed(database: Path) -> None:
    end(holder_process(database, "http://127.0.0.1:3200"))
    assert json.loads(lock_path(database).read_text())["address"] == "http://127.0.0.1:3200"
    assert find_holder(database) is None
    lock = take_lock(database)
    assert find_holder(database) == Holder(os.getpid(), None)
    lock.release()


def test_who_only_looks_does_not_turn_a_server_away(database: Path) -> None:
    """A look holds the lock for an instant, beside what a dead server left in the file."""
    end(holder_process(database, "http://127.0.0.1:3200"))
    looker = take_lock(database)
    looker.announce("http://127.0.0.1:3200")
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        looker.release()

    take_lock(database, clock=clock, sleep=sleep).release()
    assert clock.slept == 1


@pytest.mark.parametrize("content", ["", "x", "[]", "3", '{"pid": "a", "address": 3}', '{"pid'])
def test_content_that_makes_no_sense(database: Path, content: str) -> None:
    lock = take_lock(database)
    lock.path.write_text(content)
    assert find_holder(database) == Holder()
    with pytest.raises(LockHeld, match="another process"):
        take_lock(database, wait_s=0.0)
    lock.release()


def test_planted_links_and_folders_that_cannot_be(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    database = tmp_path / "emr.db"
    lock_path(database).symlink_to(victim)
    with pytest.raises(LockError):
        take_lock(database)
    with pytest.raises(LockError):
        find_holder(database)
    assert victim.read_text() == "precious"
    with pytest.raises(LockError, match="cannot be made"):
        take_lock(victim / "emr.db")
