"""`emr bench`: its flags, its report, its exit code."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from emr.cli import bench
from emr.cli.bench import Unusable
from emr.cli.load.results import Results
from tests.cli.commands import parse, run, running_fake


@pytest.fixture(scope="module")
def fake() -> Iterator[str]:
    with running_fake("--latency-ms", "2") as url:
        yield url


def args(*flags: str) -> Any:
    return parse(bench, "bench", *flags)


def report(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, Any]:
    code = run("bench", *flags, "--json")
    return code, orjson.loads(capsys.readouterr().out)


def test_a_report_as_json(fake: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--form", "voyage", "--model", "voyage-code-3", "--key", "k", "--count", "50",
             "--callers", "5", "--texts", "3", "--check", "--fake", fake)  # fmt: skip
    code, got = report(capsys, fake, *flags)
    assert code == 0
    assert (got["requests"], got["answered"], got["vectors_checked"]) == (50, 50, 150)
    assert got["latency_ms"]["p50"] >= 1.0
    assert got["provider"] == {
        "calls": 50, "texts": 150, "requests_per_call": 1.0, "texts_per_call": 3.0,
        "calls_by_size": {"3": 50},
    }  # fmt: skip
    assert got["client"]["cpu_us_per_request"] > 0
    code, again = report(capsys, fake, *flags)
    assert again["provider"]["calls_by_size"] == {"3": 50}


@pytest.mark.parametrize(
    "flags",
    [
        ("--form", "openai", "--model", "text-embedding-3-small", "--dimensions", "64"),
        ("--form", "openai", "--model", "text-embedding-3-small", "--base64"),
        ("--form", "cohere", "--model", "embed-v4.0", "--input-type", "query"),
        ("--form", "cohere", "--model", "embed-v4.0", "--base64"),
        ("--form", "voyage", "--model", "voyage-4", "--dimensions", "512", "--base64"),
        ("--form", "voyage", "--model", "voyage-4", "--rate", "500", "--distinct", "3"),
    ],
)
def test_every_form_is_checked(
    fake: str, flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    url = fake + {"openai": "/openai/v1/embeddings", "cohere": "/cohere/v2/embed",
                  "voyage": "/voyage/v1/embeddings"}[flags[1]]  # fmt: skip
    code, got = report(capsys, url, *flags, "--key", "k", "--count", "20", "--check")
    assert (code, got["vectors_checked"], got["errors"]) == (0, 20, {})
    assert got["provider"] is None


def test_a_table_and_texts_of_a_file(
    fake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "texts"
    path.write_text("one\n\ntwo\n")
    code = run(
        "bench", fake, "--form", "voyage", "--model", "voyage-4", "--key", "a", "--key", "b",
        "--callers", "1,2", "--count", "9", "--check", "--file", str(path),
    )  # fmt: skip
    out = capsys.readouterr()
    assert code == 0
    assert "9 vectors right, 0 replies wrong" in out.out
    assert "key 2" in out.out
    assert "3 callers, 9 requests" in out.err


def test_refusals_alone_are_a_failure(fake: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, got = report(capsys, fake, "--model", "x", "--key", "k", "--count", "3")
    assert (code, got["statuses"]) == (1, {"400": 3})
    assert "Model x is not supported" in got["examples"]["status 400"]


def test_a_wrong_vector_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with running_fake("--faults", "shuffled=0.5", "--latency-ms", "0") as url:
        code, got = report(capsys, url, "--form", "voyage", "--model", "voyage-4", "--key", "k",
                           "--texts", "2", "--count", "40", "--check")  # fmt: skip
    assert code == 1
    assert 5 < got["errors"]["wrong vector"] < 35
    assert got["answered"] == 40 - got["errors"]["wrong vector"]


def test_nobody_there_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with running_fake() as url:
        pass
    code, got = report(capsys, url, "--key", "k", "--count", "2", "--fake", url)
    assert (code, got["errors"], got["provider"]) == (1, {"connect": 2}, None)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--callers", "x"], "--callers is a number"),
        (["--callers", "0"], "--callers is at least 1"),
        (["--callers", "1,2"], "2 numbers for 1 keys"),
        (["--rate", "-1"], "--rate is at least 0"),
        (["--duration", "0"], "--duration is at least"),
        (["--duration", "nan"], "--duration is at least"),
        (["--count", "-1"], "--count is at least 0"),
        (["--warmup", "-1"], "--warmup is at least 0"),
        (["--timeout", "0"], "--timeout is at least"),
        (["--connections", "0"], "--connections is at least 1"),
        (["--texts", "0"], "--texts is at least 1"),
        (["--chars", "7"], "--chars is at least 8"),
        (["--distinct", "-1"], "--distinct is at least 0"),
        (["--dimensions", "-1"], "--dimensions is at least 1"),
        (["--header", "none"], "--header is 'name: value'"),
        (["--header", "a: b\nc: d"], "--header is 'name: value'"),
        (["--form", "cohere"], "needs a --model"),
        (["--file", "/nowhere"], "cannot be read"),
        (["--file", "/dev/null"], "has no texts"),
        (["ftp://h"], "is no URL"),
        (["http://"], "is no URL"),
        (["http://h:x"], "is no URL"),
        (["--callers", "100000000"], "open files"),
    ],
)
def test_bad_flags_are_a_usage_error(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("bench", "--key", "k", *flags)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_urls() -> None:
    target, host, path = bench.read_url("http://h:81", "openai")
    assert (target.host, target.port, target.tls, host, path) == (
        "h", 81, None, "h:81", "/v1/embeddings"
    )  # fmt: skip
    target, host, path = bench.read_url("https://h/x/embed?a=b", "cohere")
    assert (target.port, host, path) == (443, "h", "/x/embed?a=b")
    assert target.tls is not None
    assert bench.read_url("http://u:p@[::1]/", "cohere")[1:] == ("[::1]", "/v2/embed")
    target, host, path = bench.read_url("unix:/s", "voyage")
    assert (target.socket, host, path) == ("/s", "localhost", "/v1/embeddings")


def test_loads() -> None:
    assert bench.read_load(args("--callers", "7"), 3).callers == (3, 2, 2)
    assert bench.read_load(args("--callers", "1,2"), 2).callers == (1, 2)
    assert bench.read_load(args(), 1).seconds == 10.0
    assert bench.read_load(args("--count", "5"), 1).seconds == inf
    assert bench.read_load(args("--count", "5", "--duration", "2"), 1).seconds == 2.0


def test_the_callers_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("EMR_API_KEY", raising=False)
    with pytest.raises(Unusable, match="no caller key: give --key"):
        bench.caller_key()
    path = tmp_path / ".config/emr/first-key"
    path.parent.mkdir(parents=True)
    path.write_text("emr_first\n")
    path.chmod(0o644)
    with pytest.raises(Unusable, match="chmod 600"):
        bench.caller_key()
    path.chmod(0o600)
    assert bench.caller_key() == "emr_first"
    monkeypatch.setenv("EMR_API_KEY", "emr_other\n")
    assert bench.caller_key() == "emr_other"


def test_texts_of_the_cache_are_no_texts_of_a_provider() -> None:
    status = {"provider_calls": 3, "texts_served": 10, "cache_hits": 4}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=status))
    with httpx.Client(transport=transport, base_url="http://emr") as client:
        assert bench.provider_counts(client, args()) == {"calls": 3, "texts": 6}


def test_the_limit_of_open_files_is_raised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        bench.raise_open_files(100)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 200
        bench.raise_open_files(101)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 201
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_the_provider_was_asked_since_before() -> None:
    results = Results(1)
    results.total = 10
    same = {"calls": 5, "texts": 5}
    got = bench.compare(same, same, results)
    assert got == {"calls": 0, "texts": 0, "requests_per_call": None, "texts_per_call": None}
    assert bench.compare(None, same, results) is None
