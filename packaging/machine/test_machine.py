"""The .deb on a machine of its own, as its administrator has it: from apt install to purge.

One machine is booted for all tests; each begins with a package that is freshly installed and
leaves nothing behind. The provider is `emr fake`, run from a copy of the package that no upgrade
touches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from conftest import PROVIDER, PROVIDER_KEY, Installed, files_of, install
from nspawn import Machine

EXPOSURE_MAX = 1.5
DOWN_MAX_MS = 5000  # the longest that a caller waits over a restart through the socket


@pytest.fixture
def purged(machine: Machine) -> Iterator[Machine]:
    """The machine without emr before and after; what emr logged is shown of a test that fails."""
    since = machine.cursor()
    yield machine
    print(machine.log_of("emr", since))
    machine.run("dpkg", "-P", "emr")


def set_up(machine: Machine) -> Installed:
    """A provider in the configuration, its key among the credentials, the service started."""
    machine.script(
        f"cat >>/etc/emr/config.toml <<'END'\n{PROVIDER}\nEND\n"
        f"(umask 077; echo {PROVIDER_KEY} >/etc/emr/credentials/FAKE_API_KEY)\n"
        "systemctl start emr\n"
    )
    return Installed(machine, machine.out("emr", "keys", "create", "--name", "app"))


@pytest.fixture
def emr(purged: Machine) -> Installed:
    """emr installed, set up and running."""
    install(purged)
    return set_up(purged)


def test_a_key_at_once_and_requests_served_with_every_hardening(purged: Machine) -> None:
    install(purged)
    assert purged.show("emr", "ActiveState") == "inactive"
    assert purged.run("systemctl", "start", "emr").stderr == ""
    key = purged.out("emr", "keys", "create", "--name", "app")
    assert re.fullmatch(r"emr_[A-Za-z0-9]{32}", key)
    purged.script(
        f"(umask 077; echo {PROVIDER_KEY} >/etc/emr/credentials/FAKE_API_KEY)\n"
        "emr providers add --name fake --type voyage --api-key-env FAKE_API_KEY"
        " --endpoint http://127.0.0.1:3300/v1/embeddings\n"
        "systemctl restart emr\n"
    )
    emr = Installed(purged, key)
    assert emr.answers()
    user = purged.out("stat", "-c", "%u %U", f"/proc/{emr.pid()}")
    assert int(user.split()[0]) >= 61184, "not a dynamic user"
    assert purged.show("emr", "StatusText").startswith("serving at")
    assert purged.out("stat", "-L", "-c", "%a", "/var/lib/emr/emr.db") == "600"


def test_the_units_verify_and_expose_little(emr: Installed) -> None:
    units = ("emr.service", "emr.socket")
    verified = emr.machine.run("systemd-analyze", "verify", "--man=no", *units)
    assert (verified.stdout, verified.stderr) == ("", "")
    told = emr.machine.out("systemd-analyze", "security", "--no-pager", "emr.service")
    found = re.search(r"Overall exposure level.*?(\d+\.\d+)", told)
    assert found is not None
    print(found[0])
    assert float(found[1]) <= EXPOSURE_MAX


def test_a_loop_that_hangs_is_killed_and_started_again(emr: Installed) -> None:
    """SIGUSR1 stops this emr's loop for good: only the manager can help."""
    emr.machine.script(
        "cat >/usr/local/bin/emr-that-hangs <<'END'\n"
        "#!/usr/bin/python3 -I\n"
        "import signal, sys, time\n"
        "sys.path.insert(0, '/usr/lib/emr')\n"
        "signal.signal(signal.SIGUSR1, lambda *_: time.sleep(3600))\n"
        "from emr.cli import main\n"
        "sys.exit(main())\n"
        "END\n"
        "chmod +x /usr/local/bin/emr-that-hangs\n"
        "mkdir -p /etc/systemd/system/emr.service.d\n"
        "printf '[Service]\\nWatchdogSec=2\\nExecStart=\\n"
        "ExecStart=/usr/local/bin/emr-that-hangs serve\\n'"
        " >/etc/systemd/system/emr.service.d/hang.conf\n"
        "systemctl daemon-reload\nsystemctl restart emr\n"
    )
    assert emr.answers()
    before = emr.pid()
    emr.machine.run("systemctl", "kill", "--kill-whom=main", "--signal=USR1", "emr")
    emr.machine.until("sh", "-c", '[ "$(systemctl show -P NRestarts emr)" = 1 ]')
    emr.machine.until("systemctl", "is-active", "emr")
    assert emr.pid() not in (before, "0")
    assert emr.answers()
    assert "Watchdog timeout" in emr.machine.log_of("emr")
    emr.machine.run("rm", "/usr/local/bin/emr-that-hangs")


def test_a_reload_is_of_a_good_file_only(emr: Installed) -> None:
    before, file = emr.pid(), "/etc/emr/config.toml"
    emr.machine.script(f"cp {file} /root/good.toml; echo 'log.level = loud' >{file}")
    refused = emr.machine.run("systemctl", "reload", "emr", check=False)
    assert refused.returncode != 0
    assert f"{file}:1" in emr.machine.log_of("emr")
    assert (emr.pid(), emr.machine.show("emr", "ActiveState")) == (before, "active")
    assert emr.answers()
    # past the validation, as with `kill -HUP`: refused by the process too
    since = emr.machine.cursor()
    emr.machine.run("systemctl", "kill", "--signal=HUP", "emr")
    emr.machine.until("sh", "-c", "journalctl -u emr | grep -q 'configuration was not reloaded'")
    assert emr.answers()
    assert f"{file}:1" in emr.machine.log_of("emr", since)
    emr.machine.script(
        f"cp /root/good.toml {file}\n"
        f"sed 's/name = \"fake\"/name = \"second\"/' <<'END' >>{file}\n{PROVIDER}\nEND\n"
    )
    emr.machine.run("systemctl", "reload", "emr")
    emr.machine.until("sh", "-c", "emr providers list | grep -q second")
    assert emr.pid() == before
    assert emr.answers()


def test_a_credential_that_is_missing_is_explained(emr: Installed) -> None:
    machine = emr.machine
    machine.script("mv /etc/emr/credentials /root/credentials")
    assert machine.run("systemctl", "restart", "emr", check=False).returncode != 0
    assert machine.show("emr", "ExecMainStatus") in ("0", "243")
    told = machine.run("emr", "doctor", check=False)
    assert told.returncode == 1
    assert "/etc/emr/credentials is not" in told.stdout
    assert "243/CREDENTIALS" in told.stdout
    assert "install -d -m 700 /etc/emr/credentials" in told.stdout
    # the folder is there, a provider's key is not
    machine.script(
        "mv /root/credentials /etc/emr/credentials; rm /etc/emr/credentials/FAKE_API_KEY"
    )
    machine.run("systemctl", "reset-failed", "emr")
    since = machine.cursor()
    machine.run("systemctl", "start", "emr")
    assert "FAKE_API_KEY is not set" in machine.log_of("emr", since)
    # nor is the admin secret
    machine.script("rm /etc/emr/credentials/admin_secret; systemctl restart emr")
    told = machine.run("emr", "keys", "list", check=False)
    assert told.returncode == 1
    assert "no admin secret" in told.stderr
    assert "has no admin_secret" in machine.run("emr", "doctor", check=False).stdout


def test_a_restart_through_the_socket_fails_nobody(emr: Installed) -> None:
    emr.machine.script(
        "systemctl disable --now emr\nsystemctl enable --now emr.socket\n"
        '[ "$(systemctl is-active emr)" = inactive ]\n'
    )
    assert emr.answers(), "the first request starts the service"
    with emr.called_by_many() as counts:
        before = emr.pid()
        for _ in range(3):
            emr.machine.run("systemctl", "restart", "emr")
        assert emr.pid() != before
    assert counts["errors"] == 0, counts
    assert int(str(counts["longest_ms"])) < DOWN_MAX_MS, counts
    assert emr.machine.show("emr", "NRestarts") == "0"
    assert "broken off" not in emr.machine.log_of("emr")


def test_without_the_socket_no_accepted_request_is_lost(emr: Installed) -> None:
    with emr.called_by_many("retry") as counts:
        for _ in range(3):
            emr.machine.run("systemctl", "restart", "emr")
    assert counts["errors"] == 0, counts


def test_an_asked_drain_ends_the_service_well(emr: Installed) -> None:
    """`POST /admin/drain`: what was taken is answered, and the manager starts nothing again."""
    with emr.called_by_many("retry") as counts:
        emr.machine.script(
            "python3 - <<'END'\nimport urllib.request\n"
            "secret = open('/etc/emr/credentials/admin_secret').read().strip()\n"
            "urllib.request.urlopen(urllib.request.Request("
            "'http://127.0.0.1:3200/admin/drain', b'', {'Authorization': 'Bearer ' + secret}))\n"
            "END\n"
        )
        emr.machine.until("sh", "-c", '[ "$(systemctl is-active emr)" = inactive ]')
        assert emr.machine.show("emr", "Result") == "success"
        emr.machine.run("systemctl", "start", "emr")
    assert counts["errors"] == 0, counts


def test_upgrade_and_rollback_keep_keys_and_providers(purged: Machine) -> None:
    install(purged, "emr_0.0.9_amd64.deb")
    emr = set_up(purged)
    emr.machine.script("echo '# of the administrator' >>/etc/emr/config.toml")
    assert emr.machine.out("emr", "--version") == "emr 0.0.9"
    with emr.called_by_many("retry") as counts:
        install(purged)
        assert purged.out("emr", "--version") == "emr 0.1.0"
    assert counts["errors"] == 0, counts
    assert emr.answers()
    assert "of the administrator" in purged.out("cat", "/etc/emr/config.toml")
    # a version that changes the tables: a backup is made beside the database
    install(purged, "emr_0.2.0_amd64.deb")
    assert emr.answers()
    assert "a table of the next version is made" in emr.machine.log_of("emr")
    backup = purged.out("sh", "-c", "ls /var/lib/emr/emr.db.v*.bak")
    # back: the older one refuses, and says what to do
    install(purged)
    purged.until("sh", "-c", "journalctl -u emr | grep -q 'written by a later emr'")
    assert "restore the backup" in purged.log_of("emr")
    purged.script(
        "systemctl stop emr\ncd /var/lib/emr\nrm -f emr.db-wal emr.db-shm\n"
        f"cp -p {backup} emr.db\nsystemctl start emr\n"
    )
    assert purged.out("emr", "--version") == "emr 0.1.0"
    assert emr.answers()


def test_purge_leaves_nothing(purged: Machine) -> None:
    before = files_of(purged)
    install(purged)
    emr = set_up(purged)
    purged.script(
        "systemctl enable emr emr.socket\nmkdir -p /etc/systemd/system/emr.service.d\n"
        "cp /usr/share/doc/emr/examples/override.conf /etc/systemd/system/emr.service.d/\n"
    )
    assert emr.answers()
    purged.run("apt-get", "remove", "-y", "emr")
    assert purged.out("sh", "-c", "ls /var/lib/private/emr/emr.db /etc/emr/config.toml")
    assert not purged.root.joinpath("usr/lib/emr").exists()
    purged.run("apt-get", "purge", "-y", "emr")
    assert files_of(purged) - before == set()
    for place in ("/var/cache/private/emr", "/var/cache/emr", "/var/log/private/emr"):
        assert purged.run("test", "-e", place, check=False).returncode != 0
    assert purged.run("systemctl", "status", "emr", check=False).returncode == 4, "unit not found"
