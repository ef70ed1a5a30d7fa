"""Where the server listens: the text of a bind, and the sockets that it stands for."""

from __future__ import annotations

import errno
import os
import socket
import stat
from dataclasses import dataclass
from ipaddress import ip_address

BACKLOG = 4096  # connections that the system holds while the loop is busy; it lowers this itself

_WORDS = {
    errno.EADDRINUSE: "it is in use by another program; stop that one, or set another server.bind",
    errno.EADDRNOTAVAIL: "this host has no such address; see `ip address` for those it has",
    errno.EAFNOSUPPORT: "this host does not speak IPv6",
    errno.EAGAIN: "it is in use by another program, which is busy; stop that one first",
    errno.EACCES: "this user may not; ports below 1024 and others' directories need a privilege",
    errno.ENOENT: "its directory does not exist; make it first",
}


class BindError(Exception):
    """An address that cannot be listened on: which, why, and what to do."""

    def __init__(self, bind: str, reason: str) -> None:
        super().__init__(f"cannot listen on {bind}: {reason}")


@dataclass(frozen=True, slots=True)
class Bind:
    """An address to listen on: a host and a port, or the path of a Unix socket."""

    text: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_local(self) -> bool:
        """Whether only programs of this host can reach it."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_bind(text: str) -> Bind:
    """Read `host:port`, `[ipv6]:port` or `unix:/path`. Raises BindError."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise BindError(text, "the path of a Unix socket begins with /")
        return Bind(text, path=path)
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise BindError(text, "an IPv6 address is written in brackets, [::1]:3200")
    if not colon or not host or not (port.isascii() and port.isdigit()):
        raise BindError(text, "an address is host:port or unix:/path, as in 127.0.0.1:3200")
    if int(port) > 0xFFFF:
        raise BindError(text, "a port is at most 65535")
    return Bind(text, host=host, port=int(port))


def open_sockets(bind: Bind, socket_mode: int) -> list[socket.socket]:
    """Listening sockets for `bind`; a name with several addresses has several. Raises BindError."""
    if bind.path:
        return [_open_unix(bind, socket_mode)]
    try:
        found = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise BindError(bind.text, "its host name is not known; an address is safer") from None
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            sockets.append(_open_tcp(family, address))
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for sock in sockets:
                    sock.close()
                raise BindError(bind.text, _reason(error)) from None
            missing = error  # `localhost` has a ::1 on hosts without IPv6 too
    if missing is not None and not sockets:
        raise BindError(bind.text, _reason(missing))
    return sockets


def name_of(sock: socket.socket) -> str:
    """The address that a socket listens on, as a bind is written."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(name)}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{host}:{name[1]}"


def _open_tcp(family: int, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _open_unix(bind: Bind, mode: int) -> socket.socket:
    _remove_stale(bind)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o777 & ~mode)  # nobody may come in between bind and chmod
    try:
        sock.bind(bind.path)
        os.chmod(bind.path, mode)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise BindError(bind.text, _reason(error)) from None
    finally:
        os.umask(umask)
    return sock


def _remove_stale(bind: Bind) -> None:
    """Remove a socket file that nobody listens on: its server was killed."""
    try:
        if not stat.S_ISSOCK(os.lstat(bind.path).st_mode):
            raise BindError(bind.text, "a file is there that is no socket; move it away")
    except FileNotFoundError:
        return
    except OSError as error:
        raise BindError(bind.text, _reason(error)) from None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog would block, and tells of a listener
        try:
            probe.connect(bind.path)
        except ConnectionRefusedError:
            os.unlink(bind.path)
        except OSError as error:
            raise BindError(bind.text, _reason(error)) from None
        else:
            raise BindError(bind.text, _WORDS[errno.EADDRINUSE])


def _reason(error: OSError) -> str:
    if error.errno in _WORDS:
        return _WORDS[error.errno]
    return error.strerror or str(error)
