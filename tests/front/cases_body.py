"""Raw cases of the framing: lengths, codings, chunks, and requests hidden in bodies."""

from __future__ import annotations

from tests.front.cases import Case, chunked, fields, last, post, refused, served

EVIL = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"

LENGTH_CASES: list[Case] = [
    served("length-none", post()),
    served("length-0", post(b"Content-Length: 0")),
    served("length-5", post(b"Content-Length: 5", body=b"hello")),
    served("length-leading-zeros", post(b"Content-Length: 005", body=b"hello")),
    served("length-20-digits", post(b"Content-Length: " + b"0" * 19 + b"5", body=b"hello")),
    served("length-space-after", post(b"Content-Length: 5 ", body=b"hello")),
    served("length-tab-before", post(b"Content-Length:\t5", body=b"hello")),
    served("length-other-case", post(b"CONTENT-LENGTH: 5", body=b"hello")),
    served("length-two-requests", post(b"Content-Length: 5", body=b"hello") * 2, 2),
    served("length-body-of-line-ends", post(b"Content-Length: 4", body=b"\r\n\r\n")),
    served("length-body-is-a-request", post(b"Content-Length: %d" % len(EVIL), body=EVIL)),
    served("length-in-get", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
    served("length-in-delete", b"DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"),
    last("length-1.0", b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello"),
    *(
        refused(f"length-bad-{value!r}", post(b"Content-Length: " + value, body=b"hello"))
        for value in (
            b"", b" ", b"-1", b"+5", b"-0", b"0x5", b"5.0", b"5e0", b"5,5", b"5, 5", b"5,", b",5",
            b"5 5", b"five", b"5a", b"a5", b"5;", b'"5"', b"1_0", b"\xd9\xa5", b"\xb2", b"5\t5",
            b"9" * 20, b"9" * 30, b"18446744073709551616", b"0" * 20 + b"5", b"0" * 5000 + b"5",
            b"NaN", b"inf", b"0b1", b"0o7", b"5\x0b", b"5\x0c", b"(5)", b"5 ; q",
        )
    ),
    refused("length-twice-equal", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello")),
    refused("length-twice-other", post(b"Content-Length: 5", b"Content-Length: 6", body=b"abcde")),
    refused("length-twice-case", post(b"Content-Length: 5", b"content-length: 5", body=b"hello")),
    refused("length-twice-zero", post(b"Content-Length: 0", b"Content-Length: 5", body=b"hello")),
    refused("length-space-before-colon", post(b"Content-Length : 5", body=b"hello")),
    refused("length-nul-in-name", post(b"Content-Length\x00: 5", body=b"hello")),
    refused("length-too-long-for-the-limit", post(b"Content-Length: 16777217"), 413),
    refused("length-much-too-long", post(b"Content-Length: 9999999999999999"), 413),
    refused("length-short-then-garbage", post(b"Content-Length: 5", body=b"hello(x)\r\n"), 400, 1),
]  # fmt: skip

CODING_CASES: list[Case] = [
    *(
        served(f"coding-{value!r}", post(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n"))
        for value in (b"chunked", b"Chunked", b"CHUNKED", b" chunked", b"chunked ", b"\tchunked")
    ),
    *(
        refused(f"coding-bad-{value!r}", post(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n"))
        for value in (
            b"", b"identity", b"gzip", b"deflate", b"chunked, gzip", b"chunked, chunked",
            b"chunked,chunked", b"chunked;q=1", b"xchunked", b"chunkedx", b"chu nked",
            b'"chunked"', b",chunked", b"chunked,", b", chunked", b"chunked, identity", b"chunked;",
            b"\x0bchunked", b"chunked\x0b", b"chunked\x00", b"cow", b"chunked\tgzip",
            b"chunked chunked",
            b"chunked\t",  # allowed by the grammar, but llhttp takes no tab there; nobody sends one
            b"gzip, chunked, gzip", b"chunked, gzip, chunked", b"=chunked", b"'chunked'",
        )
    ),
    *(
        refused(f"coding-501-{value!r}", post(b"Transfer-Encoding: " + value), 501)
        for value in (
            b"gzip, chunked", b"gzip,chunked", b"deflate, chunked", b"identity, chunked",
            b"x, chunked", b"gzip;q=1, chunked", b"gzip, deflate, Chunked",
        )
    ),
    refused("coding-twice", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")),
    refused("coding-twice-501", post(b"Transfer-Encoding: x", b"Transfer-Encoding: chunked"), 501),
    refused("coding-twice-empty", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding:")),
    refused("coding-and-length", post(b"Transfer-Encoding: chunked", b"Content-Length: 5")),
    refused("coding-and-length-0", post(b"Transfer-Encoding: chunked", b"Content-Length: 0")),
    refused("length-and-coding", post(b"Content-Length: 5", b"Transfer-Encoding: chunked")),
    refused("length-and-coding-501", post(b"Content-Length: 5", b"Transfer-Encoding: x, chunked")),
    refused("coding-1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    refused("coding-1.0-keep", b"POST / HTTP/1.0\r\nConnection: keep-alive\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    refused("coding-space-before-colon", post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n")),
    refused("coding-fold", post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n")),
    refused("coding-underscore", post(b"Transfer_Encoding: chunked", body=b"0\r\n\r\n"), 400, 1),
    served("coding-in-get", fields(b"Transfer-Encoding: chunked") + b"0\r\n\r\n"),
]  # fmt: skip

GOOD_CHUNKS = {
    "empty": b"0\r\n\r\n",
    "one": b"5\r\nhello\r\n0\r\n\r\n",
    "two": b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
    "hex-lower": b"a\r\n0123456789\r\n0\r\n\r\n",
    "hex-upper": b"A\r\n0123456789\r\n0\r\n\r\n",
    "hex-two-digits": b"1f\r\n" + b"x" * 31 + b"\r\n0\r\n\r\n",
    "leading-zeros": b"0005\r\nhello\r\n0\r\n\r\n",
    "sixteen-digits": b"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n",
    "data-of-line-ends": b"4\r\n\r\n\r\n\r\n0\r\n\r\n",
    "data-like-the-end": b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
    "data-is-a-request": b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVIL), EVIL),
    "extension": b"5;a\r\nhello\r\n0\r\n\r\n",
    "extension-value": b"5;a=b\r\nhello\r\n0;c=d\r\n\r\n",
    "extension-quoted": b'5;a="b;c\\"d"\r\nhello\r\n0\r\n\r\n',
    "extension-quoted-obs-text": b'5;a="\xc3\xa9"\r\nhello\r\n0\r\n\r\n',
    "extension-spaced": b"5 ; a = b\r\nhello\r\n0\r\n\r\n",
    "extensions": b"5;a;b=c;d\r\nhello\r\n0\r\n\r\n",
    "extension-is-a-request": b'1;a="' + EVIL.replace(b"\r\n", b" ") + b'"\r\nx\r\n0\r\n\r\n',
    "trailer": b"0\r\nA: b\r\n\r\n",
    "trailers": b"5\r\nhello\r\n0\r\nA: b\r\nC: d\r\nE:\r\n\r\n",
    "trailer-obs-text": b"0\r\nA: \xc3\xa9\t\r\n\r\n",
    "trailer-length": b"0\r\nContent-Length: 5\r\n\r\n",
    "trailer-coding": b"0\r\nTransfer-Encoding: gzip\r\n\r\n",
    "trailer-host": b"0\r\nHost: b\r\n\r\n",
    "trailer-close": b"0\r\nConnection: close\r\n\r\n",
    "many": b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n",
}

BAD_CHUNKS = {
    "size-empty": b"\r\nhello\r\n0\r\n\r\n",
    "size-missing": b";a=b\r\nhello\r\n0\r\n\r\n",
    "size-junk": b"x\r\nhello\r\n0\r\n\r\n",
    "size-junk-after": b"5x\r\nhello\r\n0\r\n\r\n",
    "size-0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size-plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "size-minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "size-minus-0": b"5\r\nhello\r\n-0\r\n\r\n",
    "size-underscore": b"1_0\r\nhello\r\n0\r\n\r\n",
    "size-decimal": b"5.0\r\nhello\r\n0\r\n\r\n",
    "size-space-before": b" 5\r\nhello\r\n0\r\n\r\n",
    "size-space-after": b"5 \r\nhello\r\n0\r\n\r\n",
    "size-tab-after": b"5\t\r\nhello\r\n0\r\n\r\n",
    "size-space-within": b"1 0\r\nhello\r\n0\r\n\r\n",
    "size-nul": b"5\x00\r\nhello\r\n0\r\n\r\n",
    "size-seventeen-digits": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    "size-overflow": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "size-overflow-long": b"f" * 40 + b"\r\nhello\r\n0\r\n\r\n",
    "size-lf": b"5\nhello\r\n0\r\n\r\n",
    "size-cr": b"5\rhello\r\n0\r\n\r\n",
    "size-cr-cr-lf": b"5\r\r\nhello\r\n0\r\n\r\n",
    "size-unicode-digit": b"\xd9\xa5\r\nhello\r\n0\r\n\r\n",
    "data-short": b"6\r\nhello\r\n0\r\n\r\n",
    "data-long": b"4\r\nhello\r\n0\r\n\r\n",
    "data-end-lf": b"5\r\nhello\n0\r\n\r\n",
    "data-end-cr": b"5\r\nhello\r0\r\n\r\n",
    "data-end-missing": b"5\r\nhello0\r\n\r\n",
    "data-end-doubled": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    "extension-empty": b"5;\r\nhello\r\n0\r\n\r\n",
    "extension-empty-name": b"5;=b\r\nhello\r\n0\r\n\r\n",
    "extension-empty-value": b"5;a=\r\nhello\r\n0\r\n\r\n",
    "extension-twice-semicolon": b"5;;a\r\nhello\r\n0\r\n\r\n",
    "extension-space-after": b"5;a \r\nhello\r\n0\r\n\r\n",
    "extension-lf": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "extension-cr": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "extension-nul": b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    "extension-quote-open": b'5;a="b\r\nhello\r\n0\r\n\r\n',
    "extension-quote-lf": b'5;a="b\nc"\r\nhello\r\n0\r\n\r\n',
    "extension-8-bit": b"5;\xc3\xa9\r\nhello\r\n0\r\n\r\n",
    "end-lf": b"0\n\r\n",
    "end-lf-lf": b"0\r\n\n",
    "end-cr-cr-lf": b"0\r\n\r\r\n",
    "end-space": b"0\r\n \r\n",
    "end-data": b"0\r\nhello\r\n\r\n",
    "trailer-fold": b"0\r\nA: b\r\n c\r\n\r\n",
    "trailer-space-before-colon": b"0\r\nA : b\r\n\r\n",
    "trailer-without-colon": b"0\r\nA\r\n\r\n",
    "trailer-empty-name": b"0\r\n: b\r\n\r\n",
    "trailer-nul": b"0\r\nA: \x00\r\n\r\n",
    "trailer-cr": b"0\r\nA: b\rc\r\n\r\n",
    "trailer-lf": b"0\r\nA: b\nc: d\r\n\r\n",
    "trailer-8-bit-name": b"0\r\n\xc3\xa9: b\r\n\r\n",
}

CHUNK_CASES: list[Case] = [
    *(served(f"chunks-{name}", chunked(body)) for name, body in GOOD_CHUNKS.items()),
    *(
        served(f"chunks-{name}-then-another", chunked(body) + post(), 2)
        for name, body in GOOD_CHUNKS.items()
    ),
    *(refused(f"chunks-bad-{name}", chunked(body)) for name, body in BAD_CHUNKS.items()),
    refused("chunks-too-large", chunked(b"1000001\r\n"), 413),
    refused("chunks-much-too-large", chunked(b"ffffffffffffffff\r\n"), 413),
    refused("chunks-too-large-in-sum", chunked(b"1\r\nx\r\n1000000\r\n"), 413),
    refused("chunks-bad-after-a-good-request", post() + chunked(b"x\r\n"), 400, 1),
]

BODY_CASES = LENGTH_CASES + CODING_CASES + CHUNK_CASES
