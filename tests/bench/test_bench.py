"""The bench measures what it says: a small row from end to end, and its parts alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bench import __main__ as bench
from tests.bench.load import Shape
from tests.bench.measure import Measured
from tests.bench.page import with_block
from tests.bench.peers import ALL, chosen_peers
from tests.bench.peers.emr import Emr
from tests.bench.peers.peer import ROOT, Door, WrongAnswer, check_answer
from tests.bench.peers.plain import direct
from tests.bench.provider import provider
from tests.bench.report import Report, cpu_cell, page, ratios
from tests.bench.rows import ROWS, Row, chosen
from tests.bench.running import alone
from tests.bench.samples import LOOP, innermost, read_stacks
from tests.bench.soak import slope
from tests.bench.stages import stage_of
from tests.bench.table import has_cache, same, without_hits
from tests.bench.usage import family, usage

HAS_TOOLS = bool(shutil.which("wrk") and shutil.which("cc"))


def measured(subject: str, cpu_s: float, **more: Any) -> Measured:
    """A measurement of 1,000 requests."""
    made = Measured(subject, "row", 1000.0, 2.0, cpu_s, 40.0, 10, 1000, 0.1, 0.2, 1.0, 2.0, 0)
    return replace(made, **more)


def test_a_row_of_emr_is_measured_and_written(tmp_path: Path) -> None:
    arguments = ["--venvs", str(tmp_path / "venvs"), "table", "--rows", "float-1x1-0ms"]
    arguments += ["--peers", "emr", "--rounds", "1", "--seconds", "0.3", "--out", str(tmp_path)]
    if not HAS_TOOLS:
        with pytest.raises(SystemExit, match="apt install"):
            bench.main(arguments)
        return
    assert bench.main(arguments) == 0
    text = (tmp_path / "table.md").read_text()
    assert "| float-1x1-0ms |" in text
    assert "failed" not in text
    assert httpx.Response(200, content=(tmp_path / "table.json").read_bytes()).json()["measured"]


def test_the_provider_counts_texts_and_answers_late(tmp_path: Path) -> None:
    if not HAS_TOOLS:
        with pytest.raises(SystemExit, match="gcc"), provider(tmp_path):
            pass
        return
    with provider(tmp_path, 3) as made:
        door = Door(made.port)
        (numbers,) = check_answer(door, "float", 1)
        assert isinstance(numbers, list)
        assert len(numbers) == 3
        vectors = check_answer(door, "base64", 5)
        assert vectors == [vectors[0]] * 5
        texts = ['"', "\\", '\\"', "]", "", '{"input":["base64"]}']
        answer = httpx.post(door.url, json={"input": texts}).json()
        assert [entry["index"] for entry in answer["data"]] == list(range(len(texts)))
        assert answer["data"][0]["embedding"] == numbers
        assert made.told().texts == 1 + 5 + len(texts)
        made.delay(30.0)
        answer = httpx.post(door.url, json={"input": "late"})
        assert answer.elapsed.total_seconds() >= 0.03
        for refused in (b"{}", b'{"input":[]}', b'{"input":["a"', b'{"input":7}'):
            assert httpx.post(door.url, content=refused).status_code == 400
        with pytest.raises(WrongAnswer, match="status 400"):
            check_answer(door, "float", 0)


def test_emr_gives_the_vectors_of_the_provider(tmp_path: Path) -> None:
    if not HAS_TOOLS:
        with pytest.raises(SystemExit, match="gcc"), alone(Emr(), tmp_path):
            pass
        return
    with alone(Emr(), tmp_path) as (subject, made):
        for encoding in ("float", "base64"):
            straight = check_answer(Door(made.port), encoding, 1)
            (through,) = check_answer(subject.door, encoding, 1)
            assert same(through, straight[0])
        assert usage(subject.pid).cpu_s > 0
        with pytest.raises(WrongAnswer, match="status 401"):
            check_answer(replace(subject.door, key="another"), "float", 1)


def test_other_vectors_are_told_apart() -> None:
    assert same([0.1, 0.2], [0.1, 0.2 + 1e-9])
    assert not same([0.1, 0.2], [0.1, 0.2 + 1e-6])
    assert not same([0.1], [0.1, 0.2])
    assert not same("AAAA", "AAAB")
    assert not same("AAAA", [0.0])


def test_the_rows_are_all_there_and_named_once() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    for encoding in ("float", "base64"):
        for texts in (1, 32):
            for callers in (1, 64, 1000):
                for delay in (0, 180):
                    assert f"{encoding}-{texts}x{callers}-{delay}ms" in names
        assert f"{encoding}-2048x2-0ms" in names
        assert f"{encoding}-hits" in names
    assert chosen([]) == ROWS
    assert [row.name for row in chosen(["*-hits"])] == ["float-hits", "base64-hits"]
    assert chosen(["nothing"]) == []
    assert Row("late", Shape("float", 1, 1), 1.0).is_whole
    assert not Row("at once", Shape("float", 1, 1)).is_whole


def test_peers_that_are_not_installed_say_what_would_install_them(tmp_path: Path) -> None:
    for name in ("tensorzero", "litellm", "batched"):
        assert f"install {name}" in ALL[name].missing(tmp_path)
        python = ALL[name].python(tmp_path)
        python.parent.mkdir(parents=True)
        python.touch()
        assert ALL[name].missing(tmp_path) == ""
    assert [peer.name for peer in chosen_peers(["emr", "floor"])] == ["emr", "floor"]
    with pytest.raises(SystemExit, match="no peer 'envoy'"):
        chosen_peers(["envoy"])


def test_ratios_are_of_the_same_round() -> None:
    nginx = [measured("nginx", cpu) for cpu in (0.010, 0.020, 0.010)]
    emr = [measured("emr", cpu) for cpu in (0.020, 0.020, 0.030)]
    assert ratios(emr, nginx) == pytest.approx([2.0, 1.0, 3.0])
    assert cpu_cell(emr, nginx) == "20.0, **×2.0** (1.0–3.0)"
    assert cpu_cell(nginx, nginx) == "10.0 (10.0–20.0)"
    assert cpu_cell(emr, []) == "20.0 (20.0–30.0)"
    assert cpu_cell([measured("direct", 0.0)], nginx) == "–"


def test_the_page_names_what_was_left_out_and_what_failed() -> None:
    report = Report({"cores": "2"})
    report.skipped["litellm"] = "not there"
    report.add(measured("emr", 0.1, failures=3))
    report.add(measured("nginx", 0.1, row="another"))
    text = page(report).text()
    assert "- left out: litellm (not there)" in text
    assert "emr, row: 3 requests failed" in text
    assert "| another | 100 | – |" in text


def test_the_cpu_of_a_child_is_counted() -> None:
    before = usage(os.getpid()).cpu_s
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.3: pass"
    with subprocess.Popen(
        [sys.executable, "-c", f"{burn}\nprint(flush=True)\ninput()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in family(os.getpid())
        alive = usage(os.getpid())
        assert alive.cpu_s - before >= 0.28  # a tick may be missing at both ends
        assert alive.rss_kib > usage(child.pid).rss_kib > 1000
        child.communicate(b"\n")
    assert usage(os.getpid()).cpu_s - before >= 0.28


def test_the_slope_of_a_line() -> None:
    assert slope([(0.0, 5.0), (1.0, 7.0), (2.0, 9.0)]) == pytest.approx(2.0)
    assert slope([(0.0, 5.0), (1.0, 9.0), (2.0, 5.0)]) == pytest.approx(0.0)
    assert slope([(3.0, 5.0)]) == 0.0


def test_a_sample_belongs_to_the_innermost_frame_of_emr() -> None:
    start = f"main ({ROOT}/emr/cli/__init__.py:18);run (uvloop/__init__.py:92)"
    inside = f"{start};Pump._turn ({ROOT}/emr/pump.py:7);step ({ROOT}/emr/lane/step.py:9)"
    stacks = f"{start} 3\n{inside};loads (json/__init__.py:1) 4\n{inside} 1\n"
    spent = read_stacks(stacks)
    assert spent == {LOOP: 3, ("emr/lane/step.py", "step"): 5}
    assert innermost(["no frame"]) == LOOP


def test_every_module_on_the_way_has_a_stage() -> None:
    modules = [
        path.relative_to(ROOT).as_posix()
        for folder in ("front", "lane", "upstream")
        for path in (ROOT / "emr" / folder).rglob("*.py")
    ]
    assert len(modules) > 50
    for module in [*modules, "emr/pump.py", "emr/control/desk.py"]:
        assert stage_of((module, "a_function")) != "elsewhere", module
    assert stage_of(("emr/lane/fill.py", "f")).startswith("lane")
    assert stage_of(("emr/upstream/cut.py", "f")).startswith("check the reply")
    assert stage_of(("emr/upstream/link.py", "f")).startswith("send the call")
    assert stage_of(("emr/fake/server.py", "f")) == "elsewhere"


def test_rows_of_hits_are_left_out_by_name_where_emr_is_not_measured(tmp_path: Path) -> None:
    if not HAS_TOOLS:
        with pytest.raises(SystemExit, match="gcc"), provider(tmp_path):
            pass
        return
    with provider(tmp_path) as made:
        subject = direct(made.port)
        rows, left_out = without_hits(ROWS, [subject], made)
        assert not [row for row in rows if row.shape.cycle]
        assert left_out == dict.fromkeys(("float-hits", "base64-hits"), "emr is not measured")
        assert not has_cache(subject, made)
        subject.name = "emr"
        assert without_hits(ROWS, [subject], made)[1] == dict.fromkeys(left_out, "emr has no cache")
        rows = chosen(["float-1x1-0ms"])
        assert without_hits(rows, [subject], made) == (rows, {})


def test_what_is_not_asked_of_a_peer() -> None:
    subject = replace(direct(1), texts_max=32, callers_max=64, outstanding_max=100)
    assert subject.takes(32, 3)
    assert subject.takes(1, 64)
    assert not subject.takes(33, 1)
    assert not subject.takes(1, 65)
    assert not subject.takes(26, 4)


def test_a_block_of_a_page_is_replaced_and_nothing_else() -> None:
    text = "a\n<!-- one -->\nold\n<!-- /one -->\nb\n<!-- two -->\nx\n<!-- /two -->\n"
    made = with_block(text, "one", "new")
    assert made == text.replace("old", "new")
    assert with_block(made, "one", "new") == made
    assert with_block(text, "three", "new") == text
    assert with_block("<!-- one --> no end", "one", "new") == "<!-- one --> no end"
