"""What the system's own tools say: promtool of the metrics, systemd-analyze, shellcheck."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.support.processes import ROOT, router

PYZ = ROOT / "dist" / "emr.pyz"
UNIT = ROOT / "systemd" / "emr.service"
EXPOSURE_MAX = 1.5
SHELL = (
    "install.sh", ".ci/run", "scripts/*", "packaging/package/p*", "examples/**/*.sh",
)  # fmt: skip


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


def test_the_units_beside_verify(tmp_path: Path) -> None:
    """The socket with its service, and the unit of a user's own manager."""
    for name in ("emr.service", "emr.socket", "emr.user.service"):
        text = (ROOT / "systemd" / name).read_text()
        for program in ("/usr/bin/emr", "%h/.local/bin/emr"):
            text = text.replace(program, str(PYZ))
        (tmp_path / name).write_text(text)
    for name in ("emr.socket", "emr.user.service"):
        verified = subprocess.run(
            [tool("systemd-analyze"), "verify", "--man=no", str(tmp_path / name)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (verified.returncode, verified.stdout + verified.stderr) == (0, ""), name


def test_shell_scripts_pass_shellcheck() -> None:
    scripts = [str(path) for pattern in SHELL for path in sorted(ROOT.glob(pattern))]
    assert len(scripts) > 10
    checked = subprocess.run(
        [tool("shellcheck"), *scripts], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
