"""One vector as its JSON text: is it one, of what length, and are its numbers good.

A vector leaves emr as the bytes that the provider sent, so the check must be as strict as a
parser: what passes here is valid JSON, a flat list of finite numbers of the asked type, or base64
of such numbers.

Why orjson and not a check by hand. Reading 1,024 floats takes orjson 15 us (the same ones again and
again) to 21 us. Counting commas, looking at the alphabet and for exponents takes 12 us in bytes
methods and still lets `1.2.3` through; a check by hand that lets nothing through (the places of
dots, signs and leading zeros) takes 45 us, a regular expression over 100 us. So every vector is
read by orjson, and its numbers go through `struct`, which refuses what is not a number, what the
type cannot hold and, for floats, what is too large for the 32 bits that callers will put it into:
4 to 6 us.

base64 of floats is looked at as it stands: 1,024 of them in 3 us, where decoding takes 10. It is
good when nothing but the alphabet is in it, its length fits, and no number can be other than
finite. Of little-endian float32 the fourth byte holds the sign and the upper seven bits of the
exponent, all of them set in a number that is not finite. Sixteen characters hold three numbers, and
those bytes begin at the characters 4, 9 and 14 of them:

    character      4          9                 14          15
    bits           s eeeee    . . s eee         . . . . s e eeeeee
    all ones in    f /        H P X f n v 3 /               /

Where one of these is met (0.5 to 2 as a third number is enough for it), and for other types, it is
decoded, strictly, and each number looked at when there is such a byte.
"""

from __future__ import annotations

import binascii
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

# The longest known vectors have 16,384 numbers. A reply may say otherwise; it is then refused.
MAX_DIMENSIONS = 65_536
_SPACE = b" \t\n\r"
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_SECOND = b"HPXfnv3/"


class Unfit(Exception):
    """A vector that must not leave: the reason, without any of it."""


@dataclass(frozen=True, slots=True)
class Dtype:
    """A type of numbers: its `struct` code, its size in bytes, and numbers a byte when packed.

    `packed` types (`binary`, `ubinary`) hold eight dimensions in each of their bytes.
    """

    code: str
    size: int
    packed: bool = False

    def length(self, dimensions: int) -> int:
        """How many numbers a vector of so many dimensions has."""
        return dimensions // 8 if self.packed else dimensions


DTYPES = {
    "float": Dtype("f", 4),
    "int8": Dtype("b", 1),
    "uint8": Dtype("B", 1),
    "binary": Dtype("b", 1, packed=True),
    "ubinary": Dtype("B", 1, packed=True),
}


@lru_cache(maxsize=256)
def _packer(count: int, code: str) -> Callable[..., bytes]:
    return struct.Struct(f"<{count}{code}").pack


def check_values(values: Any, dtype: Dtype) -> int:
    """The length of a list that orjson read. Raises Unfit unless it is a vector of `dtype`.

    Lists with `true` or `false` must be refused before: to `struct` they are numbers.
    """
    if type(values) is not list:
        raise Unfit("a vector is not a list")
    count = len(values)
    if not 0 < count <= MAX_DIMENSIONS:
        raise Unfit(f"a vector has {count} numbers")
    try:
        _packer(count, dtype.code)(*values)
    except (struct.error, OverflowError):
        raise Unfit("a vector has something that is not a number, or not one of its type") from None
    return count


def check_list(text: bytes, dtype: Dtype) -> tuple[bytes, int]:
    """Check `text`, a JSON list; returns it without white space, and its length. Raises Unfit."""
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Unfit("a vector is not a list of finite numbers") from None
    count = check_values(values, dtype)
    if b"u" in text or b"s" in text:  # of `true` and `false`; no number has these letters
        raise Unfit("a vector has something that is not a number")
    if b"\n" in text or b" " in text or b"\t" in text or b"\r" in text:
        # white space stands between the parts of valid JSON, so nothing can run together
        text = text.translate(None, _SPACE)
    return text, count


def _finite_floats(text: bytes) -> int:
    """How many floats `text` has, all finite; 0 when it must be decoded to know (see the top)."""
    body = text.rstrip(b"=")
    padding = len(text) - len(body)
    if padding > 2 or len(text) % 4 or body.translate(None, _ALPHABET):
        return 0
    first, second = text[4::16], text[9::16]
    if b"f" in first or b"/" in first or b"/" in text[15::16]:
        return 0
    if len(second.translate(None, _SECOND)) < len(second):
        return 0
    count, rest = divmod(len(text) // 4 * 3 - padding, 4)
    return 0 if rest else count


def check_base64(text: bytes, dtype: Dtype) -> int:
    """Check `text`, base64 without its quotes; returns how many numbers it has. Raises Unfit."""
    if dtype.code == "f":
        count = _finite_floats(text)
        if 0 < count <= MAX_DIMENSIONS:
            return count
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise Unfit("a vector is not base64") from None
    count, rest = divmod(len(raw), dtype.size)
    if rest or not 0 < count <= MAX_DIMENSIONS:
        raise Unfit(f"a base64 vector has {len(raw)} bytes")
    if dtype.code == "f":
        tops = raw[3::4]
        if (0x7F in tops or 0xFF in tops) and not all(
            map(math.isfinite, struct.unpack(f"<{count}f", raw))
        ):
            raise Unfit("a number of a vector is not finite")
    return count
