"""What a peer is: what it needs, how it is started in front of the provider, and how it is asked.

A peer is started in a folder of its own, on a port of loopback, and counts as started when it has
answered one embedding request with the right vector. It is ended by its own handle.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.asking import NoAnswer, ask

ROOT = Path(__file__).parent.parent.parent.parent
MODEL = "voyage-code-3"  # one that emr knows; to the others any name is as good
KEY = "sk-of-the-bench"
START_S = 90.0  # LiteLLM imports for 10 s when the machine is quiet
STOP_S = 40.0
POLL_S = 0.005
CALLERS_MAX = TEXTS_MAX = OUTSTANDING_MAX = ROUNDS_MAX = 1_000_000  # more than there are


class NotStarted(Exception):
    """A peer that did not come up, with the end of its log."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where and how a peer is asked for embeddings."""

    port: int
    path: str = "/v1/embeddings"
    model: str = MODEL
    key: str = KEY

    @property
    def url(self) -> str:
        """Of embeddings."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def headers(self) -> dict[str, str]:
        """Of a request."""
        return {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer is started: its folder, its port, the provider's port, where peers live."""

    folder: Path
    port: int
    provider: int
    venvs: Path

    def write(self, name: str, text: str) -> Path:
        """A file of the peer's folder."""
        path = self.folder / name
        path.write_text(text)
        return path

    @property
    def provider_url(self) -> str:
        """The base of the provider's API."""
        return f"http://127.0.0.1:{self.provider}/v1"


@dataclass(slots=True)
class Subject:
    """A running peer. `started_s` is from its start to its first answer.

    pid 0 is nobody. `passes_on` tells whether the provider gets to see its requests.
    """

    name: str
    door: Door
    pid: int
    started_s: float
    texts_max: int = TEXTS_MAX
    callers_max: int = CALLERS_MAX
    outstanding_max: int = OUTSTANDING_MAX
    rounds_max: int = ROUNDS_MAX
    passes_on: bool = True

    def takes(self, texts: int, callers: int) -> bool:
        """Whether requests of so many texts are asked of it by so many callers."""
        return (
            texts <= self.texts_max
            and callers <= self.callers_max
            and texts * callers <= self.outstanding_max
        )


class Peer(ABC):
    """One of those that are compared."""

    name: str
    packages: tuple[str, ...] = ()  # of its own virtual environment
    # more is not asked of it: its first answers would take minutes
    callers_max = CALLERS_MAX
    texts_max = TEXTS_MAX  # of a request
    outstanding_max = OUTSTANDING_MAX  # texts of all callers together
    rounds_max = ROUNDS_MAX  # those that are far off need no third
    passes_on = True
    environment: Mapping[str, str] = {}

    def missing(self, venvs: Path) -> str:
        """What has to be installed, and how; empty when nothing is."""
        if self.packages and not self.python(venvs).exists():
            return f"{self.packages[0]}: scripts/bench install {self.name}"
        return ""

    def python(self, venvs: Path) -> Path:
        """The interpreter of its virtual environment."""
        return venvs / self.name / "bin" / "python"

    @abstractmethod
    def command(self, place: Place) -> list[str]:
        """Its command line; files that it needs are written to the place."""

    def door(self, place: Place) -> Door | None:
        """How it is asked; None while it is not known yet."""
        return Door(place.port)

    @contextmanager
    def started(self, place: Place) -> Iterator[Subject]:
        """The peer, from its first answer to its end. Raises NotStarted."""
        log = place.folder / f"{self.name}.log"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("EMR_", "NOTIFY_"))}
        environment = kept | {"HOME": str(place.folder), "PYTHONPATH": str(ROOT)}
        command = self.command(place)
        began = time.perf_counter()
        with log.open("w") as out:
            process = subprocess.Popen(
                command, cwd=place.folder, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                env=environment | dict(self.environment),
            )  # fmt: skip
        try:
            door = self._first_answer(place, process, log)
            seconds = time.perf_counter() - began
            yield Subject(
                self.name, door, process.pid, seconds,
                self.texts_max, self.callers_max, self.outstanding_max,
                self.rounds_max, self.passes_on,
            )  # fmt: skip
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S)

    def _first_answer(self, place: Place, process: subprocess.Popen[bytes], log: Path) -> Door:
        until = time.monotonic() + START_S
        wrong = "it says nothing"
        while time.monotonic() < until and process.poll() is None:
            door = self.door(place)
            if door is not None:
                try:
                    check_answer(door, "float", 1)
                except (NoAnswer, WrongAnswer) as error:
                    wrong = str(error)
                else:
                    return door
            time.sleep(POLL_S)
        raise NotStarted(f"{self.name} did not start: {wrong}\n{log.read_text()[-2000:]}")


class WrongAnswer(Exception):
    """An answer that is none, or has the wrong count or lengths of vectors."""


def check_answer(door: Door, encoding: str, texts: int) -> list[object]:
    """Ask for `texts` texts once; returns the vectors. Raises WrongAnswer, NoAnswer."""
    body: dict[str, object] = {"model": door.model, "input": [f"text {i}" for i in range(texts)]}
    if encoding != "float":
        body["encoding_format"] = encoding
    status, told = ask(door.port, door.path, json.dumps(body).encode(), door.headers())
    if status != 200:
        raise WrongAnswer(f"status {status}: {told[:300]!r}")
    vectors = [entry["embedding"] for entry in json.loads(told)["data"]]
    if len(vectors) != texts:
        raise WrongAnswer(f"{len(vectors)} vectors for {texts} texts")
    wanted = str if encoding == "base64" else list
    if not all(type(vector) is wanted for vector in vectors):
        raise WrongAnswer(f"{encoding} was asked, {type(vectors[0]).__name__} came")
    return vectors


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def own_python() -> str:
    """The interpreter that runs the bench, which has emr's libraries."""
    return sys.executable
