"""The admin secret and the providers' keys: where they are looked for, and where one is written.

A secret is never part of the configuration, a log line or an answer; what is told is its source.

    admin secret   the flag, EMR_ADMIN_SECRET, $CREDENTIALS_DIRECTORY/emr_admin_secret,
                   ~/.config/emr/.env, /etc/emr/credentials/admin_secret
    key NAME       the environment, $CREDENTIALS_DIRECTORY/emr_NAME, ~/.config/emr/.env

`.env` lines are trimmed, `#` begins a comment line, the name ends at the first `=`, quotes are
part of the value, and an empty value is the same as none.
"""

from __future__ import annotations

import os
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emr.control.places import Places
from emr.control.private import PrivateFileError, Readers, read_private, write_private

ADMIN_VARIABLE = "EMR_ADMIN_SECRET"
ADMIN_CREDENTIAL = "emr_admin_secret"
SECRET_LETTERS = string.ascii_letters + string.digits
SECRET_LENGTH = 32  # 190 bits


class SecretError(Exception):
    """A secret is there but cannot be used; the message says where, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret and where it was found. Printing it shows the source alone."""

    value: str = field(repr=False)
    source: str

    def __str__(self) -> str:
        return f"[REDACTED] from {self.source}"


def new_secret() -> str:
    """32 letters and digits of the system's secure random source."""
    return "".join(secrets.choice(SECRET_LETTERS) for _ in range(SECRET_LENGTH))


def parse_env(text: str) -> dict[str, str]:
    """The names and values of a `.env` file; of a name that stands twice, the first value."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        name, value = name.strip(), value.strip()
        if equals and value and name and not name.startswith("#"):
            found.setdefault(name, value)
    return found


def find_admin_secret(
    places: Places, environment: Mapping[str, str], flag: str | None = None
) -> Secret | None:
    """The admin secret by the order above, None when there is none anywhere.

    Raises SecretError for one that is empty, cannot be sent in a header, or that others can read.
    """
    if flag is not None:
        return _usable(flag, "--admin-secret")
    if ADMIN_VARIABLE in environment:
        return _usable(environment[ADMIN_VARIABLE], f"environment {ADMIN_VARIABLE}")
    text = _credential(places, ADMIN_CREDENTIAL)
    if text is not None:
        return _usable(text, f"credential {ADMIN_CREDENTIAL}")
    value = _env_file(places).get(ADMIN_VARIABLE)
    if value is not None:
        return _usable(value, str(places.env_file))
    if not os.access(places.system_secret, os.R_OK, effective_ids=True):
        return None  # it is root's; everybody else goes on as if it were not there
    text = _private(places.system_secret)
    return None if text is None else _usable(text, str(places.system_secret))


def find_key(places: Places, environment: Mapping[str, str], variable: str) -> Secret | None:
    """The key of a provider whose variable is `variable`, None when it is not set anywhere.

    Raises SecretError for one that cannot be sent in a header, or that others can read.
    """
    value = environment.get(variable, "").strip()
    if value:
        return _usable(value, f"environment {variable}")
    value = (_credential(places, f"emr_{variable}") or "").strip()
    if value:
        return _usable(value, f"credential emr_{variable}")
    value = _env_file(places).get(variable, "")
    return _usable(value, str(places.env_file)) if value else None


def write_admin_secret(places: Places, value: str) -> Path:
    """Write the secret into `~/.config/emr/.env`, keeping its other lines; returns the file.

    Raises SecretError when it cannot be written.
    """
    try:
        text = read_private(places.env_file) or ""
        if text and not text.endswith("\n"):
            text += "\n"
        write_private(places.env_file, f"{text}{ADMIN_VARIABLE}={value}\n")
    except PrivateFileError as error:
        raise SecretError(str(error)) from error
    return places.env_file


def write_first_key(places: Places, key: str) -> Path:
    """Write the first caller key into its own file; returns the file. Raises SecretError."""
    try:
        write_private(places.first_key, f"{key}\n")
    except PrivateFileError as error:
        raise SecretError(str(error)) from error
    return places.first_key


def find_first_key(places: Places) -> Secret | None:
    """The caller key that the first start made, while it is there. Raises SecretError."""
    text = _private(places.first_key)
    return None if text is None else _usable(text, str(places.first_key))


def _usable(value: str, source: str) -> Secret:
    value = value.strip()
    if not value:
        raise SecretError(f"{source}: the secret is empty; give it a value or take it away")
    if not (value.isascii() and value.isprintable()):
        raise SecretError(
            f"{source}: the secret has characters that cannot be sent in a header; use printable"
            " ASCII on one line"
        )
    return Secret(value, source)


def _env_file(places: Places) -> dict[str, str]:
    return parse_env(_private(places.env_file) or "")


def _credential(places: Places, name: str) -> str | None:
    if places.credentials is None:
        return None
    return _private(places.credentials / name, Readers.GROUP)


def _private(path: Path, readers: Readers = Readers.OWNER) -> str | None:
    try:
        return read_private(path, readers)
    except PrivateFileError as error:
        raise SecretError(str(error)) from error
