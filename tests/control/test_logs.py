"""Log lines: one an event, escaped, at most 8 KiB, whatever stands in them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from emr.control.logs import LINE_MAX, JsonLines, TextLines, loop_trouble, set_level, set_up
from tests.support.aio import run

NASTY = [
    "a\nb", "a\r\nb", "\x1b[2J", "\x00", "\u2028", "\u2029", "\x85", "\x7f", "\x9b", "\u202e",
    "\ud800", "\U000e0001", 'a" level=error b="', '{"level":"error"}', "a\\", "世界", "", " ", "'",
    "x=y", "\u00a0",
]  # fmt: skip


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is logged, with the logging of the process put back afterwards."""
    root, emr = logging.getLogger(), logging.getLogger("emr")
    before = (root.handlers[:], root.level, emr.level, logging.raiseExceptions)
    yield io.StringIO()
    root.handlers, root_level, emr_level, logging.raiseExceptions = before
    root.setLevel(root_level)
    emr.setLevel(emr_level)


def record_of(message: str, /, *args: object, **figures: object) -> logging.LogRecord:
    record = logging.LogRecord("emr.x", logging.INFO, "x.py", 1, message, args, None)
    vars(record)["figures"] = figures
    return record


def as_json(record: logging.LogRecord) -> dict[str, Any]:
    """A JSON line, read by three readers of lines and two of JSON."""
    line = JsonLines().format(record)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert len(line.encode()) <= LINE_MAX
    told = orjson.loads(line)
    assert json.loads(line) == told
    assert isinstance(told, dict)
    return told


def as_text(record: logging.LogRecord) -> str:
    line = TextLines().format(record)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert len(line.encode()) <= LINE_MAX
    return line


# what stands in a line


def test_a_json_line_has_its_time_level_logger_message_and_figures() -> None:
    record = record_of("Gate changed to %s", "AUTH", provider="voyage", seconds=1.5, k=None)
    record.created = 1_800_000_000.25
    assert as_json(record) == {
        "time": "2027-01-15T08:00:00.250+00:00", "level": "info", "logger": "emr.x",
        "message": "Gate changed to AUTH", "provider": "voyage", "seconds": 1.5, "k": None,
    }  # fmt: skip


def test_a_text_line_is_a_sentence_with_figures() -> None:
    line = as_text(record_of("Gate changed", provider="voyage", words="two words", k=1, none=""))
    assert line.endswith('INFO    Gate changed provider=voyage words="two words" k=1 none=""')


@pytest.mark.parametrize("text", NASTY)
def test_whatever_stands_in_a_value_it_is_one_line_and_comes_back(text: str) -> None:
    told = as_json(record_of("%s", text, model=text, more={"a": text}, **{f"n{text}": text}))
    wanted = text.encode("utf-8", "replace").decode()
    assert told["message"] == told["model"] == wanted
    as_text(record_of(f"said {text}", model=text))


@pytest.mark.parametrize("text", NASTY)
def test_a_value_of_a_text_line_cannot_look_like_another_figure(text: str) -> None:
    line = as_text(record_of("said", model=text, end=1))
    value = line.partition(" model=")[2].removesuffix(" end=1")
    if value.startswith('"'):
        inner = value[1:-1].replace("\\\\", "").replace('\\"', "")
        assert '"' not in inner
    else:
        assert not set(value) & set(" \"'=\\")
        assert value


@pytest.mark.parametrize(
    "value", [2**64, -(2**63) - 1, float("nan"), float("inf"), object(), b"bytes", {1: 2}, {3}]
)
def test_what_json_cannot_hold_is_written_in_its_nearest_form(value: object) -> None:
    assert "odd" in as_json(record_of("said", odd=value, text="\ud800"))
    assert "odd" in as_json(record_of("said", odd=value))
    as_text(record_of("said", odd=value))


def test_a_figure_cannot_stand_in_for_what_every_line_has() -> None:
    told = as_json(record_of("said", level="error", message="other", time="never"))
    assert (told["level"], told["message"]) == ("info", "said")
    assert told["time"] != "never"


def test_arguments_that_do_not_fit_the_sentence() -> None:
    assert as_json(record_of("said %d", "text"))["message"] == "said %d"
    assert as_json(record_of("said", "too many"))["message"] == "said"
    as_text(record_of("said %(name)s", {"other": 1}))


# how long a line may be


@pytest.mark.parametrize("character", ["x", "\n", "世", "\U000e0001", '"', "\ud800"])
@pytest.mark.parametrize("length", [8_000, 8_192, 100_000])
def test_a_line_is_at_most_eight_kibibytes(character: str, length: int) -> None:
    long = character * length
    for record in (
        record_of(long), record_of("said", model=long), record_of(long, model=long),
        record_of("said", **{f"n{i}": long for i in range(100)}),
    ):  # fmt: skip
        told = as_json(record)
        assert told["level"] == "info"
        as_text(record)


def test_a_line_that_just_fits_is_whole() -> None:
    empty = len(JsonLines().format(record_of("")))
    for spare in (-1, 0, 1):
        message = "x" * (LINE_MAX - empty + spare)
        told = as_json(record_of(message))
        assert told.get("cut", False) is (spare > 0)
        assert len(told["message"]) == (len(message) if spare <= 0 else 1024)


def test_of_a_long_line_the_short_figures_stay() -> None:
    told = as_json(record_of("said", words="x" * 9000, provider="voyage", texts=7))
    assert (told["provider"], told["texts"], len(told["words"])) == ("voyage", 7, 1024)


def test_any_record_makes_a_good_line() -> None:
    rng = random.Random(5)
    for _ in range(300):

        def text() -> str:
            return "".join(
                rng.choices('aä\n\x00\u2028\ud800\U000e0001\\"', k=rng.choice([1, 9, 999]))
            )

        figures = {text(): rng.choice([text(), 1, None, 2**70, [text()]]) for _ in range(9)}
        as_json(record_of(text(), **figures))
        as_text(record_of(text(), **figures))


# exceptions


def test_of_an_exception_the_type_and_the_place_and_not_a_word() -> None:
    try:
        raise KeyError("the text of a caller")
    except KeyError:
        record = logging.LogRecord(
            "emr.x", logging.ERROR, "x.py", 1, "It failed", (), sys.exc_info()
        )
    told = as_json(record)
    assert told["exception"] == "KeyError"
    assert told["at"].startswith("test_logs.py:")
    for line in (str(told), as_text(record)):
        assert "caller" not in line
    record.exc_info = (None, None, None)
    assert "exception" not in as_json(record)


def test_what_the_event_loop_has_to_say_is_freed_of_what_tasks_hold(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(text: str) -> None:
        raise ValueError(text)

    def fail_at_once(text: str) -> None:
        raise ValueError(text)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(loop_trouble)
        loop.call_soon(fail_at_once, "a secret text")
        task = loop.create_task(fail("a secret text"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        loop.call_exception_handler({"message": "Odd <Future result='a secret text'>"})
        loop.call_exception_handler({})

    run(main())
    lines = [JsonLines().format(record) for record in caplog.records]
    assert len(lines) == 4
    assert not any("secret" in line for line in lines)
    told = [orjson.loads(line) for line in lines]
    assert [each.get("exception") for each in told].count("ValueError") == 2
    assert any("was never retrieved" in each["message"] for each in told)
    assert all("test_logs.py:" in each["at"] for each in told if "at" in each)


# setting up


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        ("auto", io.StringIO, True), ("auto", Terminal, False), ("json", Terminal, True),
        ("text", io.StringIO, False),
    ],
)  # fmt: skip
def test_the_form_of_lines(
    logged: io.StringIO, form: str, stream: type[io.StringIO], is_json: bool
) -> None:
    out = stream()
    set_up("info", form, out)
    set_up("info", form, out)  # a second time makes no second line
    logging.getLogger("emr.x").info("said\nso")
    logging.getLogger("foreign").info("not of interest")
    (line,) = out.getvalue().splitlines()
    assert line.startswith("{") is is_json


@pytest.mark.parametrize(
    ("level", "ours", "foreign"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["warning", "error"]),
        ("info", ["info", "warning", "error"], ["warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_levels(logged: io.StringIO, level: str, ours: list[str], foreign: list[str]) -> None:
    set_up("error", "json", logged)
    set_level(level)
    for name in ("emr.x", "foreign"):
        for each in ("debug", "info", "warning", "error"):
            getattr(logging.getLogger(name), each)("said")
    told = [orjson.loads(line) for line in logged.getvalue().splitlines()]
    assert [each["level"] for each in told if each["logger"] == "emr.x"] == ours
    assert [each["level"] for each in told if each["logger"] == "foreign"] == foreign


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_log_that_cannot_be_written_is_let_be(
    logged: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up("info", "json", Broken())
    logging.getLogger("emr.x").info("said")
    assert capsys.readouterr().err == ""
