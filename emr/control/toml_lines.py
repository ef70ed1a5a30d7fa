"""On which line of a TOML document each key stands: the reader of TOML does not tell.

Theory of operation: the document was read by tomli before, so it is valid, and this scan need not
refuse anything. It walks over keys, tables and values, skipping what is inside of strings and
comments, and notes for each key its path and its line. A path is as in the value that tomli gave:
names for tables, numbers for places in lists, so `("providers", 1, "endpoint")`.
"""

from __future__ import annotations

import re
from bisect import bisect_right

import tomli

Path = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_MULTI_LINE = {'"""': re.compile(r'(?:[^"\\]|\\.|"(?!""))*""""?"?', re.S),
               "'''": re.compile(r"(?:[^']|'(?!''))*''''?'?", re.S)}  # fmt: skip
_ONE_LINE = {'"': re.compile(r'(?:[^"\\]|\\.)*"'), "'": re.compile(r"[^']*'")}


def key_lines(document: str) -> dict[Path, int]:
    """The line, from 1, of every key and table of a valid TOML document."""
    scan = _Scan(document)
    scan.run()
    return scan.lines


class _Scan:
    """One walk over a document; `place` is how far it came."""

    def __init__(self, document: str) -> None:
        self.text = document
        self.place = 0
        self.lines: dict[Path, int] = {}
        self._breaks = [at for at, char in enumerate(document) if char == "\n"]
        self._counts: dict[Path, int] = {}  # of each list of tables, how many were seen

    def run(self) -> None:
        table: Path = ()
        self._skip(_SPACE)
        while self.place < len(self.text):
            if self.text[self.place] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_SPACE)

    def _header(self) -> Path:
        """`[a.b]` or `[[a.b]]`: the path of the table that begins here."""
        line = self._line()
        brackets = 2 if self.text.startswith("[[", self.place) else 1
        self.place += brackets
        names = self._key()
        self.place += brackets
        path: Path = ()
        for name in names[:-1]:
            path = self._newest((*path, name))
            self.lines.setdefault(path, line)
        path = (*path, names[-1])
        if brackets == 1:
            path = self._newest(path)
        else:
            self.lines.setdefault(path, line)
            self._counts[path] = self._counts.get(path, 0) + 1
            path = self._newest(path)
        self.lines.setdefault(path, line)
        return path

    def _newest(self, path: Path) -> Path:
        """`path`, with the place of its last table where it is a list of tables."""
        count = self._counts.get(path)
        return path if count is None else (*path, count - 1)

    def _pair(self, table: Path) -> None:
        """`key = value`, at the top or inside of an inline table."""
        line = self._line()
        path = table
        for name in self._key():
            path = (*path, name)
            self.lines.setdefault(path, line)
        self.place += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _key(self) -> list[str]:
        """A dotted key, and the space around it."""
        names = []
        while True:
            self._skip(_SPACE)
            start = self.place
            quote = self.text[start]
            if quote in _ONE_LINE:
                self.place += 1
                self._skip(_ONE_LINE[quote])
                names.append(str(tomli.loads(f"key = {self.text[start : self.place]}")["key"]))
            else:
                self._skip(_BARE_KEY)
                names.append(self.text[start : self.place])
            self._skip(_SPACE)
            if not self.text.startswith(".", self.place):
                return names
            self.place += 1

    def _value(self, path: Path) -> None:
        for quotes, rest in (_MULTI_LINE | _ONE_LINE).items():
            if self.text.startswith(quotes, self.place):
                self.place += len(quotes)
                self._skip(rest)
                return
        if self.text.startswith("[", self.place):
            self._list(path)
        elif self.text.startswith("{", self.place):
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _list(self, path: Path) -> None:
        place = 0
        while self._goes_on("]"):
            self.lines.setdefault((*path, place), self._line())
            self._value((*path, place))
            place += 1

    def _inline_table(self, path: Path) -> None:
        while self._goes_on("}"):
            self._pair(path)

    def _goes_on(self, end: str) -> bool:
        """Step over an opening bracket or a comma; False, behind `end`, when nothing follows."""
        self._skip(_SPACE)
        if self.text[self.place] != end:
            self.place += self.text[self.place] in "[{,"
            self._skip(_SPACE)
        if self.text[self.place] == end:
            self.place += 1
            return False
        return True

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.place)
        assert match is not None, "the document was not valid TOML: a bug"
        self.place = match.end()

    def _line(self) -> int:
        return bisect_right(self._breaks, self.place - 1) + 1
