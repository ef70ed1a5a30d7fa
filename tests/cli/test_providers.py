"""`emr providers`: against a server and against the store itself; test and probe make calls."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from emr.cli.probe import Outcome, outcome_of, sizes_of
from emr.cli.trouble import Trouble
from tests.cli.parts import QUIET, Commands, Home, listening, router
from tests.cli.provider import Provider, at_most

KEY = "sk-canary-1234567890abcdef"


@pytest.fixture(params=["server", "store"])
def providers(request: pytest.FixtureRequest, home: Home, emr: Commands) -> Iterator[Commands]:
    """`emr`, where a server runs and where none does: all must be the same."""
    home.configure(QUIET)
    if request.param == "store":
        home.places.folder.mkdir(parents=True)
        home.places.env_file.touch(0o600)
    else:
        home.secret()
    with home.places.env_file.open("a") as file:
        file.write(f"SELF_API_KEY={KEY}\n")
    if request.param == "store":
        yield emr
        return
    with listening() as sock, router(home, sock):
        yield emr


def listed(emr: Commands) -> dict[str, dict[str, Any]]:
    told = json.loads(emr("providers", "list", "--json").out)
    return {provider["name"]: provider for provider in told}


def add(emr: Commands, provider: Provider, *more: str) -> None:
    made = emr(
        "providers", "add", "--name", "self", "--type", "openai-compatible", "--api-key-env",
        "SELF_API_KEY", "--endpoint", provider.url, "--model", "m", *more,
    )  # fmt: skip
    assert made.code == 0, made.err


def test_add_with_the_defaults_of_its_type(providers: Commands) -> None:
    made = providers("providers", "add", "--name", "v", "--type", "voyage")
    assert (made.code, made.out) == (0, "")
    assert (
        "Provider added:\n"
        "  name:            v\n"
        "  provider_type:   voyage\n"
        "  api_key_env_var: VOYAGE_API_KEY\n"
        "  endpoint:        https://api.voyageai.com/v1/embeddings\n"
        "  model:           voyage-code-3\n"
    ) in made.err
    shown = listed(providers)["v"]
    assert (shown["enabled"], shown["source"], shown["max_texts_per_request"]) == (
        True, "database", 128,
    )  # fmt: skip


def test_add_with_all_fields_as_json(providers: Commands) -> None:
    made = providers(
        "providers", "add", "--name", "c", "--type", "cohere", "--api-key-env", "MY_API_KEY",
        "--endpoint", "https://api.cohere.com/v1/embed", "--model", "embed-english-v3.0", "--json",
    )  # fmt: skip
    told = json.loads(made.out)
    assert (told["api_key_env_var"], told["endpoint"], told["model"]) == (
        "MY_API_KEY", "https://api.cohere.com/v1/embed", "embed-english-v3.0",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--name", "far", "--type", "voyage"], "far is in the configuration file"),
        (["--name", "x", "--type", "voyag"], "did you mean voyage?"),
        (["--name", "x y", "--type", "voyage"], "name must be 1 to 64"),
        (["--name", "x", "--type", "voyage", "--api-key-env", "HOME"], "end in _API_KEY"),
        (["--name", "x", "--type", "voyage", "--api-key-env", "EMR_ADMIN_SECRET"], "EMR_* are"),
        (["--name", "x", "--type", "voyage", "--endpoint", "http://a.test"], "http to a.test"),
        (["--name", "x", "--type", "openai-compatible", "--model", "m"], "endpoint is required"),
    ],
)
def test_what_the_rules_refuse(providers: Commands, flags: list[str], reason: str) -> None:
    told = providers("providers", "add", *flags)
    assert (told.code, told.out) == (1, "")
    assert reason in told.err
    assert list(listed(providers)) == ["far"]


def test_disable_enable_remove(providers: Commands) -> None:
    assert providers("providers", "add", "--name", "v", "--type", "voyage").code == 0
    assert providers("providers", "add", "--name", "v", "--type", "voyage").code == 1
    told = providers("providers", "disable", "v")
    assert (told.code, told.err.endswith("Provider 'v' disabled.\n")) == (0, True)
    assert listed(providers)["v"]["enabled"] is False
    told = providers("providers", "enable", "v", "--json")
    assert json.loads(told.out)["enabled"] is True
    told = providers("providers", "remove", "v")
    assert (told.code, told.out) == (0, "")
    assert told.err.endswith("Provider 'v' removed.\n")
    assert list(listed(providers)) == ["far"]
    for action in ("remove", "enable", "disable", "test", "probe"):
        told = providers("providers", action, "v")
        assert told.code == 1
        assert "there is no provider v" in told.err


def test_a_provider_of_the_file_is_not_changed(providers: Commands) -> None:
    for action in ("remove", "disable"):
        told = providers("providers", action, "far")
        assert (told.code, "far is in the configuration file" in told.err) == (1, True)


def test_list_as_text(providers: Commands) -> None:
    providers("providers", "add", "--name", "v", "--type", "voyage")
    providers("providers", "disable", "v")
    header, *rows = providers("providers", "list").out.splitlines()
    assert re.split(r"\s{2,}", header) == [
        "name", "type", "model", "enabled", "key", "endpoint", "source",
    ]  # fmt: skip
    assert [re.split(r"\s{2,}", row) for row in rows] == [
        ["far", "openai-compatible", "m", "yes", "-", "http://127.0.0.1:9/v1/embeddings", "file"],
        ["v", "voyage", "voyage-code-3", "no", "VOYAGE_API_KEY",
         "https://api.voyageai.com/v1/embeddings", "database"],
    ]  # fmt: skip


def test_no_provider_at_all(home: Home, emr: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emr.upstream.local.model.is_installed", lambda: False)
    told = emr("providers", "list")
    assert (told.code, told.out) == (0, "")
    assert "No providers yet: `emr providers add" in told.err


def test_a_row_that_a_rule_refuses_now_is_shown_with_the_reason(home: Home, emr: Commands) -> None:
    emr("providers", "add", "--name", "v", "--type", "voyage")
    home.configure('[[providers]]\nname = "v"\nprovider_type = "cohere"\n')
    told = emr("providers", "list")
    assert "v: the configuration file has a provider of this name\n" in told.err


# calls


def test_test(providers: Commands) -> None:
    with Provider() as provider:
        add(providers, provider)
        told = providers("providers", "test", "self")
        assert re.fullmatch(r"Provider 'self': ok \(\d+ ms, 2 dimensions\)\n", told.out)
        assert (told.code, provider.keys) == (0, [f"Bearer {KEY}"])
        shown = json.loads(providers("providers", "test", "self", "--json").out)
        assert (shown["name"], shown["status"], shown["dimensions"]) == ("self", "ok", 2)


def test_a_test_that_fails(providers: Commands) -> None:
    def refuse(texts: list[str]) -> tuple[int, dict[str, Any]]:
        return 401, {"error": {"message": f"invalid key {KEY}"}}

    with Provider(refuse) as provider:
        add(providers, provider)
        told = providers("providers", "test", "self")
        assert (told.code, told.out) == (1, "")
        assert "Provider 'self': self answered 401: invalid key" in told.err
        assert KEY not in told.err
        shown = providers("providers", "test", "self", "--json")
        assert shown.code == 1
        assert json.loads(shown.out)["status"] == "error"


def test_a_test_without_a_key(providers: Commands) -> None:
    providers("providers", "add", "--name", "v", "--type", "voyage")
    told = providers("providers", "test", "v")
    assert (told.code, told.out) == (1, "")
    assert "VOYAGE_API_KEY is not set: v has no key" in told.err


def test_probe_as_text(providers: Commands) -> None:
    with Provider(at_most(4)) as provider:
        add(providers, provider)
        told = providers("providers", "probe", "self", "--sizes", "1,2,4,8,16", "--samples", "2")
        assert told.code == 0
        lines = told.out.splitlines()
        assert lines[:3] == [
            "Provider: self", "", "batch_size  mean_latency_ms  latency_per_text_ms",
        ]  # fmt: skip
        assert [line.split()[0] for line in lines[3:]] == ["1", "2", "4"]
        assert all(len(line) == len(lines[2]) for line in lines[3:])
        assert told.err.endswith(
            "self: at most 4 texts a call: self answered 400: batch size 8 is too large: at most"
            " 4\n"
        )
        # two calls of each size that is taken, one of the first that is not, none after it
        assert [len(asked["input"]) for asked in provider.asked] == [1, 1, 2, 2, 4, 4, 8]
    assert listed(providers)["self"]["max_texts_per_request"] == 64


def test_probe_as_json_and_write(providers: Commands) -> None:
    with Provider(at_most(3)) as provider:
        add(providers, provider)
        told = providers(
            "providers", "probe", "self", "--sizes", "2,8", "--samples", "1", "--json", "--write"
        )
        assert told.code == 0
        first, second = map(json.loads, told.out.splitlines())
        assert set(first) == {"batch_size", "mean_latency_ms", "latency_per_text_ms"}
        assert (second["batch_size"], second["cap"], second["cap_of"]) == (8, 3, "texts")
        assert "max_texts_per_request of self is 3 now\n" in told.err
    assert listed(providers)["self"]["max_texts_per_request"] == 3


def test_probe_that_meets_no_cap(providers: Commands) -> None:
    with Provider() as provider:
        add(providers, provider)
        told = providers(
            "providers", "probe", "self", "--sizes", "1,2", "--write", "--api-key", "x"
        )
        assert told.code == 0
        assert "--api-key is not used" in told.err
        assert "self: no cap was met up to 2 texts a call\n" in told.err
        assert "nothing is written" in told.err


def test_probe_that_fails(providers: Commands) -> None:
    with Provider(lambda texts: (500, {"error": {"message": "sorry"}})) as provider:
        add(providers, provider)
        told = providers("providers", "probe", "self", "--sizes", "1,2", "--write")
        assert told.code == 1
        assert "self: the call of 1 texts failed: self answered 500: sorry\n" in told.err
        assert "nothing is written" in told.err


def test_the_cap_of_a_provider_of_the_file_is_not_written(home: Home, emr: Commands) -> None:
    with Provider(at_most(1)) as provider:
        home.configure(QUIET.replace("http://127.0.0.1:9", provider.url))
        told = emr("providers", "probe", "far", "--sizes", "1,2", "--write")
        assert told.code == 1
        assert "far: at most 1 texts a call" in told.err
        assert "far is in the configuration file; change it there" in told.err


def test_wrong_use(emr: Commands) -> None:
    for argv in (
        ["add"], ["add", "--name", "x"], ["remove"], ["test"], ["probe"], ["nonsense"], [],
        ["probe", "x", "--sizes", "1,b"], ["probe", "x", "--sizes", ""],
        ["probe", "x", "--samples", "x"],
    ):  # fmt: skip
        assert emr("providers", *argv).code == 2, argv


@pytest.mark.parametrize("flags", [["--sizes", "0"], ["--sizes", "10001"], ["--samples", "0"],
                                   ["--samples", "101"]])  # fmt: skip
def test_sizes_over_the_limits(home: Home, emr: Commands, flags: list[str]) -> None:
    home.configure(QUIET)
    told = emr("providers", "probe", "far", *flags)
    assert (told.code, "must be whole numbers from 1 to" in told.err) == (1, True)


# what a probe comes to

GOOD = {"batch_size": 4, "mean_latency_ms": 1.0, "latency_per_text_ms": 0.25}


def refused(**more: object) -> dict[str, Any]:
    return {"batch_size": 8, "error": "no", **more}


@pytest.mark.parametrize(
    ("lines", "outcome"),
    [
        ([GOOD], Outcome("no cap was met up to 4 texts a call")),
        ([GOOD, refused(cap=5, cap_of="texts")], Outcome("at most 5 texts a call: no", 5)),
        ([GOOD, refused(cap=None, cap_of="texts")],
         Outcome("4 texts a call are taken, 8 are too many: no", 4)),
        ([refused(cap=None, cap_of="texts")],
         Outcome("even 8 texts are too many: no", None, True)),
        ([GOOD, refused(cap=90, cap_of="tokens")],
         Outcome("the call of 8 texts met a cap of 90 on tokens, none on texts: no")),
        ([GOOD, refused(cap=None, cap_of="bytes")],
         Outcome("the call of 8 texts met a cap on bytes, none on texts: no")),
        ([GOOD, refused()], Outcome("the call of 8 texts failed: no", None, True)),
    ],
)  # fmt: skip
def test_outcomes(lines: list[dict[str, Any]], outcome: Outcome) -> None:
    assert outcome_of(lines) == outcome


def test_sizes() -> None:
    assert sizes_of("1, 2,256") == [1, 2, 256]
    for text in ("", "1,,2", "-1", "1.5", "²"):
        with pytest.raises(Trouble) as caught:
            sizes_of(text)
        assert caught.value.code == 2
