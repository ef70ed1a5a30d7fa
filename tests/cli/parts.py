"""What the tests of the command line share: a home of their own, a server, a terminal."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from emr.app import Start
from emr.cli import main
from emr.cli.ask.address import Address, parse_address
from emr.cli.ask.inside import Inside
from emr.control.config import load
from emr.control.endpoints import row_rules
from emr.control.lockfile import take_lock
from emr.control.places import Places
from emr.control.secrets import Secret
from emr.control.store import Store

PATIENCE_S = 30.0  # the most that a test waits for a process
SECRET = "test-admin-secret"
ROOT = Path(__file__).parent.parent.parent
ADDRESS = "emr serves at "
# a provider that nobody asks, so that the built-in model need not load
QUIET = """\
[[providers]]
name = "far"
provider_type = "openai-compatible"
endpoint = "http://127.0.0.1:9/v1"
model = "m"
"""


@dataclass(slots=True)
class Home:
    """The places of a test. `default` is what the commands take for the default address."""

    places: Places
    default: Address

    @property
    def database(self) -> Path:
        return self.places.folder / "emr.db"

    def configure(self, text: str) -> Path:
        """Write the configuration that is found without being named."""
        path = self.places.here / "config.toml"
        path.write_text(text)
        return path

    def secret(self, value: str = SECRET) -> None:
        """Write the admin secret."""
        self.places.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.places.env_file.touch(0o600)
        self.places.env_file.write_text(f"EMR_ADMIN_SECRET={value}\n")


@dataclass(slots=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


class Commands:
    """Runs commands in this process, in a home."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *argv: str) -> Ran:
        self._capsys.readouterr()
        try:
            code = main(argv)
        except SystemExit as ended:  # argparse ends so: --version, --help, wrong use
            code = ended.code if isinstance(ended.code, int) else 1
        told = self._capsys.readouterr()
        return Ran(code, told.out, told.err)


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def listening() -> socket.socket:
    """A socket that listens at a port of the system's choice on loopback."""
    return socket.create_server(("127.0.0.1", 0))


def at(sock: socket.socket) -> Address:
    """The address of a listening socket."""
    if sock.family == socket.AF_UNIX:
        return Address(port=80, socket=sock.getsockname())
    return Address(host="127.0.0.1", port=sock.getsockname()[1])


@contextlib.contextmanager
def router(home: Home, sock: socket.socket, secret: str = SECRET) -> Iterator[Address]:
    """A router in this process on the home's database, at `sock`, as `emr serve` would run it."""
    loaded = load(None, {}, row_rules())
    found = home.places.here / "config.toml"
    if found.exists():
        loaded = load(found, {}, row_rules())
    lock = take_lock(home.database)
    known = Secret(secret, "the test")
    address = at(sock)
    if loaded.settings.server.tls_cert is not None:
        address = address._replace(scheme="https")
    store = Store(home.database)
    start = Start(loaded, known, home.places, {}, store, lambda: (loaded, known))
    try:
        with Inside(start, [sock]):
            lock.announce(str(address))
            yield address
    finally:
        lock.release()


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a real process: nothing of ours but what Python needs."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {"HOME": str(home), "PYTHONPATH": str(ROOT)} | dict(more or {})


def address_in(welcome: str) -> Address:
    """Where a server says that it serves."""
    line = next(line for line in welcome.splitlines() if line.startswith(ADDRESS))
    return parse_address(line.removeprefix(ADDRESS).split(", ")[0])


# as a service manager hands a socket over: the descriptor 3, and whose it is
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "emr", *sys.argv[2:]])
"""


class Process:
    """A real `emr …`. Its stderr goes into a file, so that it never waits for a reader.

    `handed` is a listening socket that it inherits.
    """

    def __init__(
        self,
        folder: Path,
        *argv: str,
        env: Mapping[str, str] | None = None,
        home: Path | None = None,
        handed: socket.socket | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        fds = [] if handed is None else [handed.fileno()]
        start = ["-c", HAND_OVER, *map(str, fds)] if fds else ["-m", "emr"]
        self.errors = folder / "stderr"
        self._errors = self.errors.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, *start, *argv], cwd=folder, stdin=subprocess.DEVNULL, pass_fds=fds,
            env=environment(home or folder, env), stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()

    def welcome(self) -> str:
        """What it prints at the start: one write, smaller than a pipe cuts."""
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        assert select.select([fd], [], [], PATIENCE_S)[0], f"it says nothing: {self.said()}"
        return os.read(fd, 65_536).decode()

    def end(self, number: int) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def said(self) -> str:
        """Its stderr so far."""
        return self.errors.read_text()
