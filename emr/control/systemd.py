"""What a service manager and emr tell each other: readiness, watchdog, sockets handed over.

Sources: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3). Without a manager all do nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping

from emr.front.binds import BindError

FIRST_FD = 3  # SD_LISTEN_FDS_START
NOTIFY_S = 1.0  # a manager that reads nothing: the loop that serves waits no longer for it
_NO_SOCKET = (
    "it is no socket that listens for connections; see the .socket unit (ListenStream=), or unset"
    " LISTEN_FDS"
)


def is_managed(environment: Mapping[str, str]) -> bool:
    """Whether a service manager started this process."""
    return "INVOCATION_ID" in environment or "NOTIFY_SOCKET" in environment


def notify(environment: Mapping[str, str], *lines: str) -> bool:
    """Tell the manager, in one datagram; False when nobody listens, or it cannot be reached.

    Whoever feeds the watchdog must not fail because of it: nothing is raised.
    """
    path = environment.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as talk:
            talk.settimeout(NOTIFY_S)
            talk.sendto("\n".join(lines).encode(), address)
    except OSError:
        return False
    return True


def reloading() -> tuple[str, str]:
    """The lines of a reload that begins; both in one datagram, as newer managers demand."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"


def watchdog_s(environment: Mapping[str, str]) -> float | None:
    """How often to say WATCHDOG=1: half of the manager's patience; None when it has no watchdog."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not (microseconds.isascii() and microseconds.isdecimal()) or int(microseconds) == 0:
        return None
    meant = environment.get("WATCHDOG_PID")
    if meant is not None and meant != str(os.getpid()):
        return None
    return int(microseconds) / 2e6


def inherited_sockets(environment: Mapping[str, str]) -> list[socket.socket]:
    """The listening sockets that the manager opened for this process.

    Raises BindError for a descriptor that is no such socket.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environment.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdecimal()):
        return []
    return [_inherited(fd) for fd in range(FIRST_FD, FIRST_FD + int(count))]


def places_of(sockets: Iterable[socket.socket]) -> tuple[str, ...]:
    """Where sockets that were handed over listen, in the words of `server.bind`."""
    return tuple(_place_of(sock) for sock in sockets)


def _place_of(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        # one without a file has a name in bytes, after a NUL
        return f"unix:{name}" if isinstance(name, str) else f"unix:/@{name[1:].hex()}"
    host, port = name[:2]
    return f"[{host}]:{port}" if sock.family == socket.AF_INET6 else f"{host}:{port}"


def _inherited(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return sock
        sock.detach()
    except OSError as error:
        raise BindError(f"the inherited descriptor {fd}", _NO_SOCKET) from error
    raise BindError(f"the inherited descriptor {fd}", _NO_SOCKET)
