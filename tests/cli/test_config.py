"""`emr config`: init, show, validate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli

from emr.control.settings import SETTINGS
from tests.cli.parts import SECRET, Commands, Home


def test_init_writes_a_file_in_which_nothing_is_set(home: Home, emr: Commands) -> None:
    told = emr("config", "init")
    assert (told.code, told.out, told.err) == (0, "", "Config written to: config.toml\n")
    text = (home.places.here / "config.toml").read_text()
    assert all(value == {} for value in tomli.loads(text).values())
    assert all(f"# {setting.name} = " in text for setting in SETTINGS)
    assert emr("config", "validate").code == 0


def test_init_elsewhere_makes_the_folder(emr: Commands, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "emr.toml"
    assert emr("config", "init", "--config", str(path)).code == 0
    assert path.is_file()


def test_init_leaves_a_file_as_it_is(home: Home, emr: Commands, tmp_path: Path) -> None:
    path = home.configure("# mine\n")
    told = emr("config", "init")
    assert (told.code, "config.toml is there already" in told.err) == (1, True)
    assert path.read_text() == "# mine\n"
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    assert emr("config", "init", "--config", str(link)).code == 1
    assert not (tmp_path / "nowhere").exists()


def test_init_where_nothing_can_be_written(emr: Commands, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "config.toml"
    told = emr("config", "init", "--config", str(path))
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith(f"emr: {path} cannot be written: ")


def test_show_says_where_each_value_comes_from(
    home: Home, emr: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home.configure('[server]\nkeepalive_ms = 5\n[models]\na = "b/c"\n')
    monkeypatch.setenv("EMR_LOG_LEVEL", "debug")
    told = emr("config", "show")
    assert (told.code, told.err) == (0, "")
    lines = told.out.splitlines()
    assert lines[0] == f"# from {path.name}"
    assert f"keepalive_ms = 5  # {path.name}:2" in lines
    assert 'level = "debug"  # environment EMR_LOG_LEVEL' in lines
    assert "drain_ms = 30000  # default" in lines
    assert '"a" = "b/c"  # config.toml:4' in lines
    assert lines[-1] == "EMR_ADMIN_SECRET: not set"


def test_show_never_shows_the_secret(home: Home, emr: Commands) -> None:
    home.secret()
    told = emr("config", "show")
    assert told.out.splitlines()[-1] == f"EMR_ADMIN_SECRET: set ({home.places.env_file})"
    shown = emr("config", "show", "--json")
    assert json.loads(shown.out)["admin"] == {"secret": "[REDACTED]"}
    assert json.loads(shown.out)["admin_secret_source"] == str(home.places.env_file)
    home.places.env_file.chmod(0o640)
    refused = emr("config", "show")
    assert refused.out.splitlines()[-1] == "EMR_ADMIN_SECRET: not set"
    assert "EMR_ADMIN_SECRET cannot be used: " in refused.err
    for ran in (told, shown, refused):
        assert SECRET not in ran.out + ran.err


def test_show_as_json(home: Home, emr: Commands) -> None:
    home.configure("[server]\nkeepalive_ms = 5\n")
    told = json.loads(emr("config", "show", "--json").out)
    assert told["server"]["keepalive_ms"] == 5
    assert told["sources"]["server"]["keepalive_ms"] == "config.toml:2"
    assert told["admin_secret_source"] is None


def test_validate_says_so(home: Home, emr: Commands) -> None:
    assert emr("config", "validate").out == "Config is valid.\n"
    home.configure("[serve]\n")
    told = emr("config", "validate")
    assert (told.code, told.out) == (0, "Config is valid.\n")
    assert told.err == ("warning: config.toml:1: unknown section serve; did you mean server?\n")


def test_validate_tells_every_problem_with_its_line(
    home: Home, emr: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.configure("[server]\nkeepalive_ms = 0\n\n[retry]\nmax_retries = -1\n")
    monkeypatch.setenv("EMR_ADMIN_SECRET", "")
    told = emr("config", "validate")
    assert (told.code, told.out) == (1, "")
    lines = told.err.splitlines()
    assert [line.partition(" must")[0].partition(" is")[0] for line in lines] == [
        "config.toml:2: server.keepalive_ms:",
        "config.toml:5: retry.max_retries:",
        "environment EMR_ADMIN_SECRET:",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[server\n", "config.toml:1: is not TOML: "),
        ('[server]\nbind = "localhost"\n', "config.toml:2: server.bind: "),
        ("[health]\nsinbin_multiplier = 0.5\n", "config.toml:2: health.sinbin_multiplier: "),
        ("[[providers]]\nname = \"x\"\n", "config.toml:1: providers[0].provider_type: "),
    ],
)  # fmt: skip
def test_validate_refuses(home: Home, emr: Commands, text: str, reason: str) -> None:
    home.configure(text)
    told = emr("config", "validate")
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith(reason)


def test_validate_looks_at_the_secret_too(home: Home, emr: Commands) -> None:
    home.secret()
    home.places.env_file.chmod(0o604)
    told = emr("config", "validate")
    assert (told.code, told.out) == (1, "")
    assert f"chmod 600 {home.places.env_file}" in told.err


@pytest.mark.parametrize("action", ["show", "validate"])
def test_a_named_file_that_is_not_there(emr: Commands, action: str) -> None:
    told = emr("config", action, "--config", "/nowhere.toml")
    assert (told.code, told.out) == (1, "")
    assert "no such file: /nowhere.toml" in told.err
