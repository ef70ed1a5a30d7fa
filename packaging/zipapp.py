"""Builds the one-file emr: `python packaging/zipapp.py [BUILD…]`, called by scripts/build-zipapp.

Reads shiv.toml. The locked requirements are installed for each Python by their hashes and laid over
each other (the compiled parts carry the version in their names), what no running emr reads is taken
out, debug symbols are stripped, and shiv makes the file. Its `__main__.py` is then replaced by
packaging/preamble.py with shiv's start behind it: shiv runs a preamble of its own only after it has
unpacked, which is too late to say that it cannot.

Two builds of one tree are equal byte for byte: timestamps are SOURCE_DATE_EPOCH (or 1980), the
order is sorted, and the build id is a hash of the contents.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
START = "\nfrom _bootstrap import bootstrap\n\nbootstrap()\n"
EPOCH_1980 = 315532800  # the earliest time that a zip can hold


def run(*command: str) -> None:
    """Run a command; its failure ends the build."""
    subprocess.run(command, check=True, stdout=sys.stderr)


def install(requirements: str, python: str, platforms: list[str], target: Path) -> None:
    """Install locked wheels for a Python that need not be here."""
    flags = [
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={python}",
        "--no-deps",
    ]
    flags += [f"--platform={platform}" for platform in platforms]
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--require-hashes", "-r", requirements, "--target", str(target), "--no-compile", *flags,
    )  # fmt: skip


def install_emr(target: Path) -> None:
    """Install this tree itself."""
    with tempfile.TemporaryDirectory() as folder:
        run(
            sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--no-build-isolation", "-w", folder, str(ROOT),
        )  # fmt: skip
        (wheel,) = Path(folder).glob("emr-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)


def prune(site: Path, rules: dict[str, list[str]]) -> None:
    """Take out what no running emr reads."""
    shutil.rmtree(site / "bin", ignore_errors=True)
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
    for library in site.rglob("*.so"):
        run("strip", "--strip-unneeded", str(library))


def settle_times(site: Path, when: float) -> str:
    """Give every file one time and mode; returns a hash of the contents."""
    digest = hashlib.sha256()
    for path in sorted(site.rglob("*")):
        if path.is_file():
            path.chmod(0o755 if path.suffix == ".so" else 0o644)
            digest.update(str(path.relative_to(site)).encode() + b"\0" + path.read_bytes())
        os.utime(path, (when, when))
    return digest.hexdigest()


def put_preamble(pyz: Path, preamble: Path, when: float) -> None:
    """Replace `__main__.py`, so that the preamble runs before anything is unpacked."""
    stamp = time.gmtime(when)[:6]
    whole = pyz.read_bytes()
    shebang = whole[: whole.index(b"\n") + 1]
    rebuilt = pyz.with_suffix(".new")
    with zipfile.ZipFile(pyz) as old, rebuilt.open("wb") as out:
        out.write(shebang)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
            for info in sorted(old.infolist(), key=lambda each: each.filename):
                data = old.read(info)
                if info.filename == "__main__.py":
                    data = (preamble.read_text() + START).encode()
                fresh = zipfile.ZipInfo(info.filename, stamp)
                fresh.external_attr = info.external_attr
                fresh.compress_type = zipfile.ZIP_DEFLATED
                new.writestr(fresh, data, compresslevel=9)
    rebuilt.chmod(0o755)
    rebuilt.replace(pyz)


def build(name: str, config: dict[str, Any]) -> Path:
    """Build one of the files of shiv.toml."""
    zipapp, wanted, targets = config["zipapp"], config["builds"][name], config["targets"]
    when = float(os.environ.get("SOURCE_DATE_EPOCH", EPOCH_1980))
    output = ROOT / "dist" / wanted["output"]
    output.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site-packages"
        for python in targets["pythons"]:
            part = Path(folder) / python
            install(str(ROOT / wanted["requirements"]), python, targets["platforms"], part)
            shutil.copytree(part, site, dirs_exist_ok=True)
        install_emr(site)
        prune(site, config["prune"])
        identity = settle_times(site, when)
        run(
            sys.executable, "-m", "shiv", "--site-packages", str(site), "--entry-point",
            zipapp["entry-point"], "--python", zipapp["python"], "--compile-pyc",
            "--reproducible", "--build-id", identity, "--output-file", str(output),
        )  # fmt: skip
        put_preamble(output, ROOT / zipapp["preamble"], when)
    return output


def main() -> int:
    """Build what is named, or everything."""
    config = tomllib.loads((ROOT / "shiv.toml").read_text())
    for name in sys.argv[1:] or config["builds"]:
        if name not in config["builds"]:
            print(f"there is no build {name}: {', '.join(config['builds'])}", file=sys.stderr)
            return 2
        output = build(name, config)
        print(f"{output.relative_to(ROOT)} {output.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
