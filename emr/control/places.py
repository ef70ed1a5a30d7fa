"""Where emr's own files are: one value that is handed in, so that a test has places of its own.

~/.config/emr/          config.toml, .env, first-key, emr.db
/etc/emr/               config.toml, credentials/admin_secret
$CREDENTIALS_DIRECTORY  emr_admin_secret, emr_VOYAGE_API_KEY: of the service manager
./                      config.toml
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOMELESS = "/root"  # where HOME is not set: as the reference router has it
MEMORY = ":memory:"  # a database path that names no file


@dataclass(frozen=True, slots=True)
class Places:
    """The folders that emr looks into. `credentials` is None outside a service manager."""

    home: Path
    etc: Path = Path("/etc/emr")
    here: Path = Path()
    credentials: Path | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Places:
        """The places of a process with this environment."""
        credentials = environment.get("CREDENTIALS_DIRECTORY")
        return cls(
            home=Path(environment.get("HOME") or HOMELESS),
            credentials=Path(credentials) if credentials else None,
        )

    @property
    def folder(self) -> Path:
        """The user's own folder for emr."""
        return self.home / ".config" / "emr"

    @property
    def env_file(self) -> Path:
        """Lines NAME=value: the admin secret and the providers' keys."""
        return self.folder / ".env"

    @property
    def first_key(self) -> Path:
        """The caller key that the very first start makes."""
        return self.folder / "first-key"

    @property
    def system_secret(self) -> Path:
        """The admin secret of an installed service, for root."""
        return self.etc / "credentials" / "admin_secret"

    def config_files(self) -> tuple[Path, ...]:
        """Where a configuration file is looked for when none is named, the first found wins."""
        return (
            self.here / "config.toml",
            self.folder / "config.toml",
            self.etc / "config.toml",
        )

    def expand(self, path: str) -> Path:
        """`path` with a leading `~/` as the user's home."""
        if path == "~" or path.startswith("~/"):
            return self.home / path[2:]
        return Path(path)
