"""The request line and the Host of a request: their grammar, and which hosts are answered.

Rules of this file. Everything is judged from left to right, so that a line that comes byte by
byte gets the same verdict as one that comes whole, and gets it with the first byte that no good
line can have there: a TLS greeting on a plain port is refused at once and not after ten seconds.

What RFC 9112 calls a request line is read here and not from the parser's callbacks, because
llhttp also takes `RTSP/1.0`, `ICE/1.0`, `HTTP/2.0`, a missing version and doubled spaces, and
tells of none of them.

Refused: RFC 9112's leave to take white space around the line for the spaces in it. Two parsers
that are lenient in different ways are how one request becomes two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import unquote_to_bytes

from emr.front.faults import bad_request

# What routes may be asked with (they answer 405 themselves); anything else is 501. CONNECT, PRI
# and SOURCE are known to llhttp and belong to proxies, HTTP/2 and Icecast.
METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"})

METHOD_BYTES_MAX = 32  # no registered method is longer than 17 (UPDATEREDIRECTREF)
KEPT = 256  # verdicts: few routes and hosts, and each client asks the same again and again
KEPT_BYTES = 256  # a longer text is not worth keeping: what is kept is then 64 KiB at most

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*")
_VISIBLE = re.compile(rb"[\x21-\x7e]*")
_LINE = re.compile(rb"([A-Z]+) ([\x21-\x7e]+) HTTP/1\.([01])\r\n")
_OTHER_VERSION = re.compile(rb" HTTP/[0-9]\.[0-9]\r\n\Z")
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")

_PCHAR = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f][0-9A-Fa-f])"
_PATH_QUERY = re.compile(rb"(/%b*)(?:\?((?:%b|\?)*))?" % (_PCHAR, _PCHAR))
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([/?].*)?", re.IGNORECASE)
_NAME = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f][0-9A-Fa-f])"
_AUTHORITY = re.compile(rb"(?:(%b*)|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]*))?" % _NAME)


@dataclass(slots=True)
class Line:
    """A request line. `path` is percent-decoded, `query` raw; `minor` is of HTTP/1.x.

    `authority` is the host of an absolute target (`http://host/path`), else None. Lines are
    shared between requests: nobody writes to one.
    """

    method: str
    path: str
    query: str
    minor: int
    authority: bytes | None


class Lines:
    """Reads request lines. `kept` holds what it made of the last few hundred different ones."""

    __slots__ = ("_target_bytes_max", "kept")

    def __init__(self, target_bytes_max: int) -> None:
        self._target_bytes_max = target_bytes_max
        self.kept: dict[bytes, Line] = {}

    def check_part(self, part: bytes) -> None:
        """Raises Refused when no good line can begin with `part` (a last CR is its line's end)."""
        method_bytes = _end(_TOKEN, part, 0)
        if method_bytes > METHOD_BYTES_MAX:
            raise bad_request("unknown method", 501)
        if method_bytes == len(part):
            return
        if method_bytes == 0 or part[method_bytes] != 0x20:
            raise bad_request("malformed request line: it does not begin with a method")
        if part[:method_bytes] not in METHODS:
            raise bad_request("unknown method", 501)
        start = method_bytes + 1
        end = _end(_VISIBLE, part, start)
        if end - start > self._target_bytes_max:
            raise bad_request(f"the target is over {self._target_bytes_max} bytes", 414)
        if end == len(part):
            return
        if end == start or part[end] != 0x20:
            raise bad_request("malformed request line: a space or a byte that no target has")
        version = part[end + 1 :].translate(_DIGITS_TO_ZERO)
        if not b"HTTP/0.0\r".startswith(version):
            raise bad_request("malformed request line: no HTTP version at its end")

    def read(self, text: bytes) -> Line:
        """The line of `text`, which ends in LF. Raises Refused: 400, 414, 501, 505."""
        line = self.kept.get(text)
        if line is not None:
            return line
        self.check_part(text[:-1])
        match = _LINE.fullmatch(text)
        if match is None:
            if _OTHER_VERSION.search(text):
                raise bad_request("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
            raise bad_request("malformed request line: it is cut short, or ends in LF without CR")
        line = _read_target(match[1], match[2], int(match[3]))
        if len(text) <= KEPT_BYTES:
            if len(self.kept) >= KEPT:
                self.kept.clear()
            self.kept[text] = line
        return line


def _end(pattern: re.Pattern[bytes], text: bytes, start: int) -> int:
    """Where the run that `pattern` matches from `start` ends; the patterns match always."""
    match = pattern.match(text, start)
    return start if match is None else match.end()


def _read_target(method: bytes, target: bytes, minor: int) -> Line:
    authority = None
    if target == b"*":
        if method != b"OPTIONS":
            raise bad_request("malformed target: * is for OPTIONS alone")
        return Line("OPTIONS", "*", "", minor, None)
    if target[0] != 0x2F:
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise bad_request("malformed target: neither a path nor an http URL")
        authority, target = absolute[1], absolute[2] or b"/"
        if target[0] == 0x3F:
            target = b"/" + target
    match = _PATH_QUERY.fullmatch(target)
    if match is None:
        raise bad_request("malformed target: a byte that must be percent-encoded, or a bad %")
    if b"%00" in target:
        raise bad_request("malformed target: it holds a NUL")
    path, query = match[1], match[2] or b""
    try:
        decoded = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise bad_request("malformed target: its path is not UTF-8") from None
    return Line(method.decode(), decoded, query.decode(), minor, authority)


class HostVerdict(Enum):
    """What a Host is worth."""

    ALLOWED = "allowed"
    MALFORMED = "malformed"  # 400
    FOREIGN = "foreign"  # well-formed, but not a name of this server: 421


class HostGuard:
    """Judges Host values: RFC 3986's grammar for all, and the allowed names where there are any.

    A page in a browser reaches a router on loopback through a name of its own that resolves to
    127.0.0.1 (DNS rebinding); its Host still tells. Ports are read and not compared: a published
    port of a container differs from the one bound. `kept` holds the verdicts of the last few
    hundred different values.
    """

    __slots__ = ("_names", "kept")

    def __init__(self, names: frozenset[str] | None) -> None:
        self.allow(names)

    def allow(self, names: frozenset[str] | None) -> None:
        """Answer these names from now on (no ports; IPv6 with or without brackets); None: any."""
        self._names = None if names is None else frozenset(_plain(name) for name in names)
        self.kept: dict[bytes, HostVerdict] = {}

    def judge(self, value: bytes) -> HostVerdict:
        """The verdict on a Host value, or on the authority of an absolute target."""
        verdict = self.kept.get(value)
        if verdict is None:
            verdict = self._judge(value)
            if len(value) <= KEPT_BYTES:
                if len(self.kept) >= KEPT:
                    self.kept.clear()
                self.kept[value] = verdict
        return verdict

    def _judge(self, value: bytes) -> HostVerdict:
        match = _AUTHORITY.fullmatch(value)
        if match is None or (match[3] and int(match[3][:6]) > 0xFFFF):
            return HostVerdict.MALFORMED
        if match[2] is not None:
            try:
                name = IPv6Address(match[2].decode()).compressed
            except AddressValueError:
                return HostVerdict.MALFORMED
        elif match[1]:
            name = match[1].decode().lower()
        else:
            return HostVerdict.MALFORMED
        if self._names is None or name in self._names:
            return HostVerdict.ALLOWED
        return HostVerdict.FOREIGN


class AnyHost(HostGuard):
    """The guard of Unix sockets: a browser cannot reach one, and clients send what they like."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(None)

    def _judge(self, value: bytes) -> HostVerdict:
        if value == b"":
            return HostVerdict.ALLOWED
        return super()._judge(value)


def _plain(name: str) -> str:
    name = name.lower().removeprefix("[").removesuffix("]")
    try:
        return IPv6Address(name).compressed
    except AddressValueError:
        return name
