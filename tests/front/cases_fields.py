"""Raw cases of the header lines: Host, names, values, folds and line ends."""

from __future__ import annotations

from tests.front.cases import Case, fields, last, refused, served

TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"


def host(value: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"


GOOD_HOSTS = (
    b"a", b"a:80", b"a:", b"A.b-c", b"127.0.0.1", b"127.0.0.1:3200", b"[::1]", b"[::1]:3200",
    b"a_b", b"xn--a", b"%41", b"a,b", b"1.2.3.4:65535", b"localhost.", b"a:0",
    b"[::ffff:1.2.3.4]", b"a ", b" a", b"\ta\t", b"2130706433", b"0x7f.1", b"a!$&'()*+,;=",
)  # fmt: skip

BAD_HOSTS = (
    b"", b" ", b"a b", b"a/b", b"a:b", b"a:65536", b"a:-1", b"a:+1", b"a:80:80", b"a:8 0", b"[::1",
    b"::1", b"[]", b"[g::1]", b"[::1]x", b"[::1]]", b"[v1.x]", b"[::1%25lo]", b"a@b", b"u:p@a",
    b"a#", b"a?", b"a\\b", b"http://a", b"a%", b"a%2", b"a%gg", b"a, b", b"a,\tb", b"\xc3\xa9",
    b"a\x80", b'"a"', b"<a>", b"a|b", b"a^b", b"a`b", b"{a}", b":80", b":", b"[1.2.3.4]", b"[:::]",
    b"a:999999999999999999999",
)  # fmt: skip

HOST_CASES: list[Case] = [
    *(served(f"host-{value!r}", host(value)) for value in GOOD_HOSTS),
    *(refused(f"host-bad-{value!r}", host(value)) for value in BAD_HOSTS),
    refused("host-missing", b"GET / HTTP/1.1\r\n\r\n"),
    refused("host-missing-among-others", b"GET / HTTP/1.1\r\nA: b\r\n\r\n"),
    refused("host-missing-absolute", b"GET http://a/ HTTP/1.1\r\n\r\n"),
    refused("host-twice", fields(b"Host: a")),
    refused("host-twice-different", fields(b"Host: b")),
    refused("host-twice-other-case", fields(b"HOST: a")),
    refused("host-twice-empty", fields(b"Host:")),
    refused("host-three-times", fields(b"Host: a", b"host: a")),
    refused("host-twice-1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
    refused("host-bad-1.0", b"GET / HTTP/1.0\r\nHost: a/b\r\n\r\n"),
    refused("host-bad-beside-absolute", b"GET http://a/ HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    last("host-good-1.0", b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"),
    served("host-differs-from-absolute", b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    served("host-last", b"GET / HTTP/1.1\r\nA: b\r\nHost: a\r\n\r\n"),
    served("host-lower-case", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    served("host-without-space", b"GET / HTTP/1.1\r\nHost:a\r\n\r\n"),
    refused("host-space-before-colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
]

NAME_CASES: list[Case] = [
    *(
        served(f"name-byte-{byte:02x}", fields(b"X" + bytes([byte]) + b"Y: 1"))
        for byte in TOKEN_BYTES
    ),
    *(
        refused(f"name-bad-byte-{byte:02x}", fields(b"X" + bytes([byte]) + b"Y: 1"))
        for byte in (*range(0x21), *b'"(),/;<=>?@[\\]{}', *range(0x7F, 0x100, 16))
    ),
    served("name-one-letter", fields(b"X: 1")),
    served("name-of-tokens-alone", fields(TOKEN_BYTES + b": 1")),
    served("name-long", fields(b"X" * 8000 + b": 1")),
    served(
        "name-underscore-is-another", fields(b"Content_Length: 5", b"Transfer_Encoding: chunked")
    ),
    refused("name-empty", fields(b": 1")),
    refused("name-empty-after-space", fields(b" : 1")),
    refused("name-without-colon", fields(b"X")),
    refused("name-without-colon-spaced", fields(b"X 1")),
    refused("name-space-before-colon", fields(b"X : 1")),
    refused("name-tab-before-colon", fields(b"X\t: 1")),
    refused("name-leading-space", fields(b" X: 1")),
    refused("name-cut-by-end", b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
]

VALUE_CASES: list[Case] = [
    *(
        served(f"value-byte-{byte:02x}", fields(b"X: a" + bytes([byte]) + b"b"))
        for byte in (0x09, *range(0x20, 0x7F, 3), 0x7E, *range(0x80, 0x100, 9), 0xFF)
    ),
    *(
        refused(f"value-bad-byte-{byte:02x}", fields(b"X: a" + bytes([byte]) + b"b"))
        for byte in (*range(0x09), *range(0x0A, 0x20), 0x7F)
    ),
    *(
        refused(f"value-bad-byte-first-{byte:02x}", fields(b"X: " + bytes([byte]) + b"b"))
        for byte in (0x00, 0x0A, 0x0B, 0x0D, 0x7F)
    ),
    *(
        refused(f"value-bad-byte-last-{byte:02x}", fields(b"X: b" + bytes([byte])))
        for byte in (0x00, 0x0A, 0x0B, 0x0C, 0x0D, 0x1B, 0x7F)
    ),
    served("value-empty", fields(b"X:")),
    served("value-of-spaces", fields(b"X:   \t ")),
    served("value-with-colon", fields(b"X: a:b: c")),
    served("value-without-space", fields(b"X:a")),
    served("value-long", fields(b"X: " + b"a" * 16000)),
    served("value-utf8", fields("X: é€".encode())),
    served("value-repeated-name", fields(b"X: 1", b"x: 2", b"X: 3")),
]

LINE_END_CASES: list[Case] = [
    refused("fold-space", fields(b"X: a", b" b")),
    refused("fold-tab", fields(b"X: a", b"\tb")),
    refused("fold-after-empty-value", fields(b"X:", b" b")),
    refused("fold-of-host", b"GET / HTTP/1.1\r\nHost:\r\n a\r\n\r\n"),
    refused("fold-of-host-more", fields(b" b")),
    refused("fold-of-length", fields(b"Content-Length:", b" 0")),
    refused("fold-of-coding", fields(b"Transfer-Encoding:", b" chunked")),
    refused("fold-of-spaces-alone", fields(b"X: a", b"  ")),
    refused("lf-alone-after-value", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    refused("lf-alone-before-end", b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
    refused("lf-alone-as-end", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    refused("lf-lf", b"GET / HTTP/1.1\r\nHost: a\n\n"),
    refused("cr-alone-after-value", b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
    refused("cr-alone-before-end", b"GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n"),
    refused("cr-cr-lf", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    refused("cr-lf-cr-cr-lf", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n"),
    refused("cr-cr", b"GET / HTTP/1.1\r\nHost: a\r\r"),
    refused("lf-cr", b"GET / HTTP/1.1\r\nHost: a\n\r\n\r"),
    refused("nul-in-name", fields(b"X\x00: a")),
    refused("header-lf-injected", fields(b"X: a\nContent-Length: 5")),
    refused("header-cr-injected", fields(b"X: a\rContent-Length: 5")),
    served("two-requests", fields(b"X: a") + fields(b"X: b"), 2),
    served("three-requests", fields() * 3, 3),
    refused("second-request-broken", fields() + b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", after=1),
]

FIELD_CASES = HOST_CASES + NAME_CASES + VALUE_CASES + LINE_END_CASES
