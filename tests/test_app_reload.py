"""Reload: wholly or not at all, under load, and what it says of itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from emr.control.config import ConfigError
from emr.control.secrets import SecretError
from tests.support.aio import run
from tests.support.processes import PROVIDER_KEY
from tests.support.running import a_fake, running, voyage_row

MODEL = "voyage-code-3"
SERVER = '[server]\nbind = "127.0.0.1:0"\n'


def test_a_reload_says_what_it_changed_and_what_waits_for_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            a_fake() as provider,
            running(tmp_path, voyage_row(provider), V_API_KEY=PROVIDER_KEY) as emr,
        ):
            changed = (
                '[server]\nbind = "127.0.0.1:1"\ndeadline_ms = 5000\n'
                "max_texts_per_request = 2\n"
                "[health]\nfailure_threshold = 9\n"
                f'[models]\nsmall = "voyage/{MODEL}"\n' + voyage_row(provider, max_concurrency=3)
            )
            emr.write(changed)
            for _ in range(2):
                told = (await emr.admin("POST", "/admin/reload")).json()
                waits = {each["key"]: each for each in told["needs_restart"]}
                assert set(waits) == {"server.bind", "health.failure_threshold"}
                assert waits["health.failure_threshold"]["old"] == 5
                assert waits["health.failure_threshold"]["new"] == 9
                config = (await emr.admin("GET", "/admin/config")).json()
                assert config["server"]["bind"] == "127.0.0.1:0", "what is in effect"
                assert config["health"]["failure_threshold"] == 5
                assert config["sources"]["health"]["failure_threshold"] == "default"
                assert config["server"]["deadline_ms"] == 5000
                assert config["sources"]["server"]["deadline_ms"].endswith("config.toml:3")
            assert (await emr.embed(model="small")).status_code == 200
            assert (await emr.embed(["a", "b", "c"], model=MODEL)).status_code == 400
            assert emr.app.desk.default_timeout_s(False) == 5.0
            (account,) = emr.app.accounts.of("voyage")
            assert account.spec.max_concurrency == 3

    run(main())


def test_what_changed_the_first_time_is_no_change_the_second(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as emr:
            emr.write(SERVER + "deadline_ms = 5000\n[models]\na = 'b/c'\n[sever]\nx = 1\n")
            told = (await emr.admin("POST", "/admin/reload")).json()
            assert {each["key"] for each in told["changed"]} == {"server.deadline_ms", "models.a"}
            assert set(told) == {"changed", "needs_restart", "warnings"}
            (warning,) = told["warnings"]
            assert "did you mean server" in warning
            again = (await emr.admin("POST", "/admin/reload")).json()
            assert (again["changed"], again["needs_restart"]) == ([], [])

    run(main())


BROKEN = [
    "[server", "[server]\nbind = 1\n", "[health]\nsinbin_multiplier = 0.5\n",
    "[[providers]]\nname = 'x'\n", "[models]\na = 'b'\n", "\x00", "[retry]\nper_attempt_cap_ms = 0",
    "[log]\nlevel = 'loud'\n", "[[providers]]\nname='a b'\nprovider_type='voyage'\n",
]  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_a_bad_file_changes_nothing(tmp_path: Path, broken: str) -> None:
    async def main() -> None:
        async with a_fake() as provider:
            good = SERVER + voyage_row(provider) + f'\n[models]\nsmall = "voyage/{MODEL}"\n'
            async with running(tmp_path, good, V_API_KEY=PROVIDER_KEY) as emr:
                assert (await emr.embed(model="small")).status_code == 200
                (account,) = emr.app.accounts.of("voyage")
                before = (emr.app.loaded, emr.app.secret, emr.app.catalogue.settings,
                          emr.app.providers.rows())  # fmt: skip
                emr.write(broken)
                emr.environment["EMR_ADMIN_SECRET"] = "another-secret"
                told = await emr.admin("POST", "/admin/reload")
                assert (told.status_code, told.json()["error"]["type"]) == (400, "validation_error")
                assert told.json()["message"].startswith("nothing was changed: ")
                assert before == (emr.app.loaded, emr.app.secret, emr.app.catalogue.settings,
                                  emr.app.providers.rows())  # fmt: skip
                assert emr.app.accounts.of("voyage") == [account]
                assert (await emr.embed(model="small")).status_code == 200
                assert (await emr.admin("GET", "/admin/keys")).status_code == 200

    run(main())


def test_an_admin_secret_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as emr:
            emr.write(SERVER + "deadline_ms = 5000\n")
            emr.environment["EMR_ADMIN_SECRET"] = "not\nin a header"
            with pytest.raises(SecretError):
                emr.app.reload()
            told = await emr.admin("POST", "/admin/reload")
            assert (told.status_code, told.json()["error"]["type"]) == (400, "validation_error")
            assert emr.app.desk.default_timeout_s(False) == 60.0
            emr.environment["EMR_ADMIN_SECRET"] = ""
            with pytest.raises(ConfigError):
                emr.app.reload()

    run(main())


def test_a_new_admin_secret_holds_from_the_reload_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as emr:
            emr.environment["EMR_ADMIN_SECRET"] = "the-new-one"
            assert (await emr.admin("GET", "/admin/keys", secret="the-new-one")).status_code == 401
            assert (await emr.admin("POST", "/admin/reload")).status_code == 200
            assert (await emr.admin("GET", "/admin/keys")).status_code == 401
            assert (await emr.admin("GET", "/admin/keys", secret="the-new-one")).status_code == 200
            del emr.environment["EMR_ADMIN_SECRET"]  # taken away: the one in use stays
            told = await emr.admin("POST", "/admin/reload", secret="the-new-one")
            assert told.status_code == 200
            assert (await emr.admin("GET", "/admin/keys", secret="the-new-one")).status_code == 200

    run(main())


def test_a_reload_under_load_loses_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            a_fake() as provider,
            running(tmp_path, voyage_row(provider), V_API_KEY=PROVIDER_KEY) as emr,
        ):
            configs = [voyage_row(provider, max_concurrency=n) for n in (3, 4, 5)]

            async def ask(caller: int) -> list[int]:
                statuses = []
                for n in range(20):
                    told = await emr.embed(f"text {n} of {caller}", model=MODEL)
                    statuses.append(told.status_code)
                return statuses

            callers = [asyncio.create_task(ask(caller)) for caller in range(8)]
            for n in range(12):
                emr.write(SERVER + configs[n % 3])
                assert (await emr.admin("POST", "/admin/reload")).status_code == 200
            statuses = [status for each in await asyncio.gather(*callers) for status in each]
            assert set(statuses) == {200}
            assert len(emr.app.accounts.of("voyage")) == 1
            await emr.app.pump.drained()
            await asyncio.sleep(0)
            assert len(emr.app.pump.roster.accounts) == 1
            assert len(emr.app.pump._callers) == 1

    run(main())
