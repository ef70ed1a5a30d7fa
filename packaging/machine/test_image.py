"""The image as the Dockerfile makes it, by buildah in a chroot: needs no Docker, but root.

What only a real runtime can show is not shown here: HEALTHCHECK, --read-only, dropped capabilities.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from nspawn import make_files

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("python3", "python3-pip", "ca-certificates")
# what pip is told on this machine, so that it is told the same in the build
ASIDE = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
BASE, IMAGE = "localhost/python:3", "localhost/emr:latest"
USER = 65532
START_S = 30.0


class Buildah:
    """buildah with a storage of its own, which goes with its folder."""

    def __init__(self, folder: Path) -> None:
        self._command = [
            "buildah", "--root", str(folder / "root"), "--runroot", str(folder / "run"),
            "--storage-driver", "vfs",
        ]  # fmt: skip
        self.environment = os.environ | {"BUILDAH_ISOLATION": "chroot"}

    def command(self, *arguments: str) -> list[str]:
        """A command line."""
        return [*self._command, *arguments]

    def do(self, *arguments: str) -> str:
        """What it prints; raises AssertionError with what it said when it fails."""
        told = subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True,
            check=False, cwd=ROOT,
        )  # fmt: skip
        assert told.returncode == 0, told.stdout[-2000:] + told.stderr[-2000:]
        return told.stdout.strip()


@pytest.fixture(scope="module")
def image() -> Iterator[Buildah]:
    """The image, built on a minimal Debian with a Python."""
    assert shutil.which("buildah") is not None, "buildah is not installed"
    with tempfile.TemporaryDirectory(prefix="emr-image-", dir="/var/tmp") as folder:
        files = Path(folder) / "files"
        make_files(files, "image", PACKAGES)
        for name in ASIDE:
            if Path(name).exists():
                shutil.copy(name, files / name[1:])
        buildah = Buildah(Path(folder))
        container = buildah.do("from", "scratch")
        buildah.do("add", "--quiet", container, str(files), "/")
        buildah.do("commit", "--quiet", "--rm", container, BASE)
        buildah.do(
            "bud", "--layers=false", "--format", "docker", "--build-arg", f"PYTHON={BASE}",
            "--pull-never", "--tag", IMAGE, str(ROOT),
        )  # fmt: skip
        yield buildah


@contextmanager
def container_of(buildah: Buildah) -> Iterator[str]:
    """A container of the image."""
    container = buildah.do("from", "--pull-never", IMAGE)
    yield container
    buildah.do("rm", container)


def free_port() -> int:
    """A port that nobody has: the container shares the network."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_what_the_image_says(image: Buildah) -> None:
    told = json.loads(image.do("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    assert (told["User"], told["Entrypoint"], told["Cmd"]) == (
        f"{USER}:{USER}", ["emr"], ["serve"]
    )  # fmt: skip
    assert "EMR_SERVER_BIND=0.0.0.0:3200" in told["Env"]
    assert list(told["Volumes"]) == ["/data"]
    assert told["Healthcheck"]["Test"] == ["CMD", "emr", "health", "--live"]


def test_the_image_serves_and_is_healthy(image: Buildah) -> None:
    port = free_port()
    with container_of(image) as container:
        run = ("run", "--user", f"{USER}:{USER}", "--env", f"EMR_SERVER_BIND=127.0.0.1:{port}")
        server = image.command(*run, container, "--", "emr", "serve")
        with subprocess.Popen(
            server, env=image.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "caller key" in line:
                    break
            assert f"emr serves at 127.0.0.1:{port}\n" in lines, lines
            assert httpx.get(f"http://127.0.0.1:{port}/health").json()["status"] == "degraded"
            url = f"http://127.0.0.1:{port}"
            asked = (*run, container, "--", "emr", "health", "--live", "--server", url)
            image.do(*asked)
            owner = image.do(*run, container, "--", "stat", "-c", "%u %a", "/data/.config/emr")
            assert owner == f"{USER} 700"
            secret = image.do(*run, container, "--", "cat", "/data/.config/emr/.env")
            head = {"Authorization": f"Bearer {secret.partition('=')[2]}"}
            assert httpx.post(f"{url}/admin/drain", headers=head).status_code == 200
            process.stdout.read()
            assert process.wait(START_S) == 0
        told = subprocess.run(
            image.command(*asked), env=image.environment, capture_output=True, check=False
        )
        assert told.returncode == 1
