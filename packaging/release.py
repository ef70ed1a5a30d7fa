"""Makes everything that a release has, from a clean checkout: `python packaging/release.py`.

dist/ is emptied first and then holds the zipapps, the .deb and .rpm of each processor, the wheel,
the source as git has it, an archive for install.sh, the bills of materials, the licences, and
SHA256SUMS over all of it. The time inside of everything is that of the commit, so a second release
of one commit is the same byte for byte.

--without rpm leaves the .rpm out where nfpm is not to be had; nothing else may be missing.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipapp
from pathlib import Path

import package
from tree import ROOT, SUMS, BuildError, configuration, epoch, make_wheel, version, write_sums

DIST = ROOT / "dist"
# what install.sh reads beside itself
INSTALLED = (
    "install.sh", "LICENSE", "README.md", "CHANGELOG.md", "packaging/package/config.toml",
    "systemd/emr.service", "systemd/emr.socket", "systemd/emr.user.service",
    "systemd/override.conf",
)  # fmt: skip


def git(*arguments: str) -> str:
    """What git says of this checkout. Raises BuildError."""
    told = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if told.returncode != 0:
        raise BuildError(f"git {arguments[0]}: {told.stderr.strip()}")
    return told.stdout.strip()


def check() -> None:
    """Refuse what is no release. Raises BuildError."""
    changed = git("status", "--porcelain")
    if changed:
        raise BuildError(f"the checkout is not clean:\n{changed}")
    news = (ROOT / "CHANGELOG.md").read_text()
    if not re.search(rf"^## {re.escape(version())} ", news, re.MULTILINE):
        raise BuildError(f"CHANGELOG.md has no section `## {version()} - DATE`")


def archive(machine: str) -> Path:
    """The zipapp of a processor with what installs it, as one archive."""
    name = f"emr-{version()}-linux-{machine}"
    pyz = DIST / ("emr.pyz" if machine == "x86_64" else f"emr-{machine}.pyz")
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder)
        shutil.copy(pyz, inside)
        write_sums(inside)
        files = [(inside / each, each) for each in (pyz.name, SUMS)]
        files += [(ROOT / each, each) for each in INSTALLED]
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as out:
            for path, each in sorted(files, key=lambda pair: pair[1]):
                info = tarfile.TarInfo(f"{name}/{each}")
                data = path.read_bytes()
                info.size, info.mtime = len(data), epoch()
                info.mode = 0o755 if os.access(path, os.X_OK) else 0o644
                out.addfile(info, io.BytesIO(data))
    output = DIST / f"{name}.tar.gz"
    output.write_bytes(gzip.compress(packed.getvalue(), 9, mtime=0))
    return output


def release(left_out: list[str]) -> None:
    """Build everything. Raises BuildError."""
    config = configuration()
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    for build in config["builds"]:
        zipapp.build(build, config)
    for build in package.MACHINES:
        for kind in package.MAKERS:
            if kind not in left_out:
                package.MAKERS[kind](build, config)
    make_wheel(DIST)
    name = f"emr-{version()}"
    source = ("archive", "--format=tar.gz", f"--prefix={name}/", f"--output=dist/{name}.tar.gz")
    git(*source, "HEAD")
    for machine in config["machines"]:
        archive(machine)
    write_sums(DIST)


def main() -> int:
    """Check, build, and tell what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without", action="append", choices=["rpm"], default=[])
    parser.add_argument("--try", action="store_true", dest="only_try", help="of any checkout")
    args = parser.parse_args()
    os.environ.setdefault("SOURCE_DATE_EPOCH", git("log", "-1", "--format=%ct"))
    try:
        if not args.only_try:
            check()
        release(args.without)
    except BuildError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    for path in sorted(DIST.iterdir()):
        print(f"{path.stat().st_size / 1e6:8.2f} MB  {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
