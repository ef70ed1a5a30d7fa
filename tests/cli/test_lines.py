"""Lines out of bytes: whole, bytewise, and with what comes after; batches; the limits."""

from __future__ import annotations

import os
import resource
import threading
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from emr.cli.bulk import lines
from emr.cli.bulk.lines import Line, batches, read
from emr.cli.trouble import Trouble
from tests.cli.parts import PATIENCE_S

EMPTY = "the line is empty"


def from_file(path: Path, data: bytes) -> list[Line]:
    path.write_bytes(data)
    with path.open("rb", buffering=0) as file:
        return [line for line in read([file]) if line is not None]


def told(found: Iterable[Line]) -> list[str]:
    return [line.error or line.text for line in found]


CASES = [
    (b"", []),
    (b"a", ["a"]),
    (b"a\n", ["a"]),
    (b"a\nb", ["a", "b"]),
    (b"a\r\nb\r\n", ["a", "b"]),
    (b"\n", [EMPTY]),
    (b"a\n\nb\n", ["a", EMPTY, "b"]),
    (b" \n\t\n", [" ", "\t"]),
    (b"\r\n", [EMPTY]),
    (b"a\rb\n", ["a\rb"]),
    (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
    ("ü\u2028x\u0085\x0b\x0c\n".encode(), ["ü\u2028x\u0085\x0b\x0c"]),
    (b"a\n\xff\xfe\nb", ["a", "the line is not UTF-8 (byte 0)", "b"]),
    (b"ok\xc3\n", ["the line is not UTF-8 (byte 2)"]),
    (b"a\x00b\n", ["a\x00b"]),
]


@pytest.mark.parametrize(("data", "texts"), CASES)
def test_whole_and_bytewise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, texts: list[str]
) -> None:
    whole = from_file(tmp_path / "a", data)
    assert told(whole) == texts
    assert [line.index for line in whole] == list(range(len(texts)))
    monkeypatch.setattr(lines, "PART", 1)
    assert from_file(tmp_path / "a", data) == whole


@pytest.mark.parametrize(("data", "texts"), CASES)
def test_with_more_behind(tmp_path: Path, data: bytes, texts: list[str]) -> None:
    ended = data if data.endswith(b"\n") or not data else data + b"\n"
    assert told(from_file(tmp_path / "a", ended + b"more")) == [*texts, "more"]


def test_several_files_are_numbered_through(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\ntwo")
    (tmp_path / "b").write_bytes(b"\xef\xbb\xbfthree\n")
    with (tmp_path / "a").open("rb", 0) as first, (tmp_path / "b").open("rb", 0) as second:
        found = [line for line in read([first, second]) if line is not None]
    assert [(line.index, line.text) for line in found] == [(0, "one"), (1, "two"), (2, "three")]


@pytest.mark.parametrize("part", [7, 65_536])
def test_the_limit_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    monkeypatch.setattr(lines, "TEXT_MAX", 100)
    monkeypatch.setattr(lines, "PART", part)
    data = b"".join(b"x" * size + b"\n" for size in (99, 100, 101, 1000)) + b"last"
    found = from_file(tmp_path / "a", data)
    error = "the line is longer than 100 bytes"
    assert told(found) == ["x" * 99, "x" * 100, error, error, "last"]


def test_a_line_without_end_takes_no_memory() -> None:
    """64 MiB without a line end: what is held meanwhile is a few times the limit of a line."""
    size = 64 * lines.TEXT_MAX
    reads, writes = os.pipe()

    def feed() -> None:
        with os.fdopen(writes, "wb", 0) as into:
            for _ in range(size // lines.PART):
                into.write(b"x" * lines.PART)
            into.write(b"\nend")

    feeder = threading.Thread(target=feed)
    tracemalloc.start()
    try:
        feeder.start()
        with os.fdopen(reads, "rb", 0) as file:
            found = [line for line in read([file]) if line is not None]
        feeder.join(PATIENCE_S)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert told(found) == [f"the line is longer than {lines.TEXT_MAX} bytes", "end"]
    assert peak < 6 * lines.TEXT_MAX


def test_what_is_there_is_told_when_nothing_more_is(tmp_path: Path) -> None:
    """A pipe: each line is followed by None as long as no more is there, then by the end."""
    reads, writes = os.pipe()
    with os.fdopen(reads, "rb", 0) as file:
        found = read([file])
        os.write(writes, b"one\ntw")
        assert next(found) == Line(0, "one")
        assert next(found) is None
        os.write(writes, b"o\n")
        assert next(found) == Line(1, "two")
        assert next(found) is None
        os.close(writes)
        assert list(found) == []


def test_a_file_that_cannot_be_read() -> None:
    fd = os.open(".", os.O_RDONLY)
    with os.fdopen(os.dup(0), "rb", 0) as file:
        os.dup2(fd, file.fileno())
        os.close(fd)
        with pytest.raises(Trouble, match="cannot be read: Is a directory"):
            list(read([file]))


# batches


def source(*texts: str | None) -> Iterator[Line | None]:
    for index, text in enumerate(texts):
        yield None if text is None else Line(index, text)


def test_a_batch_is_full_at_its_number_of_texts() -> None:
    made = list(batches(source(*"abcde"), 2))
    assert [[line.text for line in batch] for batch in made] == [["a", "b"], ["c", "d"], ["e"]]


def test_a_batch_is_full_at_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BATCH_BYTES", 4)
    made = list(batches(source("abc", "d", "efghij", "k"), 100))
    assert [[line.text for line in batch] for batch in made] == [["abc", "d"], ["efghij"], ["k"]]


def test_a_batch_is_sent_when_nothing_more_is_there() -> None:
    made = list(batches(source("a", "b", None, None, "c", None), 100))
    assert [[line.text for line in batch] for batch in made] == [["a", "b"], ["c"]]
    assert list(batches(source(), 1)) == []


def test_a_file_is_opened_when_its_turn_comes(tmp_path: Path) -> None:
    names = [tmp_path / name for name in "abc"]
    opened: list[BinaryIO] = []

    def open_next(name: Path) -> BinaryIO:
        assert all(file.closed for file in opened), "one at a time: there may be thousands"
        name.write_bytes(b"x\n")
        opened.append(name.open("rb", buffering=0))
        return opened[-1]

    assert told(line for line in read(map(open_next, names)) if line is not None) == ["x"] * 3
    assert all(file.closed for file in opened)


def test_a_descriptor_of_any_number(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
    try:
        (tmp_path / "f").write_bytes(b"x\n")
        with (tmp_path / "f").open("rb") as file:
            high = os.dup2(file.fileno(), 1500)
        with open(high, "rb", buffering=0) as file:
            assert told(line for line in read([file]) if line is not None) == ["x"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
