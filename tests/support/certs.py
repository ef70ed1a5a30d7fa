"""Certificates for tests: an authority, a server of 127.0.0.1, a client, and a stranger."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as paths of PEM files."""

    cert: str
    key: str


@dataclass(frozen=True, slots=True)
class Certs:
    """All that the tests need; `stranger` is signed by nobody that the others know."""

    authority: Pair
    server: Pair
    client: Pair
    stranger: Pair


def make_certs(folder: Path) -> Certs:
    """Make them with the `openssl` program, in `folder`."""
    authority = _self_signed(folder, "authority")
    server = _signed(folder, "server", authority)
    client = _signed(folder, "client", authority)
    return Certs(authority, server, client, _self_signed(folder, "stranger"))


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _key(folder: Path, name: str) -> str:
    path = str(folder / f"{name}.key")
    _openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", path)
    return path


def _self_signed(folder: Path, name: str) -> Pair:
    key, cert = _key(folder, name), str(folder / f"{name}.pem")
    _openssl("req", "-x509", "-key", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}")
    return Pair(cert, key)


def _signed(folder: Path, name: str, authority: Pair) -> Pair:
    key, cert = _key(folder, name), str(folder / f"{name}.pem")
    request, extensions = str(folder / f"{name}.csr"), folder / f"{name}.ext"
    extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    _openssl("req", "-new", "-key", key, "-out", request, "-subj", f"/CN={name}")
    _openssl(
        "x509", "-req", "-in", request, "-CA", authority.cert, "-CAkey", authority.key,
        "-CAcreateserial", "-days", "2", "-extfile", str(extensions), "-out", cert,
    )  # fmt: skip
    return Pair(cert, key)
