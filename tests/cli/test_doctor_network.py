"""`emr doctor` on ports and on the way to providers: all well, and each thing that can be wrong."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from emr.cli.ask.address import Address
from emr.cli.checks import network, storage
from emr.cli.checks.finding import Finding, Level, Site
from tests.cli.parts import QUIET, Commands, Home, at, free_port, listening, router
from tests.cli.sites import NOBODY, at_free_port, configured, only
from tests.support.certificates import GOOD

# the ports


def known_addresses(host: str, port: int, **more: object) -> list[Any]:
    """What a resolver says, without asking one."""
    if host.endswith(".invalid"):
        raise socket.gaierror(-2, "Name or service not known")
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]


def test_a_port_that_is_taken(site: Site, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "KNOCK_S", 0.2)
    with listening() as sock:
        port = at(sock).port
        configured(site, home, f'[server]\nbind = "127.0.0.1:{port}"\n{QUIET}')
        other = only(network.ports(site, NOBODY), "port")
        assert (other.level, other.message) == (
            Level.PROBLEM, f"another program has 127.0.0.1:{port}",
        )  # fmt: skip
        assert f"sport = :{port}" in other.remedy
        with router(home, sock):
            found = only(network.ports(site, NOBODY), "port")
            assert found.message == f"an emr with another database answers at 127.0.0.1:{port}"
    assert only(network.ports(site, NOBODY), "port").level is Level.OK


@pytest.mark.parametrize(
    ("bind", "message"),
    [
        ("no-such-host.invalid:1", "the name is not known"),
        ("192.0.2.1:1", "192.0.2.1:1: "),
    ],
)
def test_binds_that_cannot_be(
    site: Site, home: Home, monkeypatch: pytest.MonkeyPatch, bind: str, message: str
) -> None:
    configured(site, home, f'[server]\nbind = "{bind}"\n')
    monkeypatch.setattr(network.socket, "getaddrinfo", known_addresses)
    found = only(network.ports(site, NOBODY), "port")
    assert (found.level, message in found.message) == (Level.PROBLEM, True)
    assert only(network.ports(site, NOBODY), "bind").level is Level.WARNING


def test_a_port_for_root(site: Site, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    class Denied(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(13, "Permission denied")

    configured(site, home, '[server]\nbind = "127.0.0.1:80"\n')
    monkeypatch.setattr(network.socket, "socket", Denied)
    assert "is for root" in only(network.ports(site, NOBODY), "port").message


def test_unix_sockets(site: Site, home: Home, tmp_path: Path) -> None:
    for path, level in (
        (tmp_path / "s", Level.OK), (tmp_path / "none" / "s", Level.PROBLEM),
    ):  # fmt: skip
        configured(site, home, f'[server]\nbind = "unix:{path}"\n')
        assert only(network.ports(site, NOBODY), "port").level is level
    (tmp_path / "s").touch()
    configured(site, home, f'[server]\nbind = "unix:{tmp_path}/s"\n')
    assert "is no socket" in only(network.ports(site, NOBODY), "port").message


def test_a_server_that_does_not_answer(site: Site, home: Home) -> None:
    site.holder = type("Holder", (), {"address": f"http://127.0.0.1:{free_port()}", "pid": 1})()
    found = only(network.ports(site, NOBODY), "server")
    assert (found.level, "nothing listens at" in found.message) == (Level.PROBLEM, True)


def test_tls_files(site: Site, home: Home, tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    cert.write_text(GOOD)
    text = f'tls_cert = "{cert}"\ntls_key = "{cert}"\n'
    configured(site, home, at_free_port() + text)
    assert only(network.ports(site, NOBODY), "tls").level is Level.OK
    cert.write_text("none")
    assert only(network.ports(site, NOBODY), "tls").level is Level.PROBLEM


def test_the_limit_of_open_files(site: Site, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    configured(site, home, at_free_port() + "max_connections = 100\n")
    wanted = 100 + network.FILES_BESIDE
    for most, is_told in ((wanted, False), (wanted - 1, True)):
        monkeypatch.setattr(network.resource, "getrlimit", lambda which, n=most: (1, n))
        found = [each.check for each in network.ports(site, NOBODY)]
        assert ("open files" in found) is is_told


# the way to providers


def reach_of(site: Site, home: Home, endpoint: str) -> Finding:
    configured(site, home, QUIET.replace("http://127.0.0.1:9/v1", endpoint))
    return only(network.reach(site), "reach")


def test_reach(site: Site, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as sock:
        assert reach_of(site, home, f"http://127.0.0.1:{at(sock).port}").level is Level.OK
        # takes the connection and speaks no TLS
        monkeypatch.setattr(network, "REACH_S", 0.05)
        silent = reach_of(site, home, f"https://127.0.0.1:{at(sock).port}")
        assert "no answer in time" in silent.message
    refused = reach_of(site, home, f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached: [Errno 111]" in refused.message
    monkeypatch.setattr(network.socket, "getaddrinfo", known_addresses)
    unknown = reach_of(site, home, "https://no-such-host.invalid")
    assert "the name has no address" in unknown.message


def test_a_name_that_leads_where_it_may_not(
    site: Site, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 443))]
    monkeypatch.setattr(network.socket, "getaddrinfo", lambda *args, **more: found)
    told_ = reach_of(site, home, "https://provider.test")
    assert told_.message == (
        "far (provider.test) leads to 169.254.169.254, where this provider may not be"
    )


def test_a_certificate_that_is_not_trusted(site: Site, home: Home, tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    cert.write_text(GOOD)
    home.configure(f'[server]\ntls_cert = "{cert}"\ntls_key = "{cert}"\n{QUIET}')
    with listening() as sock, router(home, sock) as address:
        assert isinstance(address, Address)
        found = reach_of(site, home, f"https://127.0.0.1:{address.port}")
    assert (found.level, "its certificate is not trusted" in found.message) == (
        Level.PROBLEM, True,
    )  # fmt: skip


def test_no_provider_and_the_built_in_one(site: Site, home: Home, emr: Commands) -> None:
    assert only(network.reach(site), "providers").level is Level.WARNING
    emr("keys", "list")
    list(storage.check(site))
    assert only(network.reach(site), "reach").message == "local is in the process itself"
