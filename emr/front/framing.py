"""What the fields of a head say about its message: how long it is, for whom, and what comes after.

The framing of RFC 9112 section 6 without its leniencies: one length in digits, or `chunked` alone
and only in HTTP/1.1. llhttp judges lengths and codings too, on its own, and both must agree.
"""

from __future__ import annotations

from emr.front.faults import bad_request
from emr.front.target import HostGuard, HostVerdict, Line

LENGTH_DIGITS_MAX = 20  # of 2**64; more can only be zeros, or too much
CHUNKED = -1  # in place of a length

_ALLOWED = HostVerdict.ALLOWED

Fields = dict[bytes, bytes]


def body_length(headers: Fields, minor: int) -> int:
    """The bytes of the body, or CHUNKED. Raises Refused: 400, 501."""
    length = headers.get(b"content-length")
    if b"transfer-encoding" in headers:
        _check_coding(headers[b"transfer-encoding"].lower(), minor)
        if length is not None:
            raise bad_request("both Content-Length and Transfer-Encoding")
        return CHUNKED
    if length is None:
        return 0
    if not length.isdigit() or len(length) > LENGTH_DIGITS_MAX:
        raise bad_request("Content-Length is not one number")
    return int(length)


def _check_coding(codings: bytes, minor: int) -> None:
    if not minor:
        raise bad_request("Transfer-Encoding in HTTP/1.0")
    if codings == b"chunked":
        return
    named = [coding.strip() for coding in codings.split(b",")]
    if b"" in named or named[-1] != b"chunked" or named.count(b"chunked") > 1:
        raise bad_request("Transfer-Encoding does not end in chunked, once")
    raise bad_request("the only Transfer-Encoding that is understood is chunked", 501)


def check_host(line: Line, headers: Fields, hosts: HostGuard) -> None:
    """The Host, and the authority of an absolute target, which goes first. Raises Refused: 400
    (missing in HTTP/1.1, or malformed), 421 (none of ours).
    """
    host = headers.get(b"host")
    if host is not None:
        if hosts.kept.get(host) is not _ALLOWED:
            _check_name(host, hosts)
    elif line.minor:
        raise bad_request("no Host header")
    if line.authority is not None:
        _check_name(line.authority, hosts)


def _check_name(name: bytes, hosts: HostGuard) -> None:
    verdict = hosts.judge(name)
    if verdict is HostVerdict.MALFORMED:
        raise bad_request("malformed Host, or more than one")
    if verdict is HostVerdict.FOREIGN:
        raise bad_request("this Host is not served here (server.allowed_hosts)", 421)


def keeps_alive(headers: Fields, minor: int) -> bool:
    """From the list of Connection's tokens: `close` goes first, 1.0 must ask to be kept."""
    connection = headers.get(b"connection")
    if connection is None:
        return minor == 1
    tokens = {token.strip() for token in connection.lower().split(b",")}
    return b"close" not in tokens and (minor == 1 or b"keep-alive" in tokens)


def expects_continue(headers: Fields, minor: int) -> bool:
    """Whether the client waits to be asked for the body; HTTP/1.0 has no such thing. Raises
    Refused: 417.
    """
    expect = headers.get(b"expect")
    if expect is None or not minor:
        return False
    if expect.lower() != b"100-continue":
        raise bad_request("the only Expect that is understood is 100-continue", 417)
    return True
