"""Settings that cannot be meant, given to the real programs: refused, with place and reason.

Goal: a router never runs with a limit that would stop it or a text that can never pass. Method: the
commands that an operator uses, and the admin API of a running router, which keeps what it had.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.processes import EMR, Router, environment

ROW = '[[providers]]\nname = "v"\nprovider_type = "voyage"\napi_key_env_var = "V_API_KEY"\n'
BELOW_ZERO = [
    ("requests_per_minute", -5, "must be a number from 0.001 to 1e+09, not -5"),
    ("requests_per_minute", 0, "must be a number from 0.001 to 1e+09, not 0"),
    ("tokens_per_minute", -1, "must be a whole number from 1 to 1000000000000, not -1"),
    ("items_per_minute", -1, "must be a number from 0.001 to 1e+09, not -1"),
    ("max_concurrency", -1, "must be a whole number from 1 to 1000, not -1"),
]
TOO_LONG = {"max_tokens_per_text": 1001, "tokens_per_minute": 1000}
TOO_LONG_REASON = "1001 tokens a text are more than tokens_per_minute allows (1000)"


def emr_command(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*EMR, *arguments], env=environment(home), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_a_file_with_bad_limits_is_refused_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    for field, value, reason in BELOW_ZERO:
        file.write_text(f"{ROW}{field} = {value}\n")
        told = emr_command(tmp_path, "config", "validate", "--config", str(file))
        assert (told.returncode, told.stdout) == (1, "")
        assert told.stderr.strip() == f"{file}:5: providers[0].{field}: {reason}"


@pytest.mark.parametrize("command", [("config", "validate"), ("serve", "--bind", "127.0.0.1:0")])
def test_a_text_that_no_minute_allows_is_refused(command: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    lines = "".join(f"{field} = {value}\n" for field, value in TOO_LONG.items())
    file.write_text(ROW + lines)
    told = emr_command(tmp_path, *command, "--config", str(file))
    assert told.returncode == 1
    assert f"{file}:5: providers[0].max_tokens_per_text: {TOO_LONG_REASON}" in told.stderr
    file.write_text(ROW + lines.replace("1001", "1000"))
    assert emr_command(tmp_path, "config", "validate", "--config", str(file)).returncode == 0


def test_the_admin_api_refuses_them_and_keeps_what_it_had(emr: Router) -> None:
    row = {"name": "bad", "provider_type": "openai", "api_key_env_var": "BAD_API_KEY"}
    for field, value, reason in BELOW_ZERO:
        told = emr.admin("POST", "/admin/providers", row | {field: value})
        assert told.status_code == 400, told.text
        error = told.json()["error"]
        assert (error["type"], error["param"]) == ("validation_error", field)
        assert error["message"] == f"{field} {reason}"
    told = emr.admin("POST", "/admin/providers", row | TOO_LONG)
    assert (told.status_code, told.json()["error"]["param"]) == (400, "max_tokens_per_text")
    assert TOO_LONG_REASON in told.json()["error"]["message"]
    assert "bad" not in {each["name"] for each in emr.admin("GET", "/admin/providers").json()}
