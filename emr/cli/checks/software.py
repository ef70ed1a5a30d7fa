"""What emr stands on: Python, the packages it needs, the built-in model, the clock."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path

from emr.cli.checks.finding import Finding, Site, ok, problem, warning

PYTHON_MIN = (3, 11)
# the name to import, and the package that brings it
PACKAGES = (
    ("uvloop", "uvloop"),
    ("httptools", "httptools"),
    ("orjson", "orjson"),
    ("httpx", "httpx"),
    ("argon2", "argon2-cffi"),
    ("tomli", "tomli"),
    ("rich", "rich"),
    ("prometheus_client", "prometheus_client"),
)
# no file of emr is older or this much younger: a clock outside is wrong, and so is TLS with it
CLOCK_MIN_S, CLOCK_MAX_S = 1_767_225_600, 4_102_444_800  # 2026 and 2100, in seconds since 1970
FUTURE_S = 86_400  # a file written by a clock that was ahead of this one by more than a time zone
SYNC = Path("/run/systemd/timesync")


def check(site: Site) -> Iterator[Finding]:
    """Look at Python and the packages."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON_MIN:
        yield problem("python", f"Python {version} is too old", "run emr with Python 3.11 or later")
    else:
        yield ok("python", f"Python {version} at {sys.executable}")
    found = []
    for module, package in PACKAGES:
        try:
            import_module(module)
            found.append(f"{package} {version_of(package)}")
        except ImportError as error:
            yield problem(
                "packages", f"{package} cannot be loaded: {error}",
                f"pip install {package}; an emr.pyz needs a Python that it was built for",
            )  # fmt: skip
    yield ok("packages", ", ".join(found))
    yield from _local_model()


def version_of(package: str) -> str:
    """The version of an installed package; a zipapp may have left it out."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(version not known)"


def _local_model() -> Iterator[Finding]:
    from emr.upstream.local.model import INSTALL, LocalModel, NotInstalled, is_installed

    if not is_installed():
        yield warning("local model", INSTALL)
        return
    try:
        LocalModel()
    except NotInstalled as error:
        yield problem("local model", str(error))
    else:
        yield ok("local model", f"wordllama {version_of('wordllama')} loads")


def clock(site: Site) -> Iterator[Finding]:
    """Look at the time of day: certificates and expiries depend on it."""
    now = time.time()
    told = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    if not CLOCK_MIN_S <= now < CLOCK_MAX_S:
        yield problem("clock", f"the clock says {told}", "set it: timedatectl set-ntp true")
        return
    path = site.settings.database_file(site.places)
    if path is not None and os.path.exists(path) and path.stat().st_mtime > now + FUTURE_S:
        yield warning(
            "clock", f"the clock says {told}, but {path} was written later than that",
            "see whether the clock is right: timedatectl",
        )  # fmt: skip
    elif SYNC.is_dir() and not (SYNC / "synchronized").exists():
        yield warning("clock", f"{told}, and not yet set from the network", "see timedatectl")
    else:
        yield ok("clock", told)
