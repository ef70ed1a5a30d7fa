"""What the system's own tools say: promtool, systemd-analyze; and the zipapp as a user runs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, environment, router

PYZ = ROOT / "dist" / "emr.pyz"
UNIT = ROOT / "systemd" / "emr.service"
PYTHON = str(Path(sys.base_prefix) / "bin" / "python3")  # without this environment's packages
EXPOSURE_MAX = 1.5
SIZE_MAX = 6_000_000


def tool(name: str) -> str:
    """A program of the system's that this check is about."""
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed"
    return found


def test_metrics_pass_promtool(tmp_path: Path) -> None:
    with router(tmp_path) as emr:
        assert emr.ask("/v1/embeddings", {"input": "a text"}).status_code == 200
        text = emr.ask("/metrics").text
    assert 'emr_provider_calls_total{ending="ok",provider="local"} 1.0' in text
    checked = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_unit_verifies(tmp_path: Path) -> None:
    """The unit with its programs at a path that exists here; a warning is a failure too."""
    text = UNIT.read_text().replace("/usr/bin/emr", str(PYZ))
    unit = tmp_path / "emr.service"
    unit.write_text(text)
    verified = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", str(unit)], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    scored = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)], capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    found = re.search(r"Overall exposure level.*?(\d+\.\d+)", scored.stdout)
    assert found is not None, scored.stderr
    assert float(found[1]) <= EXPOSURE_MAX


def pyz(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The zipapp run by the system's own Python, with nothing of this checkout on its path."""
    env = environment(home)
    del env["PYTHONPATH"]
    return subprocess.run(
        [PYTHON, "-I", str(PYZ), *arguments], env=env, capture_output=True, text=True,
        cwd=home, check=False, timeout=120,
    )  # fmt: skip


def test_the_zipapp_is_small_and_runs(tmp_path: Path) -> None:
    assert PYZ.stat().st_size <= SIZE_MAX
    assert os.access(PYZ, os.X_OK)
    told = pyz(tmp_path, "--version")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("emr ")
    key = pyz(tmp_path, "keys", "create", "--name", "from-the-zipapp")
    assert key.returncode == 0, key.stderr
    assert re.fullmatch(r"emr_[A-Za-z0-9]{32}\n", key.stdout)


def test_the_zipapp_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.processes.EMR", (PYTHON, "-I", str(PYZ)))
    with router(tmp_path) as emr:
        health = emr.ask("/health")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        told = emr.ask("/v1/embeddings", {"input": "a text"})
        assert told.status_code == 400
        assert "emr-local.pyz" in told.json()["message"]
        assert "providers add" in told.json()["message"]


def test_the_zipapp_says_what_is_wrong(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.write_text("a file, where a folder is needed")
    env = environment(tmp_path, {"SHIV_ROOT": "", "XDG_CACHE_HOME": str(locked)})
    told = subprocess.run(
        [PYTHON, "-I", str(PYZ), "--version"], env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert told.returncode == 1
    assert told.stderr.startswith(f"emr: cannot unpack into {locked}")
    assert "Traceback" not in told.stderr
