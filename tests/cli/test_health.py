"""`emr health` and `emr status`: what they print, and the exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from emr.cli import health
from emr.cli.ask import knock, whom
from emr.cli.ask.address import Address
from emr.cli.status import span
from tests.cli.parts import QUIET, Commands, Home, free_port, listening, router


@pytest.fixture
def server(home: Home) -> Iterator[str]:
    home.configure(QUIET)
    with listening() as sock, router(home, sock) as address:
        yield str(address)


def answers(monkeypatch: pytest.MonkeyPatch, told: dict[str, tuple[int, object]]) -> None:
    """Let a server answer so, by path."""

    def get(address: Address, path: str, context: object = None) -> knock.Answer:
        status, value = told[path]
        return knock.Answer(status, json.dumps(value).encode())

    monkeypatch.setattr(knock, "get", get)


def test_health_as_text(server: str, emr: Commands) -> None:
    told = emr("health", "--server", server)
    assert (told.code, told.err) == (0, "")
    status, header, row = told.out.splitlines()
    assert status == "ok"
    assert re.split(r"\s{2,}", header) == list(health.COLUMNS)
    assert re.split(r"\s{2,}", row) == [
        "far", "healthy", "CLEAR", "0", "0", "0", "0", "1", "0", "0", "0",
    ]  # fmt: skip


def test_health_as_json(server: str, emr: Commands) -> None:
    told = json.loads(emr("health", "--server", server, "--json").out)
    assert told["status"] == "ok"
    assert [provider["name"] for provider in told["providers"]] == ["far"]


@pytest.mark.parametrize(
    ("status", "word", "code"), [(200, "ok", 0), (200, "degraded", 0), (503, "down", 1)]
)
def test_the_exit_code_says_whether_it_can_serve(
    emr: Commands, monkeypatch: pytest.MonkeyPatch, status: int, word: str, code: int
) -> None:
    provider = {
        "name": "v\x1b[2J", "status": "sinbinned", "gate": "BINNED", "error_rate": 0.123456,
        "gate_message": "five in a row\n",
    }  # fmt: skip
    answers(monkeypatch, {
        "/health": (status, {"status": word}), "/health/providers": (200, [provider]),
    })  # fmt: skip
    told = emr("health", "--server", "localhost:1")
    assert (told.code, told.out.splitlines()[0]) == (code, word)
    assert "12.35" in told.out
    assert told.err == "v\\x1b[2J: five in a row\\n\n"
    assert "\x1b" not in told.out


def test_health_without_providers(emr: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {"/health": (200, {"status": "degraded"}), "/health/providers": (200, [])})
    told = emr("health", "--server", "localhost:1")
    assert told.out == "degraded\n"
    assert told.err.startswith("No providers yet")


def test_live(server: str, emr: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    assert emr("health", "--live", "--server", server).code == 0
    told = emr("health", "--live")  # found by its lock
    assert (told.code, told.out, told.err) == (0, "", "")
    assert json.loads(emr("health", "--live", "--json").out) == {"status": "ok"}
    port = int(server.rpartition(":")[2])
    monkeypatch.setattr(health, "DEFAULT", Address(host="127.0.0.1", port=port))
    assert emr("health", "--live").code == 0


def test_live_fails(home: Home, emr: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    told = emr("health", "--live", "--server", f"127.0.0.1:{free_port()}")
    assert (told.code, "nothing listens at" in told.err) == (1, True)
    assert emr("health", "--live").code == 1
    answers(monkeypatch, {"/health/live": (503, {})})
    told = emr("health", "--live")
    assert (told.code, told.err) == (1, "emr: it answers 503\n")


def test_live_of_what_does_not_answer(
    home: Home, emr: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as sock:
        port = sock.getsockname()[1]
        for module in (health, whom):
            monkeypatch.setattr(module, "DEFAULT", Address(host="127.0.0.1", port=port))
        monkeypatch.setattr(whom, "KNOCK_S", 0.05)
        monkeypatch.setattr(knock.get, "__defaults__", (None, 0.05))
        told = emr("health", "--live")
    assert (told.code, "takes too long" in told.err) == (1, True)


def test_what_is_no_emr(emr: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knock, "get", lambda *args: knock.Answer(404, b"<html>"))
    for command in ("health", "status"):
        told = emr(command, "--server", "localhost:1")
        assert told.code == 1
        assert told.err == "emr: it answers 404 and no JSON: is this an emr?\n"


def test_status_as_text(server: str, emr: Commands) -> None:
    told = emr("status", "--server", server)
    assert (told.code, told.err) == (0, "")
    lines = told.out.splitlines()
    assert lines[0] == f"Address:         {server}"
    assert re.fullmatch(r"Uptime:          \d+s", lines[1])
    assert [line.partition(":")[0] for line in lines[2:9]] == [
        "Version", "Providers", "Active keys", "Requests served", "Texts served",
        "Provider calls", "Cache hits",
    ]  # fmt: skip
    assert lines[9] == ""
    assert lines[11].startswith("far ")


def test_status_of_the_reference_router(emr: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {
        "/status": (200, {"uptime_seconds": 90061, "providers": 1, "active_keys": 2,
                          "requests_served": 3}),
        "/health/providers": (200, []),
    })  # fmt: skip
    told = emr("status", "--server", "localhost:1")
    assert "Uptime:          1d 1h 1m\n" in told.out
    assert "Version" not in told.out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3599, "59m 59s"), (3600, "1h 0m 0s"),
     (86_399, "23h 59m 59s"), (86_400, "1d 0h 0m"), (90_061, "1d 1h 1m")],
)  # fmt: skip
def test_spans(seconds: int, text: str) -> None:
    assert span(seconds) == text


def test_a_unix_socket_that_nobody_listens_at(emr: Commands) -> None:
    told = emr("status", "--server", "unix:/nowhere/emr.sock")
    assert (told.code, told.err.startswith("emr: nothing listens at unix:/nowhere")) == (1, True)
