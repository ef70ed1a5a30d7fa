"""Makes the pages of docs/ that are made from tables in the code: `python packaging/pages.py`.

`page_of` gives the text that must stand in each; tests/test_docs.py holds the files to it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from emr.control.config_text import fields_table, settings_table
from emr.upstream.kinds import Kind, Model
from emr.upstream.table import KINDS, say_dimensions

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FOUND = ROOT / "tests/table/found.json"  # what scripts/provider-table wrote down

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

## What each provider can do, and what becomes of its errors

Every cell below is tried by the tests: a running emr is asked over its socket, before the strict
fake of each provider (`emr fake`), which refuses what the real one refuses, in its words. Every
vector is held against the fake's, bit by bit; every failure must name the provider, and show no key
and no text. `scripts/provider-table` makes them anew.

{tried}"""

TRIED = {
    "vectors": """### Vectors
What a caller may ask of each type of provider, and the words in which emr asks for it. A `400` is
emr's own, before anything is sent, and names what there is; *in its own words*: the provider's.""",
    "refusals": """### Refusals
What a caller is told, and what the provider's gate says afterwards (docs/operations.md). *final*:
the answer carries `x-should-retry: false`.""",
    "limits": """### Limits and outages
The caller of these cells waits for 0.4 s and no longer: with more time most of them end in vectors.
Every 429 and 503 carries `Retry-After`.""",
    "sizes": """### Sizes
The provider's caps are below those that emr knows of. *learned*: the request is answered all the
same, in so many calls; and the next one like it in fewer or as many.""",
    "replies": """### Replies
Good by their status, and asked for as numbers and as base64. What is wrong is never passed on. A
list without an `index` cannot be shuffled by the fake: nobody could tell.""",
}


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


def tried_tables() -> str:
    """What was found by trying, a table for each kind of cell and a row for each provider."""
    found = json.loads(FOUND.read_text())
    parts = []
    for table, about in TRIED.items():
        rows = {name: tables[table] for name, tables in found.items() if table in tables}
        columns = list(next(iter(rows.values())))
        lines = [about, "", f"| type | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        lines += [f"| {name} | {' | '.join(cells.values())} |" for name, cells in rows.items()]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _code(text: str) -> str:
    return f"`{text}`" if text else "–"


def page_of(name: str) -> str:
    """The whole text of a page."""
    if name == "configuration.md":
        return CONFIGURATION.format(settings=settings_table(), fields=fields_table())
    return PROVIDERS.format(kinds=kinds_table(), models=models_table(), tried=tried_tables())


PAGES = ("configuration.md", "providers.md")


def main() -> int:
    """Write the pages."""
    for name in PAGES:
        (DOCS / name).write_text(page_of(name))
        print(f"docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
