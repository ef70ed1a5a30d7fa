"""What a check found, and what all checks look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from emr.control.config import Loaded
from emr.control.lockfile import Holder
from emr.control.places import Places
from emr.control.rows import Row
from emr.control.settings import Settings


class Level(Enum):
    """How bad it is. Only a problem makes `emr doctor` fail."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy` is what to do, empty when nothing is to be done."""

    level: Level
    check: str
    message: str
    remedy: str = ""

    def view(self) -> dict[str, str]:
        """As `emr doctor --json` has it."""
        return {
            "level": self.level.value,
            "check": self.check,
            "message": self.message,
            "remedy": self.remedy,
        }


@dataclass(slots=True)
class Site:
    """The machine as the checks see it; what one check finds out, later ones use.

    `rows` are the providers of the file and, once it was read, of the database. `holder` is who
    has the database. `units` are where a service manager's units may be.
    """

    places: Places
    environment: Mapping[str, str]
    loaded: Loaded = field(default_factory=lambda: Loaded(Settings(), None, {}, ()))
    rows: list[Row] = field(default_factory=list)
    holder: Holder | None = None
    units: tuple[Path, ...] = (
        Path("/etc/systemd/system/emr.service"),
        Path("/usr/lib/systemd/system/emr.service"),
        Path("/lib/systemd/system/emr.service"),
    )

    @property
    def settings(self) -> Settings:
        """The settings in effect, the defaults where they cannot be read."""
        return self.loaded.settings


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, check, message)


def warning(check: str, message: str, remedy: str = "") -> Finding:
    """It works, but not as most would want it."""
    return Finding(Level.WARNING, check, message, remedy)


def problem(check: str, message: str, remedy: str = "") -> Finding:
    """It does not work."""
    return Finding(Level.PROBLEM, check, message, remedy)
