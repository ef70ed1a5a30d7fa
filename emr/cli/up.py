"""`emr up`: start the container `emr` from the image `emr:latest`, and wait until it serves.

The first time it writes an admin secret to `~/.config/emr/.env`, whose variables the container
gets: add the providers' keys there. Keys and providers are kept in the volume `emr`, so that they
outlive the container. Its port is published to this host alone.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from emr.cli.ask import knock
from emr.cli.ask.address import Address
from emr.cli.docker import IMAGE, NAME, Docker
from emr.cli.output import say
from emr.cli.trouble import FAILED, USAGE, Trouble

WAIT_S = 30.0  # for the container to serve
LOOK_EVERY_S = 0.25
ASK_S = 2.0
PORT_MAX = 65_535
READ_BY_ALL = 0o004
OK = 200


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = commands.add_parser("up", help="start it in a container", description=__doc__)
    parser.add_argument("--port", type=int, default=3200, help="on this host (3200)")
    parser.add_argument(
        "--env-file", metavar="FILE", help="NAME=value lines (default ~/.config/emr/.env)"
    )
    parser.add_argument("--config", metavar="FILE", help="a config.toml for the container")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Start the container unless it runs already."""
    if not 1 <= args.port <= PORT_MAX:
        raise Trouble(f"--port must be 1 to {PORT_MAX}, not {args.port}", USAGE)
    config = None if args.config is None else readable(Path(args.config))
    docker = Docker()
    if not docker.has_image():
        raise Trouble(
            f"there is no image {IMAGE}: `docker build -t {IMAGE} .` in a checkout of emr makes it"
        )
    state = docker.state()
    if state == "running":
        say(f"The container {NAME} runs already: {published(docker)}")
        return 0
    env_file = env_file_of(args.env_file)
    if state is not None:
        docker.do("rm", NAME)
    docker.do(*arguments(args.port, env_file, config))
    address = Address(host="127.0.0.1", port=args.port)
    if not wait(docker, address):
        return FAILED
    print(f"emr is up at {address}")
    say(f"Its variables come from {env_file}: a provider's key is a line there, then")
    say("`emr down && emr up`. A key for an application: `emr keys create --name my-app`.")
    return 0


def readable(path: Path) -> Path:
    """A configuration that the container's user can read. Raises Trouble."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Trouble(f"{path} cannot be read: {error.strerror}") from error
    if not mode & READ_BY_ALL:
        raise Trouble(f"{path} cannot be read by the container's user: chmod o+r {path}")
    return path.absolute()


def env_file_of(named: str | None) -> Path:
    """The file of variables; made with a new admin secret when it is not there. Raises Trouble."""
    from emr.control.places import Places
    from emr.control.private import PrivateFileError, write_private
    from emr.control.secrets import ADMIN_VARIABLE, new_secret

    path = Path(named) if named else Places.of(os.environ).env_file
    if not path.exists():
        try:
            write_private(path, f"{ADMIN_VARIABLE}={new_secret()}\n")
        except PrivateFileError as error:
            raise Trouble(str(error)) from error
        say(f"A new admin secret is in {path}")
    return path.absolute()


def arguments(port: int, env_file: Path, config: Path | None) -> list[str]:
    """What starts the container: it writes nothing but its volume, and may do nothing else."""
    mounts = [] if config is None else ["-v", f"{config}:/app/config.toml:ro"]
    return [
        "run", "--detach", "--name", NAME, "--env-file", str(env_file),
        "--publish", f"127.0.0.1:{port}:3200", "--volume", f"{NAME}:/data", *mounts,
        "--restart", "unless-stopped", "--read-only", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", IMAGE,
    ]  # fmt: skip


def published(docker: Docker) -> str:
    """Where the running container's port is on this host."""
    asked = docker.ask("port", NAME, "3200/tcp")
    return asked.stdout.strip() or "its port is not published"


def wait(docker: Docker, address: Address) -> bool:
    """Wait until it is healthy; what keeps it from being so is told otherwise."""
    ends = time.monotonic() + WAIT_S
    why = ""
    while time.monotonic() < ends:
        try:
            answer = knock.get(address, "/health", timeout_s=ASK_S)
        except (knock.Nobody, knock.NoAnswer) as error:
            why = str(error)
        else:
            if answer.status == OK:
                return True
            why = f"it serves, but no provider can be used (`emr health --server {address}`)"
        if docker.state() not in ("running", "created", "restarting"):
            why = "the container ended"
            break
        time.sleep(LOOK_EVERY_S)
    say(f"emr: the container was started, but: {why}. Its last words:")
    for line in docker.last_words():
        say(f"  {line}")
    return False
