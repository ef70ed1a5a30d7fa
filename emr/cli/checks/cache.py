"""The file of the cache: whether it can be used. emr serves without it: no finding is a problem."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

from emr.cli.checks.finding import Finding, Site, ok, warning
from emr.control.cache.rows import DiskError, check_ours, connect_to_read, refusals

REMEDY = "see docs/caching.md; without it vectors are forgotten at a restart"


def check(site: Site) -> Iterator[Finding]:
    """Look at the file, if the settings want one."""
    wanted = site.settings.cache
    if wanted.path is None or not wanted.max_disk_bytes:
        return
    path = site.places.expand(wanted.path)
    folder = path.parent
    while not os.path.exists(folder):
        folder = folder.parent
    place = path if os.path.exists(path) else folder
    if not os.access(place, os.W_OK):
        yield warning("cache", f"{place} cannot be written", REMEDY)
    elif not os.path.exists(path):
        yield ok("cache", f"{path} is not there yet; the next start makes it")
    else:
        try:
            with refusals(), closing(connect_to_read(path)) as connection:
                check_ours(connection)
        except DiskError as error:
            yield warning("cache", f"{path}: {error}", REMEDY)
        else:
            yield ok("cache", f"{path} can be used ({path.stat().st_size >> 20} MiB)")
