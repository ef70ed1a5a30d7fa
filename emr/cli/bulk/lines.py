"""Lines of text from files or a pipe, and the batches in which they are sent.

Memory is bounded whatever comes: of a line that is too long no more is kept than tells so, and a
batch is full at a number of texts or of bytes. When nothing more is to be had at the moment, what
is held is sent: who types lines, or follows a log, need not fill a batch first.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from emr.cli.trouble import Trouble

PART = 65_536  # bytes of one read: what a pipe of Linux holds
TEXT_MAX = 1 << 20  # bytes: the router's own limit of a text
BATCH_BYTES = 1 << 20  # with JSON's escapes far below a request's 16 MiB
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Line:
    """A line: its number over all input from 0, its text, and why it cannot be sent, if so."""

    index: int
    text: str = ""
    error: str = ""


def read(files: Iterable[BinaryIO]) -> Iterator[Line | None]:
    """The lines of the files, one file after the other, and None when nothing is there right now.

    Each is closed at its end. A last line need not end. Raises Trouble for a file that cannot be
    read.
    """
    index = 0
    for file in files:
        is_first = True
        with file:  # the next one is opened when this one is read
            for raw in _split(file):
                if raw is None:
                    yield None
                    continue
                yield _line(index, raw.removeprefix(BYTE_ORDER_MARK) if is_first else raw)
                is_first = False
                index += 1


def _line(index: int, raw: bytes) -> Line:
    if len(raw) > TEXT_MAX:
        return Line(index, error=f"the line is longer than {TEXT_MAX} bytes")
    try:
        text = raw.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        return Line(index, error=f"the line is not UTF-8 (byte {error.start})")
    return Line(index, text, "" if text else "the line is empty")


def _split(file: BinaryIO) -> Iterator[bytes | None]:
    """The lines of a file without their ends, those too long cut behind the limit."""
    held = b""
    is_begun = False  # an empty rest after the last line end is no line
    while part := _read(file):
        *ended, rest = (held + part).split(b"\n")
        yield from ended
        held, is_begun = rest[: TEXT_MAX + 1], bool(rest)
        if not _has_more(file):
            yield None
    if is_begun:
        yield held


def _read(file: BinaryIO) -> bytes:
    try:
        return os.read(file.fileno(), PART)
    except OSError as error:
        raise Trouble(f"{file.name} cannot be read: {error.strerror}") from error


def _has_more(file: BinaryIO) -> bool:
    """Whether a read would give something at once, if only the end."""
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    return bool(waiting.poll(0))


def batches(lines: Iterable[Line | None], texts: int) -> Iterator[list[Line]]:
    """The lines in batches of at most `texts`, and of about BATCH_BYTES. No batch is empty."""
    held: list[Line] = []
    size = 0
    for line in lines:
        if line is not None:
            held.append(line)
            size += len(line.text)
        if held and (line is None or len(held) >= texts or size >= BATCH_BYTES):
            yield held
            held, size = [], 0
    if held:
        yield held
