"""What is said to a service manager and taken from it, against a manager that a test plays."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emr.control import systemd
from emr.control.binds import parse_bind
from emr.control.systemd import (
    inherited_sockets,
    is_managed,
    notify,
    places_of,
    reloading,
    watchdog_s,
)  # fmt: skip
from emr.front.binds import BindError
from tests.support.processes import ROOT

PID = str(os.getpid())


class Manager:
    """Its end of the notify socket. `abstract` names have no file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + path[1:] if path.startswith("@") else path)
        self._socket.settimeout(5.0)

    def heard(self) -> list[str]:
        """The lines of the next datagram."""
        return self._socket.recv(4096).decode().split("\n")

    def fill(self) -> None:
        """Let nothing more fit."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as talk:
            talk.setblocking(False)
            address = "\0" + self.path[1:] if self.path.startswith("@") else self.path
            try:
                while True:
                    talk.sendto(b"x" * 1000, address)
            except BlockingIOError:
                return

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = str(tmp_path / "notify") if request.param == "file" else f"@emr-test-{PID}"
    manager = Manager(path)
    yield manager
    manager.close()


# telling


def test_lines_are_told_in_one_datagram(manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": manager.path}
    assert notify(environment, "READY=1", "STATUS=serving")
    assert manager.heard() == ["READY=1", "STATUS=serving"]
    before = time.monotonic_ns() // 1000
    assert notify(environment, *reloading())
    first, second = manager.heard()
    assert first == "RELOADING=1"
    name, _, microseconds = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(microseconds) <= time.monotonic_ns() // 1000


def test_without_a_manager_nothing_is_told() -> None:
    assert not notify({}, "READY=1")
    assert not notify({"NOTIFY_SOCKET": ""}, "READY=1")


@pytest.mark.parametrize(
    "path", ["/nowhere/notify", "@nobody-listens-here", "vsock:2:1", "/" * 500]
)
def test_a_manager_that_cannot_be_reached_is_no_failure(path: str) -> None:
    assert not notify({"NOTIFY_SOCKET": path}, "READY=1")


def test_a_manager_that_reads_nothing_is_not_waited_for_long(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "NOTIFY_S", 0.05)
    manager.fill()
    assert not notify({"NOTIFY_SOCKET": manager.path}, "WATCHDOG=1")


def test_without_a_file_to_spare_nothing_is_raised(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(*args: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(systemd.socket, "socket", no_more)
    assert not notify({"NOTIFY_SOCKET": manager.path}, "WATCHDOG=1")


@pytest.mark.parametrize(
    ("environment", "managed"),
    [({}, False), ({"INVOCATION_ID": "x"}, True), ({"NOTIFY_SOCKET": "x"}, True)],
)
def test_whether_there_is_a_manager(environment: dict[str, str], managed: bool) -> None:
    assert is_managed(environment) is managed


# the watchdog


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": PID}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": ""}, None),
        ({"WATCHDOG_USEC": "1"}, 5e-7),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
        ({"WATCHDOG_USEC": ""}, None),
    ],
)
def test_half_of_the_managers_patience(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog_s(environment) == seconds


# sockets


@pytest.mark.parametrize(
    "environment",
    [
        {}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": f"{PID}0"}, {"LISTEN_PID": PID},
        {"LISTEN_FDS": "0", "LISTEN_PID": PID}, {"LISTEN_FDS": "-1", "LISTEN_PID": PID},
        {"LISTEN_FDS": "x", "LISTEN_PID": PID}, {"LISTEN_FDS": "", "LISTEN_PID": PID},
    ],
)  # fmt: skip
def test_sockets_that_are_not_ours_are_left_alone(environment: dict[str, str]) -> None:
    assert inherited_sockets(environment) == []


CHILD = """
import os, sys
from emr.control.systemd import inherited_sockets
from emr.front.binds import BindError
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4) if sys.argv[2] != "-" else os.closerange(4, 5)
try:
    got = inherited_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": sys.argv[3]})
except BindError as error:
    print("refused", error, flush=True)
else:
    print([(s.fileno(), s.getsockname()[1], os.get_inheritable(s.fileno())) for s in got],
          flush=True)
os._exit(0)
"""


def in_a_child(first: int, second: int | str, count: str) -> str:
    """What a process finds whose descriptors 3 and 4 are these."""
    fds = [fd for fd in (first, second) if isinstance(fd, int)]
    told = subprocess.run(
        [sys.executable, "-c", CHILD, str(first), str(second), count],
        pass_fds=fds, capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return told.stdout.strip()


def test_sockets_that_the_manager_opened() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
        told = in_a_child(one.fileno(), two.fileno(), "2")
        assert told == str([(3, ports[0], False), (4, ports[1], False)])
        assert in_a_child(one.fileno(), two.fileno(), "1") == str([(3, ports[0], False)])


def test_where_they_listen_is_told_as_a_bind(tmp_path: Path) -> None:
    path = str(tmp_path / "emr.sock")
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
        socket.socket(socket.AF_UNIX) as file,
        socket.socket(socket.AF_UNIX) as nameless,
    ):
        file.bind(path)
        nameless.bind("")  # the system gives it a name that is no file
        told = places_of([four, six, file, nameless])
        assert told[:3] == (
            f"127.0.0.1:{four.getsockname()[1]}", f"[::1]:{six.getsockname()[1]}", f"unix:{path}",
        )  # fmt: skip
        assert all(parse_bind(text).is_loopback for text in told)


def test_a_descriptor_that_is_no_listening_socket_is_refused(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as good,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket() as unbound,
        (tmp_path / "file").open("w") as file,
    ):
        for bad in (datagrams.fileno(), unbound.fileno(), file.fileno(), "-"):
            told = in_a_child(good.fileno(), bad, "2")
            assert told.startswith("refused cannot listen on the inherited descriptor 4"), bad
            assert "ListenStream=" in told


def test_the_refusal_is_one_that_the_start_knows() -> None:
    with pytest.raises(BindError):
        inherited_sockets({"LISTEN_PID": PID, "LISTEN_FDS": "1000000"})
