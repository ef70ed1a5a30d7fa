"""`emr fake`: its flags, its greeting, its end."""

from __future__ import annotations

import httpx
import pytest

from emr.cli import fake as command
from emr.fake.server import FakeServer
from emr.fake.settings import DEFAULTS, FakeSettings
from tests.cli.commands import parse, run, running_fake
from tests.fake.world import voyage
from tests.support.aio import run as run_async


def test_it_serves_with_its_flags_until_it_is_told_to_stop() -> None:
    with (
        running_fake("--latency-ms", "1", "--rpm", "2", "--keys", "k", "--faults", "") as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        headers = {"Authorization": "Bearer k"}
        statuses = [
            client.post("/v1/embeddings", json=voyage("a"), headers=headers).status_code
            for _ in range(3)
        ]
        assert statuses == [200, 200, 429]
        assert client.post("/v1/embeddings", json=voyage("a")).status_code == 401
        assert client.get("/_fake/settings").json()["rpm"] == 2.0


def test_every_setting_is_a_flag() -> None:
    args = parse(command, "fake", "--no-strict", "--tell", "none", "--seed", "7")
    assert args.strict is False
    assert (args.tell, args.seed, args.port) == ("none", "7", 3300)
    assert {name for name in DEFAULTS if not hasattr(args, name)} == set()


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--rpm", "x"], "rpm is a number"), (["--form", "acme"], "invalid choice: 'acme'"),
     (["--faults", "700=1"], "no fault is called"),
     (["--schedule", "9 none"], "schedule, '9 none'"),
     (["--latency-ms=-1"], "latency_ms is not below 0")],
)  # fmt: skip
def test_bad_flags_are_a_usage_error(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("fake", *flags)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_taken_address_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with running_fake() as url:
        assert run("fake", "--bind", url.removeprefix("http://")) == 1
    assert "cannot listen on" in capsys.readouterr().err


def test_the_greeting_says_how_to_use_it() -> None:
    async def main() -> str:
        settings = FakeSettings(form="cohere")
        async with FakeServer(settings) as fake:
            words = command.greeting(fake, settings, command.urls_of(fake))
            assert f"{fake.url}/openai/v1/embeddings" in words
            assert (
                f"--type cohere --api-key-env FAKE_API_KEY --endpoint {fake.url}/v2/embed" in words
            )
            return words

    assert "emr providers add --name fake" in run_async(main())
