"""Every test of the command line has a home of its own, and a default address of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emr.cli import health
from emr.cli.ask import whom
from emr.cli.ask.address import Address
from emr.cli.checks.finding import Site
from emr.control.places import Places
from tests.cli.parts import Commands, Home, free_port


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Places in a folder of the test's own; nothing of the environment is seen."""
    for name in ("home", "etc", "here"):
        (tmp_path / name).mkdir()
    places = Places(tmp_path / "home", tmp_path / "etc")
    monkeypatch.setattr(Places, "of", lambda environment: places)
    monkeypatch.chdir(tmp_path / "here")
    for name in list(os.environ):
        if name.startswith("EMR_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "CREDENTIALS_DIRECTORY", "INVOCATION_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(places.home))
    default = Address(host="127.0.0.1", port=free_port())
    monkeypatch.setattr(whom, "DEFAULT", default)
    monkeypatch.setattr(health, "DEFAULT", default)
    return Home(places, default)


@pytest.fixture
def emr(home: Home, capsys: pytest.CaptureFixture[str]) -> Commands:
    """Runs commands in the home."""
    return Commands(capsys)


@pytest.fixture
def site(home: Home) -> Site:
    """The machine of a test, with no units of a real service manager."""
    return Site(home.places, {}, units=())
