"""Docs and code say the same: settings, routes, errors, metrics, commands, in both directions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emr.cli.command import COMMANDS
from emr.control.admin import Admin
from emr.control.cache.admin import CacheAdmin
from emr.control.key_rows import LIMITS
from emr.control.metrics import SnapshotCollector
from emr.control.snapshot import Snapshot
from emr.control.trials import Trials
from emr.control.usage import Usage
from emr.control.usage_report import ASKED, MEASURES, ROWS_MAX
from emr.control.usage_rows import GROUPS
from emr.control.views import Views
from emr.front.callers import FORMS
from emr.front.refusals import STATUS
from emr.lane.gate import Reason
from tests.support.modules import load

ROOT = Path(__file__).parent.parent
PAGES = load("packaging/pages.py")
API = (ROOT / "docs/api.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", PAGES.PAGES)
def test_pages_that_are_made_are_fresh(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == PAGES.page_of(name), "run scripts/pages"


def documented_routes() -> set[tuple[str, str]]:
    """The routes that the page names in its tables."""
    return set(re.findall(r"`(GET|POST|PATCH|DELETE) (/\S*?)`", API))


def registered_routes() -> set[tuple[str, str]]:
    """The routes of the code; the handlers behind them are not asked for."""
    tables = [
        Views.routes(Views.__new__(Views)),
        Admin.routes(Admin.__new__(Admin)),
        Trials.routes(Trials.__new__(Trials)),
        CacheAdmin.routes(CacheAdmin.__new__(CacheAdmin)),
        Usage.routes(Usage.__new__(Usage)),
    ]
    made = {
        (method, route.pattern) for table in tables for route in table for method in route.methods
    }
    posts = {("POST", path) for path in (*FORMS, "/v1/embeddings/batch")}
    gets = {
        ("GET", path)
        for path in (
            "/v1/models", "/models", "/v1/models/{id...}", "/v1/test", "/api/tags", "/api/version",
        )
    }  # fmt: skip
    return made | posts | gets


def test_every_route_is_documented_and_every_documented_route_exists() -> None:
    assert documented_routes() == registered_routes()


def test_every_measure_and_parameter_of_usage_is_documented() -> None:
    section = API[API.index("## Usage") :]
    rows = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named | {"errors", "abandoned"} == {*ASKED, *MEASURES}
    assert all(f"`{name}`" in section for name in (*GROUPS, "errors", "abandoned"))
    assert f"{ROWS_MAX:,} rows" in section


def test_every_limit_of_a_key_is_documented() -> None:
    section = API[API.index("## Limits of a key") : API.index("## Errors")]
    rows = re.findall(r"^\| `(\w+)`[^|]*\| `--", section, re.MULTILINE)
    assert set(rows) == set(LIMITS)


def test_every_error_type_is_documented_with_its_status() -> None:
    rows = re.findall(r"^\| ([0-9, ]+) \| (`[^|]+`) \|", API, re.MULTILINE)
    told = {
        (kind, int(status))
        for statuses, kinds in rows
        for kind in re.findall(r"`(\w+)`", kinds)
        for status in statuses.split(",")
    }
    assert {(kind, status) for kind, status in STATUS.items()} <= told
    assert {kind for kind, _ in told} == set(STATUS)


def test_every_metric_is_documented_and_the_reverse() -> None:
    snapshot = Snapshot(
        version="0", uptime_s=0.0, draining=False, storage_ok=True, active_keys=0, connections=0,
        requests_served=0, texts_served=0, provider_calls=0, providers=(),
        others=(), answers={}, refusals={}, histories={},
    )  # fmt: skip
    made = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in SnapshotCollector(snapshot).collect()
    }
    assert made == set(re.findall(r"`(emr_\w+)`", OPERATIONS)) - {"emr_admin_secret", "emr_NAME"}


def test_every_gate_is_explained() -> None:
    assert set(re.findall(r"^\| `([A-Z]+)` \|", OPERATIONS, re.MULTILINE)) == {
        reason.value for reason in Reason
    }


def test_the_readme_names_commands_and_scripts_that_exist() -> None:
    commands = set(re.findall(r"^\s+emr (\w+)", README, re.MULTILINE))
    assert commands <= set(COMMANDS)
    for script in re.findall(r"scripts/[\w-]+", README):
        assert (ROOT / script).is_file(), script
    for page in re.findall(r"\]\(([\w/.-]+\.md)\)", README):
        assert (ROOT / page).is_file(), page
