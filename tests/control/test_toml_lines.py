"""The scan for lines agrees with tomli on every key, and knows where each was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from emr.control.toml_lines import Path, key_lines

DOCUMENT = '''\
# a comment with [brackets] and = signs
top = 1
"quoted key" = "a # no comment"

[server] # a comment
bind = """
two = "no key"
[nor.a.table]
"""
literal = \'\'\'
x = 1 \'\'
\'\'\'
list = [
  "a", # ]
  [1, 2],
  { inner = 1,
    other = "}" },
]
a . "b.c" . 'd' = 2024-01-01 10:00:00

[[providers]]
name = 'x'

[[providers]]
name = "y"
[providers.extra]
deep = "\\"]\\n"
[[providers.more]]
last = inf
'''


def test_a_document_of_everything() -> None:
    lines = key_lines(DOCUMENT)
    assert lines == {
        ("top",): 2,
        ("quoted key",): 3,
        ("server",): 5,
        ("server", "bind"): 6,
        ("server", "literal"): 10,
        ("server", "list"): 13,
        ("server", "list", 0): 14,
        ("server", "list", 1): 15,
        ("server", "list", 1, 0): 15,
        ("server", "list", 1, 1): 15,
        ("server", "list", 2): 16,
        ("server", "list", 2, "inner"): 16,
        ("server", "list", 2, "other"): 17,
        ("server", "a"): 19,
        ("server", "a", "b.c"): 19,
        ("server", "a", "b.c", "d"): 19,
        ("providers",): 21,
        ("providers", 0): 21,
        ("providers", 0, "name"): 22,
        ("providers", 1): 24,
        ("providers", 1, "name"): 25,
        ("providers", 1, "extra"): 26,
        ("providers", 1, "extra", "deep"): 27,
        ("providers", 1, "more"): 28,
        ("providers", 1, "more", 0): 28,
        ("providers", 1, "more", 0, "last"): 29,
    }
    assert set(paths(tomli.loads(DOCUMENT))) == set(lines)


def paths(value: Any, here: Path = ()) -> Iterator[Path]:
    """Every path in a value that tomli gave."""
    if here:
        yield here
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from paths(inner, (*here, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from paths(inner, (*here, place))


ODD = [
    "a=1\r\n[b]\r\nc='''x\r\ny'''\r\nd=2\r\n",
    "a=0x1F\nb=-inf\nc=1979-05-27T07:32:00-08:00\nd=07:32:00\n",
    "a.b.c=1\na.b.d=2\n[x.y.z]\nw=1\n[x]\nq=2",
    "a={b={c=[{d=1},{e=2}]}}",
    'a="""x\\\n   y"""\nb=1',
    "a=''''quote''''\nb=1",
    'a=""""quote""""\nb="""\\""""\nc=1',
    "\"a\\u00e9\"=1\n'lit.eral'=2",
    "[[a.b]]\nc=1\n[[a.b.d]]\ne=1\n[[a.b.d]]\ne=2\n[[a.b]]\n[a.b.f]\ng=1",
    "a=[\n#c\n1 #d\n, # e\n2,\n]\nb=1",
    "[a]\n[a.b]\n[c . 'd e']\nf=[[1],[[2]]]",
]


@pytest.mark.parametrize("document", ODD)
def test_odd_documents(document: str) -> None:
    assert set(key_lines(document.replace("\r\n", "\n"))) == set(paths(tomli.loads(document)))


def test_empty_and_bare_documents() -> None:
    for document in ("", "\n\n", "# only this", "   # this too\n"):
        assert key_lines(document) == {}
    assert key_lines("a = 1") == {("a",): 1}
    assert key_lines("a = []\nb = {}\nc = [[],[]]") == {
        ("a",): 1, ("b",): 2, ("c",): 3, ("c", 0): 3, ("c", 1): 3,
    }  # fmt: skip


TEXTS = st.text(st.sampled_from("ab \"'[]{}#=,.\\\n\té"), max_size=8)
KEYS = st.text(st.sampled_from("abc .#]\"'="), min_size=1, max_size=4)
SCALARS = st.one_of(st.integers(-99, 99), st.booleans(), st.floats(-9, 9), TEXTS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)
TABLES = st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=3)
SPACES = st.sampled_from(["", " ", "\t", "\n", "\n# x = [\n", " # }\n "])


def quoted(draw: st.DrawFn, text: str) -> str:
    """A text as TOML, in one of the ways it can be written."""
    ways = [json.dumps(text)]
    if "'" not in text and "\n" not in text:
        ways.append(f"'{text}'")
    if "'''" not in text and not text.endswith("'"):
        ways.append(f"'''\n{text}'''")
    if '"""' not in text and "\\" not in text:
        ways.append(f'"""\n{text}"""')
    return str(draw(st.sampled_from(ways)))


def written(draw: st.DrawFn, value: Any) -> str:
    """A value as TOML, spread over lines at will (TOML 1.1 allows it in inline tables too)."""
    if isinstance(value, str):
        return quoted(draw, value)
    if isinstance(value, list):
        parts = [draw(SPACES) + written(draw, one) + draw(SPACES) for one in value]
        comma = draw(st.sampled_from(["", "," + draw(SPACES)])) if parts else ""
        return f"[{','.join(parts)}{comma}]"
    if isinstance(value, dict):
        parts = [
            f"{draw(SPACES)}{json.dumps(name)} = {written(draw, one)}{draw(SPACES)}"
            for name, one in value.items()
        ]
        return f"{{{','.join(parts)}}}"
    return json.dumps(value)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[Path, int]]:
    """A document, and the lines of its keys at the top and in its tables."""
    text, lines = "", {}
    for name, table in draw(
        st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=3)
    ).items():
        text += draw(st.sampled_from(["", "\n", "# [c]\n"]))
        lines[(name,)] = text.count("\n") + 1
        text += f"[ {json.dumps(name)} ]\n"
        for key, value in table.items():
            lines[(name, key)] = text.count("\n") + 1
            text += f"{json.dumps(key)} = {written(draw, value)} # end\n"
    return text, lines


@settings(max_examples=300, deadline=None)
@given(documents())
def test_agrees_with_tomli(drawn: tuple[str, dict[Path, int]]) -> None:
    text, expected = drawn
    found = key_lines(text)
    assert set(found) == set(paths(tomli.loads(text)))
    assert {path: found[path] for path in expected} == expected
