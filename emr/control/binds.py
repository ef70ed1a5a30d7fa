"""Where emr listens: `host:port`, `[::1]:port` or `unix:/path`, and which Host names that means."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from emr.control.values import Distinct

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
SOCKET_PATH_MAX = 107  # bytes: sun_path of Linux has 108 with its closing NUL
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})")
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,252})")


@dataclass(frozen=True, slots=True)
class Bind:
    """One place to listen: a host and a port, or the path of a Unix socket.

    Port 0 lets the system choose. `host` has no brackets.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.path or self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_bind(text: str) -> Bind:
    """The place that `text` names. Raises ValueError with the reason."""
    if text.startswith("unix:"):
        return _parse_socket(text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    if not colon or host.endswith(":") or (":" in host and not host.startswith("[")):
        raise ValueError("needs a host and a port, such as 127.0.0.1:3200 or [::1]:3200")
    if not host:
        raise ValueError("needs a host before the port; 0.0.0.0 is every IPv4 address")
    if re.fullmatch(r"[0-9]{1,5}", port) is None or int(port) > 65535:
        raise ValueError("needs a port from 0 to 65535 after the last colon")
    if host.startswith("["):
        return Bind(_parse_ipv6(host), int(port))
    if _HOST.fullmatch(host) is None:
        raise ValueError("has a host that is neither a name nor an address")
    return Bind(host, int(port))


def _parse_socket(path: str) -> Bind:
    if not path.startswith("/"):
        raise ValueError("needs a full path after unix:, such as unix:/run/emr/emr.sock")
    if len(path.encode()) > SOCKET_PATH_MAX:
        raise ValueError(f"has a socket path over {SOCKET_PATH_MAX} bytes, the system's limit")
    return Bind(path=path)


def _parse_ipv6(host: str) -> str:
    try:
        return str(ipaddress.IPv6Address(_bare(host)))
    except ValueError:
        raise ValueError("has an IPv6 address that cannot be read") from None


def _bare(address: str) -> str:
    """An address without its brackets, if it has both."""
    return address[1:-1] if address.startswith("[") and address.endswith("]") else address


class BindForm:
    """A setting that is one bind."""

    def take(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be {self.describe()}")
        text = value.strip()
        try:
            return str(parse_bind(text))
        except ValueError as error:
            raise ValueError(f"{json.dumps(text, ensure_ascii=False)} {error}") from None

    def parse(self, text: str) -> str:
        return self.take(text)

    def literal(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    def plain(self, value: Any) -> Any:
        return value

    def describe(self) -> str:
        return "host:port or unix:/path"


class Binds(Distinct):
    """A list of binds; one alone is written without brackets, as most have it."""

    def __init__(self) -> None:
        super().__init__(BindForm(), least=1)

    def literal(self, value: Any) -> str:
        return self.item.literal(value[0]) if len(value) == 1 else super().literal(value)

    def plain(self, value: Any) -> Any:
        return value[0] if len(value) == 1 else super().plain(value)


class HostForm:
    """A setting that is one name a Host header may have; `*` is any."""

    def take(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be {self.describe()}")
        name = value.strip().lower()
        if name == "*" or _NAME.fullmatch(name) is not None:
            return name
        try:
            return f"[{ipaddress.IPv6Address(_bare(name))}]"
        except ValueError:
            raise ValueError(f"must be {self.describe()}") from None

    def parse(self, text: str) -> str:
        return self.take(text)

    def literal(self, value: Any) -> str:
        return json.dumps(value)

    def plain(self, value: Any) -> Any:
        return value

    def describe(self) -> str:
        return 'a host name or address without a port, or "*" for any'


def host_names(binds: Iterable[Bind], allowed: tuple[str, ...] | None) -> frozenset[str] | None:
    """The Host names that are answered, lower case and without a port; None for any.

    The names of loopback always are: a page in a browser that reaches this router by DNS
    rebinding sends its own name, never one of them. So is the address of a bind, but for 0.0.0.0
    and ::, which pages use to reach what listens everywhere. An IPv6 address is there with its
    brackets and without them.
    """
    if allowed is None:
        if not all(bind.is_loopback for bind in binds):
            return None
        allowed = ()
    if "*" in allowed:
        return None
    names = set(LOOPBACK_NAMES) | set(allowed)
    names |= {bind.host.lower() for bind in binds} - {"", "0.0.0.0", "::"}
    names |= {f"[{name}]" for name in names if ":" in name and not name.startswith("[")}
    names |= {name.strip("[]") for name in names}
    return frozenset(names)
