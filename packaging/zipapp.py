"""Builds the one-file emr: `python packaging/zipapp.py [BUILD…]`, called by scripts/build-zipapp.

Reads shiv.toml. The tree of packages (packaging/tree.py) is made into a file by shiv. Its
`__main__.py` is then replaced by packaging/preamble.py with shiv's start behind it: shiv runs a
preamble of its own only after it has unpacked, which is too late to say that it cannot.

Two builds of one checkout are equal byte for byte: timestamps are SOURCE_DATE_EPOCH (or 1980), the
order is sorted, and the build id is a hash of the contents.
"""

from __future__ import annotations

import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from tree import ROOT, BuildError, configuration, epoch, make_tree, run, write_sums

START = "\nfrom _bootstrap import bootstrap\n\nbootstrap()\n"


def main_of(preamble: Path, told: dict[str, str]) -> bytes:
    """The `__main__.py`: the preamble, with what it must know of this build in its places."""
    text = preamble.read_text()
    for name, value in told.items():
        place = f'"@{name}@"'
        if text.count(place) != 1:
            raise BuildError(f"{preamble.name} has not one place {place}")
        text = text.replace(place, f'"{value}"')
    return (text + START).encode()


def put_main(pyz: Path, main: bytes, when: int) -> None:
    """Replace `__main__.py`, so that the preamble runs before anything is unpacked."""
    stamp = time.gmtime(when)[:6]
    whole = pyz.read_bytes()
    shebang = whole[: whole.index(b"\n") + 1]
    rebuilt = pyz.with_suffix(".new")
    with zipfile.ZipFile(pyz) as old, rebuilt.open("wb") as out:
        out.write(shebang)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
            for info in sorted(old.infolist(), key=lambda each: each.filename):
                data = main if info.filename == "__main__.py" else old.read(info)
                fresh = zipfile.ZipInfo(info.filename, stamp)
                fresh.external_attr = info.external_attr
                fresh.compress_type = zipfile.ZIP_DEFLATED
                new.writestr(fresh, data, compresslevel=9)
    rebuilt.chmod(0o755)
    rebuilt.replace(pyz)


def build(name: str, config: dict[str, Any]) -> Path:
    """Build one of the files of shiv.toml. Raises BuildError."""
    zipapp, wanted = config["zipapp"], config["builds"][name]
    output = ROOT / "dist" / wanted["output"]
    output.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        site, identity = make_tree(name, config, Path(folder))
        unpacked = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
        run(
            sys.executable, "-m", "shiv", "--site-packages", str(site), "--entry-point",
            zipapp["entry-point"], "--python", zipapp["python"], "--compile-pyc",
            "--reproducible", "--build-id", identity, "--output-file", str(output),
        )  # fmt: skip
        told = {"ID": identity, "MACHINE": wanted["machine"], "BYTES": str(unpacked)}
        put_main(output, main_of(ROOT / zipapp["preamble"], told), epoch())
        (output.parent / f"{output.stem}.cdx.json").write_bytes(
            next(site.glob("emr-*.dist-info/sboms/*.json")).read_bytes()
        )
        (output.parent / f"{output.stem}-licenses.txt").write_bytes(
            next(site.glob("emr-*.dist-info/licenses/ALL.txt")).read_bytes()
        )
    return output


def main() -> int:
    """Build what is named, or everything."""
    config = configuration()
    for name in sys.argv[1:] or config["builds"]:
        if name not in config["builds"]:
            print(f"there is no build {name}: {', '.join(config['builds'])}", file=sys.stderr)
            return 2
        try:
            output = build(name, config)
        except BuildError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        print(f"{output.relative_to(ROOT)} {output.stat().st_size / 1e6:.2f} MB")
    write_sums(ROOT / "dist")
    return 0


if __name__ == "__main__":
    sys.exit(main())
