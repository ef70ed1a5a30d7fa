"""The rules of the house, as tests: limits on the tail, a purpose a module, what docs must hold.

Goal: nobody has to remember them. Method: the tree is read as syntax, not by patterns, wherever a
rule is about code; every miss of a rule is reported together.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
MODULE_LINES_MAX = 400
TEST_MODULE_LINES_MAX = 600  # read by its sections, with the fixtures at its head
CLASS_LINES_MAX = 200
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 6
LINE_MAX = 100
SCRIPT_LINES_MAX = 25

# leftovers, and what must never stand in a file of the project
LEFTOVERS = re.compile(
    r"\bTO"
    r"DO\b|\bFIX"
    r"ME\b|\bX"
    r"XX\b|no"
    r"qa|type: ig"
    r"nore|pragma: no c"
    r"over"
    r"|mark\.(?:sk"
    r"ip|xf"
    r"ail)|NotImple"
    r"mentedError"
)
PATHS_OF_MACHINES = re.compile(
    r"/ho" r"me/\w|/ro" r"ot/\.|/wo" r"rk/|/op" r"t/ve" r"nv|/Us" r"ers/"
)
PYTHON = sorted(
    path for folder in ("emr", "tests", "packaging") for path in (ROOT / folder).rglob("*.py")
)
PACKAGE = [path for path in PYTHON if path.is_relative_to(ROOT / "emr")]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def tracked() -> list[Path]:
    """The text files of the tree, as git knows them (or would, if they were added)."""
    told = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if told.returncode != 0:
        return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in str(path)]
    return [ROOT / line for line in told.stdout.splitlines() if (ROOT / line).is_file()]


def tree_of(path: Path) -> ast.Module:
    """The syntax of a file."""
    return ast.parse(path.read_text(), str(path))


def where(path: Path, line: int = 0) -> str:
    """A place, relative to the tree."""
    name = str(path.relative_to(ROOT))
    return f"{name}:{line}" if line else name


def length(node: ast.AST) -> int:
    """The lines of a definition, its decorators left out."""
    assert isinstance(node, ast.ClassDef | Function)
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_modules_are_short() -> None:
    long = {}
    for path in PYTHON:
        lines = len(path.read_text().splitlines())
        if lines > (TEST_MODULE_LINES_MAX if path.stem.startswith("test_") else MODULE_LINES_MAX):
            long[where(path)] = lines
    assert long == {}


def test_classes_and_functions_are_short() -> None:
    long: dict[str, int] = {}
    for path in PYTHON:
        for node in ast.walk(tree_of(path)):
            most = {ast.ClassDef: CLASS_LINES_MAX}.get(type(node), FUNCTION_LINES_MAX)
            if isinstance(node, ast.ClassDef | Function) and length(node) > most:
                long[where(path, node.lineno)] = length(node)
    assert long == {}


def parameters(node: Function) -> int:
    """The parameters besides self and cls."""
    args = node.args
    names = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def test_parameters_are_few() -> None:
    many = {
        where(path, node.lineno): parameters(node)
        for path in PACKAGE
        for node in ast.walk(tree_of(path))
        if isinstance(node, Function) and parameters(node) > PARAMETERS_MAX
    }
    assert many == {}


def test_lines_are_short() -> None:
    long = [
        where(path, number)
        for path in PYTHON
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LINE_MAX
    ]
    assert long == []


def is_public(node: ast.AST) -> bool:
    """A class or function that others may use."""
    return isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_")


def public_definitions(body: list[ast.stmt]) -> Iterator[ast.ClassDef | Function]:
    """Public classes and functions, and the public methods of the classes."""
    for node in body:
        if is_public(node):
            assert isinstance(node, ast.ClassDef | Function)
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body)


def is_of_protocol(node: ast.ClassDef | Function, told: set[str]) -> bool:
    """A method whose meaning another class tells: of a protocol, or of a foreign caller (on_)."""
    return isinstance(node, Function) and (node.name in told or node.name.startswith("on_"))


def test_modules_and_public_definitions_say_their_purpose() -> None:
    trees = {path: tree_of(path) for path in PACKAGE}
    told = {
        node.name
        for tree in trees.values()
        for node in public_definitions(tree.body)
        if ast.get_docstring(node)
    }
    silent = []
    for path, tree in trees.items():
        if not ast.get_docstring(tree):
            silent.append(where(path))
        silent += [
            where(path, node.lineno)
            for node in public_definitions(tree.body)
            if not ast.get_docstring(node) and not is_of_protocol(node, told)
        ]
    assert silent == []


def test_the_core_takes_its_time_and_chance_from_outside() -> None:
    refused = {"asyncio", "time", "socket", "logging", "sqlite3", "json", "orjson", "datetime"}
    found = []
    for path in (ROOT / "emr/lane").glob("*.py"):
        for node in ast.walk(tree_of(path)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
                if node.module == "random":
                    names += [f"random.{a.name}" for a in node.names if a.name != "Random"]
            for name in names:
                top = name.split(".")[0]
                if top in refused or (top == "random" and name != "random"):
                    found.append(f"{where(path, node.lineno)} {name}")
    assert found == []


def test_exceptions_of_every_kind_are_caught_in_the_shells_only() -> None:
    """`except Exception` belongs to the pump and the connection, where nothing may get out."""
    shells = {"emr/pump.py", "emr/front/connection.py"}
    found = [
        where(path, node.lineno)
        for path in PACKAGE
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
        and where(path) not in shells
    ]
    assert found == []


def possessive_groups(parsed: Any) -> bool:
    """Whether a parsed pattern repeats a group possessively, or has an atomic one."""
    for operation, argument in parsed:
        name = str(operation)
        if name == "ATOMIC_GROUP":
            return True
        parts = argument if isinstance(argument, list | tuple) else (argument,)
        inner = [each for part in parts for each in (part if isinstance(part, list) else (part,))]
        patterns = [each for each in inner if hasattr(each, "data")]
        simple = all(str(part[0]) in ("LITERAL", "IN", "ANY") for each in patterns for part in each)
        if name == "POSSESSIVE_REPEAT" and not simple:
            return True
        if any(possessive_groups(each) for each in patterns):
            return True
    return False


def test_no_group_is_possessive() -> None:
    """CPython 106052: 3.11.2, which Debian 12 has, matches possessive groups wrongly."""
    parse = import_module("re._parser").parse
    assert possessive_groups(parse("(?:a|bc)*+"))
    assert possessive_groups(parse("x(?>ab)"))
    assert not possessive_groups(parse("[ab]++(?:a|bc)*"))
    found, seen = [], 0
    for path in PACKAGE:
        if path.stem == "__main__":
            continue
        module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                seen += 1
                if possessive_groups(parse(value.pattern, value.flags)):
                    found.append(f"{where(path)} {name}")
    assert found == []
    assert seen > 20


def test_no_junk_drawers() -> None:
    bad = [where(path) for path in PYTHON if path.stem in ("utils", "util", "helpers", "misc")]
    assert bad == []


def test_nothing_is_left_over_and_no_machine_is_named() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if LEFTOVERS.search(line) or PATHS_OF_MACHINES.search(line):
                found.append(f"{where(path, number)} {line.strip()[:80]}")
    assert found == []


def test_scripts_are_thin_wrappers() -> None:
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
    assert scripts
    for path in scripts:
        lines = path.read_text().splitlines()
        assert len(lines) <= SCRIPT_LINES_MAX, where(path)
        assert lines[0] == "#!/bin/sh", where(path)
        assert lines[1].startswith("# "), f"{where(path)} does not say what it does"
        assert path.stat().st_mode & 0o111, f"{where(path)} cannot be run"


def test_the_map_names_modules_that_exist() -> None:
    text = ast.get_docstring(tree_of(ROOT / "emr/__init__.py")) or ""
    named = re.findall(r"emr(?:\.\w+)+", text)
    assert len(named) >= 9
    for name in named:
        path = ROOT.joinpath(*name.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


@pytest.mark.parametrize("word", ["breaker", "half_open"])
def test_the_glossary_has_no_second_word(word: str) -> None:
    named = [
        where(path, node.lineno)
        for path in PACKAGE
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef | Function) and word in node.name.lower()
    ]
    assert named == []
