"""The container of `emr up` and `emr down`, asked of the `docker` program (or `podman`).

What the program itself says of a failure is shown: it knows best.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from emr.cli.output import plain
from emr.cli.trouble import Trouble

NAME = "emr"
IMAGE = "emr:latest"
PROGRAMS = ("docker", "podman")
RUN_S = 120.0  # for an answer; a stop waits longer, by its own time-out
_SAID_MAX = 300


class Docker:
    """The program. Made where it is installed and answers, else raises Trouble."""

    def __init__(self) -> None:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            raise Trouble(
                "Docker is not installed: install it, or run emr without a container: `emr serve`"
            )
        self.program = program
        asked = self.ask("version", "--format", "{{.Server.Version}}")
        if asked.returncode != 0:
            raise Trouble(
                f"Docker does not answer: {_said(asked)}; is it running, and may you use it?"
            )

    def ask(self, *arguments: str, seconds: float = RUN_S) -> subprocess.CompletedProcess[str]:
        """Run the program; its exit code is for the caller. Raises Trouble when it never ends."""
        try:
            return subprocess.run(
                [self.program, *arguments],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                check=False, timeout=seconds,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Trouble(f"{self.program} {arguments[0]} does not end: {error}") from error

    def do(self, *arguments: str, seconds: float = RUN_S) -> str:
        """What the program prints when it did what was asked. Raises Trouble when it did not."""
        asked = self.ask(*arguments, seconds=seconds)
        if asked.returncode != 0:
            raise Trouble(f"docker {arguments[0]} failed: {_said(asked)}")
        return asked.stdout.strip()

    def has_image(self) -> bool:
        """Whether the image is on this machine."""
        return self.ask("image", "inspect", IMAGE).returncode == 0

    def state(self) -> str | None:
        """The state of the container (`running`, `exited`, …), None when there is none."""
        asked = self.ask("container", "inspect", "--format", "{{.State.Status}}", NAME)
        return asked.stdout.strip() if asked.returncode == 0 else None

    def last_words(self) -> Sequence[str]:
        """The last lines of the container's log."""
        asked = self.ask("logs", "--tail", "5", NAME)
        return [plain(line) for line in (asked.stdout + asked.stderr).splitlines()]


def _said(asked: subprocess.CompletedProcess[str]) -> str:
    """The words of a failure on one line."""
    words = asked.stderr.strip() or asked.stdout.strip() or f"exit code {asked.returncode}"
    return plain(" ".join(words.split()))[:_SAID_MAX]
