"""A line about each call, for whoever wants to know afterwards what happened when.

`/_fake/journal` shows them while the setting `journal` is on, as lists in the order of `COLUMNS`:
400,000 calls are 30 MB of JSON and no names. Seconds count from the start or the last reset.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

LINES_MAX = 1_000_000  # a day at 700 calls a minute; what comes later is not kept


@dataclass(slots=True)
class Line:
    """One call. `work_s` is what it takes alone, without the line before the servers.

    `status` 0: no answer was due when it ended. `ended_s` below 0: it is under way. `complaint`
    says why it was refused, `fault` what befell it, both empty for most.
    """

    came_s: float
    texts: int = 0
    tokens: int = 0
    work_s: float = 0.0
    status: int = 0
    ended_s: float = -1.0
    complaint: str = ""
    fault: str = ""


COLUMNS = tuple(field.name for field in fields(Line))


class Journal:
    """The lines since the start or the last reset."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def open(self, came_s: float) -> Line:
        """A line for a call that came."""
        line = Line(came_s)
        if len(self.lines) < LINES_MAX:
            self.lines.append(line)
        return line

    def plain(self) -> dict[str, object]:
        """As JSON shows it."""
        return {"columns": COLUMNS, "calls": [astuple(line) for line in self.lines]}
