"""What else is shipped, on the same machine: the zipapp, install.sh, the host of applications."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from conftest import PROVIDER, PROVIDER_KEY, Installed, files_of, install
from nspawn import Machine

SYSTEM = ("/opt/release/install.sh", "--system")


def test_the_zipapp_for_a_new_user(machine: Machine) -> None:
    """Nothing but Python: it serves, and the curl line that it prints works with its model gone."""
    machine.script(
        "useradd --create-home --home-dir /srv/fresh --shell /bin/sh fresh\n"
        "install -o fresh -m 755 /opt/release/emr.pyz /srv/fresh/emr.pyz\n"
        "systemd-run --quiet --unit=fresh --uid=fresh --setenv=HOME=/srv/fresh"
        " --working-directory=/srv/fresh sh -c 'unset INVOCATION_ID; exec ./emr.pyz serve'\n"
    )
    machine.until("test", "-s", "/srv/fresh/.config/emr/first-key")
    machine.until("sh", "-c", "journalctl -u fresh | grep -q 'caller key'")
    told = machine.out(
        "setpriv", "--reuid=fresh", "--regid=fresh", "--clear-groups", "env", "HOME=/srv/fresh",
        "/srv/fresh/emr.pyz", "health",
    )  # fmt: skip
    assert told == "degraded"
    machine.script(
        "systemctl stop fresh\nuserdel --remove fresh 2>/dev/null\n! test -e /srv/fresh\n"
    )


def test_the_zipapp_without_a_home(machine: Machine) -> None:
    nobody = ("setpriv", "--reuid=65534", "--clear-groups", "env", "HOME=/nonexistent")
    told = machine.run(*nobody, "/opt/release/emr.pyz", "--version", check=False)
    assert told.returncode == 1
    assert told.stderr.startswith("emr: cannot unpack into /nonexistent/.cache/emr: ")
    assert "set SHIV_ROOT" in told.stderr
    machine.run("install", "-d", "-o", "65534", "/opt/nobody")
    told = machine.run(*nobody, "SHIV_ROOT=/opt/nobody", "/opt/release/emr.pyz", "--version")
    assert told.stdout.startswith("emr ")
    machine.run("rm", "-r", "/opt/nobody")


def test_install_for_the_system_and_away_again(machine: Machine) -> None:
    before = files_of(machine)
    told = machine.run(*SYSTEM).stdout
    assert "it serves at 127.0.0.1:3200" in told
    machine.script(
        f"cat >>/etc/emr/config.toml <<'END'\n{PROVIDER}\nEND\n"
        f"(umask 077; echo {PROVIDER_KEY} >/etc/emr/credentials/FAKE_API_KEY)\n"
        "systemctl restart emr\n"
    )
    emr = Installed(machine, machine.out("/usr/local/bin/emr", "keys", "create", "--name", "app"))
    assert emr.answers()
    user = machine.out("stat", "-c", "%u", f"/proc/{emr.pid()}")
    assert int(user) >= 61184, "not a dynamic user"
    # again, as an upgrade: the key and the configuration stay
    machine.run(*SYSTEM)
    assert emr.answers()
    machine.run(*SYSTEM, "--uninstall")
    assert machine.run("systemctl", "status", "emr", check=False).returncode == 4
    assert machine.run("test", "-s", "/etc/emr/credentials/admin_secret").returncode == 0
    machine.run(*SYSTEM, "--uninstall", "--purge")
    assert files_of(machine) - before == set()
    assert not (machine.root / "root" / ".cache" / "emr").exists()


def test_install_refuses_a_file_that_was_changed(machine: Machine) -> None:
    machine.script("cp -r /opt/release /opt/changed; printf x >>/opt/changed/emr.pyz")
    told = machine.run("/opt/changed/install.sh", "--system", check=False)
    assert told.returncode == 1
    assert "it was changed" in told.stderr
    assert machine.run("test", "-e", "/usr/local/bin/emr", check=False).returncode == 1
    machine.run("rm", "-r", "/opt/changed")


@pytest.fixture
def voyage(machine: Machine) -> Iterator[Machine]:
    """The package, and the provider's own name and address for the fake one."""
    install(machine)
    machine.script("printf '127.0.0.1 api.voyageai.com\\n' >>/etc/hosts")
    yield machine
    machine.script(
        "sed -i '/api.voyageai.com/d' /etc/hosts; rm -rf /etc/emr-apps; dpkg -P emr;"
        " rm -f /etc/systemd/system/app@.service /usr/local/bin/search; systemctl daemon-reload"
    )


def test_a_host_of_applications(voyage: Machine) -> None:
    voyage.script(
        "cp /usr/share/doc/emr/examples/app-host/app@.service /etc/systemd/system/\n"
        "cat >/usr/local/bin/search <<'END'\n#!/bin/sh\n"
        'python3 -c "import os, urllib.request as r; print(r.urlopen(r.Request('
        "os.environ['OPENAI_BASE_URL'] + '/test',"
        " headers={'Authorization': 'Bearer ' + os.environ['OPENAI_API_KEY']})).status)\"\n"
        "END\nchmod 755 /usr/local/bin/search\n"
        f"echo {PROVIDER_KEY} >/root/voyage.key\n"
        "/usr/share/doc/emr/examples/app-host/set-up.sh /root/voyage.key search indexer\n"
        "systemctl daemon-reload\nsystemctl start app@search\n"
    )
    assert voyage.out("stat", "-c", "%a", "/etc/emr-apps/search.env") == "600"
    keys = [
        voyage.out("sed", "-n", "s/^OPENAI_API_KEY=//p", f"/etc/emr-apps/{name}.env")
        for name in ("search", "indexer")
    ]
    assert len(set(keys)) == 2
    assert all(re.fullmatch(r"emr_[A-Za-z0-9]{32}", key) for key in keys)
    voyage.until("sh", "-c", "journalctl -u app@search -o cat | grep -qx 200")
    assert voyage.out("systemctl", "is-active", "emr.socket") == "active"
    # again: nothing is made twice
    voyage.run("/usr/share/doc/emr/examples/app-host/set-up.sh", "/root/voyage.key", "search")
    assert len(voyage.out("emr", "keys", "list").splitlines()) == 3
