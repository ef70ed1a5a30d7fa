"""What the tests of `emr doctor` share: the machine of a test, and the findings of a check."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from emr.cli.checks import configuration
from emr.cli.checks.finding import Finding, Level, Site
from tests.cli.parts import Home, free_port

NOBODY = Namespace(server=None, ca=None, client_cert=None, config=None, admin_secret=None)


def configured(site: Site, home: Home, text: str) -> Site:
    """The site with this configuration read."""
    home.configure(text)
    assert all(each.level is not Level.PROBLEM for each in configuration.check(site, None))
    return site


def only(findings: Iterator[Finding], check: str) -> Finding:
    """The one finding of a check."""
    (found,) = [each for each in findings if each.check == check]
    return found


def at_free_port() -> str:
    return f'[server]\nbind = "127.0.0.1:{free_port()}"\n'
