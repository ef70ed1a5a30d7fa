"""Log lines: text on a terminal, JSON lines otherwise; one line an event, whatever stands in it.

A line is a sentence with figures beside it. What came from outside (a provider's words, a name) is
escaped, and a line is at most 8 KiB: nobody can write a second line through a value.
"""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TextIO

import orjson

LINE_MAX = 8192
TEXT_VALUE_MAX = 1024


def _figures(record: logging.LogRecord) -> dict[str, object]:
    figures = getattr(record, "figures", {})
    assert isinstance(figures, dict), "figures of a log line that are no dict: a bug"
    if record.exc_info and record.exc_info[0] is not None:
        kind, _, trace = record.exc_info
        last = traceback.extract_tb(trace)[-1:] if trace else []
        # the message of an exception may hold what came from outside: its type and place tell
        # where the bug is
        figures = figures | {"exception": kind.__name__ if kind else "", "at": _place(last)}
    return figures


def _place(last: list[traceback.FrameSummary]) -> str:
    return f"{last[0].filename.rpartition('/')[2]}:{last[0].lineno}" if last else ""


class JsonLines(logging.Formatter):
    """A JSON object a line: time, level, logger, message, and the figures."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:LINE_MAX],
        }
        told |= _figures(record)
        line = orjson.dumps(told, default=str)
        if len(line) > LINE_MAX:
            short = {name: told[name] for name in ("time", "level", "logger")}
            short["message"] = str(told["message"])[: LINE_MAX // 8]
            short["cut"] = True
            line = orjson.dumps(short)
        return line.decode()


class TextLines(logging.Formatter):
    """For people: time, level, the sentence, and figures as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        figures = "".join(f" {name}={_plain(v)}" for name, v in _figures(record).items())
        line = f"{clock} {record.levelname:<7} {_plain(record.getMessage(), '')}{figures}"
        return line[:LINE_MAX]


def _plain(value: object, quote: str = '"') -> str:
    """A value on one line; quoted when it is not a plain word."""
    text = str(value)[:TEXT_VALUE_MAX]
    if text.isprintable():
        return f"{quote}{text}{quote}" if " " in text else text
    return text.encode("unicode_escape").decode("ascii")


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
    set_level(level)


def set_level(level: str) -> None:
    """Log at this level from now on; foreign libraries at warning at least."""
    logging.getLogger("emr").setLevel(level.upper())
    logging.getLogger().setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
