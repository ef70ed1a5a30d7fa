"""`emr serve` whose table of kinds knows of OpenAI what a scenario's account knows of its provider.

A known provider's account starts with the rates of its lowest tier as a guess; a scenario may have
others, or none, as a public server without a row of its own has. Nothing else differs.

    python -m tests.e2e.agreement.kinds '{"calls": 2000, "max_tokens": 100000}' serve --bind …
"""

from __future__ import annotations

import sys
from dataclasses import replace
from types import MappingProxyType

import orjson

from emr.upstream import table
from emr.upstream.hosted import OPENAI
from emr.upstream.self_hosted import OPENAI_COMPATIBLE


def know(told: dict[str, float]) -> None:
    """Put these rates and caps into the table; to be done before anybody reads it."""
    max_tokens, max_bytes = int(told["max_tokens"]), int(told["max_bytes"])
    hosted = replace(
        OPENAI,
        models=MappingProxyType({}),
        max_tokens=max_tokens,
        max_bytes=max_bytes,
        calls_per_minute=told.get("calls"),
        tokens_per_minute=told.get("tokens"),
        items_per_minute=told.get("items"),
    )
    near = replace(OPENAI_COMPATIBLE, max_tokens=max_tokens, max_bytes=max_bytes)
    table.KINDS = MappingProxyType(
        dict(table.KINDS) | {"openai": hosted, "openai-compatible": near}
    )


if __name__ == "__main__":
    know(orjson.loads(sys.argv[1]))
    from emr.cli import main

    sys.exit(main(sys.argv[2:]))
