"""The machine of all tests here, with a fake provider, and how emr is asked on it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from nspawn import PACKAGES, Machine, booted, inside, make_files
from versions import STEP, repacked

ROOT = Path(__file__).parent.parent.parent
DEB = ROOT / "dist" / "emr_0.1.0_amd64.deb"
CALLERS = Path(__file__).with_name("callers.py")
PROVIDER_KEY = "sk-fake-key-of-the-machine"
PROVIDER = """
[[providers]]
name = "fake"
provider_type = "voyage"
api_key_env_var = "FAKE_API_KEY"
endpoint = "http://127.0.0.1:3300/v1/embeddings"
"""
ASK = """
import json, sys, urllib.request
body = json.dumps({"input": sys.argv[2], "model": "fake/voyage-code-3"}).encode()
head = {"Authorization": "Bearer " + sys.argv[1], "Content-Type": "application/json"}
with urllib.request.urlopen(
    urllib.request.Request("http://127.0.0.1:3200/v1/embeddings", body, head), timeout=30
) as reply:
    told = json.load(reply)
print(told["provider"], len(told["data"][0]["embedding"]))
"""
# what a system writes for itself whenever a package comes or goes
SYSTEMS_OWN = (
    "var/lib/dpkg/", "var/lib/apt/", "var/log/", "var/cache/", "run/", "tmp/", "var/tmp/", "root/",
    "var/lib/systemd/", "proc/", "sys/", "dev/",
)  # fmt: skip


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """A booted machine with a fake provider."""
    with tempfile.TemporaryDirectory(prefix="emr-machine-", dir="/var/tmp") as folder:
        root = Path(folder) / "root"
        make_files(root, "machine", PACKAGES)
        subprocess.run(["dpkg-deb", "-x", str(DEB), str(root / "opt" / "tools")], check=True)
        packages = root / "opt" / "packages"
        packages.mkdir()
        shutil.copy(DEB, packages / "emr.deb")
        for version, step in (("0.0.9", ""), ("0.2.0", STEP)):
            repacked(DEB, packages, version, step)
        shutil.copy(CALLERS, root / "opt" / "callers.py")
        (root / "opt" / "ask.py").write_text(ASK)
        release_on(root)
        in_a_chroot(root)
        with booted(root) as machine:
            machine.out(
                "systemd-run", "--unit=fake", "/usr/bin/python3", "-c",
                "import sys; sys.path.insert(0, '/opt/tools/usr/lib/emr')\n"
                "from emr.cli import main; main()",
                "fake", "--latency-ms", "40", "--keys", PROVIDER_KEY,
            )  # fmt: skip
            yield machine


def release_on(root: Path) -> None:
    """The archive of a release, unpacked at /opt/release."""
    made = subprocess.run(
        [sys.executable, "-c", "import release; print(release.archive('x86_64'))"],
        cwd=ROOT / "packaging", check=True, capture_output=True, text=True,
    )  # fmt: skip
    folder = root / "opt" / "release"
    folder.mkdir()
    unpack = ["tar", "-xf", made.stdout.strip(), "--strip-components=1", "--no-same-owner"]
    subprocess.run([*unpack, "-C", str(folder)], check=True)


def in_a_chroot(root: Path) -> None:
    """Install, remove and purge where no service manager runs: nothing of it may fail."""
    for command in (
        ["dpkg", "-i", "/opt/packages/emr.deb"],
        ["emr", "--version"],
        ["dpkg", "-P", "emr"],
    ):
        subprocess.run(["chroot", str(root), *command], check=True, capture_output=True)


@dataclass(slots=True)
class Installed:
    """A machine with emr running, its provider and a caller's key."""

    machine: Machine
    key: str

    def answers(self, text: str = "a text") -> bool:
        """Whether a request is answered with a vector of the provider."""
        told = self.machine.run("python3", "/opt/ask.py", self.key, text, check=False)
        return told.stdout == "fake 1024\n"

    def pid(self) -> str:
        """The process of the service."""
        return self.machine.show("emr", "MainPID")

    @contextmanager
    def called_by_many(self, *more: str) -> Iterator[dict[str, object]]:
        """Fifty callers meanwhile; what they counted stands in the yielded dict at the end."""
        counts: dict[str, object] = {}
        with subprocess.Popen(
            [*inside(self.machine.leader), "python3", "/opt/callers.py", self.key, *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "all were answered\n"
            yield counts
            process.stdin.write("\n")
            process.stdin.close()
            counts |= json.loads(process.stdout.read())
        print(counts)


def install(machine: Machine, package: str = "emr.deb") -> None:
    """As the README has it."""
    machine.run("apt-get", "install", "-y", "--allow-downgrades", f"/opt/packages/{package}")


def files_of(machine: Machine) -> set[str]:
    """Every file of the machine but those that the system writes for itself."""
    told = machine.out("find", "/", "-xdev", "-printf", "%P\\n")
    return {path for path in told.splitlines() if not path.startswith(SYSTEMS_OWN)}
