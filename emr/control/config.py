"""From a file, the environment and flags to Settings: what was found, where, and what is wrong.

A flag beats an environment variable, which beats the file. Every value is checked, also one that
another beats, so that a file does not become bad by leaving a flag away. All problems come in one
ConfigError; nothing is ever half read, so that a running server keeps what it has.

Unknown names are warnings, with the known name that is nearest: a file may be older or newer than
the program.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli

from emr.control.places import Places
from emr.control.rows import BY_NAME, BadRow, Row, RowRules, Source, nearest
from emr.control.secrets import ADMIN_VARIABLE
from emr.control.settings import SECTIONS, SETTINGS, Setting, Settings
from emr.control.toml_lines import Path as KeyPath
from emr.control.toml_lines import key_lines

CONFIG_VARIABLE = "EMR_CONFIG"
DEFAULT = "default"
FILE_SIZE_MAX = 4 << 20  # bytes: 10,000 provider rows
OTHER_TABLES = ("admin", "models", "providers")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (`config.toml:12`, a variable, a flag), which key, why."""

    where: str
    key: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.reason) if part)


class ConfigError(Exception):
    """The configuration cannot be used. `problems` are all that were found."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, where it came from, and what an operator should know of it.

    `sources` says for each dotted setting, alias (`models.NAME`) and row (`providers.NAME`)
    where its value came from: `default`, `FILE:LINE`, `environment NAME` or `flag --NAME`.
    """

    settings: Settings
    file: Path | None
    sources: Mapping[str, str]
    warnings: tuple[str, ...]


def find_file(
    places: Places, environment: Mapping[str, str], named: str | None = None
) -> Path | None:
    """The configuration file: of `--config`, of EMR_CONFIG, or the first that exists.

    Raises ConfigError for a named file that is not there.
    """
    for where, name in (("--config", named), (CONFIG_VARIABLE, environment.get(CONFIG_VARIABLE))):
        if name:
            path = places.expand(name)
            if not os.path.isfile(path):
                reason = f"no such file: {path}; `emr config init --config {path}` writes one"
                raise ConfigError([Problem(where, "", reason)])
            return path
    # not Path.is_file, which raises for a folder that we may not enter
    return next((path for path in places.config_files() if os.path.isfile(path)), None)


def load(
    file: Path | None,
    environment: Mapping[str, str],
    rules: RowRules,
    flags: Mapping[str, str] | None = None,
) -> Loaded:
    """Read the configuration. `flags` maps a dotted setting to the text its flag was given.

    Raises ConfigError with everything that is wrong.
    """
    reading = _Reading(rules)
    document = reading.open(file) if file is not None else {}
    reading.file_settings(document)
    reading.environment(environment)
    reading.flags(flags or {})
    reading.aliases(document.get("models", {}))
    reading.rows(document.get("providers", []))
    reading.unknown(document, environment)
    settings = reading.settings()
    if reading.problems:
        raise ConfigError(reading.problems)
    return Loaded(settings, file, reading.sources, tuple(reading.warnings))


@dataclass(slots=True)
class _Reading:
    """One reading of everything; collects values, sources, problems and warnings."""

    rules: RowRules
    values: dict[str, Any] = field(default_factory=dict)  # by dotted name
    sources: dict[str, str] = field(
        default_factory=lambda: {setting.key: DEFAULT for setting in SETTINGS}
    )
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    found_rows: list[Row] = field(default_factory=list)
    found_aliases: dict[str, str] = field(default_factory=dict)
    file: str = ""
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def open(self, file: Path) -> dict[str, Any]:
        """The document in `file`. Raises ConfigError when it is no TOML at all."""
        self.file = str(file)
        try:
            with file.open("rb") as stream:
                raw = stream.read(FILE_SIZE_MAX + 1)
        except OSError as error:
            raise ConfigError(
                [Problem(self.file, "", f"cannot be read: {error.strerror}")]
            ) from error
        if len(raw) > FILE_SIZE_MAX:
            raise ConfigError([Problem(self.file, "", "is over 4 MiB: not a configuration file")])
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise ConfigError([Problem(f"{file}:{line}", "", "is not UTF-8")]) from error
        try:
            document = tomli.loads(text)
        except tomli.TOMLDecodeError as error:
            where = f"{file}:{error.lineno}"
            reason = f"is not TOML: {error.msg} (column {error.colno})"
            raise ConfigError([Problem(where, "", reason)]) from error
        self.lines = key_lines(text.replace("\r\n", "\n"))
        return document

    def file_settings(self, document: Mapping[str, Any]) -> None:
        for section in (*SECTIONS, "admin", "models"):
            if not isinstance(document.get(section, {}), dict):
                self._fault((section,), "must be a table")
        for setting in SETTINGS:
            table = document.get(setting.section)
            if isinstance(table, dict) and setting.name in table:
                path = (setting.section, setting.name)
                self._take(setting, table[setting.name], self._where(path))

    def environment(self, environment: Mapping[str, str]) -> None:
        for setting in SETTINGS:
            text = environment.get(setting.variable, "").strip()
            if text:
                self._parse(setting, text, f"environment {setting.variable}")
        if environment.get(ADMIN_VARIABLE, "set").strip() == "":
            reason = "is set but empty: unset it, or give it a value"
            self.problems.append(Problem(f"environment {ADMIN_VARIABLE}", "", reason))

    def flags(self, flags: Mapping[str, str]) -> None:
        by_key = {setting.key: setting for setting in SETTINGS}
        for key, text in flags.items():
            setting = by_key[key]
            self._parse(setting, text, f"flag {setting.flag or key}")

    def aliases(self, table: object) -> None:
        if not isinstance(table, dict):
            return
        for alias, target in table.items():
            path = ("models", alias)
            provider, slash, model = target.partition("/") if isinstance(target, str) else ("",) * 3
            if not (alias and provider and slash and model):
                self._fault(path, 'must be a text "provider/model"')
                continue
            self.found_aliases[alias] = target
            self.sources[f"models.{alias}"] = self._where(path)

    def rows(self, tables: object) -> None:
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            self._fault(("providers",), "must be tables [[providers]]")
            return
        for place, table in enumerate(tables):
            self._row(("providers", place), table)

    def _row(self, path: KeyPath, table: Mapping[str, object]) -> None:
        for name in table:
            if name not in BY_NAME:
                self._warn((*path, name), f"unknown field {name}{nearest(name, tuple(BY_NAME))}")
        try:
            row = self.rules.make(table, Source.FILE)
        except BadRow as error:
            for fault in error.faults:
                self._fault((*path, fault.field), fault.reason)
            return
        if any(row.name == other.name for other in self.found_rows):
            self._fault((*path, "name"), f"there are two providers {row.name}")
            return
        for warning in self.rules.warnings(row):
            self._warn(path, f"providers.{row.name}: {warning}")
        self.found_rows.append(row)
        self.sources[f"providers.{row.name}"] = self._where(path)

    def unknown(self, document: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        """Warn of names that no setting has."""
        tables = (*SECTIONS, *OTHER_TABLES)
        for section, table in document.items():
            if section not in tables:
                self._warn((section,), f"unknown section {section}{nearest(section, tables)}")
            elif section == "admin" and table:
                self._warn(
                    (section,),
                    "[admin] has no settings; the admin secret is read from"
                    f" {ADMIN_VARIABLE} and never from this file",
                )
            elif section in SECTIONS and isinstance(table, dict):
                names = [one.name for one in SETTINGS if one.section == section]
                for name in table:
                    if name not in names:
                        hint = nearest(name, names)
                        self._warn((section, name), f"unknown setting {section}.{name}{hint}")
        variables = [setting.variable for setting in SETTINGS]
        prefixes = tuple(f"EMR_{section.upper()}_" for section in SECTIONS)
        for name in environment:
            if name.startswith(prefixes) and name not in variables:
                self.warnings.append(
                    f"environment {name}: unknown setting{nearest(name, variables)}"
                )

    def settings(self) -> Settings:
        """What was found, and the rules between settings."""
        sections = {
            section: kind(
                **{
                    setting.name: self.values[setting.key]
                    for setting in SETTINGS
                    if setting.section == section and setting.key in self.values
                }
            )
            for section, kind in SECTIONS.items()
        }
        settings = Settings(**sections, models=self.found_aliases, providers=tuple(self.found_rows))
        for keys, reason in faults_between(settings):
            set_ones = [self.sources[key] for key in keys if self.sources[key] != DEFAULT]
            self.problems.append(Problem(set_ones[0], keys[0], reason))
        return settings

    # where it is, and what is wrong there

    def _take(self, setting: Setting, value: object, where: str) -> None:
        try:
            self._keep(setting, setting.form.take(value), where)
        except ValueError as error:
            self.problems.append(Problem(where, setting.key, str(error)))

    def _parse(self, setting: Setting, text: str, where: str) -> None:
        try:
            self._keep(setting, setting.form.parse(text), where)
        except ValueError as error:
            self.problems.append(Problem(where, setting.key, str(error)))

    def _keep(self, setting: Setting, value: Any, where: str) -> None:
        self.values[setting.key] = value
        self.sources[setting.key] = where

    def _where(self, path: KeyPath) -> str:
        """`FILE:LINE` of a key, or of what is nearest around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.file}:{self.lines[path]}" if path else self.file

    def _fault(self, path: KeyPath, reason: str) -> None:
        self.problems.append(Problem(self._where(path), dotted(path), reason))

    def _warn(self, path: KeyPath, text: str) -> None:
        self.warnings.append(f"{self._where(path)}: {text}")


def dotted(path: KeyPath) -> str:
    """A path as people write it: `providers[1].endpoint`."""
    words = ""
    for part in path:
        words += f"[{part}]" if isinstance(part, int) else f".{part}" if words else part
    return words


def faults_between(settings: Settings) -> list[tuple[tuple[str, ...], str]]:
    """What settings that are each fine alone do wrong together: the keys, and the reason."""
    server, retry, health = settings.server, settings.retry, settings.health
    faults: list[tuple[tuple[str, ...], str]] = []
    if health.sinbin_initial_seconds > health.sinbin_max_seconds:
        keys = ("health.sinbin_initial_seconds", "health.sinbin_max_seconds")
        first, last = health.sinbin_initial_seconds, health.sinbin_max_seconds
        faults.append((keys, f"{first} is over health.sinbin_max_seconds ({last})"))
    if retry.per_attempt_cap_ms > retry.cumulative_cap_ms:
        keys = ("retry.per_attempt_cap_ms", "retry.cumulative_cap_ms")
        one, all_ = retry.per_attempt_cap_ms, retry.cumulative_cap_ms
        faults.append((keys, f"{one} is over retry.cumulative_cap_ms ({all_})"))
    if (server.tls_cert is None) != (server.tls_key is None):
        keys = ("server.tls_cert", "server.tls_key")
        keys = keys if server.tls_cert else (keys[1], keys[0])
        faults.append((keys, f"needs {keys[1]} beside it"))
    if server.client_ca is not None and server.tls_cert is None:
        faults.append((("server.client_ca",), "needs server.tls_cert and server.tls_key beside it"))
    if any(name.startswith("EMR_") for name in server.key_variables):
        reason = "EMR_* are this router's own secrets and never sent to a provider"
        faults.append((("server.key_variables",), reason))
    return faults
