"""The examples hold: they parse, their configurations are valid, what they name is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from emr.cli.command import parser
from emr.control.config import load
from emr.control.endpoints import row_rules
from emr.control.settings import Settings

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
COMPOSE = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
SIDECAR = list(yaml.safe_load_all((EXAMPLES / "kubernetes" / "sidecar.yaml").read_text()))
DOCKERFILE = (ROOT / "Dockerfile").read_text()
NGINX = (EXAMPLES / "nginx" / "emr.conf").read_text()


def of_kind(kind: str) -> Any:
    """The one manifest of a kind."""
    (found,) = [each for each in SIDECAR if each["kind"] == kind]
    return found


def configurations() -> Iterator[tuple[str, str]]:
    """Every configuration file that an example has inside, or is."""
    yield "compose", COMPOSE["configs"]["emr"]["content"]
    yield "kubernetes", of_kind("ConfigMap")["data"]["config.toml"]
    yield "package", (ROOT / "packaging/package/config.toml").read_text()
    script = (EXAMPLES / "app-host" / "set-up.sh").read_text()
    yield "app-host", script.partition("<<'END'\n")[2].partition("\nEND\n")[0]
    allowed = re.search(r"#   \[server\]\n#   (allowed_hosts = .+)", NGINX)
    assert allowed is not None
    yield "nginx", f"[server]\n{allowed[1]}\n"


@pytest.mark.parametrize(("name", "text"), list(configurations()))
def test_configurations_are_valid(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    loaded = load(file, {}, row_rules())
    assert loaded.warnings == ()
    if name != "package":
        assert loaded.settings != Settings()


def commands() -> Iterator[list[str]]:
    """What the examples and the image run: words after `emr`."""
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    (emr,) = pod["initContainers"]
    for probe in ("startupProbe", "livenessProbe"):
        yield emr[probe]["exec"]["command"]
    (check,) = re.findall(r"^HEALTHCHECK .* CMD \[(.*)\]$", DOCKERFILE, re.MULTILINE)
    yield [word.strip('"') for word in check.split(", ")]
    for file in (
        *EXAMPLES.rglob("*"),
        ROOT / "systemd/emr.service",
        ROOT / "systemd/override.conf",
    ):
        if file.is_file():
            for found in re.finditer(
                r"\bemr ((?:keys|config) \w+(?: --name [\w$\"]+)?)", file.read_text()
            ):
                yield ["emr", *found[1].replace('"', "").split()]


def test_commands_are_those_of_emr() -> None:
    told = list(commands())
    assert len(told) > 6
    for program, *arguments in told:
        assert program == "emr"
        parser().parse_args(arguments)


def test_the_containers_may_do_nothing_that_emr_does_not_need() -> None:
    service = COMPOSE["services"]["emr"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["ports"] == ["127.0.0.1:3200:3200"]
    (volume,) = re.findall(r"^VOLUME (\S+)$", DOCKERFILE, re.MULTILINE)
    assert f"emr:{volume}" in service["volumes"]
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    (user,) = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)
    assert pod["securityContext"]["runAsUser"] == int(user)
    (emr,) = pod["initContainers"]
    assert emr["restartPolicy"] == "Always"
    assert emr["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["mountPath"] for mount in emr["volumeMounts"]} == {volume, "/app"}
    assert re.findall(r"^WORKDIR (/app)$", DOCKERFILE, re.MULTILINE) == ["/app"]


def test_time_to_drain_is_left_by_whoever_ends_it() -> None:
    drain_s = Settings().server.drain_ms / 1000
    assert float(COMPOSE["services"]["emr"]["stop_grace_period"].rstrip("s")) > drain_s
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > drain_s
    for unit in ("emr.service", "emr.user.service"):
        (told,) = re.findall(
            r"^TimeoutStopSec=(\d+)$", (ROOT / "systemd" / unit).read_text(), re.MULTILINE
        )
        assert int(told) > drain_s


def test_nginx_goes_by_the_limits_of_emr() -> None:
    server = Settings().server
    size = re.search(r"client_max_body_size (\d+)m;", NGINX)
    kept = re.search(r"keepalive_timeout (\d+)s;", NGINX)
    read = re.search(r"proxy_read_timeout (\d+)s;", NGINX)
    assert size is not None
    assert kept is not None
    assert read is not None
    assert int(size[1]) << 20 == server.max_body_bytes
    assert int(kept[1]) * 1000 < server.keepalive_ms
    assert int(read[1]) * 1000 > server.bulk_deadline_ms
