"""A body becomes a JSON object: its depth is checked first, then it is parsed whole.

Depth counts before parsing, since a parser pays for what it nests. The openers are counted first,
strings included: a body with at most MAX_DEPTH of them cannot be deeper. Only where there are more
(code is full of them) are the strings taken out and the brackets that stand outside counted.
Escaped quotes are removed pairwise from the left, as JSON reads them, so that for valid JSON the
count is exact; for anything else it is a guess, and the parser refuses it.

orjson's own limit is 1,024 levels. Of a name that stands twice the last counts. Numbers too large
for a double, lone surrogates, a byte order mark and bytes that are not UTF-8 are refused by it.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import orjson

from emr.lane.refusal import Refusal, Refused

MAX_DEPTH = 64

# lists, objects and strings that a body may hold: 100,000 texts, the most that can be set, fit
# twice; 16 MiB of empty lists would otherwise become 450 MB of Python objects
MAX_VALUES = 262_144

_LEVELS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1 as signed bytes
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def load(body: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object.

    Raises Refused: validation_error.
    """
    if not body:
        raise _refused('the body is empty: send JSON, such as {"input": "hello"}')
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check(body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _refused(f"the body is not valid JSON: {error}") from None
    if type(document) is not dict:
        raise _refused('the body must be a JSON object, such as {"input": "hello"}')
    return document


def _check(body: bytes) -> None:
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if body.count(b'"') > 2 * MAX_VALUES:
        raise _refused(f"the body holds more than {MAX_VALUES} strings: send it in parts")
    outside = b"".join(body.split(b'"')[::2])
    levels = outside.translate(_LEVELS, _NOT_BRACKETS)
    if len(levels) > 2 * MAX_VALUES:
        raise _refused(f"the body holds more than {MAX_VALUES} lists and objects: send it in parts")
    if max(accumulate(memoryview(levels).cast("b")), default=0) > MAX_DEPTH:
        raise _refused(f"the body is nested deeper than {MAX_DEPTH} levels")


def _refused(message: str) -> Refused:
    return Refused(Refusal("validation_error", message))
