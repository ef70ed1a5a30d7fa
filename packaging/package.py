"""Builds the .deb and the .rpm: `python packaging/package.py [deb|rpm]…`.

Both have the same files: the tree of packages (packaging/tree.py) under /usr/lib/emr, owned by
root, so that nothing is unpacked at a start and a service can change no code; a launcher; the
units; man page, completions, documents. The .deb is made by dpkg-deb, the .rpm by nfpm (NFPM names
it). Two builds of one checkout are equal byte for byte.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

from tree import ROOT, BuildError, configuration, epoch, make_tree, version, write_sums

PARTS = ROOT / "packaging" / "package"
MAINTAINER = "The emr authors <emr@localhost>"
PYTHON_MIN, PYTHON_END = "3.11", "3.14"
SUMMARY = "Embeddings Router: merges many embedding requests into few calls"
DESCRIPTION = """\
A sidecar proxy for text embeddings. Applications on a host send their many
small requests to 127.0.0.1:3200 in the API that they already use; emr merges
what different callers ask at the same time into few calls to the provider,
keeps inside the provider's limits, retries, and gives each caller exactly its
own vectors."""
SCRIPTS = ("postinst", "prerm", "postrm")
# the build of shiv.toml with a processor's packages, and what .deb and .rpm call the processor
MACHINES = {"slim": ("amd64", "x86_64"), "slim-aarch64": ("arm64", "aarch64")}


@dataclass(frozen=True, slots=True)
class Item:
    """A file of the package: where it goes, and its mode."""

    place: str
    mode: int
    data: bytes


def small_files() -> list[Item]:
    """Everything but the tree of packages."""
    units = {"emr.service": "emr.service", "emr.socket": "emr.socket"}
    found = [
        Item("usr/bin/emr", 0o755, (PARTS / "emr").read_bytes()),
        Item("etc/emr/config.toml", 0o644, (PARTS / "config.toml").read_bytes()),
        Item("usr/lib/tmpfiles.d/emr.conf", 0o644, (ROOT / "systemd/tmpfiles.conf").read_bytes()),
        Item("usr/share/man/man1/emr.1.gz", 0o644, packed((ROOT / "docs/emr.1").read_bytes())),
    ]
    found += [
        Item(f"usr/lib/systemd/system/{name}", 0o644, (ROOT / "systemd" / file).read_bytes())
        for name, file in units.items()
    ]
    shells = {
        "bash": "usr/share/bash-completion/completions/emr",
        "zsh": "usr/share/zsh/vendor-completions/_emr",
        "fish": "usr/share/fish/vendor_completions.d/emr.fish",
    }
    for shell, place in shells.items():
        file = ROOT / "emr" / "cli" / "completions" / f"emr.{shell}"
        found.append(Item(place, 0o644, file.read_bytes()))
    return found + documents()


def documents() -> list[Item]:
    """What is to be read, and the examples."""
    folder = "usr/share/doc/emr"
    pages = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = [Item(f"{folder}/{page.name}", 0o644, page.read_bytes()) for page in pages]
    news = (ROOT / "CHANGELOG.md").read_bytes()
    found.append(Item(f"{folder}/CHANGELOG.md.gz", 0o644, packed(news)))
    examples = [path for path in sorted((ROOT / "examples").rglob("*")) if path.is_file()]
    for path in [*examples, ROOT / "systemd" / "override.conf"]:
        name = path.relative_to(ROOT).parts[1:]
        mode = 0o755 if os.access(path, os.X_OK) else 0o644
        found.append(Item(f"{folder}/examples/{'/'.join(name)}", mode, path.read_bytes()))
    return found


def packed(data: bytes) -> bytes:
    """Compressed by gzip, without a name or a time."""
    return gzip.compress(data, 9, mtime=0)


def lay_out(build: str, config: dict[str, Any], folder: Path) -> Path:
    """The files of a package as they will stand, under `folder`/root. Raises BuildError."""
    site, _ = make_tree(build, config, folder)
    root = folder / "root"
    shutil.copytree(site, root / "usr" / "lib" / "emr")
    (licences,) = site.glob("emr-*.dist-info/licenses/ALL.txt")
    bill = next(site.glob("emr-*.dist-info/sboms/*.json")).read_bytes()
    doc = "usr/share/doc/emr"
    items = [
        *small_files(),
        Item(f"{doc}/copyright", 0o644, copyright_text(licences.read_text()).encode()),
        Item(f"{doc}/emr.cdx.json.gz", 0o644, packed(bill)),
    ]
    for item in items:
        path = root / item.place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item.data)
        path.chmod(item.mode)
    return root


def copyright_text(licences: str) -> str:
    """The licence of emr, and those of the packages that it has inside."""
    own = (ROOT / "LICENSE").read_text()
    return f"emr is under the MIT licence:\n\n{own}\n/usr/lib/emr has these packages:\n\n{licences}"


def settle(root: Path) -> None:
    """One time for every file, and no mode that depends on a umask."""
    when = epoch()
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (when, when))
    root.chmod(0o755)
    os.utime(root, (when, when))


def make_deb(build: str, config: dict[str, Any]) -> Path:
    """Build the .deb. Raises BuildError."""
    machine, _ = MACHINES[build]
    output = ROOT / "dist" / f"emr_{version()}_{machine}.deb"
    output.parent.mkdir(exist_ok=True)
    if shutil.which("dpkg-deb") is None:
        raise BuildError("dpkg-deb is not installed: a .deb is made on Debian or Ubuntu")
    with tempfile.TemporaryDirectory() as folder:
        root = lay_out(build, config, Path(folder))
        log = root / "usr/share/doc/emr/changelog.gz"
        log.write_bytes(packed(changelog().encode()))
        log.chmod(0o644)
        control = root / "DEBIAN"
        files = sorted(path for path in root.rglob("*") if path.is_file())
        control.mkdir()
        for name in SCRIPTS:
            shutil.copy(PARTS / name, control / name)
            (control / name).chmod(0o755)
        (control / "triggers").write_text("interest-noawait /usr/bin/python3\n")
        (control / "conffiles").write_text("/etc/emr/config.toml\n")
        (control / "md5sums").write_text(
            "".join(
                f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n"
                for path in files
                if not path.is_relative_to(root / "etc")
            )
        )
        size = sum(path.stat().st_size for path in files) // 1024
        (control / "control").write_text(control_text(machine, size))
        for name in ("triggers", "conffiles", "md5sums", "control"):
            (control / name).chmod(0o644)
        settle(root)
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch())}
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(root), str(output)],
            check=True, stdout=sys.stderr, env=environment,
        )  # fmt: skip
    return output


def control_text(machine: str, kilobytes: int) -> str:
    """DEBIAN/control."""
    fields = {
        "Package": "emr",
        "Version": version(),
        "Architecture": machine,
        "Maintainer": MAINTAINER,
        "Installed-Size": str(kilobytes),
        "Depends": f"python3 (>= {PYTHON_MIN}), python3 (<< {PYTHON_END}), libc6 (>= 2.28)",
        "Section": "net",
        "Priority": "optional",
        "Description": SUMMARY,
    }
    told = "".join(f" {line}\n" for line in DESCRIPTION.splitlines())
    return "".join(f"{name}: {value}\n" for name, value in fields.items()) + told


def changelog() -> str:
    """What Debian wants to know of the newest version."""
    return (
        f"emr ({version()}) stable; urgency=medium\n\n"
        "  * What is new is told in CHANGELOG.md.\n\n"
        f" -- {MAINTAINER}  {formatdate(epoch())}\n"
    )


def make_rpm(build: str, config: dict[str, Any]) -> Path:
    """Build the .rpm. Raises BuildError."""
    _, machine = MACHINES[build]
    nfpm = shutil.which(os.environ.get("NFPM", "nfpm"))
    if nfpm is None:
        raise BuildError(
            "nfpm is not installed: go install github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0, or"
            " NFPM names it"
        )
    output = ROOT / "dist" / f"emr-{version()}-1.{machine}.rpm"
    output.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        root = lay_out(build, config, Path(folder))
        settle(root)
        described = Path(folder) / "nfpm.yaml"
        described.write_text(json.dumps(rpm_description(root, machine)))  # JSON is YAML
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch())}
        subprocess.run(
            [nfpm, "package", "--config", str(described), "--packager", "rpm", "--target",
             str(output)],
            check=True, stdout=sys.stderr, env=environment,
        )  # fmt: skip
    return output


def rpm_description(root: Path, machine: str) -> dict[str, Any]:
    """What nfpm is to put together."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch()))
    contents = []
    for path in sorted(root.rglob("*")):
        if path.is_file():
            place = f"/{path.relative_to(root)}"
            item = {
                "src": str(path),
                "dst": place,
                "file_info": {"mode": path.stat().st_mode & 0o777, "mtime": when},
            }
            if place.startswith("/etc/"):
                item["type"] = "config|noreplace"
            contents.append(item)
    # the folders that are emr's alone, so that they go with it
    for place in ("/usr/lib/emr", "/etc/emr"):
        info = {"mode": 0o755, "mtime": when}
        contents.append({"dst": place, "type": "dir", "file_info": info})
    return {
        "name": "emr",
        "arch": {"x86_64": "amd64", "aarch64": "arm64"}[machine],
        "version": version(),
        "release": "1",
        "maintainer": MAINTAINER,
        "description": DESCRIPTION,
        "license": "MIT",
        "mtime": when,
        "depends": [f"python3 >= {PYTHON_MIN}", f"python3 < {PYTHON_END}", "glibc >= 2.28"],
        "contents": contents,
        "scripts": {
            "postinstall": str(PARTS / "postinst"),
            "preremove": str(PARTS / "prerm"),
            "postremove": str(PARTS / "postrm"),
        },
        "rpm": {"summary": SUMMARY, "buildhost": "localhost", "compression": "xz"},
    }


MAKERS = {"deb": make_deb, "rpm": make_rpm}


def main() -> int:
    """Build what is named, or both, for the processor of this machine and for others by name."""
    config = configuration()
    builds = [name for name in sys.argv[1:] if name in MACHINES] or ["slim"]
    kinds = [name for name in sys.argv[1:] if name in MAKERS] or list(MAKERS)
    wrong = set(sys.argv[1:]) - set(MACHINES) - set(MAKERS)
    if wrong:
        known = ", ".join([*MAKERS, *MACHINES])
        print(f"there is no {', '.join(sorted(wrong))}: {known}", file=sys.stderr)
        return 2
    for build in builds:
        for kind in kinds:
            try:
                output = MAKERS[kind](build, config)
            except BuildError as error:
                print(f"{kind}: {error}", file=sys.stderr)
                return 1
            print(f"{output.relative_to(ROOT)} {output.stat().st_size / 1e6:.2f} MB")
    write_sums(ROOT / "dist")
    return 0


if __name__ == "__main__":
    sys.exit(main())
