"""Raw cases of the request line: method, target, version."""

from __future__ import annotations

from emr.front.target import METHODS
from tests.front.cases import Case, last, line, refused, served

METHOD_CASES: list[Case] = [
    *(served(f"method-{m.decode()}", line(m + b" / HTTP/1.1")) for m in sorted(METHODS)),
    *(
        refused(f"method-unknown-{m.decode()}", line(m + b" / HTTP/1.1"), 501)
        for m in (
            b"FOO", b"get", b"Get", b"GETT", b"GE", b"G", b"PROPFIND", b"M-SEARCH", b"PURGE",
            b"QUERY", b"LINK", b"REPORT", b"BREW", b"DESCRIBE", b"SETUP", b"!#$%&'*+-.^_`|~9",
            b"A" * 32, b"A" * 33, b"A" * 5000,
        )
    ),
    refused("method-CONNECT", line(b"CONNECT a:443 HTTP/1.1"), 501),
    refused("method-PRI", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 501),
    refused("method-SOURCE", line(b"SOURCE /mount HTTP/1.0"), 501),
    *(
        refused(f"method-broken-{name}", line(m + b" / HTTP/1.1"))
        for name, m in {
            "paren": b"GE(T", "colon": b"GET:", "slash": b"GE/T", "nul": b"G\x00T", "tab": b"GET\t",
            "8-bit": b"G\xc9T", "quote": b'"GET"', "comma": b"GET,", "leading-space": b" GET",
            "leading-tab": b"\tGET", "del": b"GET\x7f", "brace": b"{GET}", "empty": b"",
        }.items()
    ),
    refused("tls-greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    refused("ssh-greeting", b"SSH-2.0-OpenSSH_9.2\r\n"),
    refused("socks-greeting", b"\x05\x01\x00"),
    refused("binary", bytes(range(128, 160))),
    refused("json-without-a-head", b'{"input":"x"}\r\n\r\n'),
]  # fmt: skip

VERSION_CASES: list[Case] = [
    served("version-1.1", line(b"GET / HTTP/1.1")),
    last("version-1.0", line(b"GET / HTTP/1.0")),
    last("version-1.0-without-host", b"GET / HTTP/1.0\r\n\r\n"),
    *(
        refused(f"version-{v}", line(b"GET / HTTP/" + v.encode()), 505)
        for v in ("0.0", "0.9", "1.2", "1.3", "1.9", "2.0", "2.1", "3.0", "9.9")
    ),
    *(
        refused(f"version-broken-{v.decode()}", line(b"GET / " + v))
        for v in (
            b"http/1.1", b"Http/1.1", b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"HTTP/11", b"HTTP/1.10",
            b"HTTP/01.1", b"HTTP/1.01", b"HTTPS/1.1", b"HTTP 1.1", b"HTTP/1,1", b"HTTP/1.1x",
            b"HTTP/1.x", b"HTTP/a.b", b"HTTP/", b"HTTP", b"H", b"HTTP/1.1 HTTP/1.1", b"HTTP//1.1",
            b"HTTP/-1.1", b"HTTP/1.-1", b"HTTP/+1.1", b"HTTP/1 .1", b"/1.1", b"1.1",
        )
    ),
    refused("version-RTSP", line(b"GET / RTSP/1.0")),
    refused("version-ICE", line(b"GET / ICE/1.0")),
    refused("version-missing", line(b"GET /")),
    refused("version-missing-after-space", line(b"GET / ")),
    refused("version-missing-alone", b"GET /\r\n\r\n"),
    refused("target-missing", line(b"GET HTTP/1.1")),
    refused("target-and-version-missing", line(b"GET")),
    refused("target-and-version-missing-after-space", line(b"GET ")),
]  # fmt: skip

SPACE_CASES: list[Case] = [
    refused("space-doubled-before-target", line(b"GET  / HTTP/1.1")),
    refused("space-doubled-before-version", line(b"GET /  HTTP/1.1")),
    refused("space-at-end", line(b"GET / HTTP/1.1 ")),
    refused("space-tab-before-target", line(b"GET\t/ HTTP/1.1")),
    refused("space-tab-before-version", line(b"GET /\tHTTP/1.1")),
    refused("space-tab-at-end", line(b"GET / HTTP/1.1\t")),
    refused("space-vertical-tab", line(b"GET\x0b/ HTTP/1.1")),
    refused("space-in-target", line(b"GET /a b HTTP/1.1")),
    refused("space-no-break", line(b"GET\xa0/ HTTP/1.1")),
    served("empty-line-before", b"\r\n" + line(b"GET / HTTP/1.1")),
    served("empty-lines-before", b"\r\n\r\n\r\n" + line(b"GET / HTTP/1.1")),
    served("empty-line-between", line(b"GET / HTTP/1.1") + b"\r\n" + line(b"GET / HTTP/1.1"), 2),
    refused("lf-before", b"\n" + line(b"GET / HTTP/1.1")),
    refused("cr-before", b"\r" + line(b"GET / HTTP/1.1")),
    refused("cr-cr-lf-before", b"\r\r\n" + line(b"GET / HTTP/1.1")),
    refused("crlf-lf-before", b"\r\n\n" + line(b"GET / HTTP/1.1")),
    refused("space-line-before", b" \r\n" + line(b"GET / HTTP/1.1")),
    refused("lf-at-end", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    refused("lf-everywhere", b"GET / HTTP/1.1\nHost: a\n\n"),
    refused("cr-at-end", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
    refused("cr-cr-lf-at-end", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    refused("lf-cr-at-end", b"GET / HTTP/1.1\n\rHost: a\r\n\r\n"),
    refused("fold-after-line", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    refused("tab-fold-after-line", b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"),
    refused("line-split-in-target", b"GET /\r\n HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("status-line", b"HTTP/1.1 200 OK\r\nHost: a\r\n\r\n"),
]

GOOD_TARGETS = (
    b"/", b"/a/b", b"/a/", b"//a", b"/a//b", b"/a?b=c", b"/a?", b"/a?b?c/d", b"/?", b"/%41",
    b"/a%2Fb", b"/a%20b", b"/;a=b", b"/:@!$&'()*+,;=", b"/~._-", b"/%c3%a9", b"/?%ff", b"/%25",
    b"/..", b"/./a", b"/a?x=%0a", b"http://a/", b"http://a", b"http://a:80/x?y", b"HTTP://A/x",
    b"https://a/", b"http://a?x", b"http://[::1]/", b"http://127.0.0.1:3200/health",
    b"http://a/http://b/", b"/http://b/",
)  # fmt: skip

BAD_TARGETS = (
    b"a", b"a/b", b"?x", b"#", b"/a#b", b"/?a#b", b"/#", b"/%", b"/%4", b"/%zz", b"/%4g", b"/%0",
    b"/%00", b"/a%00b", b"/?%00", b'/"', b"/<", b"/>", b"/\\", b"/^", b"/`", b"/{", b"/|", b"/}",
    b"/[", b"/]", b"/?[", b"/%ff", b"/%c3", b"/%c0%80", b"/%ed%a0%80", b"*", b"**", b"*/", b"/%%41",
    b"http://", b"http:///x", b"http://u@a/", b"http://u:p@a/", b"http://a:b/", b"http://a:99999/",
    b"http:a", b"http:/a", b"ftp://a/", b"ws://a/", b"a:80", b"127.0.0.1:80", b"http://a/#f",
    b"http://a\\b/", b"http://[::1/", b"http://[g]/", b"http://a%/", b"://a/", b"http//a",
)  # fmt: skip

TARGET_CASES: list[Case] = [
    *(served(f"target-{t.decode()}", line(b"GET " + t + b" HTTP/1.1")) for t in GOOD_TARGETS),
    *(refused(f"target-bad-{t.decode()}", line(b"GET " + t + b" HTTP/1.1")) for t in BAD_TARGETS),
    served("target-asterisk", line(b"OPTIONS * HTTP/1.1")),
    served("target-options-path", line(b"OPTIONS /a HTTP/1.1")),
    refused("target-asterisk-query", line(b"OPTIONS *?a HTTP/1.1")),
    refused("target-asterisk-post", line(b"POST * HTTP/1.1")),
    *(
        refused(f"target-byte-{byte:02x}", line(b"GET /a" + bytes([byte]) + b"b HTTP/1.1"))
        for byte in (*range(0x21), *range(0x7F, 0x100, 8))
    ),
]

LINE_CASES = METHOD_CASES + VERSION_CASES + SPACE_CASES + TARGET_CASES
