"""Builds the tree of packages that is shipped: what the zipapp, the .deb and the .rpm have inside.

The locked requirements are installed for each Python by their hashes and laid over each other (the
compiled parts carry the version in their names), what no running emr reads is taken out, and debug
symbols are stripped. The bill of materials and the licences of what is left are put beside emr's
own metadata (PEP 770).

Two trees of one checkout are equal byte for byte: every file has one time and one mode of two.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import sbom

ROOT = Path(__file__).parent.parent
SUMS = "SHA256SUMS"
EPOCH_1980 = 315532800  # the earliest time that a zip can hold


class BuildError(Exception):
    """A build cannot be made here; the message says what is missing."""


def configuration() -> dict[str, Any]:
    """What shiv.toml says."""
    return tomllib.loads((ROOT / "shiv.toml").read_text())


def epoch() -> int:
    """The time of everything that is built: SOURCE_DATE_EPOCH, or 1980."""
    return max(int(os.environ.get("SOURCE_DATE_EPOCH", EPOCH_1980)), EPOCH_1980)


def version() -> str:
    """The version of this checkout."""
    text = (ROOT / "emr" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise BuildError("emr/__init__.py names no version")
    return found[1]


def write_sums(folder: Path) -> None:
    """SHA256SUMS of every file in `folder`, as sha256sum writes and checks it."""
    files = [path for path in sorted(folder.iterdir()) if path.name != SUMS and path.is_file()]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / SUMS).write_text("".join(lines))


def run(*command: str) -> None:
    """Run a command; its failure ends the build."""
    subprocess.run(command, check=True, stdout=sys.stderr)


def make_tree(build: str, config: dict[str, Any], folder: Path) -> tuple[Path, str]:
    """The tree of a build, made inside `folder`; its path, and a hash of its contents.

    Raises BuildError.
    """
    wanted = config["builds"][build]
    strip = find_strip(wanted["machine"])
    locks = [ROOT / wanted["requirements"]]
    if "also" in wanted:
        locks.append(folder / "also.txt")
        locks[-1].write_text(blocks(ROOT / wanted["also"]["requirements"], wanted["also"]["names"]))
    site = folder / "site-packages"
    owners: dict[str, str] = {}
    for python in config["targets"]["pythons"]:
        part = folder / python
        install(locks, python, config["machines"][wanted["machine"]], part)
        owners |= sbom.owners_of(part)
        shutil.copytree(part, site, dirs_exist_ok=True)
    install_emr(site)
    owners |= sbom.owners_of(site)
    prune(site, config["prune"])
    for library in [*site.rglob("*.so"), *site.rglob("*.so.*")]:
        run(strip, "--strip-unneeded", str(library))
    drop_hollow(site, owners)
    sbom.write(site, owners, build, version(), epoch())
    return site, settle(site, epoch())


def find_strip(machine: str) -> str:
    """The program that strips libraries of a processor. Raises BuildError."""
    names = [f"{machine}-linux-gnu-strip"]
    if machine == os.uname().machine:
        names.append("strip")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        package = f"binutils-{machine.replace('_', '-')}-linux-gnu"
        raise BuildError(f"{names[0]} is not installed; on Debian: apt install {package}")
    return found


def blocks(lock: Path, names: list[str]) -> str:
    """The entries of a lock file, with their hashes, for some packages. Raises BuildError."""
    found = {
        match[1]: match[0]
        for match in re.finditer(r"^([\w.-]+)==(?:.*\\\n)*.*\n", lock.read_text(), re.MULTILINE)
    }
    missing = sorted(set(names) - set(found))
    if missing:
        raise BuildError(f"{lock.name} has no {', '.join(missing)}")
    return "".join(found[name] for name in names)


def install(locks: list[Path], python: str, platforms: list[str], target: Path) -> None:
    """Install locked wheels for a Python that need not be here."""
    flags = [
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={python}",
        "--no-deps",
    ]
    flags += [f"--platform={platform}" for platform in platforms]
    for lock in locks:
        flags += ["-r", str(lock)]
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--require-hashes", "--target", str(target), "--no-compile", *flags,
    )  # fmt: skip


def install_emr(target: Path) -> None:
    """Install this tree itself."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = make_wheel(Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)


def make_wheel(folder: Path) -> Path:
    """The wheel of this tree, made from a copy: a build leaves nothing in the checkout."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "emr"
        copy.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        shutil.copytree(ROOT / "emr", copy / "emr", ignore=shutil.ignore_patterns("__pycache__"))
        run(
            sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--no-build-isolation", "-w", str(folder), str(copy),
        )  # fmt: skip
    (wheel,) = folder.glob("emr-*.whl")
    return wheel


def prune(site: Path, rules: dict[str, list[str]]) -> None:
    """Take out what no running emr reads."""
    for package in rules["packages"]:
        found = site / package
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink(missing_ok=True)
    for path in sorted(site.rglob("*"), reverse=True):
        name = str(path.relative_to(site))
        if path.is_file() and any(fnmatch.fnmatch(name, rule) for rule in rules["files"]):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def drop_hollow(site: Path, owners: dict[str, str]) -> None:
    """Take out the metadata of packages of which nothing else is left."""
    kept = {
        owners.get(str(path.relative_to(site)))
        for path in site.rglob("*")
        if path.is_file() and ".dist-info" not in path.parts[len(site.parts)]
    }
    for info in site.glob("*.dist-info"):
        if info.name not in kept:
            shutil.rmtree(info)


def settle(site: Path, when: int) -> str:
    """Give every file one time and mode; returns a hash of the contents."""
    digest = hashlib.sha256()
    for path in sorted(site.rglob("*")):
        if path.is_file():
            path.chmod(0o755 if ".so" in path.suffixes else 0o644)
            digest.update(str(path.relative_to(site)).encode() + b"\0" + path.read_bytes())
        else:
            path.chmod(0o755)
        os.utime(path, (when, when))
    return digest.hexdigest()
