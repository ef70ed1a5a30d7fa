"""Reading the configuration: what beats what, what is unknown, and what is refused, where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from emr.control.config import ConfigError, Loaded, find_file, load
from emr.control.places import Places
from emr.control.rows import Source
from emr.control.settings import SETTINGS, Applies, Settings, lane_settings, server_limits
from emr.front.exchange import ServerLimits
from emr.lane.settings import LaneSettings
from tests.control.parts import RULES, places_in, unprivileged


def read(
    folder: Path,
    text: str | bytes = "",
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Loaded:
    file = folder / "config.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(file, environment or {}, RULES, flags)


def problems(folder: Path, text: str | bytes = "", **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, **more)
    assert str(caught.value) == "\n".join(str(one) for one in caught.value.problems)
    return [str(one).replace(f"{folder}/", "") for one in caught.value.problems]


# the table


def test_the_settings_are_those_that_are_promised() -> None:
    defaults = {setting.key: setting.default for setting in SETTINGS}
    assert defaults == {
        "server.bind": ("127.0.0.1:3200",), "server.socket_mode": 0o660,
        "server.max_body_bytes": 16 << 20, "server.max_head_bytes": 32 << 10,
        "server.max_connections": 12_000, "server.max_texts_per_request": 2048,
        "server.deadline_ms": 60_000, "server.bulk_deadline_ms": 600_000,
        "server.key_variables": (), "server.head_timeout_ms": 10_000,
        "server.body_timeout_ms": 30_000, "server.keepalive_ms": 75_000,
        "server.drain_ms": 30_000, "server.tls_cert": None, "server.tls_key": None,
        "server.client_ca": None, "server.allowed_hosts": None,
        "multiplexer.batch_window_ms": 50, "multiplexer.channel_capacity": 1024,
        "multiplexer.initial_batch_size": 1, "multiplexer.success_streak_threshold": 10,
        "multiplexer.max_queue_bytes": 256 << 20,
        "retry.max_retries": 2, "retry.per_attempt_cap_ms": 15_000,
        "retry.cumulative_cap_ms": 45_000, "retry.connect_timeout_ms": 5_000,
        "retry.call_timeout_ms": 60_000,
        "health.rolling_window_minutes": 60, "health.failure_threshold": 5,
        "health.sinbin_initial_seconds": 30, "health.sinbin_max_seconds": 600,
        "health.sinbin_multiplier": 2.0, "health.recovery_probe_interval_seconds": 30,
        "health.binned_wait_ms": 15_000,
        "cache.max_bytes": 64 << 20, "cache.path": None, "cache.max_disk_bytes": 1 << 30,
        "cache.scope": None, "keys.requests_per_minute": None,
        "keys.tokens_per_minute": None, "keys.tokens_per_month": None,
        "usage.retention_days": 90,
        "database.path": "~/.config/emr/emr.db", "log.level": "info", "log.format": "auto",
    }  # fmt: skip


def test_every_setting_says_what_it_is() -> None:
    for setting in SETTINGS:
        assert setting.help, setting.key
        assert setting.form.describe(), setting.key
        assert isinstance(setting.applies, Applies)
        shown = setting.example if setting.default is None else setting.default
        assert setting.form.take(setting.form.plain(shown)) == shown, setting.key
    assert len({setting.key for setting in SETTINGS}) == len(SETTINGS)
    assert {s.variable for s in SETTINGS} >= {"EMR_SERVER_BIND", "EMR_LOG_LEVEL"}


def test_the_defaults_are_those_of_the_core_and_the_server() -> None:
    settings = Settings()
    assert lane_settings(settings) == LaneSettings()
    loopback = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
    assert server_limits(settings) == ServerLimits(allowed_hosts=loopback)


def test_each_value_reaches_the_core_and_the_server(tmp_path: Path) -> None:
    text = """
    [server]
    bind = "0.0.0.0:1"
    max_body_bytes = 2048
    max_head_bytes = 4096
    max_connections = 3
    head_timeout_ms = 1500
    body_timeout_ms = 2500
    keepalive_ms = 3500
    drain_ms = 4500
    [multiplexer]
    batch_window_ms = 0
    channel_capacity = 4
    initial_batch_size = 32
    success_streak_threshold = 6
    max_queue_bytes = "2 MiB"
    [retry]
    max_retries = 0
    per_attempt_cap_ms = 100
    cumulative_cap_ms = 200
    call_timeout_ms = 300
    [health]
    rolling_window_minutes = 1
    failure_threshold = 7
    sinbin_initial_seconds = 8
    sinbin_max_seconds = 9
    sinbin_multiplier = 1
    binned_wait_ms = 10
    """
    settings = read(tmp_path, text).settings
    assert lane_settings(settings) == LaneSettings(
        0.0, 4, 32, 6, 2 << 20, 0, 0.1, 0.2, 0.3, 60.0, 7, 8.0, 9.0, 1.0, 30.0, 0.01, False
    )
    assert server_limits(settings) == ServerLimits(
        max_body_bytes=2048, max_head_bytes=4096, max_connections=3, head_timeout_s=1.5,
        body_timeout_s=2.5, keepalive_s=3.5, drain_s=4.5, allowed_hosts=None,
    )  # fmt: skip


# what is found, and what beats what


def test_nothing_is_needed() -> None:
    loaded = load(None, {}, RULES)
    assert loaded.settings == Settings()
    assert loaded.file is None
    assert loaded.warnings == ()
    assert set(loaded.sources.values()) == {"default"}


def test_the_search_order(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    assert find_file(places, {}) is None
    etc, user, here = places.etc, places.folder, places.here
    user.mkdir(parents=True)
    for folder in (etc, user, here):  # each later one is looked at before
        (folder / "config.toml").write_text("")
        assert find_file(places, {}) == folder / "config.toml"
    named, by_variable = tmp_path / "a.toml", places.home / "b.toml"
    named.touch()
    by_variable.touch()
    environment = {"EMR_CONFIG": "~/b.toml"}
    assert find_file(places, environment) == by_variable
    assert find_file(places, {"EMR_CONFIG": ""}) == here / "config.toml"
    assert find_file(places, environment, str(named)) == named


@pytest.mark.parametrize("where", ["--config", "EMR_CONFIG"])
def test_a_named_file_must_be_there(tmp_path: Path, where: str) -> None:
    named = str(tmp_path / "none.toml")
    environment = {"EMR_CONFIG": named} if where == "EMR_CONFIG" else {}
    with pytest.raises(ConfigError) as caught:
        find_file(places_in(tmp_path), environment, named if where == "--config" else None)
    assert f"{where}: no such file: {named}" in str(caught.value)
    assert "config init" in str(caught.value)


def test_a_folder_that_may_not_be_entered_is_passed_over(anywhere: Path) -> None:
    places = places_in(anywhere)
    (places.etc / "config.toml").touch()
    places.etc.chmod(0o000)
    with unprivileged():
        assert find_file(places, {}) is None
    places.etc.chmod(0o700)


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    text = '[server]\nbind = "127.0.0.1:1"\ndeadline_ms = 11\n[log]\nlevel = "error"\n'
    environment = {"EMR_SERVER_BIND": "127.0.0.1:2,unix:/x", "EMR_LOG_LEVEL": "DEBUG"}
    loaded = read(tmp_path, text, environment, {"server.bind": "127.0.0.1:3"})
    assert loaded.settings.server.bind == ("127.0.0.1:3",)
    assert loaded.settings.server.deadline_ms == 11
    assert loaded.settings.log.level == "debug"
    file = tmp_path / "config.toml"
    assert loaded.sources["server.bind"] == "flag --bind"
    assert loaded.sources["server.deadline_ms"] == f"{file}:3"
    assert loaded.sources["log.level"] == "environment EMR_LOG_LEVEL"
    assert loaded.sources["log.format"] == "default"
    without = read(tmp_path, text, environment)
    assert without.settings.server.bind == ("127.0.0.1:2", "unix:/x")


def test_every_setting_has_its_environment_variable(tmp_path: Path) -> None:
    texts = {
        "server.bind": "127.0.0.1:9", "server.tls_cert": "/c", "server.tls_key": "/k",
        "server.client_ca": "/a", "cache.path": "/p", "cache.scope": "key",
        "server.allowed_hosts": "a,b", "server.key_variables": "A,B", "server.socket_mode": "600",
        "database.path": "/d", "log.level": "debug", "log.format": "json",
        "health.sinbin_multiplier": "3", "server.max_body_bytes": "2 MiB",
        "multiplexer.max_queue_bytes": "2 MiB", "server.max_head_bytes": "2 KiB",
    }  # fmt: skip
    environment = {s.variable: texts.get(s.key, "77") for s in SETTINGS}
    loaded = read(tmp_path, "", environment)
    for setting in SETTINGS:
        assert setting.of(loaded.settings) != setting.default, setting.key
        assert loaded.sources[setting.key] == f"environment {setting.variable}"
    assert loaded.warnings == ()


def test_an_empty_variable_is_none() -> None:
    loaded = load(None, {"EMR_SERVER_BIND": " ", "EMR_LOG_LEVEL": ""}, RULES)
    assert loaded.settings == Settings()


def test_computed_defaults(tmp_path: Path) -> None:
    for bind, scope in (("127.0.0.1:1", "shared"), ("unix:/x", "shared"), ("0.0.0.0:1", "key")):
        settings = read(tmp_path, f'server.bind = "{bind}"').settings
        assert settings.cache_scope() == scope
        assert (settings.allowed_hosts() is None) == (scope == "key")
    both = read(tmp_path, 'server.bind = ["127.0.0.1:1", "10.0.0.1:1"]').settings
    assert both.cache_scope() == "key"
    assert read(tmp_path, 'cache.scope = "key"').settings.cache_scope() == "key"


def test_a_bind_that_others_reach_warns_without_tls(tmp_path: Path) -> None:
    assert Settings().start_warnings() == ()
    text = 'server.bind = ["0.0.0.0:1", "127.0.0.1:1", "unix:/x"]\n'
    warnings = read(tmp_path, text).settings.start_warnings()
    assert len(warnings) == 1
    assert "0.0.0.0:1 without TLS" in warnings[0]
    safe = read(tmp_path, text + 'server.tls_cert = "c"\nserver.tls_key = "k"').settings
    assert safe.start_warnings() == ()


def test_paths(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    assert Settings().database_file(places) == places.home / ".config/emr/emr.db"
    assert read(tmp_path, 'database.path = "/x/y.db"').settings.database_file(places) == Path(
        "/x/y.db"
    )
    assert read(tmp_path, 'database.path = ":memory:"').settings.database_file(places) is None
    assert places.expand("~") == places.home
    assert places.expand("~x/y") == Path("~x/y")


def test_places_of_a_process() -> None:
    places = Places.of({"HOME": "/h", "CREDENTIALS_DIRECTORY": "/run/c"})
    assert places == Places(Path("/h"), credentials=Path("/run/c"))
    assert Places.of({}) == Places.of({"HOME": ""}) == Places(Path("/root"))
    assert places.env_file == Path("/h/.config/emr/.env")
    assert places.first_key == Path("/h/.config/emr/first-key")
    assert places.system_secret == Path("/etc/emr/credentials/admin_secret")


# unknown names


def test_unknown_names_warn_with_the_nearest(tmp_path: Path) -> None:
    text = "\n[server]\nbnid = 1\nzzz = 2\n[sever]\n[admin]\nsecret = 'CANARY'\n[[providers]]\n"
    text += 'name = "v"\nprovider_type = "voyage"\ntype = "CANARY"\n'
    environment = {"EMR_SERVER_BIN": "x", "EMR_OTHER": "x", "EMR_ADMIN_SECRET": "x"}
    warnings = read(tmp_path, text, environment).warnings
    told = [warning.replace(f"{tmp_path}/", "") for warning in warnings]
    assert "config.toml:3: unknown setting server.bnid; did you mean bind?" in told
    assert "config.toml:4: unknown setting server.zzz" in told
    assert "config.toml:5: unknown section sever; did you mean server?" in told
    assert "config.toml:11: unknown field type" in "\n".join(told)
    assert "environment EMR_SERVER_BIN: unknown setting; did you mean EMR_SERVER_BIND?" in told
    assert any(one.startswith("config.toml:6: [admin] has no settings") for one in told)
    assert len(told) == 6
    assert "CANARY" not in "".join(told)


# what is refused


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[server]\n\nbind = 3200", "config.toml:3: server.bind: must be host:port"),
        ('server.bind = "127.0.0.1"', "config.toml:1: server.bind: \"127.0.0.1\" needs a host and"),
        ("server.bind = []", "config.toml:1: server.bind: must have 1 to"),
        ("[server]\ndeadline_ms = 0", "config.toml:2: server.deadline_ms: must be a whole number"),
        ("[server]\ndeadline_ms = -1", "config.toml:2: server.deadline_ms"),
        ("[server]\nmax_connections = 0", "config.toml:2: server.max_connections"),
        ("[server]\nmax_texts_per_request = 100001", "server.max_texts_per_request"),
        ("[server]\nmax_body_bytes = '1 MB'", "server.max_body_bytes: must be bytes from"),
        ("[multiplexer]\nchannel_capacity = 0", "multiplexer.channel_capacity"),
        ("[multiplexer]\nbatch_window_ms = -1", "multiplexer.batch_window_ms"),
        ("[health]\nsinbin_multiplier = 0.99", "health.sinbin_multiplier: must be a number from 1"),
        ("[health]\nfailure_threshold = 0", "health.failure_threshold"),
        ("[health]\nsinbin_initial_seconds = 601",
         "config.toml:2: health.sinbin_initial_seconds: 601 is over health.sinbin_max_sec"),
        ("[health]\nsinbin_max_seconds = 29", "config.toml:2: health.sinbin_initial_seconds: 30"),
        ("[retry]\ncumulative_cap_ms = 14999", "config.toml:2: retry.per_attempt_cap_ms: 15000"),
        ("[retry]\nper_attempt_cap_ms = 45001", "config.toml:2: retry.per_attempt_cap_ms: 45001"),
        ("[retry]\ncall_timeout_ms = true", "retry.call_timeout_ms: must be a whole number"),
        ("[server]\ntls_cert = 'c'", "config.toml:2: server.tls_cert: needs server.tls_key"),
        ("[server]\ntls_key = 'k'", "config.toml:2: server.tls_key: needs server.tls_cert"),
        ("[server]\nclient_ca = 'c'", "config.toml:2: server.client_ca: needs server.tls_cert"),
        ("[server]\nkey_variables = ['EMR_X']", "server.key_variables: EMR_*"),
        ("[server]\nallowed_hosts = ['a:1']", "server.allowed_hosts: must be a host name"),
        ("[cache]\nscope = 'all'", 'cache.scope: must be "shared" or "key"'),
        ("[database]\npath = ''", "config.toml:2: database.path: must not be empty"),
        ("[log]\nlevel = 'loud'", "log.level: must be"),
        ("server = 3", "config.toml:1: server: must be a table"),
        ("admin = 3", "config.toml:1: admin: must be a table"),
        ("models = 3", "config.toml:1: models: must be a table"),
        ("[models]\na = 'voyage'", 'config.toml:2: models.a: must be a text "provider/model"'),
        ("[models]\na = '/m'", "models.a"), ("[models]\na = 'p/'", "models.a"),
        ("[models]\na = 3", "models.a"), ("[models]\n'' = 'p/m'", "models."),
        ("providers = 3", "config.toml:1: providers: must be tables [[providers]]"),
        ("providers = [3]", "config.toml:1: providers: must be tables"),
        ("a = 1\nb = ", "config.toml:2: is not TOML"),
        ("a = 1\na = 2", "config.toml:2: is not TOML"),
        (b"a = 1\n\nb = '\xff'", "config.toml:3: is not UTF-8"),
    ],
)  # fmt: skip
def test_bad_values_name_file_line_key_and_reason(
    tmp_path: Path, text: str | bytes, told: str
) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert told in found[0]
    assert found[0].startswith("config.toml:")


@pytest.mark.parametrize(
    "text",
    [
        "[health]\nsinbin_initial_seconds = 600", "[retry]\nper_attempt_cap_ms = 45000",
        "[multiplexer]\nbatch_window_ms = 0", "[health]\nsinbin_multiplier = 1",
        "[retry]\nmax_retries = 0", "[cache]\nmax_bytes = 0",
        "[server]\nmax_texts_per_request = 100000", "[server]\nbind = '127.0.0.1:0'",
    ],
)  # fmt: skip
def test_the_limits_themselves_are_fine(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).warnings == ()


def test_no_number_is_without_a_bound(tmp_path: Path) -> None:
    for setting in SETTINGS:
        if isinstance(setting.default, int | float):
            with pytest.raises(ValueError):
                setting.form.take(10**30)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    text = "[server]\ndeadline_ms = 0\n[retry]\nper_attempt_cap_ms = 50000\n[models]\na = 1\n"
    environment = {"EMR_LOG_LEVEL": "loud", "EMR_ADMIN_SECRET": " "}
    found = problems(tmp_path, text, environment=environment, flags={"server.bind": "x"})
    assert [one.split(": ")[0] for one in found] == [
        "config.toml:2", "environment EMR_LOG_LEVEL", "environment EMR_ADMIN_SECRET",
        "flag --bind", "config.toml:6", "config.toml:4",
    ]  # fmt: skip


def test_a_bad_value_is_bad_even_when_another_beats_it(tmp_path: Path) -> None:
    found = problems(tmp_path, "server.bind = 3", flags={"server.bind": "127.0.0.1:1"})
    assert len(found) == 1


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {}, RULES)
    assert str(caught.value) == f"{tmp_path}: cannot be read: Is a directory"
    assert "4 MiB" in problems(tmp_path, "#" * ((4 << 20) + 1))[0]
    assert read(tmp_path, "#" * (4 << 20)).warnings == ()


# providers and aliases


def test_providers_and_aliases(tmp_path: Path) -> None:
    text = """
    [models]
    small = "v/voyage-code-3"
    "with.dot" = "v/a/b"
    [[providers]]
    name = "v"
    provider_type = "voyage"
    tokens_per_minute = 40_000
    [[providers]]
    name = "two"
    provider_type = "voyage"
    api_key_env_vars = ["K1", "K2"]
    weight = [1, 2.5]
    models = ["m1", "m2"]
    dimensions = 256
    allow_http = true
    endpoint = "http://embeddings.test/v1/embeddings"
    """
    loaded = read(tmp_path, text)
    first, second = loaded.settings.providers
    assert loaded.settings.models == {"small": "v/voyage-code-3", "with.dot": "v/a/b"}
    assert first.source is Source.FILE
    assert first.endpoint == "https://api.voyage.test/v1/embeddings"
    assert (first.model, first.key_variables) == ("voyage-code-3", ("VOYAGE_API_KEY",))
    assert second.key_variables == ("K1", "K2")
    assert (second.weight, second.dimensions, second.models) == ((1.0, 2.5), (256,), ("m1", "m2"))
    file = tmp_path / "config.toml"
    assert loaded.sources["providers.two"] == f"{file}:9"
    assert loaded.sources["models.with.dot"] == f"{file}:4"
    assert loaded.warnings == ()


def test_providers_inside_of_brackets(tmp_path: Path) -> None:
    text = 'providers = [\n  { name = "v",\n    provider_type = "voyage",\n'
    text += '    endpoint = "ftp://x" },\n]'
    assert problems(tmp_path, text) == [
        "config.toml:4: providers[0].endpoint: must be an https URL"
    ]


def test_bad_providers(tmp_path: Path) -> None:
    text = """\
[[providers]]
name = "v w"
[[providers]]
name = "v"
provider_type = "voyag"
[[providers]]
name = "x"
provider_type = "voyage"
max_tokens_per_text = 10001
tokens_per_minute = 10000
[[providers]]
name = "y"
provider_type = "voyage"
api_key_env_var = "sk-CANARY"
[[providers]]
name = "z"
provider_type = "voyage"
[[providers]]
name = "z"
provider_type = "voyage"
"""
    found = problems(tmp_path, text)
    assert [one.split(": ")[0] for one in found] == [
        f"config.toml:{line}" for line in (2, 5, 9, 14, 19)
    ]
    assert "did you mean voyage?" in found[1]
    assert "10001 tokens a text are more than tokens_per_minute allows (10000)" in found[2]
    assert "NAME of an environment variable" in found[3]
    assert "CANARY" not in "".join(found)
    assert "two providers z" in found[4]


def test_a_minute_that_is_shorter_than_a_text_warns(tmp_path: Path) -> None:
    text = '[[providers]]\nname = "v"\nprovider_type = "voyage"\ntokens_per_minute = 10000\n'
    (warning,) = read(tmp_path, text).warnings
    assert "32000" in warning
    assert "config.toml:1" in warning
