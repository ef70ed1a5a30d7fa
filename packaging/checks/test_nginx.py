"""The example of nginx in front of emr, run: TLS outside, connections kept open inside."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.processes import ROOT, Router, fake, provider_row, router

EXAMPLE = ROOT / "examples" / "nginx" / "emr.conf"
NAME = "emr.example.org"
START_S = 10.0


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def nginx(folder: Path, behind: str, port: int) -> Iterator[None]:
    """nginx with the example, its addresses and certificate those of the test."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "nginx is not installed"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "1", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    text = EXAMPLE.read_text()
    for old, new in (
        ("127.0.0.1:3200", behind), ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/emr/", f"{folder}/"),
    ):  # fmt: skip
        assert text.count(old) >= 1
        text = text.replace(old, new)
    config = folder / "nginx.conf"
    config.write_text(
        f"pid {folder}/pid; error_log {folder}/error.log; daemon off; worker_processes 1;\n"
        f"events {{}}\nhttp {{ access_log off;\n"
        + "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + text
        + "}\n"
    )
    checked = subprocess.run(
        [program, "-t", "-q", "-p", str(folder), "-c", str(config)], capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stderr) == (0, "")
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(config)])
    try:
        until = time.monotonic() + START_S
        while not (folder / "pid").exists():
            assert time.monotonic() < until
        yield
    finally:
        process.terminate()
        process.wait(START_S)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Router, httpx.Client]]:
    """A router behind nginx, and a client of nginx that checks its certificate."""
    with fake(tmp_path, "--latency-ms", "5") as provider:
        row = provider_row("voyage", "voyage", f"{provider.url}/voyage/v1/embeddings")
        with router(tmp_path, f'[server]\nallowed_hosts = ["{NAME}", "127.0.0.1"]\n{row}') as emr:
            port = free_port()
            with nginx(tmp_path, emr.url.removeprefix("http://"), port):
                context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
                head = {"Authorization": f"Bearer {emr.key}", "Host": NAME}
                with httpx.Client(
                    base_url=f"https://127.0.0.1:{port}", headers=head, timeout=30, verify=context
                ) as client:
                    client.event_hooks["request"] = [named]
                    yield emr, client


def named(request: httpx.Request) -> None:
    """Let the certificate be that of the name."""
    request.extensions["sni_hostname"] = NAME


def test_requests_pass_and_admin_is_for_this_host(pair: tuple[Router, httpx.Client]) -> None:
    emr, client = pair
    for number in range(20):
        told = client.post("/v1/embeddings", json={"input": f"text {number}"})
        assert told.status_code == 200, told.text
        assert told.headers["x-emr-provider"] == "voyage"
    # a body over nginx's own limit of 1 MiB
    big = client.post("/v1/embeddings", json={"input": ["x" * 20_000] * 100})
    assert big.status_code == 200, big.text
    refused = client.post("/v1/embeddings", json={"input": ""})
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "validation_error")
    assert client.get("/metrics").status_code == 200, "from this host"
    opened = next(
        line for line in emr.ask("/metrics").text.splitlines() if line.startswith("emr_connections")
    )
    assert float(opened.split()[-1]) < 5, "connections to emr are used again"
