"""Pages of figures: Markdown tables with the machine that they were measured on, and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

OUT = Path(__file__).parent.parent.parent / "docs" / "performance"


def figure(value: float) -> str:
    """With as many places as can be trusted."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def described(machine: dict[str, str]) -> str:
    """The machine as a list."""
    return "\n".join(f"- {name}: {value}" for name, value in machine.items())


@dataclass(slots=True)
class Page:
    """A page that a command writes: NAME.md for people, NAME.json; its block."""

    name: str
    title: str
    machine: dict[str, str]
    parts: list[str] = field(default_factory=list)
    data: dict[str, object] = field(default_factory=dict)
    block: str = ""  # what performance.md shows of it

    def text(self) -> str:
        """The page in Markdown."""
        told = (
            "Written by `scripts/bench`; [performance.md](../performance.md) tells how to read it."
        )
        return "\n\n".join([f"# {self.title}", told, described(self.machine), *self.parts]) + "\n"

    def write(self, folder: Path) -> str:
        """Write both files; returns the page."""
        folder.mkdir(parents=True, exist_ok=True)
        text = self.text()
        (folder / f"{self.name}.md").write_text(text)
        data = {"machine": self.machine} | self.data
        (folder / f"{self.name}.json").write_text(json.dumps(data, indent=1) + "\n")
        overview = folder.parent / "performance.md"
        if self.block and overview.exists():
            said = f"{self.block}\n\nMeasured {self.machine['date']}, {self.machine['emr']}."
            overview.write_text(with_block(overview.read_text(), self.name, said))
        return text


def with_block(text: str, name: str, block: str) -> str:
    """The text with other contents between `<!-- NAME -->` and `<!-- /NAME -->`, if it has them."""
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = text.partition(first)
    _, ended, after = rest.partition(last)
    if not found or not ended:
        return text
    return f"{before}{first}\n{block}\n{last}{after}"
