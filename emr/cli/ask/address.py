"""Where a server is, as `--server` and the lock of a database say it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl

_URL = re.compile(
    r"(?:(https?)://)?"
    r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?)"
    r"(?::([0-9]{1,5}))?"
    r"((?:/[A-Za-z0-9._~%-]*)*)"
)
PORT_MAX = 65_535
_PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """A server. `host` has no brackets; `prefix` stands before every path, behind a proxy.

    With `socket`, the path of a Unix socket, the rest is what HTTP wants to be told.
    """

    scheme: str = "http"
    host: str = "localhost"
    port: int = 3200
    prefix: str = ""
    socket: str = ""

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """What every path is put behind."""
        return f"{self.scheme}://{self.authority}{self.prefix}"

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent stays on this machine."""
        return bool(self.socket) or self.host in ("localhost", "::1") or self.host[:4] == "127."

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else self.url


class Server(NamedTuple):
    """A server, and how its certificate is checked (None: it speaks no TLS)."""

    address: Address
    context: ssl.SSLContext | None = None


DEFAULT = Address()


def parse_address(text: str) -> Address:
    """The server that `text` names. Raises ValueError with the reason."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise ValueError("needs a full path after unix:, such as unix:/run/emr/emr.sock")
        return Address(port=80, socket=path)
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError(
            "must be http://host:port, https://host:port or unix:/path, without user, query or #"
        )
    scheme = match[1] or "http"
    port = int(match[3]) if match[3] else _PORTS[scheme]
    if not 0 < port <= PORT_MAX:
        raise ValueError(f"needs a port from 1 to {PORT_MAX}")
    return Address(scheme, match[2].strip("[]").lower(), port, match[4].rstrip("/"))
