"""Log lines: text on a terminal, JSON lines otherwise; one line an event, whatever stands in it.

A line is a sentence with figures beside it. What came from outside (a provider's words, a name) is
escaped, and a line is at most 8 KiB: nobody can write a second line through a value.

Rules of this file
- Of an exception its type and its place are told, never its message: that may hold what came from
  outside. It is so for what the event loop has to say, too (`loop_trouble`).
- No record may fail: what JSON cannot hold is written in its nearest form. A formatter that raises
  would have the record, and a traceback, printed in many lines.
- Escaped is everything that is not printable, U+2028, U+0085 and the marks that turn the direction
  of writing included: some readers of lines take them for an end, some terminals obey them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from types import TracebackType
from typing import Any, TextIO

import orjson

LINE_MAX = 8192  # bytes
CUTS = (1024, 256, 64)  # characters that a value may keep, tried in this order until a line fits
VALUES_MAX = 36  # of a line that does not fit; the four that every line has are among them
CUT = {"cut": True}  # stands in such a line
MARKS = frozenset(" \"'=\\")  # a value that holds one of these stands in quotes

_ARGUMENTS = re.compile(r"[(<\n]")

log = logging.getLogger("emr.loop")


def figures_of(record: logging.LogRecord) -> dict[str, object]:
    """What stands beside the sentence; of an exception its type and where it was raised."""
    figures: dict[str, object] = dict(getattr(record, "figures", {}))
    if record.exc_info and record.exc_info[0] is not None:
        figures |= raised_at(record.exc_info[0], record.exc_info[2])
    return figures


def raised_at(kind: type[BaseException], trace: TracebackType | None) -> dict[str, object]:
    """An exception as figures: its type and the place, which tell where the bug is."""
    last = traceback.extract_tb(trace)[-1:] if trace else []
    at = f"{last[0].filename.rpartition('/')[2]}:{last[0].lineno}" if last else ""
    return {"exception": kind.__name__, "at": at}


def sentence_of(record: logging.LogRecord) -> str:
    """The message; one whose arguments do not fit it is told without them."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return str(record.msg)


class JsonLines(logging.Formatter):
    """A JSON object a line: time, level, logger, message, and the figures."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        base: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": sentence_of(record),
        }
        told = {**base, **{n: v for n, v in figures_of(record).items() if n not in base}}
        line = as_json(told)
        for most in CUTS:
            if len(line.encode()) <= LINE_MAX:
                return line
            kept = dict(islice(told.items(), VALUES_MAX))
            line = as_json({name: _cut(value, most) for name, value in kept.items()} | CUT)
        if len(line.encode()) > LINE_MAX:
            line = as_json({name: _cut(value, CUTS[-1]) for name, value in base.items()} | CUT)
        return line


class TextLines(logging.Formatter):
    """For people: time, level, the sentence, and figures as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        figures = "".join(
            f" {escaped(str(name))}={_quoted(str(_cut(value, CUTS[0])))}"
            for name, value in figures_of(record).items()
        )
        line = f"{clock} {record.levelname:<7} {escaped(sentence_of(record))}{figures}"
        return line.encode()[:LINE_MAX].decode("utf-8", "ignore")


def as_json(told: Mapping[str, object]) -> str:
    """A JSON object on one line, in printable characters alone."""
    try:
        line = orjson.dumps(told, default=str)
    except TypeError:  # half of a surrogate pair, a number over 64 bits, a name that is no text
        line = orjson.dumps({_plain(str(name)): _plain(value) for name, value in told.items()})
    return escaped(line.decode())


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    return str(value).encode("utf-8", "replace").decode()


def escaped(text: str) -> str:
    r"""A text on one line: what is not printable is written as JSON does, `\u2028`."""
    if text.isprintable():
        return text
    return "".join([each if each.isprintable() else _escape(each) for each in text])


def _escape(each: str) -> str:
    return f"\\u{ord(each):04x}" if ord(each) < 0x10000 else json.dumps(each)[1:-1]


def _cut(value: object, most: int) -> object:
    """A value of so many characters at the most; one that is short stays what it is."""
    text = value if isinstance(value, str) else str(value)
    return text[:most] if len(text) > most else value


def _quoted(text: str) -> str:
    """A value of a text line; in quotes when it could be read as something else."""
    if text and text.isprintable() and not MARKS.intersection(text):
        return text
    return '"' + escaped(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def loop_trouble(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The event loop's own handler of exceptions would print what tasks and callbacks hold."""
    error = context.get("exception")
    figures = raised_at(type(error), error.__traceback__) if error is not None else {}
    message = _ARGUMENTS.split(str(context.get("message", "")), maxsplit=1)[0].strip()
    log.error("In the event loop: %s", message, extra={"figures": figures})


def set_up(level: str, form: str, stream: TextIO | None = None) -> None:
    """Log to standard error. `form` is text, json or auto (text on a terminal)."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    is_text = form == "text" or (form == "auto" and stream.isatty())
    handler.setFormatter(TextLines() if is_text else JsonLines())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    logging.raiseExceptions = False  # a log that cannot be written takes no traceback either
    set_level(level)


def set_level(level: str) -> None:
    """Log at this level from now on; foreign libraries at warning at least."""
    logging.getLogger("emr").setLevel(level.upper())
    logging.getLogger().setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
