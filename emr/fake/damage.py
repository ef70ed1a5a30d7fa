"""What a fault does to a good answer: to its vectors, and to the bytes of its body.

Faults that need numbered vectors leave the answers of a form without indexes as they are: nobody
could tell a shuffled list from a right one there, and no provider shuffles such lists.
"""

from __future__ import annotations

import gzip
from binascii import a2b_base64, b2a_base64
from struct import pack

from emr.fake.faults import Fault
from emr.fake.forms.form import Vectors
from emr.fake.forms.words import JSON, Headers

HTML_TYPE = (b"Content-Type", b"text/html; charset=utf-8")
HTML_PAGE = (
    b"<html>\r\n<head><title>%b</title></head>\r\n<body>\r\n<center><h1>%b</h1></center>\r\n"
    b"<hr><center>fake gateway</center>\r\n</body>\r\n</html>\r\n"
)
ODD_NUMBERS = {
    Fault.NAN: (b"NaN", pack("<f", float("nan"))),
    Fault.INFINITY: (b"Infinity", pack("<f", float("inf"))),
    Fault.NULL: (b"null", None),
}
NUMBERED = frozenset({Fault.SHUFFLED, Fault.DUPLICATE})


def html_page(title: str) -> bytes:
    """A page as gateways show it."""
    words = title.encode()
    return HTML_PAGE % (words, words)


def spoil_vectors(vectors: Vectors, fault: Fault) -> None:
    """Change the vectors of an answer in place; other faults change nothing here."""
    indexes = vectors.indexes
    if fault is Fault.SHORT:
        del indexes[-1:]
        for output in vectors.outputs:
            del output[-1:]
    elif fault is Fault.LONG:
        indexes.append(len(indexes))
        for output in vectors.outputs:
            output.append(output[-1])
    elif fault is Fault.SHUFFLED:
        indexes.reverse()
        for output in vectors.outputs:
            output.reverse()
    elif fault is Fault.DUPLICATE:
        # of a lone vector: an index that was not asked for
        indexes[-1] = 0 if len(indexes) > 1 else 1
    elif fault in ODD_NUMBERS:
        text, raw = ODD_NUMBERS[fault]
        for output in vectors.outputs:
            output[-1] = with_number(output[-1], text, raw)
    elif fault is Fault.DIMENSION:
        for output in vectors.outputs:
            output[-1] = cut_number(output[-1])
    elif fault is Fault.EXPONENT:
        vectors.outputs = [[with_exponents(v) for v in output] for output in vectors.outputs]


def with_number(vector: bytes, text: bytes, raw: bytes | None) -> bytes:
    """The vector with its last number replaced; base64 that cannot hold it becomes null."""
    if vector.startswith(b'"'):
        if raw is None:
            return b"null"
        return b'"%b"' % b2a_base64(a2b_base64(vector[1:-1])[:-4] + raw, newline=False)
    head, comma, _ = vector.rpartition(b",")
    return (head if comma else b"[") + comma + text + b"]"


def cut_number(vector: bytes) -> bytes:
    """The vector without its last number."""
    if vector.startswith(b'"'):
        return b'"%b"' % b2a_base64(a2b_base64(vector[1:-1])[:-4], newline=False)
    head, comma, _ = vector.rpartition(b",")
    return head + b"]" if comma else b"[]"


def with_exponents(vector: bytes) -> bytes:
    """The same numbers, written with exponents; base64 and whole numbers stay as they are."""
    if vector.startswith(b'"') or b"." not in vector:
        return vector
    # nine digits: as many as the decimals have at most, so the value stays the same
    return b"[%b]" % b",".join([b"%.8e" % float(x) for x in vector[1:-1].split(b",")])


def spoil_body(body: bytes, fault: Fault, error: bytes) -> tuple[Headers, bytes]:
    """The headers of the content, and the body; `error` is an error body of the form."""
    if fault is Fault.EMPTY:
        return [JSON], b""
    if fault is Fault.GARBAGE:
        return [JSON], b"\x00\x9f\xff{[,,garbage" + body[:64][::-1]
    if fault is Fault.TRUNCATED:
        return [JSON], body[: len(body) // 2]
    if fault is Fault.HTML:
        return [HTML_TYPE], html_page("200 OK")
    if fault is Fault.ERROR_200:
        return [JSON], error
    if fault is Fault.GZIP:
        return [JSON, (b"Content-Encoding", b"gzip")], gzip.compress(body, 1)
    if fault is Fault.CONTENT_TYPE:
        return [(b"Content-Type", b"text/plain")], body
    return [JSON], body
