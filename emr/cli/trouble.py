"""What ends a command before its time: said in one sentence, with what to do."""

from __future__ import annotations

FAILED, USAGE = 1, 2


class Trouble(Exception):
    """A command cannot go on. `code` is the exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
