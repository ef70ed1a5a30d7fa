"""The configuration as people read it: a file to start from, what is in effect, what changed."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from emr.control.config import Loaded
from emr.control.rows import FIELDS, Row
from emr.control.secrets import ADMIN_VARIABLE, Secret
from emr.control.settings import SECTIONS, SETTINGS, Applies, Setting, Settings
from emr.control.values import Choice, Real, Size, Whole

REDACTED = "[REDACTED]"
WIDTH = 96  # of a comment's lines

_HEAD = """\
# The configuration of emr, the Embeddings Router. Every setting stands here at its default,
# commented out: take the # away to change one. `emr config validate` checks this file,
# `emr config show` prints what is in effect.
"""
_REST = f"""
[admin]
# No settings. The admin secret is never written here: it is read from {ADMIN_VARIABLE}, from
# ~/.config/emr/.env, or from a credential of the service manager.

[models]
# Other names that requests may use for a model, each "provider/model".
# text-embedding-3-small = "voyage/voyage-code-3"

# Providers; `emr providers add` registers one without this file. A key is never written here, but
# the name of the environment variable that holds it.
# [[providers]]
# name = "voyage"
# provider_type = "voyage"
# api_key_env_var = "VOYAGE_API_KEY"
#
# Its further fields:
"""
_RANGES = (Whole, Real, Size, Choice)


def init_text() -> str:
    """What `emr config init` writes: every setting at its default, with its help."""
    parts = [_HEAD]
    for section in SECTIONS:
        parts.append(f"\n[{section}]")
        parts += [_setting_text(one) for one in SETTINGS if one.section == section]
    parts.append(_REST)
    for one in FIELDS[3:]:
        parts.append(f"#   {one.name}: {one.help}\n")
    return "".join(parts)


def _setting_text(setting: Setting) -> str:
    """A comment, the setting at its default (or an example), and what else it may be."""
    comment = _comment(f"{setting.help[0].upper()}{setting.help[1:]}.")
    form, default = setting.form, setting.default
    notes = [form.describe()] if isinstance(form, _RANGES) else []
    notes += ["an example, not set"] if default is None else []
    note = f"  # {'; '.join(notes)}" if notes else ""
    shown = setting.example if default is None else default
    return f"\n{comment}# {setting.name} = {form.literal(shown)}{note}\n"


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def effective(loaded: Loaded) -> dict[str, Any]:
    """What is in effect, nested as in the file, in plain values; the secret is not in it."""
    settings = loaded.settings
    told: dict[str, Any] = {section: {} for section in SECTIONS}
    for setting in SETTINGS:
        told[setting.section][setting.name] = _plain(setting, settings)
    told["admin"] = {"secret": REDACTED}
    told["models"] = dict(settings.models)
    told["providers"] = [row_values(row) for row in settings.providers]
    return told


def nested_sources(loaded: Loaded) -> dict[str, Any]:
    """Where each value of `effective` came from, in the same shape; a row has one source."""
    told: dict[str, Any] = {section: {} for section in SECTIONS}
    for setting in SETTINGS:
        told[setting.section][setting.name] = loaded.sources[setting.key]
    settings = loaded.settings
    told["models"] = {alias: loaded.sources[f"models.{alias}"] for alias in settings.models}
    told["providers"] = [loaded.sources[f"providers.{row.name}"] for row in settings.providers]
    return told


def _plain(setting: Setting, settings: Settings) -> Any:
    """A value as it is in effect: what is left to `server.bind` is worked out."""
    if setting.key == "server.allowed_hosts":
        hosts = settings.allowed_hosts()
        if hosts is None:
            return ["*"]
        return sorted(host for host in hosts if ":" not in host or host.startswith("["))
    if setting.key == "cache.scope":
        return settings.cache_scope()
    value = setting.of(settings)
    return None if value is None else setting.form.plain(value)


def row_values(row: Row) -> dict[str, Any]:
    """A row of the file, without what it leaves at its default."""
    told = {}
    for one in FIELDS:
        value = getattr(row, one.name)
        if value not in (None, "", ()):
            told[one.name] = list(value) if isinstance(value, tuple) else value
    return told


def show_text(loaded: Loaded, secret: Secret | None) -> str:
    """What `emr config show` prints: TOML, the source of each value beside it.

    The last line tells whether there is an admin secret and where it was found.
    """
    found = f"set ({secret.source})" if secret is not None else "not set"
    return "\n".join([*_show_lines(loaded), "", f"{ADMIN_VARIABLE}: {found}", ""])


def _show_lines(loaded: Loaded) -> Iterator[str]:
    yield f"# from {loaded.file}" if loaded.file else "# no configuration file: defaults"
    told, sources = effective(loaded), nested_sources(loaded)
    for section in (*SECTIONS, "models"):
        yield ""
        yield f"[{section}]"
        for name, value in told[section].items():
            key = name if section in SECTIONS else json.dumps(name, ensure_ascii=False)
            mark = "# " if value is None else ""
            yield f"{mark}{key} = {_toml(value)}  # {sources[section][name]}"
    for row, source in zip(told["providers"], sources["providers"], strict=True):
        yield ""
        yield f"[[providers]]  # {source}"
        for name, value in row.items():
            yield f"{name} = {_toml(value)}"


def _toml(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Change:
    """A setting, alias or row that another configuration has otherwise. None: not there."""

    key: str
    old: Any
    new: Any
    applies: Applies

    def view(self) -> dict[str, Any]:
        """As `POST /admin/reload` answers it."""
        needs_restart = self.applies is Applies.AT_RESTART
        return {"key": self.key, "old": self.old, "new": self.new, "restart": needs_restart}


def changes(old: Settings, new: Settings) -> list[Change]:
    """What is otherwise in `new`, and when each change takes effect."""
    found = []
    for setting in SETTINGS:
        before, after = _plain(setting, old), _plain(setting, new)
        if before != after:
            found.append(Change(setting.key, before, after, setting.applies))
    found += _table_changes("models", old.models, new.models)
    rows_before = {row.name: row_values(row) for row in old.providers}
    rows_after = {row.name: row_values(row) for row in new.providers}
    return found + _table_changes("providers", rows_before, rows_after)


def in_effect(running: Loaded, read: Loaded) -> Loaded:
    """What holds after a reload: of settings that need a restart, those that the process runs with.

    So what is shown is what is in effect, and the next reload still says what waits for a restart.
    """
    sections, sources = {}, dict(read.sources)
    for section in SECTIONS:
        kept = [one for one in SETTINGS if one.section == section]
        kept = [one for one in kept if one.applies is Applies.AT_RESTART]
        values = {one.name: one.of(running.settings) for one in kept}
        sections[section] = replace(getattr(read.settings, section), **values)
        sources |= {one.key: running.sources[one.key] for one in kept}
    return replace(read, settings=replace(read.settings, **sections), sources=sources)


def handed_over(read: Loaded, binds: tuple[str, ...]) -> Loaded:
    """What holds where a service manager's sockets are served and `server.bind` is not asked."""
    server = replace(read.settings.server, bind=binds)
    sources = {**read.sources, "server.bind": "sockets of the service manager"}
    return replace(read, settings=replace(read.settings, server=server), sources=sources)


def _table_changes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    return [
        Change(f"{name}.{key}", old.get(key), new.get(key), Applies.AT_RELOAD)
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def settings_table() -> str:
    """Every setting as a table for the documentation (Markdown)."""
    lines = ["| setting | default | values | applies at | meaning |", "|---|---|---|---|---|"]
    for one in SETTINGS:
        default = "–" if one.default is None else f"`{one.form.literal(one.default)}`"
        told = one.help.replace("|", "\\|")
        lines.append(
            f"| `{one.key}` | {default} | {one.form.describe()} | {one.applies.value} | {told} |"
        )
    return "\n".join(lines) + "\n"


def fields_table() -> str:
    """Every field of a provider's row as a table for the documentation (Markdown)."""
    lines = ["| field | values | who may set it | meaning |", "|---|---|---|---|"]
    for one in FIELDS:
        told = one.help.replace("|", "\\|")
        form = one.form.describe().replace("|", "\\|")
        lines.append(f"| `{one.name}` | {form} | {one.setter.value} | {told} |")
    return "\n".join(lines) + "\n"
