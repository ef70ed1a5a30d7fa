"""`emr embed`: the command as a whole, over a stub and over a router with the built-in model."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.parts import PATIENCE_S, Commands, Home, at, environment, listening, router
from tests.cli.provider import Provider, vector


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Puts bytes into the command's stdin."""
    given: list[io.TextIOWrapper] = []

    def put(data: bytes) -> None:
        reads, writes = os.pipe()
        with os.fdopen(writes, "wb") as into:
            into.write(data)
        given.append(io.TextIOWrapper(os.fdopen(reads, "rb")))
        monkeypatch.setattr(sys, "stdin", given[-1])

    yield put
    for each in given:
        each.close()


def read(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_files_in_order(emr: Commands, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("".join(f"text {n}\n" for n in range(300)))
    (tmp_path / "b").write_text("last")
    with Provider() as provider:
        told = emr(
            "embed", "--server", provider.url, "--key", "k", "--batch", "7", "--in-flight", "3",
            str(tmp_path / "a"), str(tmp_path / "b"),
        )  # fmt: skip
    assert (told.code, told.err) == (0, "")
    texts = [*(f"text {n}" for n in range(300)), "last"]
    assert read(told.out) == [
        {"index": n, "embedding": vector(text)} for n, text in enumerate(texts)
    ]
    assert max(len(asked["input"]) for asked in provider.asked) == 7


def test_stdin_and_the_fields(emr: Commands, give: Callable[[bytes], None]) -> None:
    give(b"a\nb\n")
    with Provider() as provider:
        told = emr(
            "embed", "--server", provider.url, "--key", "k", "--model", "m", "--provider", "p",
            "--input-type", "query", "--dimensions", "64", "--output-base64", "--with-text",
        )  # fmt: skip
    assert told.code == 0
    assert [line["text"] for line in read(told.out)] == ["a", "b"]
    sent = {name: value for name, value in provider.asked[0].items() if name != "input"}
    assert sent == {
        "model": "m", "provider": "p", "input_type": "query", "dimensions": 64,
        "encoding_format": "base64",
    }  # fmt: skip


def test_lines_that_fail(emr: Commands, give: Callable[[bytes], None]) -> None:
    give(b"a\n\n\xff\nb\n")
    with Provider() as provider:
        told = emr("embed", "--server", provider.url, "--key", "k", "-")
    assert told.code == 1
    assert [line.get("error") for line in read(told.out)] == [
        None, "the line is empty", "the line is not UTF-8 (byte 0)", None,
    ]  # fmt: skip
    assert told.err == "emr: 2 of 4 lines failed\n"


def test_no_lines(emr: Commands, give: Callable[[bytes], None]) -> None:
    give(b"")
    with Provider() as provider:
        told = emr("embed", "--server", provider.url, "--key", "k")
    assert (told.code, told.out, provider.asked) == (0, "", [])


def test_what_ends_it_all_comes_after_what_is_done(
    emr: Commands, give: Callable[[bytes], None]
) -> None:
    give(b"a\nb\nstop\nc\n")

    def refuse(texts: list[str]) -> tuple[int, dict[str, Any]] | None:
        return (403, {"error": {"message": "forbidden"}}) if "stop" in texts else None

    with Provider(refuse) as provider:
        told = emr("embed", "--server", provider.url, "--key", "k", "--batch", "1")
    assert (told.code, told.err) == (1, "emr: forbidden\n")
    assert [line["index"] for line in read(told.out)] == [0, 1]


def test_the_caller_key(
    home: Home, emr: Commands, give: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Provider() as provider:

        def keys_used(*flags: str) -> list[str]:
            give(b"a\n")
            provider.keys.clear()
            assert emr("embed", "--server", provider.url, *flags).code == 0
            return provider.keys

        give(b"a\n")
        told = emr("embed", "--server", provider.url)
        assert (told.code, "there is no caller key" in told.err) == (1, True)
        home.places.folder.mkdir(parents=True)
        home.places.first_key.touch(0o600)
        home.places.first_key.write_text("first\n")
        assert keys_used() == ["Bearer first"]
        monkeypatch.setenv("EMR_API_KEY", "environment")
        assert keys_used() == ["Bearer environment"]
        assert keys_used("--key", "flag") == ["Bearer flag"]
        monkeypatch.delenv("EMR_API_KEY")
        home.places.first_key.chmod(0o644)
        told = emr("embed", "--server", provider.url)
        assert (told.code, "chmod 600" in told.err) == (1, True)
        told = emr("embed", "--server", provider.url, "--key", "ü")
        assert (told.code, "characters that no key has" in told.err) == (1, True)


def test_wrong_use(emr: Commands, tmp_path: Path) -> None:
    for argv in (["--batch", "0"], ["--in-flight", "0"], ["--dimensions", "x"],
                 ["--input-type", "other"]):  # fmt: skip
        assert emr("embed", "--server", "localhost:1", "--key", "k", *argv).code == 2, argv
    for name in (str(tmp_path), str(tmp_path / "nothing")):
        told = emr("embed", "--server", "localhost:1", "--key", "k", name)
        assert (told.code, told.err.startswith(f"emr: {name} cannot be read: ")) == (1, True)


def test_with_the_built_in_model(home: Home, emr: Commands, tmp_path: Path) -> None:
    """The whole way, without a stub: numbers and base64 are the same vector."""
    home.secret()
    (tmp_path / "a").write_text("hello\nworld\n")
    with listening() as sock, router(home, sock) as address:
        key = emr("keys", "create", "--name", "a").out.strip()
        flags = ("--key", key, str(tmp_path / "a"))
        numbers = read(emr("embed", *flags).out)
        raw = read(emr("embed", "--output-base64", *flags).out)
        assert [len(line["embedding"]) for line in numbers] == [256, 256]
        for line, packed in zip(numbers, raw, strict=True):
            found = struct.unpack("<256f", base64.b64decode(packed["embedding"]))
            assert found == pytest.approx(line["embedding"], abs=1e-7)
        wrong = emr("embed", "--key", "emr_wrong", str(tmp_path / "a"))
        assert wrong.code == 1
        assert f"{address} refuses the key from --key: " in wrong.err


def test_a_live_pipe_is_answered_line_by_line(tmp_path: Path) -> None:
    """A real process: the first vector comes while the input is still open."""
    with Provider() as provider:
        process = subprocess.Popen(
            [sys.executable, "-m", "emr", "embed", "--server", provider.url, "--key", "k"],
            env=environment(tmp_path), cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            for index, text in enumerate(["one", "two", "three"]):
                process.stdin.write(text.encode() + b"\n")
                process.stdin.flush()
                assert json.loads(process.stdout.readline()) == {
                    "index": index, "embedding": vector(text),
                }  # fmt: skip
            process.stdin.close()
            assert process.stdout.read() == b""
        assert process.wait(PATIENCE_S) == 0


def test_who_reads_the_output_may_leave(tmp_path: Path) -> None:
    """A real process: `emr embed | head -1` ends, without a word."""
    with Provider() as provider:
        told = subprocess.run(
            ["sh", "-c", 'yes text | "$0" -m emr embed --server "$1" --key k | head -1',
             sys.executable, provider.url],
            env=environment(tmp_path), cwd=tmp_path, capture_output=True, timeout=PATIENCE_S,
            check=True,
        )  # fmt: skip
    assert json.loads(told.stdout) == {"index": 0, "embedding": vector("text")}
    assert told.stderr == b""


def test_an_interrupt_ends_it_at_once(tmp_path: Path) -> None:
    """A real process, while a router that never answers has its request."""
    with listening() as silent:
        process = subprocess.Popen(
            [sys.executable, "-m", "emr", "embed", "--server", str(at(silent)), "--key", "k"],
            env=environment(tmp_path), cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
            # whoever started the tests in the background has them ignore it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stderr is not None
        with process.stdin, process.stderr:
            process.stdin.write(b"text\n")
            process.stdin.flush()
            silent.settimeout(PATIENCE_S)
            asked, _ = silent.accept()
            with asked:
                assert asked.recv(1)
                process.send_signal(signal.SIGINT)
                assert process.wait(PATIENCE_S) == 130
            assert process.stderr.read() == b""
