"""A Debian machine with a systemd of its own, in a container: made, booted, asked, and removed.

debootstrap makes its files (two minutes, 300 MB; EMR_ROOTFS names a folder that keeps them for the
next time), systemd-nspawn boots them. It has its own network, of a loopback alone. Needs root,
and the packages debootstrap and systemd-container.

nspawn's machine registration is left out, so that no systemd is needed outside; commands are run
inside by nsenter.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SUITE = "bookworm"
# what a minimal Debian with a service manager has, and the Python that emr needs; no procps: a
# reload must work without a `kill` program
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "passwd")
BOOT_S, STOP_S, RUN_S = 90.0, 40.0, 180.0
LOOK_EVERY_S = 0.2
INSIDE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class MachineError(Exception):
    """The machine cannot be had; the message says why."""


def make_files(root: Path, name: str, packages: Sequence[str]) -> None:
    """The files of a minimal Debian with these packages, at `root`; kept as `name`.

    Raises MachineError.
    """
    if shutil.which("debootstrap") is None:
        raise MachineError("debootstrap is not installed: apt install debootstrap")
    if os.geteuid() != 0:
        raise MachineError("only root can make the files of a machine")
    folder = os.environ.get("EMR_ROOTFS")
    kept = Path(folder, f"{name}.tar") if folder else None
    root.mkdir(mode=0o755)
    if kept is not None and kept.exists():
        subprocess.run(["tar", "-xpf", str(kept), "-C", str(root)], check=True)
        return
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", SUITE, str(root)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        raise MachineError(f"debootstrap: {made.stdout[-2000:]}")
    if kept is not None:
        subprocess.run(["tar", "-cpf", str(kept), "-C", str(root), "."], check=True)


class Machine:
    """A booted machine. `root` are its files, `process` is nspawn, `leader` its systemd."""

    def __init__(self, root: Path, process: subprocess.Popen[bytes], leader: int) -> None:
        self.root = root
        self.process = process
        self.leader = leader

    def run(
        self, *command: str, given: str | None = None, check: bool = True, seconds: float = RUN_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root with nothing in its environment.

        Raises AssertionError with what it said when it fails, unless `check` is False.
        """
        told = subprocess.run(
            [*inside(self.leader), *command],
            input="" if given is None else given, capture_output=True, text=True, check=False,
            env=INSIDE, timeout=seconds,
        )  # fmt: skip
        if check:
            said = f"{' '.join(command)}: {told.returncode}\n{told.stdout}{told.stderr}"
            assert told.returncode == 0, said
        return told

    def out(self, *command: str) -> str:
        """What a command that must succeed prints."""
        return self.run(*command).stdout.strip()

    def script(self, text: str, **more: bool) -> subprocess.CompletedProcess[str]:
        """Run lines of shell inside; the first that fails ends them."""
        return self.run("sh", "-eu", given=text, **more)

    def show(self, unit: str, field: str) -> str:
        """A property of a unit."""
        return self.out("systemctl", "show", "--property", field, "--value", unit)

    def log_of(self, unit: str, since: str = "") -> str:
        """The journal of a unit, after a cursor."""
        after = ["--after-cursor", since] if since else []
        return self.out("journalctl", "--no-pager", "-o", "cat", "-u", unit, *after)

    def cursor(self) -> str:
        """The place in the journal that is the last now."""
        told = self.out("journalctl", "--no-pager", "-n", "0", "--show-cursor")
        return told.rpartition("-- cursor: ")[2]

    def until(self, *command: str, seconds: float = 30.0) -> None:
        """Wait until a command succeeds. Raises AssertionError when it does not in time."""
        ends = time.monotonic() + seconds
        while self.run(*command, check=False).returncode != 0:
            assert time.monotonic() < ends, f"{' '.join(command)} does not succeed"
            time.sleep(LOOK_EVERY_S)


@contextmanager
def booted(root: Path) -> Iterator[Machine]:
    """Boot the files at `root` until the machine is up; power it off at the end.

    Raises MachineError.
    """
    for program in ("systemd-nspawn", "nsenter"):
        if shutil.which(program) is None:
            raise MachineError(f"{program} is not installed: apt install systemd-container")
    console = root.with_name(f"{root.name}.console")
    with console.open("wb") as out:
        process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--directory", str(root), "--boot", "--register=no",
             "--keep-unit", "--private-network", "--console=pipe", "--resolv-conf=off",
             "--timezone=off"],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )  # fmt: skip
    leader = 0
    try:
        leader = leader_of(process, console)
        machine = Machine(root, process, leader)
        machine.until("systemctl", "is-system-running", seconds=BOOT_S)
        yield machine
    finally:
        stop(process, leader)


def inside(leader: int) -> list[str]:
    """What runs the command behind it in the machine."""
    return ["nsenter", "--target", str(leader), "--all", "--"]


def leader_of(process: subprocess.Popen[bytes], console: Path) -> int:
    """The process that is the machine's first, once its manager answers. Raises MachineError."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    ends = time.monotonic() + BOOT_S
    while time.monotonic() < ends and process.poll() is None:
        for leader in map(int, children.read_text().split()):
            # nspawn's first child sets the machine up and is gone; the second stays
            asked = subprocess.run(
                [*inside(leader), "systemctl", "is-system-running"],
                capture_output=True, text=True, check=False, env=INSIDE,
            )  # fmt: skip
            if asked.stdout.strip() in ("running", "degraded", "starting"):
                return leader
        time.sleep(LOOK_EVERY_S)
    said = console.read_text(errors="replace")[-2000:]
    raise MachineError(f"systemd-nspawn does not boot ({process.poll()}): {said}")


def stop(process: subprocess.Popen[bytes], leader: int) -> None:
    """Power the machine off; one that does not go is killed, by the process numbers known."""
    if leader:
        poweroff = [*inside(leader), "systemctl", "poweroff"]
        subprocess.run(poweroff, capture_output=True, check=False, env=INSIDE)
    try:
        process.wait(STOP_S if leader else 0)
    except subprocess.TimeoutExpired:
        if leader:
            os.kill(leader, signal.SIGKILL)
        process.kill()
        process.wait(STOP_S)
