"""Raw cases of the connection: keep-alive, close, HTTP/1.0, Expect, Upgrade, pipelines."""

from __future__ import annotations

from tests.front.cases import Case, fields, last, post, refused, served


def old(*lines: bytes) -> bytes:
    return b"GET / HTTP/1.0\r\n" + b"".join(text + b"\r\n" for text in lines) + b"\r\n"


EVIL = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"

KEEP_CASES: list[Case] = [
    served("keep-by-default", fields()),
    served("keep-asked", fields(b"Connection: keep-alive")),
    served("keep-other-token", fields(b"Connection: x-hop")),
    served("keep-close-in-a-name", fields(b"Connection: closed")),
    served("keep-close-elsewhere", fields(b"X-Connection: close", b"Proxy-Connection: close")),
    served("keep-empty", fields(b"Connection:")),
    served("keep-commas", fields(b"Connection: ,,keep-alive,,")),
    *(
        last(f"close-{value!r}", fields(b"Connection: " + value))
        for value in (
            b"close", b"Close", b"CLOSE", b" close ", b"keep-alive, close", b"close, keep-alive",
            b"close,keep-alive", b"x,close", b"x ,\tclose\t, y", b",close,",
        )
    ),
    last("close-in-second-line", fields(b"Connection: keep-alive", b"Connection: close")),
    last("close-in-first-line", fields(b"Connection: close", b"Connection: keep-alive")),
    last("close-then-another", fields(b"Connection: close") + fields()),
    last("close-after-one", fields() + fields(b"Connection: close") + fields(), 2),
    last("close-with-body", post(b"Connection: close", b"Content-Length: 5", body=b"hello")),
    last("close-with-body-and-more", post(b"Connection: close", b"Content-Length: 1", body=b"xy")),
    last("close-chunked", post(b"Connection: close", b"Transfer-Encoding: chunked",
                               body=b"0\r\n\r\n")),
    last("old", old()),
    last("old-then-another", old() + old()),
    served("old-keep", old(b"Connection: keep-alive")),
    served("old-keep-case", old(b"Connection: Keep-Alive")),
    served("old-keep-twice", old(b"Connection: keep-alive") * 2, 2),
    last("old-keep-then-not", old(b"Connection: keep-alive") + old(), 2),
    last("old-close", old(b"Connection: close")),
    last("old-keep-and-close", old(b"Connection: keep-alive, close")),
    last("old-other-token", old(b"Connection: x-hop")),
    last("old-keep-alive-header", old(b"Keep-Alive: timeout=5")),
]  # fmt: skip

EXPECT_CASES: list[Case] = [
    served("expect-without-body", fields(b"Expect: 100-continue")),
    served("expect-length-0", post(b"Expect: 100-continue", b"Content-Length: 0")),
    *(
        refused(f"expect-unknown-{value!r}", fields(b"Expect: " + value), 417)
        for value in (b"200-ok", b"100-continue, x", b"x", b"", b"100", b"100-continue;q=1")
    ),
    refused("expect-twice", fields(b"Expect: 100-continue", b"Expect: 100-continue"), 417),
    last("expect-unknown-1.0", old(b"Expect: x")),
    last("expect-1.0", b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx"),
    refused("expect-too-large", post(b"Expect: 100-continue", b"Content-Length: 99999999"), 413),
]

UPGRADE = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")

UPGRADE_CASES: list[Case] = [
    served("upgrade-get", fields(*UPGRADE)),
    served("upgrade-websocket", fields(b"Connection: Upgrade", b"Upgrade: websocket")),
    served("upgrade-without-connection", fields(b"Upgrade: h2c")),
    served("upgrade-sized", post(*UPGRADE, b"Content-Length: 5", body=b"hello")),
    served("upgrade-chunked", post(*UPGRADE, b"Transfer-Encoding: chunked",
                                   body=b"5\r\nhello\r\n0\r\n\r\n")),
    served("upgrade-then-another", fields(*UPGRADE) + fields(), 2),
    served("upgrade-sized-then-another", post(*UPGRADE, b"Content-Length: 1", body=b"x") * 2, 2),
    served("upgrade-body-is-a-request", post(*UPGRADE, b"Content-Length: 31", body=EVIL)),
    last("upgrade-and-close", fields(b"Connection: Upgrade, close", b"Upgrade: h2c")),
    refused("upgrade-then-preface", fields(*UPGRADE) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 501, 1),
]  # fmt: skip

PIPELINE_CASES: list[Case] = [
    served("pipeline-10", fields() * 10, 10),
    served("pipeline-100", fields() * 100, 100),
    served("pipeline-mixed", (fields() + post(b"Content-Length: 2", body=b"ab")) * 5, 10),
    served("pipeline-heads", b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" * 3, 3),
    served("pipeline-chunked", post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n") * 5, 5),
    refused("pipeline-ends-broken", fields() * 5 + b"GET / HTTP/3.0\r\n\r\n", 505, 5),
    refused("pipeline-body-too-long", post(b"Content-Length: 1", body=b"x/ HTTP/1.1"), 400, 1),
    refused("pipeline-garbage-after", fields() + b"\x00\x00\x00", 400, 1),
]

CONNECTION_CASES = KEEP_CASES + EXPECT_CASES + UPGRADE_CASES + PIPELINE_CASES
