"""Makes the pages of docs/ that are made from tables in the code: `python packaging/pages.py`.

`page_of` gives the text that must stand in each; tests/test_docs.py holds the files to it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from emr.control.config_text import fields_table, settings_table
from emr.upstream.kinds import Kind, Model
from emr.upstream.table import KINDS, say_dimensions

DOCS = Path(__file__).parent.parent / "docs"

CONFIGURATION = """# Configuration

TOML; every setting has a default and no file is needed. `emr config init` writes a file with all of
them commented out, `emr config show` what is in effect and where each value came from, `emr config
validate` checks a file. A flag beats an environment variable, which beats the file: the variable of
`server.bind` is `EMR_SERVER_BIND`, and so on.

{settings}
`[models]` maps an alias to `"provider/model"`. `[admin]` is known and empty.

## `[[providers]]`
A provider in the file is the operator's own: the API shows it and cannot change it.

{fields}"""

PROVIDERS = """# Providers

What is known of each type before its first call. Caps are of one call and shrink when the provider
refuses a size; limits a minute are a first guess where the row sets none, and corrected by headers
and by learning. Everything can be set in a provider's row (docs/configuration.md).

{kinds}

## Models

A request may ask for a provider's own `model`, its `models`, and these:

{models}
"""


def kinds_table() -> str:
    """A row a type."""
    lines = [
        "| type | key variable | endpoint | texts, tokens a call | calls, tokens, texts a minute |"
        " types of numbers | asks for base64 |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in KINDS.values():
        minute = (kind.calls_per_minute, kind.tokens_per_minute, kind.items_per_minute)
        lines.append(
            f"| `{kind.name}` | {_code(kind.key_variable)} | {_code(kind.endpoint)} "
            f"| {_number(kind.max_texts)}, {_number(kind.max_tokens)} "
            f"| {', '.join(map(_number, minute))} | {', '.join(kind.dtypes)} "
            f"| {'yes' if kind.base64 else 'no'} |"
        )
    return "\n".join(lines)


def models_table() -> str:
    """A row a known model."""
    lines = [
        "| type | model | dimensions | tokens a text | $ a million tokens |"
        " calls, tokens a minute |",
        "|---|---|---|---|---|---|",
    ]
    for kind in KINDS.values():
        lines += [_model_row(kind, name, model) for name, model in kind.models.items()]
    return "\n".join(lines)


def _model_row(kind: Kind, name: str, model: Model) -> str:
    price = "–" if model.price is None else f"{model.price:g}"
    mark = " (default)" if name == kind.default_model else ""
    minute = (model.calls_per_minute, model.tokens_per_minute)
    return (
        f"| `{kind.name}` | `{name}`{mark} | {say_dimensions(model)} "
        f"| {_number(model.max_text_tokens)} | {price} | {', '.join(map(_number, minute))} |"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _code(text: str) -> str:
    return f"`{text}`" if text else "–"


def page_of(name: str) -> str:
    """The whole text of a page."""
    if name == "configuration.md":
        return CONFIGURATION.format(settings=settings_table(), fields=fields_table())
    return PROVIDERS.format(kinds=kinds_table(), models=models_table())


PAGES = ("configuration.md", "providers.md")


def main() -> int:
    """Write the pages."""
    for name in PAGES:
        (DOCS / name).write_text(page_of(name))
        print(f"docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
