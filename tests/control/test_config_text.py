"""The configuration as people read it: `init` reads back, `show` keeps secrets, `changes` tells."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import tomli

from emr.control.config import Loaded, load
from emr.control.config_text import (
    changes,
    effective,
    init_text,
    nested_sources,
    settings_table,
    show_text,
)
from emr.control.rows import FIELDS
from emr.control.secrets import Secret
from emr.control.settings import SETTINGS, Settings
from tests.control.parts import RULES

CONFIG = """
[server]
bind = ["127.0.0.1:1", "unix:/x"]
[models]
small = "v/m"
[[providers]]
name = "v"
provider_type = "voyage"
models = ["m"]
"""


def read(folder: Path, text: str) -> Loaded:
    file = folder / "config.toml"
    file.write_text(text)
    return load(file, {}, RULES)


def test_init_is_the_defaults(tmp_path: Path) -> None:
    loaded = read(tmp_path, init_text())
    assert loaded.settings == Settings()
    assert loaded.warnings == ()


def test_init_with_every_hash_taken_away(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^# (\w+ = )", r"\1", init_text().split("\n[models]")[0])
    loaded = read(tmp_path, text)
    assert loaded.warnings == ()
    for setting in SETTINGS:
        assert loaded.sources[setting.key] != "default", setting.key
        expected = setting.example if setting.default is None else setting.default
        assert setting.of(loaded.settings) == expected, setting.key


def test_init_names_everything() -> None:
    text = init_text()
    for name in (*(setting.name for setting in SETTINGS), *(field.name for field in FIELDS)):
        assert name in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_table_for_the_documentation() -> None:
    lines = settings_table().splitlines()
    assert len(lines) == len(SETTINGS) + 2
    assert all(line.replace("\\|", "").count("|") == 6 for line in lines)


def test_effective_and_its_sources(tmp_path: Path) -> None:
    loaded = read(tmp_path, CONFIG)
    told, sources = effective(loaded), nested_sources(loaded)
    assert told["server"]["bind"] == ["127.0.0.1:1", "unix:/x"]
    assert told["server"]["socket_mode"] == "0660"
    assert told["server"]["tls_cert"] is None
    assert told["server"]["allowed_hosts"] == ["127.0.0.1", "[::1]", "localhost"]
    assert told["cache"]["scope"] == "shared"
    assert told["admin"] == {"secret": "[REDACTED]"}
    assert told["models"] == {"small": "v/m"}
    assert told["providers"][0]["api_key_env_var"] == "VOYAGE_API_KEY"
    assert told["providers"][0]["models"] == ["m"]
    file = tmp_path / "config.toml"
    assert sources["server"]["bind"] == f"{file}:3"
    assert sources["retry"]["max_retries"] == "default"
    assert sources["models"] == {"small": f"{file}:5"}
    assert sources["providers"] == [f"{file}:6"]
    assert {name: set(told[name]) for name in told if name not in ("admin", "providers")} == {
        name: set(sources[name]) for name in sources if name != "providers"
    }
    assert orjson.loads(orjson.dumps([told, sources])) == [told, sources]


def test_defaults_have_one_plain_bind() -> None:
    told = effective(load(None, {}, RULES))
    assert told["server"]["bind"] == "127.0.0.1:3200"
    assert told["server"]["key_variables"] == []
    open_to_all = load(None, {"EMR_SERVER_BIND": "0.0.0.0:1"}, RULES)
    assert effective(open_to_all)["server"]["allowed_hosts"] == ["*"]
    assert effective(open_to_all)["cache"]["scope"] == "key"


def test_show_reads_back_and_keeps_the_secret(tmp_path: Path) -> None:
    loaded = read(tmp_path, CONFIG)
    text = show_text(loaded, Secret("CANARY", "environment EMR_ADMIN_SECRET"))
    assert text.splitlines()[-1] == "EMR_ADMIN_SECRET: set (environment EMR_ADMIN_SECRET)"
    assert "CANARY" not in text
    document = text.rsplit("\n", 2)[0]
    assert tomli.loads(document)["server"]["bind"] == ["127.0.0.1:1", "unix:/x"]
    assert read(tmp_path, document).settings.providers == loaded.settings.providers
    assert show_text(loaded, None).splitlines()[-1] == "EMR_ADMIN_SECRET: not set"
    assert "no configuration file" in show_text(load(None, {}, RULES), None)


def test_a_row_is_told_with_what_differs_from_its_default(tmp_path: Path) -> None:
    row = '[[providers]]\nname = "v"\nprovider_type = "voyage"\n'
    free = read(tmp_path, row + "price_per_million_tokens = 0").settings
    (told,) = effective(read(tmp_path, row + "price_per_million_tokens = 0"))["providers"]
    assert told["price_per_million_tokens"] == 0.0, "free is not unknown"
    (told,) = effective(read(tmp_path, row))["providers"]
    assert "price_per_million_tokens" not in told
    (change,) = changes(read(tmp_path, row).settings, free)
    assert change.key == "providers.v"


def test_changes(tmp_path: Path) -> None:
    old = read(tmp_path, CONFIG).settings
    assert changes(old, old) == []
    other = CONFIG.replace("unix:/x", "0.0.0.0:1").replace('"v/m"', '"v/n"')
    other += 'max_concurrency = 2\n[[providers]]\nname = "w"\nprovider_type = "voyage"\n'
    new = read(tmp_path, "server.deadline_ms = 5\n" + other.replace("[server]\n", "server."))
    told = {change.key: change.view() for change in changes(old, new.settings)}
    assert {key: one["restart"] for key, one in told.items()} == {
        "server.bind": True, "server.allowed_hosts": True, "cache.scope": True,
        "server.deadline_ms": False, "models.small": False, "providers.v": False,
        "providers.w": False,
    }  # fmt: skip
    assert (told["server.deadline_ms"]["old"], told["server.deadline_ms"]["new"]) == (60000, 5)
    assert told["providers.w"]["old"] is None
    back = {change.key: change for change in changes(new.settings, old)}
    assert back["providers.w"].new is None
