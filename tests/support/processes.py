"""Real processes for tests: a fake provider, and a router with a configuration of its own.

Each takes a port that the system chose and says on stdout where it is; nothing sleeps. Processes
are ended by their own handle, and a process that does not end by itself is killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue

import httpx

ROOT = Path(__file__).parent.parent.parent
EMR: Sequence[str] = (sys.executable, "-m", "emr")
START_S, STOP_S = 60.0, 40.0
PROVIDER_KEY = "sk-fake-key-of-the-tests"


@dataclass(slots=True)
class Running:
    """A process that said where it serves."""

    process: subprocess.Popen[str]
    url: str
    lines: list[str]
    log: Path


@dataclass(slots=True)
class Router(Running):
    """A running router. `key` is a caller's, `secret` the admin's."""

    home: Path
    key: str
    secret: str

    def ask(self, path: str, body: object = None, key: str | None = None) -> httpx.Response:
        """POST `body` as a caller, or GET when there is none."""
        headers = {"Authorization": f"Bearer {key or self.key}"}
        if body is None:
            return httpx.get(f"{self.url}{path}", headers=headers, timeout=60)
        return httpx.post(f"{self.url}{path}", headers=headers, json=body, timeout=60)

    def admin(self, method: str, path: str, body: object = None) -> httpx.Response:
        """A request with the admin secret."""
        headers = {"Authorization": f"Bearer {self.secret}"}
        return httpx.request(method, f"{self.url}{path}", headers=headers, json=body, timeout=60)


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without any setting of the machine's own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EMR_", "NOTIFY_", "LISTEN_"))}
    kept.pop("INVOCATION_ID", None)
    kept.pop("CREDENTIALS_DIRECTORY", None)
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    own = {"HOME": str(home), "PYTHONPATH": path, "TIKTOKEN_CACHE_DIR": str(home / "vocabulary")}
    return kept | own | dict(more or {})


@contextmanager
def running(
    arguments: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    last: str,
    program: Sequence[str] = EMR,
) -> Iterator[Running]:
    """`python -m emr …`, from when it printed a line that holds `last` to its end.

    `program` stands in its place, where something is to be done before.
    """
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*program, *arguments],
            env=dict(env), stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=env["HOME"],
        )  # fmt: skip
    told: Queue[str] = Queue()
    reader = threading.Thread(target=_read, args=(process, told), daemon=True)
    reader.start()
    lines: list[str] = []
    try:
        while not (lines and last in lines[-1]):
            try:
                line = told.get(timeout=START_S)
            except Empty:
                raise TimeoutError(f"{arguments[0]} says nothing: {log.read_text()}") from None
            if not line:
                raise RuntimeError(f"{arguments[0]} ended: {lines} {log.read_text()}")
            lines.append(line.rstrip("\n"))
        yield Running(process, "", lines, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
        reader.join(STOP_S)
        assert process.stdout is not None
        process.stdout.close()


def _read(process: subprocess.Popen[str], told: Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        told.put(line)
    told.put("")


@contextmanager
def fake(home: Path, *flags: str, name: str = "fake") -> Iterator[Running]:
    """`emr fake` on a free port; its log is called `name`."""
    arguments = ["fake", "--port", "0", "--json", *flags]
    with running(arguments, environment(home), home / f"{name}.log", "}") as process:
        told = json.loads("\n".join(process.lines))
        process.url = told["url"]
        yield process


def provider_row(name: str, kind: str, endpoint: str, **more: object) -> str:
    """A `[[providers]]` table."""
    fields = {
        "name": name,
        "provider_type": kind,
        "endpoint": endpoint,
        "api_key_env_var": "FAKE_API_KEY",
    } | more
    lines = [f"{field} = {json.dumps(value)}" for field, value in fields.items()]
    return "\n".join(["[[providers]]", *lines, ""])


@contextmanager
def router(
    home: Path, config: str = "", *flags: str, program: Sequence[str] = EMR
) -> Iterator[Router]:
    """`emr serve` on a free port, after its first start."""
    (home / "config.toml").write_text(config)
    arguments = ["serve", "--bind", "127.0.0.1:0", "--config", str(home / "config.toml"), *flags]
    env = environment(home, {"FAKE_API_KEY": PROVIDER_KEY})
    with running(arguments, env, home / "emr.log", "caller key", program) as process:
        url = next(line.split()[-1] for line in process.lines if "dashboard" in line)
        folder = home / ".config" / "emr"
        secret = (folder / ".env").read_text().strip().removeprefix("EMR_ADMIN_SECRET=")
        key = (folder / "first-key").read_text().strip()
        yield Router(
            process.process, url.rstrip("/"), process.lines, process.log, home, key, secret
        )
