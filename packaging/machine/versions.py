"""Other versions of a built .deb, for trying upgrades: a new number, and a step of the database."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

# a table that the version before does not know
STEP = '''
def next_tables(connection: sqlite3.Connection) -> tuple[str, ...]:
    """A step that only the next version has."""
    connection.execute("CREATE TABLE of_the_next (id INTEGER PRIMARY KEY)")
    return ("a table of the next version is made",)


STEPS = (*STEPS, next_tables)
'''


def repacked(deb: Path, folder: Path, version: str, step: str = "") -> Path:
    """The package as another version; `step` is code that goes to the end of the migrations."""
    output = folder / f"emr_{version}_amd64.deb"
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree"
        subprocess.run(["dpkg-deb", "-R", str(deb), str(tree)], check=True)
        site = tree / "usr" / "lib" / "emr" / "emr"
        change(tree / "DEBIAN" / "control", "\nVersion: 0.1.0\n", f"\nVersion: {version}\n")
        change(site / "__init__.py", '__version__ = "0.1.0"', f'__version__ = "{version}"')
        if step:
            migrations = site / "control" / "migrations.py"
            change(migrations, "\n\ndef version_of(", f"\n{step}\n\ndef version_of(")
        (tree / "DEBIAN" / "md5sums").unlink()
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(output)],
            check=True, capture_output=True,
        )  # fmt: skip
    return output


def change(path: Path, old: str, new: str) -> None:
    """Replace what stands once in a file. Raises ValueError."""
    text = path.read_text()
    if text.count(old) != 1:
        raise ValueError(f"{path} has {old!r} {text.count(old)} times")
    path.write_text(text.replace(old, new))
