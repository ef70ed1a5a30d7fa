"""Compressed answers: never asked for, but decoded when a gateway sends one, within a bound."""

from __future__ import annotations

import zlib

from emr.upstream.fault import Fault, Stage


def unpack(body: bytes, coding: bytes, most: int) -> bytes:
    """Decode `body` by its Content-Encoding, to at most `most` bytes. Raises Fault.

    The bound holds while decoding: a small body that stands for gigabytes costs `most` at worst.
    """
    coding = coding.strip().lower()
    if coding in (b"identity", b""):
        return body
    if coding not in (b"gzip", b"x-gzip"):
        raise Fault(Stage.PROTOCOL, "the answer is compressed in a way that was not asked for")
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)  # 16: a gzip wrapper is expected
    try:
        whole = decoder.decompress(body, most + 1)
    except zlib.error:
        raise Fault(Stage.PROTOCOL, "the answer is not the gzip that it says") from None
    if len(whole) > most:
        raise Fault(Stage.TOO_LARGE, f"the provider's answer is larger than {most} bytes")
    if not decoder.eof or decoder.unused_data:
        raise Fault(Stage.PROTOCOL, "the gzip of the answer is cut off, or has a tail")
    return whole
