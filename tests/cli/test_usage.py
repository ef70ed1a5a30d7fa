"""`emr usage`: as a table, as CSV and as JSON, against a server and against the store itself."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Iterator

import pytest

from emr.cli.ask.api import Api
from emr.control.ledger import CALL, Line
from emr.control.quotas import Purse
from emr.control.store import Store
from emr.control.usage_rows import HOUR_S, write
from tests.cli.parts import QUIET, Commands, Home, listening, router

KEY_ID = "0b5e7c1a-0000-4000-8000-000000000001"


def line(price: float | None, **counts: int) -> Line:
    made = Line(price, Purse())
    for name, count in counts.items():
        setattr(made, name, count)
    return made


def fill(home: Home) -> None:
    """Some usage, of this hour."""
    home.places.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(home.database)
    hour = int(time.time()) // HOUR_S
    lines = {
        (KEY_ID, "voyage", "voyage-code-3"): line(
            0.18, requests=8, errors=1, texts=20, tokens=3_000_000, call_parts=CALL * 5 // 2,
            alone=8, limited=2,
        ),
        ("", "far", "m\x1b[2J"): line(None, tokens=3, call_parts=CALL),
    }  # fmt: skip
    store.run(
        lambda c: c.execute(
            "INSERT INTO api_keys (id, name, key_hash, key_prefix, created_at) VALUES"
            f" ('{KEY_ID}', 'the app, of old', 'x', 'emr_zzzz', '2026-01-01T00:00:00Z')"
        )
    )
    store.run(lambda c: write(c, hour, lines))
    store.close()


@pytest.fixture(params=["server", "store"])
def usage(request: pytest.FixtureRequest, home: Home, emr: Commands) -> Iterator[Commands]:
    """`emr`, where a server runs and where none does: all must be the same."""
    home.configure(QUIET)
    fill(home)
    if request.param == "store":
        yield emr
        return
    home.secret()
    with listening() as sock, router(home, sock):
        yield emr


def test_as_a_table(usage: Commands) -> None:
    told = usage("usage")
    assert told.code == 0
    head, *rows = [re.split(r"\s{2,}", row.strip()) for row in told.out.splitlines()]
    assert head == [
        "key", "id", "provider", "model", "requests", "errors", "limited", "texts", "cache hits",
        "tokens", "calls", "saved", "cost $",
    ]  # fmt: skip
    assert rows == [
        ["emr's own", "-", "far", "m\\x1b[2J", "0", "0", "0", "0", "0", "3", "1", "-1", "-"],
        ["the app, of old", KEY_ID[:8], "voyage", "voyage-code-3", "8", "1", "2", "20", "0",
         "3000000", "2.5", "5.5", "0.54"],
        ["total", "-", "-", "-", "8", "1", "2", "20", "0", "3000003", "3.5", "4.5", "-"],
    ]  # fmt: skip
    assert re.search(r"^from 20\S+Z until 20\S+Z$", told.err, re.MULTILINE)


def test_as_csv(usage: Commands) -> None:
    told = usage("usage", "--csv", "--by", "key,model")
    own, app = csv.DictReader(io.StringIO(told.out))
    assert list(app) == [
        "key", "key_name", "model", "requests", "errors", "abandoned", "limited", "texts",
        "cache_hits", "tokens", "calls", "calls_saved", "cost", "tokens_without_price",
    ]  # fmt: skip
    assert (app["key"], app["key_name"], app["cost"]) == (KEY_ID, "the app, of old", "0.54")
    assert (own["key"], own["cost"], own["tokens_without_price"]) == ("", "", "3")


def test_as_json(usage: Commands) -> None:
    told = json.loads(usage("usage", "--json", "--by", "").out)
    assert told["by"] == []
    assert told["usage"] == [told["total"]]
    assert (told["total"]["tokens"], told["total"]["cost"]) == (3_000_003, None)


def test_a_total_alone(usage: Commands) -> None:
    told = usage("usage", "--by", "")
    assert [row.split()[0] for row in told.out.splitlines()] == ["requests", "8"]


def test_of_a_time_in_which_nothing_was(usage: Commands) -> None:
    told = usage("usage", "--since", "2026-01-01", "--until", "2026-01-02")
    assert (told.code, told.out) == (0, "")
    assert "from 2026-01-01T00:00:00Z until 2026-01-02T00:00:00Z\n" in told.err
    assert told.err.endswith("Nothing was used in that time.\n")
    told = usage("usage", "--csv", "--by", "day", "--until", "2026-01-02", "--since", "2026-01-01")
    assert told.out.count("\n") == 1


def test_what_cannot_be_asked(usage: Commands) -> None:
    told = usage("usage", "--by", "kay")
    assert (told.code, told.out) == (1, "")
    assert "'kay' is nothing to group by" in told.err
    assert "did you mean key?" in told.err
    assert usage("usage", "--csv", "--json").code == 2


def test_an_answer_of_something_else(
    home: Home, emr: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.configure(QUIET)
    home.secret()
    monkeypatch.setattr(Api, "ask", lambda *given: {"usage": "none"})
    with listening() as sock, router(home, sock):
        told = emr("usage")
    assert (told.code, "is this an emr?" in told.err) == (1, True)
