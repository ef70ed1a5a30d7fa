"""The first start: an admin secret and one caller key are made, and what to type next is said."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emr.cli.trouble import Trouble
from emr.control.secrets import (
    SecretError,
    find_first_key,
    new_secret,
    write_admin_secret,
    write_first_key,
)
from emr.control.systemd import is_managed
from emr.lane.refusal import Refusal

if TYPE_CHECKING:
    from emr.app import App, Start

SAMPLE_MODEL = "text-embedding-3-small"  # what clients of OpenAI ask for when they name none
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


@dataclass(slots=True)
class Welcome:
    """What is said at the start. `shown_*` are secrets that could only be shown, not written."""

    secret_source: str
    first_key: Path | None = None
    shown_secret: str = ""
    shown_key: str = ""

    @staticmethod
    def address_of(app: App) -> str:
        """Where the API is, as a URL (or `unix:/path`) that works on this host."""
        address = app.listener.addresses[0]
        if address.startswith("unix:"):
            return address
        host, _, port = address.rpartition(":")
        scheme = "http" if app.loaded.settings.server.tls_cert is None else "https"
        return f"{scheme}://{ANY_ADDRESS.get(host, host)}:{port}"

    def text(self, app: App) -> str:
        """The lines to print."""
        address = self.address_of(app)
        lines = [f"emr serves at {', '.join(app.listener.addresses)}"]
        if not address.startswith("unix:"):
            lines.append(f"  dashboard     {address}/")
        lines.append(f"  admin secret  {self.secret_source}")
        if self.shown_secret:
            lines.append(f"                {self.shown_secret}   (in memory only: write it down)")
        names = [f"{row.name} ({row.provider_type})" for row in app.providers.enabled()]
        lines.append(f"  providers     {', '.join(names) or 'none: emr providers add …'}")
        lines += self._try_it(app, address)
        return "\n".join(lines)

    def _try_it(self, app: App, address: str) -> list[str]:
        """The first key, a curl line that works, and the alias for clients that need one."""
        if self.first_key is None and not self.shown_key:
            return []
        key = self.shown_key or f"$(cat {shlex.quote(str(self.first_key))})"
        told = self.shown_key or str(self.first_key)
        lines = [f"  caller key    {told}"]
        only = app.providers.only()
        if only is not None:
            where = f"{address}/v1/embeddings"
            socket = ""
            if address.startswith("unix:"):
                socket = f"--unix-socket {shlex.quote(address.removeprefix('unix:'))} "
                where = "http://localhost/v1/embeddings"
            lines += [
                "Try it:",
                f'  curl -s {socket}{where} -H "Authorization: Bearer {key}" '
                "-H 'Content-Type: application/json' -d '{\"input\":\"hello\"}'",
                "A client that insists on another model name works with this in config.toml:",
                f'  [models]\n  "{SAMPLE_MODEL}" = "{only.name}/{only.model}"',
            ]
        return lines


def first_start(app: App, start: Start) -> Welcome:
    """Make the secret and the key if this is the very first start. Raises Trouble."""
    if start.secret is not None:
        return Welcome(start.secret.source, _written_key(app, start))
    if app.keys.listing() or is_managed(start.environment):
        return Welcome(
            "none: set EMR_ADMIN_SECRET to use /admin and the management commands",
            _written_key(app, start),
        )
    secret = new_secret()
    welcome = Welcome("made, and shown this once", shown_secret=secret)
    try:
        file = write_admin_secret(start.places, secret)
        welcome = Welcome(f"made, and written to {file}")
    except SecretError as error:
        _needs_a_reader(error, start)
    app.keys.ring.set_admin_secret(secret)
    made = app.keys.create({"name": "first"}).result()  # not before: it ends the first start
    try:
        welcome.first_key = write_first_key(start.places, made.key)
    except SecretError as error:
        _needs_a_reader(error, start)
        welcome.shown_key = made.key
    return welcome


def _needs_a_reader(error: SecretError, start: Start) -> None:
    """What cannot be written can be shown, where somebody reads it. Raises Trouble elsewhere."""
    if not sys.stdout.isatty():
        raise Trouble(
            f"{error}; nothing can be kept at {start.places.folder}: set EMR_ADMIN_SECRET and "
            "database.path to places that can be written"
        ) from error


def _written_key(app: App, start: Start) -> Path | None:
    """The file of the first key, if it is there and of a key that is still good."""
    try:
        key = find_first_key(start.places)
    except SecretError:
        return None
    if key is None or isinstance(app.keys.ring.look_up(key.value.encode()), Refusal):
        return None
    return start.places.first_key
