"""The configuration, the admin secret, the keys of the providers, and the modes of their files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from emr.cli.checks.finding import Finding, Site, ok, problem, warning
from emr.control.config import ConfigError, find_file, load
from emr.control.endpoints import row_rules
from emr.control.secrets import (
    ADMIN_VARIABLE,
    SecretError,
    find_admin_secret,
    find_first_key,
    find_key,
)

OTHERS = 0o077  # the bits of a mode that are not the owner's


def check(site: Site, named: str | None) -> Iterator[Finding]:
    """Read the configuration; what it says is used by the checks that follow."""
    try:
        file = find_file(site.places, site.environment, named)
        site.loaded = load(file, site.environment, row_rules())
    except ConfigError as error:
        for fault in error.problems:
            yield problem("configuration", str(fault), "the checks below use the defaults")
        return
    site.rows = list(site.settings.providers)
    yield ok("configuration", f"valid: {file}" if file else "no file: the defaults are in effect")
    for each in site.loaded.warnings:
        yield warning("configuration", each)


def admin_secret(site: Site, flag: str | None) -> Iterator[Finding]:
    """Look for the admin secret and the first caller key."""
    try:
        secret = find_admin_secret(site.places, site.environment, flag)
    except SecretError as error:
        yield problem("admin secret", str(error))
    else:
        if secret is None:
            yield warning(
                "admin secret", "there is none",
                f"the first `emr serve` makes one, but under a service manager; or set"
                f" {ADMIN_VARIABLE}",
            )  # fmt: skip
        else:
            yield ok("admin secret", f"from {secret.source}")
    try:
        first = find_first_key(site.places)
    except SecretError as error:
        yield problem("first key", str(error))
    else:
        if first is not None:
            yield ok("first key", f"at {site.places.first_key}; once in use elsewhere, remove it")


def keys(site: Site) -> Iterator[Finding]:
    """Look for the keys of the enabled providers."""
    for row in site.rows:
        if row.note:
            yield problem("provider", f"{row.name} is not in use: {row.note}")
        if not row.enabled:
            continue
        for variable in row.key_variables:
            name = f"{row.name}: {variable}"
            try:
                found = find_key(site.places, site.environment, variable)
            except SecretError as error:
                yield problem("provider key", f"{name}: {error}")
                continue
            if found is not None:
                yield ok("provider key", f"{name} from {found.source}")
            elif site.holder is not None:
                yield warning(
                    "provider key", f"{name} is not set here",
                    "the server that runs may have it from elsewhere: `emr doctor --call` tries",
                )  # fmt: skip
            else:
                yield problem(
                    "provider key", f"{name} is not set",
                    f"export {variable}, or write it into {site.places.env_file} or, for a"
                    f" service, {site.places.etc}/credentials/{variable}",
                )  # fmt: skip


def modes(site: Site) -> Iterator[Finding]:
    """Look at who can read what only its owner should."""
    bad = 0
    for path in (site.places.folder, *_private_files(site)):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if mode & OTHERS:
            bad += 1
            right = "700" if path.is_dir() else "600"
            yield warning(
                "file modes", f"{path} is open to others (mode {mode:04o})", f"chmod {right} {path}"
            )
    if not bad:
        yield ok("file modes", "what is private can be read by its owner alone")


def _private_files(site: Site) -> list[Path]:
    database = site.settings.database_file(site.places)
    beside = [] if database is None else [f"{database}{end}" for end in ("", "-wal", "-shm")]
    return [site.places.env_file, site.places.first_key, *map(Path, beside)]


def service(site: Site) -> Iterator[Finding]:
    """Look at the credentials of a service, where there is one."""
    given = site.places.credentials
    if given is not None:
        names = sorted(entry.name for entry in given.iterdir()) if given.is_dir() else []
        yield ok("credentials", f"of the service manager: {', '.join(names) or 'none'}")
        return
    unit = next((path for path in site.units if path.exists()), None)
    if unit is None:
        return
    folder = site.places.etc / "credentials"
    if not folder.is_dir():
        yield problem(
            "credentials", f"{unit} is there, but {folder} is not: a service whose LoadCredential="
            " is missing ends with status 243/CREDENTIALS before emr starts",
            f"install -d -m 700 {folder}; one file in it for each secret: admin_secret,"
            " VOYAGE_API_KEY, …; then systemctl restart emr",
        )  # fmt: skip
        return
    if not os.access(folder, os.R_OK | os.X_OK):
        yield ok("credentials", f"{folder} is there; only root can look inside")
        return
    names = sorted(entry.name for entry in folder.iterdir())
    if "admin_secret" not in names:
        yield warning(
            "credentials", f"{folder} has no admin_secret: the service has no admin routes",
            f"put one there: openssl rand -hex 24 > {folder}/admin_secret; systemctl restart emr",
        )  # fmt: skip
    else:
        yield ok("credentials", f"in {folder}: {', '.join(names)}")
