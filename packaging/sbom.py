"""The bill of materials (CycloneDX 1.6) and the licences of a tree of packages.

A component is a package whose metadata is in the tree; its licence is what that metadata says. Of
what is compiled into a package the wheel's own bill of materials is taken over where it has one
(PEP 770), and `COMPILED_IN` tells of the others. `emr:modules` of a component are the names that
can be imported from it, so that a check can hold the list against what a running emr imports.
"""

from __future__ import annotations

import csv
import datetime
import email.parser
import hashlib
import json
import uuid
from email.message import Message
from pathlib import Path
from typing import Any

# C libraries inside of compiled parts whose wheels tell nothing of them: name and licence
COMPILED_IN = {
    "uvloop": (("libuv", "MIT"),),
    "httptools": (("llhttp", "MIT"), ("http-parser", "MIT")),
    "argon2-cffi-bindings": (("phc-winner-argon2", "CC0-1.0 OR Apache-2.0"),),
    "cffi": (("libffi", "MIT"),),
    "numpy": (
        ("OpenBLAS", "BSD-3-Clause"),
        ("libgfortran", "GPL-3.0-or-later WITH GCC-exception-3.1"),
        ("libquadmath", "LGPL-2.1-or-later"),
    ),
}
SEPARATOR = "=" * 78
WHOLE = ("MIT", "ISC", "Zlib", "0BSD")  # identifiers of SPDX without a hyphen
# what wheels call a licence in free words
WORDS = {
    "MIT License": "MIT",
    "The MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "BSD-3-Clause License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ISC License (ISCL)": "ISC",
}


def owners_of(site: Path) -> dict[str, str]:
    """Every file of a tree, and the metadata folder of the package that brought it."""
    owners = {}
    for record in site.glob("*.dist-info/RECORD"):
        with record.open(newline="") as lines:
            for row in csv.reader(lines):
                owners[row[0]] = record.parent.name
    return owners


def write(site: Path, owners: dict[str, str], build: str, version: str, when: int) -> None:
    """Put the bill of materials and the licences into emr's own metadata."""
    (own,) = site.glob("emr-*.dist-info")
    components = [_component(info, site, owners) for info in sorted(site.glob("*.dist-info"))]
    document = _document(components, build, version, when)
    place = own / "sboms" / "emr.cdx.json"
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    (own / "licenses" / "ALL.txt").write_text(licences(site))


def _document(
    components: list[dict[str, Any]], build: str, version: str, when: int
) -> dict[str, Any]:
    own = next(each for each in components if each["name"] == "emr")
    others = [each for each in components if each is not own]
    seed = json.dumps(components, sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, seed)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(when, datetime.UTC).strftime(
                "%Y-%m-%dT%H:%M:%SZ"
            ),
            "component": own | {"type": "application"},
            "properties": [{"name": "emr:build", "value": build}],
        },
        "components": others,
        "dependencies": [
            {"ref": own["bom-ref"], "dependsOn": [each["bom-ref"] for each in others]}
        ],
    }


def _component(info: Path, site: Path, owners: dict[str, str]) -> dict[str, Any]:
    told = _metadata(info)
    name, version = str(told["Name"]), str(told["Version"])
    ref = f"pkg:pypi/{_normal(name)}@{version}"
    files = sorted(
        file
        for file, owner in owners.items()
        if owner == info.name and (site / file).is_file() and ".dist-info/" not in file
    )
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.encode() + b"\0" + (site / file).read_bytes())
    modules = sorted({file.split("/")[0].split(".")[0] for file in files})
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": ref,
        "name": name,
        "version": version,
        "purl": ref,
        "licenses": [_licence(licence_of(told))],
        "hashes": [{"alg": "SHA-256", "content": digest.hexdigest()}],
        "properties": [{"name": "emr:modules", "value": " ".join(modules)}],
    }
    if told["Summary"]:
        component["description"] = str(told["Summary"])
    inner = _inside(info, ref, _normal(name))
    if inner:
        component["components"] = inner
    return component


def _inside(info: Path, ref: str, name: str) -> list[dict[str, Any]]:
    """What is compiled into a package."""
    found = [
        {
            "type": "library",
            "bom-ref": f"{ref}#{library}",
            "name": library,
            "licenses": [_licence(licence)],
        }
        for library, licence in COMPILED_IN.get(name, ())
    ]
    for path in sorted(info.glob("sboms/*.json")):
        for each in json.loads(path.read_text()).get("components", []):
            inner = {
                key: each[key]
                for key in ("type", "name", "version", "purl", "licenses")
                if key in each
            }
            inner["bom-ref"] = f"{ref}#{each['name']}@{each.get('version', '')}"
            found.append(inner)
    return sorted(found, key=lambda each: str(each["bom-ref"]))


def _metadata(info: Path) -> Message:
    return email.parser.Parser().parsestr((info / "METADATA").read_text(), headersonly=True)


def licence_of(told: Message) -> str:
    """The licence that a package's metadata names, as an SPDX expression where it can be told."""
    if told["License-Expression"]:
        return str(told["License-Expression"])
    classified = [
        value.rpartition(" :: ")[2]
        for value in told.get_all("Classifier", [])
        if value.startswith("License ::")
    ]
    words = classified or [str(told["License"] or "unknown").splitlines()[0]]
    return " AND ".join(dict.fromkeys(WORDS.get(word, word) for word in words))


def _licence(expression: str) -> dict[str, Any]:
    """A licence as CycloneDX writes it."""
    known = {"AND", "OR", "WITH"}
    parts = expression.replace("(", " ").replace(")", " ").split()
    is_spdx = all(part in known or "-" in part or part in WHOLE for part in parts)
    if not is_spdx:
        return {"license": {"name": expression}}
    return {"expression": expression} if len(parts) > 1 else {"license": {"id": expression}}


def licences(site: Path) -> str:
    """The licence of every package in a tree, each with its texts."""
    parts = []
    infos = sorted(site.glob("*.dist-info"), key=lambda each: each.name.lower())
    holders: dict[str, str] = {}  # of each licence, the first package that carries its text
    for info in infos:
        if _texts(info):
            holders.setdefault(licence_of(_metadata(info)), info.name.partition("-")[0])
    for info in infos:
        told = _metadata(info)
        licence = licence_of(told)
        parts.append(f"{SEPARATOR}\n{told['Name']} {told['Version']}: {licence}")
        inside = COMPILED_IN.get(_normal(str(told["Name"])), ())
        parts += [f"with {name}: {what}" for name, what in inside]
        for path in _texts(info):
            text = path.read_text(errors="replace").rstrip()
            parts.append(f"\n--- {path.relative_to(info)}\n\n{text}")
        if not _texts(info):
            where = holders.get(licence)
            if where is None:
                raise LookupError(f"{info.name} carries no licence, and nobody else {licence}")
            parts.append(f"\n(its wheel carries no text; the one of {where} is the same)")
    return "\n".join(parts) + "\n"


def _texts(info: Path) -> list[Path]:
    names = ("LICEN", "NOTICE", "COPYING", "AUTHORS")
    return [
        path
        for path in sorted(info.rglob("*"))
        if path.is_file() and path.name.upper().startswith(names)
    ]


def _normal(name: str) -> str:
    """A package's name as its URL has it."""
    return name.lower().replace("_", "-").replace(".", "-")
